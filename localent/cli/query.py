"""localent runs, localent sql: what is in a database."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from localent.cli.run import db_option
from localent.cli.show import print_table

SHOWN = ("run_id", "model", "quant", "task", "n_traces", "n_problems", "accuracy")
SHOWN += ("mean_entropy_right", "mean_entropy_wrong", "started")


def format_options(command):
    """--csv, --json, --md: how a table is printed."""
    for form, text in (("csv", "Comma-separated values."), ("json", "JSON, one object a line."), ("md", "Markdown.")):
        command = click.option(f"--{form}", "form", flag_value=form, help=text)(command)
    return command


@click.command()
@db_option
@format_options
def runs(db: Path, form: str | None) -> None:
    """List the runs in a database.

    \b
    localent runs --db localent-demo.db
    """
    from localent.store import open_db

    with open_db(db, readonly=True) as store:
        found = store.runs()
    print_table(SHOWN, [[run[name] for name in SHOWN] for run in found], form)


@click.command()
@click.argument("query")
@db_option
@format_options
@click.option("--timeout", type=float, default=60.0, show_default=True, help="Seconds a query may take.")
@click.option("--limit", type=int, help="Rows to print at most.")
def sql(query: str, db: Path, form: str | None, timeout: float, limit: int | None) -> None:
    """Ask a database in SQL, read-only, also while a run is writing to it. QUERY "-" is read from stdin.

    The views trace_summary, step_entropy and run_summary are the place to start.

    \b
    localent sql "select correct, avg(mean_entropy) from trace_summary group by correct"
    localent sql "select text, entropy from tokens order by entropy desc limit 20" --csv
    """
    from localent.store import select

    query = sys.stdin.read() if query == "-" else query
    print_table(*select(db, query, limit=limit, timeout_s=timeout), form)
