"""The command line: the only place that prints. Heavy imports wait until a command needs them."""

from __future__ import annotations

import logging
import sys

import click
from click.exceptions import NoArgsIsHelpError

import localent
from localent.cli.data import models, pull
from localent.cli.demo import demo
from localent.cli.doctor import doctor
from localent.cli.prompt import prompt
from localent.cli.quant import compare, inspect, quantize
from localent.cli.query import export, runs, schema, serve, sql
from localent.cli.run import run
from localent.cli.science import replay, score, signals, study
from localent.cli.views import ask, plot, report, show
from localent.errors import LocalentError, UsageError

STOPPED = 130  # as shells count an interrupt


class Commands(click.Group):
    """A group whose errors are one sentence: exit code 2 for a wrong request, 1 for a failure."""

    def invoke(self, context: click.Context):
        try:
            return super().invoke(context)
        except NoArgsIsHelpError:
            raise  # prints the help
        except click.UsageError as error:
            where = error.ctx.command_path if error.ctx else "localent"
            fail(f"{error.format_message()} '{where} --help' tells more.", 2)
        except UsageError as error:
            fail(error, 2)
        except LocalentError as error:
            fail(error, 1)
        except BrokenPipeError:
            raise  # the reader has seen enough, as in "| head": click ends quietly
        except OSError as error:
            fail(f"{error.filename or 'a file'}: {error.strerror or error}.", 1)
        except KeyboardInterrupt:
            fail("Stopped. What is finished is kept; the same command goes on.", STOPPED)

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)  # in the order in which people meet them


def fail(message: object, code: int) -> None:
    from localent.report.table import cell_text

    click.echo(f"localent: {cell_text(message)}", err=True)  # a file's own words may hold escape sequences
    sys.exit(code)


class Notes(logging.Handler):
    """What the library says beside its results: a line on stderr, above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(f"localent: {record.getMessage()}", file=sys.stderr)


@click.group(
    "localent", cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(localent.__version__, prog_name="localent")
def main() -> None:
    """Watch a language model's uncertainty while it reasons: full-logit entropy of GGUF models, in SQLite.

    \b
    localent demo                               the whole story on bundled models, in two minutes
    localent run model.gguf gsm8k -n 100        your model on 100 problems
    localent sql "select * from run_summary"    ask anything of the results
    """
    logging.getLogger("localent").handlers = [Notes()]


COMMANDS = (demo, run, runs, sql, models, pull, prompt, doctor)
COMMANDS += (study, signals, replay, score, inspect, quantize, compare, show, schema)
COMMANDS += (ask, plot, report, export, serve)  # to look at and take away
for command in COMMANDS:
    main.add_command(command)
