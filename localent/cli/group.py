"""The group of commands: errors as one sentence, the library's log on stderr."""

from __future__ import annotations

import _thread
import logging
import shutil
import signal
import sys
import textwrap
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click

from localent.cli import config
from localent.cli.arguments import TYPED
from localent.errors import LocalentError, UsageError

STOPPED = 130  # the exit code that shells use for an interrupt
KEPT = "Stopped. Finished work is kept; the same command continues it."
AGAIN_S = 0.01  # until a Ctrl-C that was dropped is delivered again: the callback that dropped it has returned
DATABASES = "localent.databases"  # in a context's meta: the databases that the command was given


class Commands(click.Group):
    """A group whose errors are one sentence: exit code 2 for a wrong request, 1 for a failure."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Keep the words, from which a command can say how it is repeated."""
        ctx.meta[TYPED] = list(args)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _ended_in_order(), _ctrl_c_kept():
                return super().invoke(ctx)
        except click.UsageError as error:
            where = error.ctx.command_path if error.ctx else "localent"
            fail(f"{config.place_of(error)}{error.format_message()}{example_for(error)} See '{where} --help'.", 2)
        except UsageError as error:
            fail(error, 2)
        except LocalentError as error:
            fail(error, 1)
        except BrokenPipeError:
            raise  # the reader is gone, as in "| head": click exits quietly
        except OSError as error:
            fail(f"{error.filename or 'a file'}: {error.strerror or error}.", 1)
        except KeyboardInterrupt:
            fail(KEPT, STOPPED)
        except Exception:  # not one that we know: was it a database?
            if reason := _damage(ctx.meta.get(DATABASES, ())):
                fail(reason, 1)
            raise

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.titles: dict[str, list[str]] = {}  # title -> names of its commands

    def add_to(self, title: str, command: click.Command, line: str) -> None:
        """Add a command under a title, with a whole sentence for the list."""
        command.short_help = line
        if command.callback is not None:
            command.callback = config.telling(command.callback)
        for param in command.params:
            if param.name in config.MODEL_PARAMS:
                param.callback = config.of_models(param.callback)
        self.add_command(command)
        self.titles.setdefault(title, []).append(command.name or "")

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order in which they were added

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in self.titles.items():
            with formatter.section(title):
                formatter.write_dl([(name, self.commands[name].short_help or "") for name in names])


def example_for(error: click.UsageError) -> str:
    """Where an argument is missing, the command's first example as a sentence."""
    if not isinstance(error, click.MissingParameter) or error.ctx is None:
        return ""
    lines = (line.strip() for line in (error.ctx.command.help or "").splitlines())
    example = next((line for line in lines if line.startswith(f"{error.ctx.command_path} ")), None)
    return f" For example '{example}'." if example else ""


class End:
    """The handler of SIGTERM and SIGHUP."""

    ends_the_process = True  # also from within llama.cpp's quantizer, whose part of a file is then removed

    def __call__(self, number: int, _: object) -> NoReturn:
        fail(KEPT, 128 + number)


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM and SIGHUP end a command as Ctrl-C does: parts of files and child processes are cleared away."""
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    ours = threading.current_thread() is threading.main_thread()
    taken = [number for number in numbers if ours and signal.getsignal(number) is signal.SIG_DFL]
    try:
        for number in taken:
            signal.signal(number, End())
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def _ctrl_c_kept() -> Iterator[None]:
    """Deliver Ctrl-C again where Python drops it: in destructors and weakref callbacks, which importing has too."""
    before = sys.unraisablehook

    def hook(dropped: sys.UnraisableHookArgs) -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            return before(dropped)
        again = threading.Timer(AGAIN_S, _thread.interrupt_main)
        again.daemon = True
        again.start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def note_databases(context: click.Context, param: click.Parameter, value: Any) -> Any:
    """A callback for arguments and options that name databases: if the command fails, they are looked at."""
    given = value if isinstance(value, tuple) else (value,)
    context.meta.setdefault(DATABASES, []).extend(path for path in given if path is not None)
    return value


def _damage(databases: Sequence[Path]) -> str | None:
    """A sentence on the first database that is damaged; None where all are sound, so that the error is ours."""
    from localent.store.check import check

    for path in databases:
        try:
            faults = check(path) if path.exists() else []
        except LocalentError as found:
            return str(found)
        if faults:
            way = f"'localent check {path}' tells all, and with --repair NEW.db copies what is good"
            return f"{path} is damaged ({faults[0].where}: {faults[0].what}); {way}."
    return None


def aside(text: str) -> str:
    """Text for stderr: in whole words on lines of the terminal; as it is where a file or a pipe takes it."""
    if not sys.stderr.isatty():
        return text
    width = shutil.get_terminal_size((80, 24)).columns
    lines = textwrap.TextWrapper(width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines.fill(line) for line in text.split("\n"))


def fail(message: object, code: int) -> NoReturn:
    """Print an error and exit."""
    from localent.report.table import cell_text

    click.echo(aside(f"localent: {cell_text(message)}"), err=True)  # a file's own words may hold escape sequences
    sys.exit(code)


class Notes(logging.Handler):
    """Log records of the library as lines on stderr, above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        from localent.report.table import harmless

        tqdm.write(aside(harmless(f"localent: {record.getMessage()}")), file=sys.stderr)
