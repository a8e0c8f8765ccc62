"""localent show: one trace, its text coloured by entropy."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from localent.cli import complete
from localent.cli.arguments import Group, refuse_unused
from localent.cli.drawing import draw, dumped, image_option, style
from localent.cli.options import colour_option, db_option, measure_option
from localent.cli.output import db_words, how_called, print_table, say
from localent.errors import UsageError

if TYPE_CHECKING:
    from localent.report.trace import Style
    from localent.store.traces import Seen

N_LISTED = 12


@click.command("show")
@click.argument("trace", required=False, shell_complete=complete.traces)
@db_option
@Group("how", style, measure_option, colour_option)
@image_option
@click.option("--json", "json_", is_flag=True, help="Print the whole trace as JSON.")
def command(trace: str | None, db: Path, how: Style, image: Path | None, json_: bool) -> None:
    """Show one TRACE: its text coloured by entropy, and the answer it would have given after each step.

    TRACE is a trace_id, its first digits, or the name of a ready-made query, whose first trace is shown. Without
    TRACE, traces to choose from are listed.

    \b
    localent show confident-mistakes
    localent show 1234 --measure surprisal > trace.txt
    localent show 1234 --image trace.svg
    """
    from localent.store import open_db, traces

    if trace is None or json_:
        refuse_unused("--json" if json_ else "A list of traces", "measure", "color", "image")
    with open_db(db, readonly=True) as store:
        if trace is None:
            columns, rows = traces.listing(store, N_LISTED)
            print_table(columns, rows, "json" if json_ else None)
            if rows and not json_:
                say([f"To see one: {how_called()} show {rows[0][0]}{db_words(db)}"], None)
            return
        seen = traces.seen(store, traces.find_trace(store, first_of(db, trace)))
    click.echo(as_json(seen) if json_ else view(seen, how), color=how.colour)
    if image:
        heading = f"{seen.model} ({seen.quant}) on {seen.task}, problem {seen.problem.source_id}"
        draw(image, seen.trace, seen.problem, heading, how.measure)


def first_of(db: Path, trace: str) -> str:
    """The first trace that a ready-made query of this name finds; else the argument itself."""
    from localent.store import select
    from localent.store.saved_queries import named

    if not (query := named(trace)):
        return trace
    columns, rows = select(db, query.sql, limit=1)
    if "trace_id" not in columns:
        raise UsageError(f"'{trace}' finds no single traces; 'localent sql {trace} --db {db}' shows what it finds.")
    if not (found := dict(zip(columns, next(rows, ()), strict=False))):
        raise UsageError(f"'{trace}' finds nothing in {db}.")
    return str(found["trace_id"])


def view(seen: Seen, how: Style) -> str:
    """A trace as text for this terminal."""
    from localent.report.trace import render_trace

    origin = f"{seen.model} ({seen.quant}) on {seen.task}, run {seen.run_id}"
    which = f"trace {seen.trace_id}: problem {seen.problem.source_id}, sample {seen.trace.sample}"
    return render_trace(seen, [origin, which], how).rstrip("\n")


def as_json(seen: Seen) -> str:
    """The trace, its problem and its origin as one object."""
    return dumped(asdict(seen))
