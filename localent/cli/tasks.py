"""localent tasks: the problem sets known by name."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from localent.cli import complete
from localent.cli.options import format_options
from localent.cli.output import print_table
from localent.errors import UsageError

if TYPE_CHECKING:
    from localent.tasks import Known

COLUMNS = ("name", "kind", "chance", "licence", "pull", "here", "about")


@click.command("tasks")
@click.argument("name", required=False, shell_complete=complete.tasks)
@format_options
def command(name: str | None, form: str | None) -> None:
    """List the tasks known by name: the bundled ones, and the public sets of tasks.toml.

    With NAME, every known field of one of them. Add tasks of your own in ~/.config/localent/tasks.toml, in the format
    of localent's tasks.toml.

    \b
    localent tasks
    localent tasks hellaswag
    """
    from localent import tasks

    known = tasks.known()
    if name is None:
        bundled = [(task, "choice" if "choice" in task else "number", None, "MIT", "bundled") for task in tasks.BUNDLED]
        rows = [(*row, "yes", "Small problems that the bundled models were trained on.") for row in bundled]
        return print_table(COLUMNS, [*rows, *map(_row, known.values())], form)
    if name not in known:
        raise UsageError(f"No task {name!r} in tasks.toml: 'localent tasks' lists all.")
    facts = {key: value for key, value in asdict(known[name]).items() if value not in (None, ())}
    print_table(("field", "value"), [(key, _text(value)) for key, value in facts.items()], form)
    return None


def _row(task: Known) -> tuple[str | float, ...]:
    from localent.models import datasets

    pulled = "pinned" if task.revision or task.url or task.name in datasets.NAMES else "yes" if task.is_pulled else "no"
    here = "yes" if _is_here(task) else "no"
    return (task.name, task.kind, task.chance, task.licence, pulled, here, task.about)


def _is_here(task: Known) -> bool:
    from localent.tasks.load import data_home

    folder: Path = data_home() / task.name
    return any(path for pattern in task.files for path in folder.glob(pattern))


def _text(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return "; ".join(map(_text, value))
    if isinstance(value, dict):  # a layout, without the columns that have their usual names
        return ", ".join(f"{key} {one}" for key, one in value.items() if one not in (None, (), key))
    return str(value)
