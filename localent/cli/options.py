"""The options that several commands share, each defined once. A command's own options are in its own module."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from localent.report.measures import MEASURES

if TYPE_CHECKING:
    from localent.runs import Settings
    from localent.tasks import Task

Function = Callable[..., Any]  # the function behind a command
Decorator = Callable[[Function], Function]

COLUMNS = {"question": "the question", "answer": "the true answer", "choices": "the options", "id": "an id"}
ANSWER_IS = ("label", "text", "index0", "index1")  # tasks.kinds.ANSWER_IS, which help must not wait for
DEFAULT_DB = "localent.db"
PATH = click.Path(path_type=Path)


# ── groups of options ─────────────────────────────────────────────────────────────────────────────────────────────


class Group:
    """A decorator that adds options which belong together. The command gets their values as one argument."""

    def __init__(self, name: str, make: Callable[..., object], *options: Decorator) -> None:
        """name: of the argument. make: values by the names of the options -> the argument."""
        self.name, self.make, self.options = name, make, options
        self.fields = list(dict.fromkeys(field for option in options for field in _names(option)))

    def __call__(self, command: Function) -> Function:
        @wraps(command)
        def call(*args: Any, **given: Any) -> Any:
            values = {field: given.pop(field) for field in self.fields}
            return command(*args, **given, **{self.name: self.make(**values)})

        return _with(call, self.options)


def _with(command: Function, options: tuple[Decorator, ...]) -> Function:
    """The command with these options, in their order."""
    for option in reversed(options):
        command = option(command)
    return command


def _names(option: Decorator) -> list[str]:
    """The arguments that a command gets for an option, or for a group of them."""
    if isinstance(option, Group):
        return [option.name]
    return [param.name for param in option(lambda: None).__click_params__]  # type: ignore[attr-defined]


def refuse_unused(form: str, *names: str) -> None:
    """Raise a usage error for options on the command line that do nothing in the form of the command asked for.

    form: in words, "A plain text" or "--run". names: the parameters that it does not use.
    """
    context = click.get_current_context()
    given = [p for p in context.command.params if _is_given(context, p)]
    unused = [_spelling(p) for p in given if p.name in names]
    if unused:
        pronoun = "it" if len(unused) == 1 else "them"
        raise click.UsageError(f"{form} does not use {', '.join(unused)}: leave {pronoun} out.")


def _is_given(context: click.Context, param: click.Parameter) -> bool:
    """True for a parameter on the command line; of flags that share one name, for the one that was chosen."""
    name = param.name or ""
    choice = getattr(param, "flag_value", None)
    chosen = not isinstance(choice, str) or context.params.get(name) == choice
    return chosen and context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _spelling(param: click.Parameter) -> str:
    return max(param.opts, key=len) if isinstance(param, click.Option) else param.human_readable_name


# ── the database, and how results are printed ─────────────────────────────────────────────────────────────────────

db_option = click.option("--db", default=DEFAULT_DB, show_default=True, type=PATH, help="SQLite file.")


def format_options(command: Function) -> Function:
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


# ── the problems ──────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class ProblemFile:
    """A file of problems, the meaning of its columns, and the way it names the true option."""

    path: Path | None
    columns: dict[str, str]  # fields of tasks.Columns that were given

    def load(self, task: str) -> Task:
        """The task of that name."""
        from localent import tasks

        return tasks.load(task, self.path, tasks.Columns(**self.columns) if self.columns else None)


@dataclass(frozen=True, slots=True)
class Problems:
    """The problems of a task that the user asked for."""

    task: str
    data: ProblemFile
    n: int | None = None  # the first n; None: all

    def load(self) -> Task:
        """The task, cut to these problems."""
        return self.data.load(self.task).first(self.n)


def _problem_file(data: Path | None, answer_is: str | None, **columns: str | None) -> ProblemFile:
    named = {name: column for name in COLUMNS if (column := columns[f"{name}_column"])}
    return ProblemFile(data, named | ({"answer_is": answer_is} if answer_is else {}))


data_options = Group(
    "data",
    _problem_file,
    click.option("--data", type=PATH, help="The task's file (JSONL, JSON, CSV) or folder."),
    *(
        click.option(f"--{name}", f"{name}_column", help=f"Column of --data that holds {text}.")
        for name, text in COLUMNS.items()
    ),
    click.option(
        "--answer-is",
        type=click.Choice(ANSWER_IS),
        help="How the answers of --data name the true option: by label, text, or index from 0 or 1.",
    ),
)
DATA = tuple(data_options.fields)


def n_option(text: str = "Number of problems: the first n. Default: all.", default: int | None = None) -> Decorator:
    """-n: how many problems."""
    return click.option("-n", type=int, default=default, show_default=default is not None, help=text)


def samples_option(default: int = 1, text: str = "Traces per problem.") -> Decorator:
    """--samples: how many traces of each problem."""
    return click.option("--samples", type=int, default=default, show_default=True, help=text)


# ── the settings of a run ─────────────────────────────────────────────────────────────────────────────────────────


def settings_options(*options: Decorator) -> Group:
    """The settings of a run: those that the command offers, the others at their defaults."""
    return Group("settings", _settings, *options)


def _settings(**values: Any) -> Settings:
    from localent.runs import Settings

    if values.pop("recommended", False):
        values |= _recommended()
    if values.get("temperature") == 0:
        refuse_unused("--temperature 0", "top_p", "top_k", "min_p")
    if all(values.get(name, off) == off for name, off in PENALTIES.items()):
        refuse_unused("A run without penalties", "repeat_last_n")
    if not values.get("probe", True):
        refuse_unused("--no-probe", "probes", "cue", "epsilon", "max_fed", "paths")
    if values.get("cue") == "auto":
        values["cue"] = None
    return Settings(**values)


def seed_option(text: str = "Seed of sampling.") -> Decorator:
    """--seed: what random choices follow from."""
    return click.option("--seed", type=int, default=0, show_default=True, help=text)


def temperature_option(text: str = "0 always takes the most likely token.") -> Decorator:
    """--temperature of sampling."""
    return click.option("--temperature", type=float, default=0.7, show_default=True, help=text)


def max_tokens_option(text: str = "Maximum tokens per trace.") -> Decorator:
    """--max-tokens: where a trace is cut off."""
    return click.option("--max-tokens", type=int, help=text)


def shots_option(text: str = "Worked examples in the prompt.") -> Decorator:
    """--shots: how many worked examples come first."""
    return click.option("--shots", type=int, help=text)


def effort_options(when: str = "") -> Decorator:
    """--cue, --max-fed and --paths: how a probe asks for the answer, and how long it looks. when: "With --task: "."""
    cue = "how probes ask for the answer; auto: as fits the model ('localent prompt' lists the ways). Or your own text."
    fed = "maximum tokens by which a probe searches."
    paths = "paths drawn to estimate what the search left open: so many for all of it, fewer for less; 0: none."
    options = (
        click.option("--cue", default="auto", show_default=True, help=_begun(when, cue)),
        click.option("--max-fed", type=int, default=8, show_default=True, help=_begun(when, fed)),
        click.option("--paths", type=int, default=16, show_default=True, help=_begun(when, paths)),
    )
    return lambda command: _with(command, options)


def _begun(when: str, text: str) -> str:
    return when + text if when else text[0].upper() + text[1:]


class Probes(click.ParamType):
    """all (None), or a number of prefixes."""

    name = "N|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value in (None, "all"):
            return None
        try:
            return int(value)
        except (TypeError, ValueError):
            self.fail(f"{value!r} is neither 'all' nor a number of prefixes.", param, ctx)


probes_option = click.option(
    "--probes",
    type=Probes(),
    metavar="N|all",
    default=5,
    show_default=True,
    help="Prefixes probed in each trace, spread over its steps (start, half and end always); all: after every step.",
)


def lanes_option(text: str = "Traces at a time.", default: int | None = None) -> Decorator:
    """--lanes: how much is computed at a time."""
    return click.option("--lanes", type=int, default=default, show_default=default is not None, help=text)


top_p_option = click.option(
    "--top-p",
    type=float,
    default=1.0,
    show_default=True,
    help="Sample from the most likely tokens that together have this probability.",
)
top_k_option = click.option(
    "--top-k", type=int, default=0, show_default=True, help="Sample from the k most likely tokens; 0: all."
)
PENALTIES = {"repeat_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}  # without effect


recommended_option = click.option(
    "--recommended",
    is_flag=True,
    help="Sample as the model's makers recommend, where models.toml knows it: 'localent models NAME' shows how.",
)


def _recommended() -> dict[str, float]:
    """The sampling that the makers of the command's MODEL recommend. Refuses options that would set it too."""
    from localent import models
    from localent.models.names import SAMPLING

    refuse_unused("--recommended", *SAMPLING)
    return models.recommended(click.get_current_context().params["model"])


