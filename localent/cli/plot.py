"""localent plot: figures for print."""

from __future__ import annotations

from pathlib import Path

import click

from localent.cli.options import PATH, db_option
from localent.cli.output import echo
from localent.cli.runs import chosen
from localent.errors import LocalentError

FIGURES = ("curves", "gain", "auroc", "risk", "quant", "signals")
NEEDS = {
    "quant": "it needs two runs or more",
    "risk": "it needs right and wrong traces",
    "signals": "there are too few traces",
}


@click.command("plot")
@click.argument("run", nargs=-1)
@click.option("--kind", type=click.Choice(FIGURES), default="curves", show_default=True, help="Which figure.")
@click.option("-o", "--output", type=PATH, default="figure.svg", show_default=True, help="SVG, PNG or PDF.")
@db_option
def command(run: tuple[str, ...], kind: str, output: Path, db: Path) -> None:
    """Draw a figure of RUNs (default: all) for print: curves, gain, auroc, risk, quant, or signals.

    Needs matplotlib: pip install "localent[plot]".

    \b
    localent plot --kind curves -o curves.pdf
    localent plot 3fa9 81c0 --kind quant -o quant.svg --db quants.db
    """
    from localent.report.figures import imported, save_figure
    from localent.report.panels import facts, panels
    from localent.report.table import cell_text
    from localent.store import open_db

    imported()
    with open_db(db, readonly=True) as store:
        found = panels(kind, facts(store, chosen(store, run)), store)
    if not found:
        raise LocalentError(f"These runs have no data for '{kind}': {NEEDS.get(kind, 'nothing was probed')}.")
    save_figure(found, output)
    echo(f"{output}: {', '.join(cell_text(panel.title) for panel in found)}.")
