"""localent report: one HTML page of runs, figures and traces."""

from __future__ import annotations

from pathlib import Path

import click

from localent.cli import complete
from localent.cli.options import PATH, db_option, json_option
from localent.cli.output import told
from localent.cli.progress import Bar
from localent.cli.runs import chosen


@click.command("report")
@click.argument("run", nargs=-1, shell_complete=complete.runs)
@click.option("-o", "--output", type=PATH, default="report.html", show_default=True, help="The HTML file.")
@click.option("--title", help="Default: models and tasks.")
@db_option
@json_option
def command(run: tuple[str, ...], output: Path, title: str | None, db: Path, json_: bool) -> None:
    """Write one self-contained HTML page of RUNs (default: all): findings, figures, and every trace to browse.

    A database of comparisons alone gives a page of these.

    The file needs no network and opens on a phone, too.

    \b
    localent report
    localent report 3fa9 81c0 -o quants.html --db quants.db
    """
    from localent.report.page import write_page
    from localent.store import open_db

    with open_db(db, readonly=True) as store:
        runs = () if not run and not store.runs() and store.comparisons() else chosen(store, run)
        with Bar("traces") as bar:
            n_bytes = write_page(store, runs, output, title=title, report=bar.add)
    said = f"{output}: {n_bytes / 1e6:.1f} MB, {len(runs)} {'run' if len(runs) == 1 else 'runs'}."
    told(said, {"file": str(output), "bytes": n_bytes, "runs": list(runs)}, json_)