def sampling_options(command: Function) -> Function:
    """The filters of sampling, and the penalties of tokens that came lately, with llama.cpp's names."""
    return _with(command, (top_p_option, top_k_option, *_MORE))


_MORE = (
    click.option(
        "--min-p",
        type=float,
        default=0.0,
        show_default=True,
        help="Sample from the tokens of at least this share of the largest probability; 0: all.",
    ),
    click.option(
        "--repeat-penalty",
        type=float,
        default=1.0,
        show_default=True,
        help="Divide the positive logits of recent tokens by this, multiply the others; 1: off.",
    ),
    click.option(
        "--presence-penalty", type=float, default=0.0, show_default=True, help="Subtract from logits of recent tokens."
    ),
    click.option(
        "--frequency-penalty", type=float, default=0.0, show_default=True, help="The same, for each time one came."
    ),
    click.option(
        "--repeat-last-n",
        type=int,
        default=64,
        show_default=True,
        help="How many tokens of prompt and trace are recent; -1: all.",
    ),
)


answer_by_option = click.option(
    "--answer-by",
    type=click.Choice(["auto", "letter", "text"]),
    default="auto",
    show_default=True,
    help="How options are answered. auto: by text where the model has no chat template, else by letter.",
)
option_score_option = click.option(
    "--option-score",
    type=click.Choice(["character", "token", "sum"]),
    default="character",
    show_default=True,
    help="By text: log-likelihood per character, per token, or summed.",
)


