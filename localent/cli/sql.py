"""localent sql: a query on a database, read-only."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from difflib import get_close_matches
from functools import partial
from pathlib import Path

import click

from localent.cli import complete
from localent.cli.arguments import Finite, refuse_unused
from localent.cli.options import PATH, db_option, format_options
from localent.cli.output import print_table
from localent.errors import UsageError

HEAP = 1 << 30  # bytes that SQLite may take


@click.command("sql")
@click.argument("query", required=False, shell_complete=complete.queries)
@db_option
@click.option("--lake", type=PATH, help="Ask this folder of Parquet files, made by 'export --all', with DuckDB.")
@format_options
@click.option("--queries", is_flag=True, help="List the ready-made queries.")
@click.option(
    "--timeout",
    type=Finite(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Time limit of a query in seconds.",
)
@click.option("--limit", type=click.IntRange(0), help="Maximum number of rows.")
def command(
    query: str | None,
    db: Path,
    lake: Path | None,
    form: str | None,
    queries: bool,
    timeout: float,
    limit: int | None,
) -> None:
    """Ask a database in SQL, read-only, also while a run is writing to it.

    QUERY is a statement, the name of a ready-made query, or "-" for stdin. The views trace_summary, step_entropy and
    run_summary are the place to start; `localent schema` explains every column.

    \b
    localent sql "select correct, avg(mean_entropy) from trace_summary group by 1"
    localent sql "select text, entropy from tokens order by 2 desc limit 20" --csv
    localent sql confident-mistakes
    localent sql confident-mistakes --lake exported/
    """
    from localent.store import select
    from localent.store.saved_queries import QUERIES

    if queries:
        refuse_unused("--queries", "query", "db", "lake", "timeout", "limit")
        print_table(["name", "what it finds"], [(known.name, known.about) for known in QUERIES], form, max_width=None)
        return
    if lake:
        from localent.store import lake as lakes

        refuse_unused("--lake", "db")
        print_table(*lakes.select(lake, statement(query), limit=limit, timeout_s=timeout), form)
        return
    stuck = partial(end, timeout)
    print_table(*select(db, statement(query), limit=limit, timeout_s=timeout, stuck=stuck, heap=HEAP), form)


def end(timeout: float) -> None:
    """End the process: SQLite is inside of a function that nothing interrupts. A reader leaves nothing behind."""
    from localent.store.read_only import too_late

    with suppress(OSError, ValueError):
        sys.stdout.flush()
    click.echo(f"localent: {too_late(timeout)}", err=True)
    os._exit(2)


def statement(query: str | None) -> str:
    """The SQL of a query that is given as SQL, on stdin, or by name."""
    from localent.store.saved_queries import QUERIES, named

    if query is None:
        raise UsageError("Give a query; 'localent sql --queries' lists ready-made ones.")
    if query == "-":
        return sys.stdin.read()
    if known := named(query):
        return known.sql
    if query.split() == [query] and query.isascii():
        close = get_close_matches(query, [known.name for known in QUERIES], n=1)
        meant = f"did you mean '{close[0]}'? " if close else ""
        raise UsageError(f"No ready-made query '{query}'; {meant}'localent sql --queries' lists them.")
    return query
