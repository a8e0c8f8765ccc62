"""Options that several commands share: the database, tables, problems. Those of a run are in settings.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localent.cli.arguments import Decorator, File, Function, Group, refuse_unused, together
from localent.cli.group import note_databases
from localent.report.measures import MEASURES

if TYPE_CHECKING:
    from localent.runs.clock import Time
    from localent.tasks import Task

COLUMNS = {
    "question": "the question",
    "answer": "the true answer (one inside another: answers.text)",
    "choices": "the options (in several columns: A,B,C,D)",
    "context": "text before the question, or 'none'",
    "id": "an id",
    "group": "what variants of one problem have in common: each group counts once",
    "group-text": "a text that variants of one problem have in common, numbers aside",
}
ANSWER_IS = ("label", "text", "index", "index0", "index1")  # tasks.kinds.ANSWER_IS, which help must not wait for
KINDS = ("number", "choice", "yes/no", "text", "expression")  # those of tasks.kinds that a file of one's own may have
LEAST_ROLLOUTS = 16  # tracing.rollout.LEAST, which help must not wait for
DEFAULT_DB = "localent.db"
PATH = File(path_type=Path)


# ── the database, and how results are printed ─────────────────────────────────────────────────────────────────────

db_option = click.option(
    "--db", default=DEFAULT_DB, show_default=True, type=PATH, callback=note_databases, help="SQLite file."
)


def format_options(command: Function) -> Function:
    """--table, --wide, --csv, --json, --md: how a table is printed."""
    for form, text in (
        ("table", "Aligned columns that fit the terminal: the default."),
        ("wide", "All columns and rows, however wide."),
        ("csv", "Comma-separated values."),
        ("json", "JSON, one object a line."),
        ("md", "Markdown."),
    ):
        command = click.option(f"--{form}", "form", flag_value=form, help=text)(command)
    return command


json_option = click.option("--json", "json_", is_flag=True, help="Print JSON.")
measure_option = click.option(
    "--measure", type=click.Choice(list(MEASURES)), default="entropy", show_default=True, help="What the colours show."
)
colour_option = click.option("--color/--no-color", default=None, help="Default: colour where a terminal shows it.")


# ── the problems ──────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class ProblemFile:
    """A file of problems, the meaning of its columns, and the way it names the true option."""

    path: Path | None
    columns: dict[str, Any]  # fields of tasks.Columns that were given
    skip_unreadable: bool = False

    def load(self, task: str) -> Task:
        """The task of that name."""
        from localent import tasks

        columns = tasks.Columns(**self.columns) if self.columns else None
        return tasks.load(task, self.path, columns, skip_unreadable=self.skip_unreadable)


@dataclass(frozen=True, slots=True)
class Problems:
    """The problems of a task that the user asked for."""

    task: str
    data: ProblemFile
    n: int | None = None  # the first n; None: all
    samples: int = 1  # traces of each
    rollouts: int = 0  # continuations of prefixes of each trace
    every_step: bool = False  # of the prefixes after every step

    def __post_init__(self) -> None:
        if not self.rollouts:
            refuse_unused("A run without --rollouts", "every_step")
        if self.rollouts and self.rollouts < LEAST_ROLLOUTS:
            raise click.UsageError(
                f"--rollouts takes {LEAST_ROLLOUTS} or more, got {self.rollouts}: fewer mean little."
            )

    def load(self) -> Task:
        """The task, cut to these problems."""
        return self.data.load(self.task).first(self.n)


def _problem_file(data: Path | None, skip_unreadable: bool, **given: Any) -> ProblemFile:
    columns = {name.removesuffix("_column"): value for name, value in given.items() if value is not None}
    return ProblemFile(data, columns, skip_unreadable)


def _header(context: click.Context, param: click.Parameter, names: str | None) -> tuple[str, ...] | None:
    """The names of the columns of a file without a header."""
    return tuple(name.strip() for name in names.split(",")) if names else None


data_options = Group(
    "data",
    _problem_file,
    click.option("--data", type=PATH, help="The task's file (JSONL, JSON, CSV, Parquet) or folder."),
    *(
        click.option(f"--{name}", f"{name.replace('-', '_')}_column", help=f"Column of --data that holds {text}.")
        for name, text in COLUMNS.items()
    ),
    click.option(
        "--answer-is",
        type=click.Choice(ANSWER_IS),
        help="How the answers of --data name the true option: by label, text, or index. index0: the first option is 0; "
        "index1: it is 1; index: one of both, as the whole file shows.",
    ),
    click.option("--kind", type=click.Choice(KINDS), help="Kind of the answers of --data. Default: as they show."),
    click.option("--columns", "header", callback=_header, help="Names of all columns of a CSV file without a header."),
    click.option("--shuffle-options", "shuffle", type=int, metavar="SEED", help="Give options in a seeded order."),
    click.option("--skip-unreadable", is_flag=True, help="Leave out rows that hold no problem, and list them."),
)
DATA = tuple(data_options.fields)


def n_option(text: str = "Number of problems: the first n. Default: all.", default: int | None = None) -> Decorator:
    """-n: how many problems."""
    return click.option("-n", type=int, default=default, show_default=default is not None, help=text)


def samples_option(default: int = 1, text: str = "Traces per problem.") -> Decorator:
    """--samples: how many traces of each problem."""
    return click.option("--samples", type=int, default=default, show_default=True, help=text)


# ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _time(context: click.Context, param: click.Parameter, minutes: float | None) -> Time:
    """The time that the command may take, from now on."""
    from localent.runs.clock import UNLIMITED, limited

    return UNLIMITED if minutes is None else limited(minutes)


rollouts_option = together(
    click.option(
        "--rollouts",
        type=int,
        default=0,
        show_default=True,
        help="Continuations sampled from prefixes of each trace, 16 or more: the answers that it may still come to.",
    ),
    click.option(
        "--every-step",
        is_flag=True,
        help="With --rollouts: from the prefix after every step, so that each step's importance is known.",
    ),
)


def minutes_option(text: str = "The same command again goes on.") -> Decorator:
    """--minutes: when to stop. text: what becomes of the rest."""
    help_text = f"Stop in time, after so many minutes. {text} Default: never."
    return click.option("--minutes", "time", type=float, callback=_time, help=help_text)