after_answer_option = click.option(
    "--after-answer",
    type=click.Choice(["stop", "go-on"]),
    default="stop",
    show_default=True,
    help="Whether a trace ends with the line that states its answer.",
)
think_budget_option = click.option(
    "--think-budget", type=int, help="Close a thought after so many tokens and go on to the answer. Default: never."
)


# ── hardware and context ──────────────────────────────────────────────────────────────────────────────────


class GpuLayers(click.ParamType):
    """auto (None: those that fit), or a number of layers."""

    name = "auto|N|0"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value in (None, "auto"):
            return None
        try:
            layers = int(value)
        except (TypeError, ValueError):
            self.fail(f"{value!r} is neither 'auto' nor a number of layers.", param, ctx)
        return layers if layers >= -1 else self.fail(f"{layers} is not a number of layers; -1 means all.", param, ctx)


threads_option = click.option("--threads", type=int, help="Default: the physical cores this process may use.")
gpu_layers_option = click.option(
    "--gpu-layers", type=GpuLayers(), default="auto", show_default=True, help="Layers on the GPU: auto, N, or 0."
)
ctx_option = click.option("--ctx", type=int, help="Context per lane in tokens. Default: what the longest prompt needs.")


# ── additions to the prompt ─────────────────────────────────────────────────────────────────


class TemplateVar(click.ParamType):
    """NAME=VALUE -> (name, value): true, false and numbers as such, the rest as text."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, object]:
        name, sign, text = value.partition("=")
        if not (sign and name.isidentifier()):
            self.fail(f"{value!r} is not written NAME=VALUE, for example enable_thinking=false.", param, ctx)
        try:
            return name, json.loads(text.lower() if text.lower() in ("true", "false") else text)
        except ValueError:
            return name, text


system_option = click.option(
    "--system", help="A system text. Chat templates without a system role get it before the question."
)
template_var_option = click.option(
    "--template-var",
    "template_vars",
    type=TemplateVar(),
    multiple=True,
    callback=lambda ctx, param, given: dict(given),
    help="Set a variable of the model's chat template, for example enable_thinking=false.",
)


def _template_text(context: click.Context, param: click.Parameter, path: Path | None) -> str | None:
    """The text of a template's file."""
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise click.BadParameter(f"{path} is not a text file that can be read.", context, param) from None
    if not text.strip():
        raise click.BadParameter(f"{path} is empty: name a file that holds a Jinja template.", context, param)
    return text


chat_template_option = click.option(
    "--chat-template-file",
    "chat_template",
    type=PATH,
    callback=_template_text,
    help="A Jinja chat template to use in place of the model's own.",
)
