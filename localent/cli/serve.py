"""localent serve: a database in Datasette."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

import click

from localent.cli.arguments import refuse_unused
from localent.cli.options import db_option
from localent.errors import LocalentError


@click.command("serve")
@click.option("--port", type=int, default=8001, show_default=True, help="Port on this machine.")
@click.option("--open/--no-open", "open_", default=False, help="Open a browser.")
@click.option("--metadata", "only_metadata", is_flag=True, help="Print Datasette's metadata as JSON and stop.")
@db_option
def command(port: int, open_: bool, only_metadata: bool, db: Path) -> None:
    """Open a database in Datasette on this machine: views and ready-made queries first, trace ids lead to the traces.

    Needs Datasette: pip install "localent[serve]". Ctrl-C ends it.

    \b
    localent serve --db localent-demo.db --open
    localent serve --metadata > metadata.json
    """
    from tempfile import TemporaryDirectory

    from localent.report.table import json_text
    from localent.store import open_db
    from localent.store.datasette import linkable, metadata, write_metadata

    if only_metadata:
        refuse_unused("--metadata", "port", "open_")
    with open_db(db, readonly=True) as store:
        if only_metadata:
            click.echo(json_text(metadata(store), indent=1))
            return
        with TemporaryDirectory(prefix="localent-") as folder:
            file = linkable(db, Path(folder))
            about = write_metadata(store, Path(folder), file.stem)
            served([str(file), "--metadata", str(about)], port, open_)


def served(what: list[str], port: int, open_: bool) -> None:
    """Run Datasette on these files until it is stopped; 5 s a query, on this machine's own address only."""
    import subprocess

    program = datasette()
    command = [*program, "serve", *what, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--setting", "sql_time_limit_ms", "5000", "--setting", "facet_time_limit_ms", "1000"]
    if program[0] == sys.executable:  # another Python's Datasette cannot import this package
        command += ["--plugins-dir", str(files("localent.report") / "for_datasette")]
    try:
        done = subprocess.run([*command, *(["--open"] if open_ else [])], check=False)
    except KeyboardInterrupt:
        return  # the usual way to end it
    if done.returncode:
        raise LocalentError(
            f"Datasette ended with code {done.returncode}: is port {port} taken? Choose another --port."
        )


def datasette() -> list[str]:
    """The command that starts Datasette: of this Python, else the one on the path."""
    import shutil
    from importlib.util import find_spec

    if find_spec("datasette"):
        return [sys.executable, "-m", "datasette"]
    if found := shutil.which("datasette"):
        return [found]
    raise LocalentError("This needs Datasette: pip install 'localent[serve]', or 'pipx install datasette'.")
