"""localent scrub: a database to give away."""

from __future__ import annotations

from pathlib import Path

import click

from localent.cli.group import note_databases
from localent.cli.options import PATH, json_option
from localent.cli.output import told


@click.command("scrub")
@click.argument("db", type=PATH, callback=note_databases)
@click.option("-o", "--output", required=True, type=PATH, help="The copy, which must not exist.")
@json_option
def command(db: Path, output: Path, json_: bool) -> None:
    """Write a copy of the database DB that does not tell where it was made: no folders, no names of machines.

    Runs, traces and their ids are the same. Texts of problems and traces are copied as they are.

    \b
    localent scrub localent.db -o public.db
    """
    from localent.store.scrub import scrub

    scrub(db, output)
    said = f"{output} holds the runs of {db} without folders and names of machines."
    told(said, {"file": str(output), "source": str(db), "bytes": output.stat().st_size}, json_)
