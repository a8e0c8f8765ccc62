"""The options that several commands share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import wraps
from pathlib import Path

import click
from click.core import ParameterSource

from localent.report.measures import MEASURES

COLUMNS = {"question": "the question", "answer": "the true answer", "choices": "the options", "id": "an id"}
ANSWER_IS = ("label", "text", "index0", "index1")  # tasks.kinds.ANSWER_IS, which help must not wait for
DEFAULT_DB = "localent.db"
PATH = click.Path(path_type=Path)
db_option = click.option("--db", default=DEFAULT_DB, show_default=True, type=PATH, help="SQLite file.")


class GpuLayers(click.ParamType):
    """auto (None: those that fit), or a number of layers."""

    name = "auto|N|0"

    def convert(self, value, param, ctx) -> int | None:
        if value in (None, "auto"):
            return None
        try:
            layers = int(value)
        except (TypeError, ValueError):
            self.fail(f"{value!r} is neither 'auto' nor a number of layers.", param, ctx)
        return layers if layers >= -1 else self.fail(f"{layers} is no number of layers; -1 means all.", param, ctx)


gpu_layers_option = click.option(
    "--gpu-layers", type=GpuLayers(), default="auto", show_default=True, help="Layers on the GPU: auto, N, or 0."
)


@dataclass(frozen=True, slots=True)
class ProblemFile:
    """Where a task's problems are, which columns hold what, and what names the true option."""

    path: Path | None
    columns: dict[str, str]  # fields of tasks.Columns that were given

    def load(self, task: str):
        """The task of that name."""
        from localent import tasks

        return tasks.load(task, self.path, tasks.Columns(**self.columns) if self.columns else None)


DATA = ("data", "answer_is", *(f"{name}_column" for name in COLUMNS))  # what data_options adds


def refuse_unused(form: str, *names: str) -> None:
    """Raise a usage error for options on the command line that do nothing in the form of the command asked for.

    form: in words, "A text file" or "--run". names: the parameters that it does not use.
    """
    context = click.get_current_context()
    given = [p for p in context.command.params if context.get_parameter_source(p.name) is ParameterSource.COMMANDLINE]
    unused = [max(p.opts, key=len) for p in given if p.name in names]
    if unused:
        pronoun = "it" if len(unused) == 1 else "them"
        raise click.UsageError(f"{form} does not use {', '.join(unused)}: leave {pronoun} out.")


def data_options(command):
    """--data, the names of its columns and what its answers are; the command gets them as one ProblemFile."""

    @wraps(command)
    def call(*args, data, answer_is, **given):
        columns = {name: column for name in COLUMNS if (column := given.pop(f"{name}_column"))}
        columns |= {"answer_is": answer_is} if answer_is else {}
        return command(*args, data=ProblemFile(data, columns), **given)

    call = click.option(
        "--answer-is",
        type=click.Choice(ANSWER_IS),
        help="How the answers of --data name the true option: by label, text, or index from 0 or 1.",
    )(call)
    for name, text in reversed(COLUMNS.items()):
        call = click.option(f"--{name}", f"{name}_column", help=f"Column of --data that holds {text}.")(call)
    return click.option("--data", type=PATH, help="The task's file (JSONL, JSON, CSV) or folder.")(call)


def engine_options(command):
    """--threads, --gpu-layers and --ctx: on what, and in how much room, the model runs."""
    ctx = click.option("--ctx", type=int, help="Context of a lane in tokens. Default: what the longest prompt needs.")
    threads = click.option("--threads", type=int, help="Default: the physical cores this process may use.")
    return threads(gpu_layers_option(ctx(command)))


class TemplateVar(click.ParamType):
    """NAME=VALUE -> (name, value): true, false and numbers as such, the rest as text."""

    name = "name=value"

    def convert(self, value, param, ctx) -> tuple[str, object]:
        name, sign, text = value.partition("=")
        if not (sign and name.isidentifier()):
            self.fail(f"{value!r} is not written NAME=VALUE, for example enable_thinking=false.", param, ctx)
        try:
            return name, json.loads(text.lower() if text.lower() in ("true", "false") else text)
        except ValueError:
            return name, text


def prompt_options(command):
    """--system and --template-var: what goes into the prompt beside the question."""
    variables = click.option(
        "--template-var",
        "template_vars",
        type=TemplateVar(),
        multiple=True,
        callback=lambda ctx, param, given: dict(given),
        help="Set a variable of the model's chat template, for example enable_thinking=false.",
    )
    system = click.option("--system", help="A system text. Templates that refuse one get it before the question.")
    return system(variables(command))


def format_options(command):
    """--table, --csv, --json, --md: how a table is printed."""
    for form, text in (
        ("table", "Aligned columns: the default."),
        ("csv", "Comma-separated values."),
        ("json", "JSON, one object a line."),
        ("md", "Markdown."),
    ):
        command = click.option(f"--{form}", "form", flag_value=form, help=text)(command)
    return command


measure_option = click.option(
    "--measure", type=click.Choice(list(MEASURES)), default="entropy", show_default=True, help="What the colours show."
)
colour_option = click.option("--color/--no-color", default=None, help="Default: colour where a terminal shows it.")
