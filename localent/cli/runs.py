"""localent runs: the runs in a database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from localent.cli.options import db_option, format_options
from localent.cli.output import print_table
from localent.errors import UsageError

if TYPE_CHECKING:
    from localent.store import Database


SHOWN = ("run_id", "model", "quant", "task", "n_traces", "n_problems", "accuracy")


@click.command("runs")
@db_option
@format_options
def command(db: Path, form: str | None) -> None:
    """List the runs in a database.

    \b
    localent runs --db localent-demo.db
    """
    from localent.store import open_db
    from localent.store.coverage import mixed_runs
    from localent.store.traces import noise_floors

    with open_db(db, readonly=True) as store:
        found, floors, mixed = store.runs(), noise_floors(store), mixed_runs(store)
    notes = {run: f"mixed: {n} builds" for run, n in mixed.items()}
    notes |= {again: f"noise floor of {run}" for again, run in floors.items()}
    names = (*SHOWN, "note") if notes else SHOWN
    print_table(names, [[(run | {"note": notes.get(run["run_id"])})[name] for name in names] for run in found], form)


def chosen(store: Database, given: tuple[str, ...]) -> tuple[str, ...]:
    """The runs that were named; where none was, all but the noise floors of comparisons, which repeat another."""
    from localent.store.traces import noise_floors

    floors = noise_floors(store)
    runs = given or tuple(row["run_id"] for row in store.runs() if row["run_id"] not in floors)
    if not runs:
        raise UsageError(f"{store.path} has no run; 'localent run MODEL TASK --db {store.path}' makes one.")
    return runs
