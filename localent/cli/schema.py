"""localent schema: every table, view and column explained."""

from __future__ import annotations

from dataclasses import astuple, fields
from pathlib import Path

import click

from localent.cli.options import db_option, format_options
from localent.cli.output import print_table
from localent.errors import UsageError


@click.command("schema")
@click.argument("relation", required=False)
@db_option
@format_options
def command(relation: str | None, db: Path, form: str | None) -> None:
    """Explain every table and view, or the columns of one RELATION with their units ("all": of every one).

    \b
    localent schema
    localent schema tokens
    localent schema all --csv
    """
    from localent.store import describe, open_db

    with open_db(db, readonly=True) as store:
        found = describe.relations(store)
        names = [one.name for one in found]
        if relation not in (None, "all", *names):
            raise UsageError(f"No table or view '{relation}'; choose from {', '.join(names)}.")
        columns = describe.columns(store, None if relation == "all" else relation)
    if relation is None:
        header = [field.name for field in fields(found[0])]
        print_table(header, [astuple(one) for one in found], form, max_width=None)
        return
    header = ["relation", "column", "type", "unit", "about"]
    rows = [astuple(column) for column in columns]
    start = 0 if relation == "all" else 1
    print_table(header[start:], [row[start:] for row in rows], form, max_width=None)
