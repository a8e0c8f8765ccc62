"""localent view: databases in a browser, as runs write to them."""

from __future__ import annotations

from pathlib import Path

import click

from localent.cli.group import note_databases
from localent.cli.options import DEFAULT_DB, PATH
from localent.cli.output import echo
from localent.errors import LocalentError


@click.command("view")
@click.option(
    "--db",
    "databases",
    multiple=True,
    default=[DEFAULT_DB],
    show_default=True,
    type=PATH,
    callback=note_databases,
    help="SQLite file. Give it again for several.",
)
@click.option("--port", type=int, default=8008, show_default=True, help="Port on this machine; 0: any that is free.")
@click.option("--browser/--no-browser", default=True, show_default=True, help="Open a browser.")
def command(databases: tuple[Path, ...], port: int, browser: bool) -> None:
    """Show databases in a browser on this machine, and follow runs while they work.

    The page of 'localent report', with progress, accuracy so far and the newest traces; figures are drawn anew as
    traces come. Nothing is written, and only this machine can read it. Each run and trace has an address:
    /NAME/runs/RUN/ and /NAME/traces/TRACE.

    Needs Starlette and Uvicorn: pip install "localent[view]". Ctrl-C ends it.

    \b
    localent view
    localent view --db quants.db --db stages.db --no-browser
    """
    from localent.store import open_db

    for path in databases:
        open_db(path, readonly=True).close()  # what is wrong with it is better said now
    try:
        from localent.view import server
    except ImportError as error:
        raise LocalentError("This needs Starlette and Uvicorn: pip install 'localent[view]'.") from error

    def ready(address: str) -> None:
        echo(f"{address} (Ctrl-C ends it)")
        if browser:
            server.show_in_browser(address)

    server.serve(databases, port, ready)
