"""localent plot: figures for print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localent.cli import complete
from localent.cli.arguments import Finite, Group, refuse_unused
from localent.cli.options import PATH, db_option, json_option
from localent.cli.output import told
from localent.cli.runs import chosen
from localent.errors import LocalentError

if TYPE_CHECKING:
    from localent.report.figures import Look

OF_RUNS = ("curves", "gain", "auroc", "risk", "quant", "signals", "p-true", "roc", "reliability")
OF_COMPARISONS = ("kld", "pareto", "depth")
FIGURES = (*OF_RUNS, *OF_COMPARISONS)
NEEDS = {
    "quant": "it needs two runs or more",
    "risk": "it needs right and wrong traces",
    "roc": "it needs right and wrong traces",
    "signals": "there are too few traces",
}


def _look(**chosen: Any) -> Look:
    from localent.report.figures import Look

    return Look(**chosen)


@click.command("plot")
@click.argument("run", nargs=-1, shell_complete=complete.runs)
@click.option("--kind", type=click.Choice(FIGURES), default="curves", show_default=True, help="Which figure.")
@click.option("-o", "--output", type=PATH, default="figure.svg", show_default=True, help="SVG, PNG or PDF.")
@Group(
    "look",
    _look,
    click.option(
        "--width", type=Finite(2, 40), help="Width in inches of the whole figure. Default: as its panels need."
    ),
    click.option("--font", type=Finite(4, 30), default=9, show_default=True, help="Size of the letters in points."),
    click.option("--title", help="In place of the titles of the panels; '' for none."),
    click.option("--caption/--no-caption", default=True, show_default=True, help="Print n and the intervals below."),
)
@db_option
@json_option
def command(run: tuple[str, ...], kind: str, output: Path, look: Look, db: Path, json_: bool) -> None:
    """Draw a figure of RUNs (default: all) for print: one of those that --kind lists.

    Of all comparisons in the database: kld (a row per file), pareto (KLD against size), or depth (KLD along the text).

    Needs matplotlib: pip install "localent[plot]".

    \b
    localent plot --kind curves -o curves.pdf
    localent plot 3fa9 81c0 --kind quant -o quant.svg --db quants.db
    localent plot 3fa9 --kind roc --width 3.3 --font 8 --title "" --no-caption -o roc.pdf
    localent plot --kind pareto -o kld-pareto.svg --db quants.db
    """
    from localent.report import quant_panels
    from localent.report.figures import imported, save_figure
    from localent.report.outcome_panels import panels
    from localent.report.panels import facts
    from localent.report.table import cell_text
    from localent.store import open_db

    of_comparisons = kind in OF_COMPARISONS
    if of_comparisons:
        refuse_unused(f"--kind {kind}", "run")
    imported()
    with open_db(db, readonly=True) as store:
        if of_comparisons:
            found = quant_panels.panels(kind, store)
        else:
            found = panels(kind, facts(store, chosen(store, run)), store)
    if not found and of_comparisons:
        raise LocalentError(f"{db} has no comparison with data for '{kind}': 'localent compare' makes one.")
    if not found:
        raise LocalentError(f"These runs have no data for '{kind}': {NEEDS.get(kind, 'nothing was probed')}.")
    save_figure(found, output, look)
    titles = [cell_text(panel.title) for panel in found]
    told(f"{output}: {', '.join(titles)}.", {"file": str(output), "kind": kind, "panels": titles}, json_)
