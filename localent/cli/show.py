"""Print summaries and tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import click


def show_summary(db: Path, run_id: str, *, json_: bool = False) -> None:
    """Print what a run says, for people or as JSON."""
    from localent.analysis.summary import summarise
    from localent.report.chart import can_draw
    from localent.report.terminal import render
    from localent.store import open_db

    with open_db(db, readonly=True) as store:
        summary = summarise(store, run_id)
    if json_:
        click.echo(json.dumps(asdict(summary), default=as_plain, allow_nan=False))
    else:
        click.echo(render(summary, unicode=can_draw(sys.stdout.encoding)))


def as_plain(value: object) -> object:
    """numpy arrays and scalars as JSON knows them; a missing number is null."""
    plain = value.tolist()  # type: ignore[attr-defined]
    return [None if item != item else item for item in plain] if isinstance(plain, list) else plain


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence], form: str | None, *, max_width: int | None = 60
) -> None:
    """Print rows as they come: an aligned table unless form is "csv", "json" (one object a line) or "md"."""
    from localent.report import table

    if form in ("csv", "json"):
        watched = sys.stdout.isatty()
        for line in {"csv": table.csv_lines, "json": table.json_lines}[form](columns, rows):
            click.echo(table.harmless(line) if watched else line, color=True)  # True: a file gets what is stored
    else:
        click.echo(table.table(columns, rows, markdown=form == "md", max_width=max_width))
