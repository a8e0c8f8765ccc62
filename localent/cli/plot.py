"""localent plot: figures for print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localent.cli import complete
from localent.cli.arguments import Finite, Group, refuse_unused
from localent.cli.options import PATH, db_option, json_option
from localent.cli.output import told
from localent.cli.runs import chosen
from localent.errors import LocalentError, UsageError

if TYPE_CHECKING:
    from localent.report.figures import Look
    from localent.report.panels import Panel
    from localent.store import Database

OF_RUNS: tuple[str, ...] = ("curves", "gain", "auroc", "risk", "quant", "signals")
OF_RUNS += ("p-true", "p-true-end", "roc", "reliability", "tokens")
OF_COMPARISONS = ("kld", "pareto", "depth")
OF_TRACE = "strip"
Done = tuple[str, list[str]]  # the kind of the figure, and the titles of its panels
FIGURES = (*OF_RUNS, *OF_COMPARISONS, OF_TRACE)
NEEDS = {
    "gain": "it needs probed traces of more problems, since half of them recalibrate the others",
    "quant": "it needs two runs or more",
    "risk": "it needs right and wrong traces",
    "roc": "it needs right and wrong traces",
    "signals": "there are too few traces",
}


@dataclass(frozen=True, slots=True)
class What:
    """Which figure, and of which trace where it is of one."""

    kind: str | None
    trace: str | None


def _look(**chosen: Any) -> Look:
    from localent.report.figures import Look

    return Look(**chosen)


@click.command("plot")
@click.argument("run", nargs=-1, shell_complete=complete.runs)
@Group(
    "what",
    What,
    click.option(
        "--kind",
        type=click.Choice(FIGURES),
        metavar="FIGURE",
        help="One of those above. Default: curves of one run; of several gain, or quant.",
    ),
    click.option(
        "--trace", shell_complete=complete.traces, help="The trace of --kind strip: an id or its first digits."
    ),
)
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
def command(run: tuple[str, ...], what: What, output: Path, look: Look, db: Path, json_: bool) -> None:
    """Draw a figure of RUNs (default: all) for print.

    In a panel per run: curves (answer entropy), p-true (probability of the true answer) and p-true-end (the same by
    steps before the last), risk (selective answering), roc, reliability, signals. All runs in one: gain (information
    about the true answer), auroc, quant (accuracy), tokens (accuracy by tokens generated).

    Of all comparisons in the database: kld (a row per file), pareto (KLD against size), or depth (KLD along the text).
    Of one trace: strip, the entropy of its tokens above p(true) and the answer entropy.

    Needs matplotlib: pip install "localent[plot]".

    \b
    localent plot --kind curves -o curves.pdf
    localent plot 3fa9 81c0 --kind quant -o quant.svg --db quants.db
    localent plot 3fa9 --kind roc --width 3.3 --font 8 --no-caption -o roc.pdf
    localent plot --kind strip --trace 1234 -o trace.pdf
    localent plot --kind pareto -o kld-pareto.svg --db quants.db
    """
    from localent.report.figures import imported
    from localent.store import open_db

    kind, trace = what.kind, what.trace
    if kind == OF_TRACE or kind in OF_COMPARISONS:
        refuse_unused(f"--kind {kind}", "run")
    if kind != OF_TRACE:
        refuse_unused("A figure of runs" if kind not in OF_COMPARISONS else f"--kind {kind}", "trace")
    elif trace is None:
        raise UsageError(f"--kind strip needs --trace; 'localent show --db {db}' lists traces.")
    imported()
    with open_db(db, readonly=True) as store:
        if trace is not None:
            done: Done = "strip", [_strip(store, trace, output, look)]
        elif kind in OF_COMPARISONS:
            done = kind, _drawn(_of_comparisons(store, kind), output, look)
        else:
            chosen_kind, found = _of_runs(store, run, kind)
            done = chosen_kind, _drawn(found, output, look)
    told(f"{output}: {', '.join(done[1])}.", {"file": str(output), "kind": done[0], "panels": done[1]}, json_)


def _strip(store: Database, trace: str, output: Path, look: Look) -> str:
    """Draw one trace; returns its name."""
    from localent.report import figures, strip
    from localent.store import traces

    seen = traces.seen(store, traces.find_trace(store, trace))
    figures.save(lambda: strip.drawn(seen, look), output, look)
    return f"trace {seen.trace_id}"


def _drawn(found: Sequence[Panel], output: Path, look: Look) -> list[str]:
    """Draw panels; returns their titles."""
    from localent.report.figures import save_figure
    from localent.report.table import cell_text

    save_figure(found, output, look)
    return [cell_text(panel.title) for panel in found]


def _of_comparisons(store: Database, kind: str) -> Sequence[Panel]:
    from localent.report import quant_panels

    if not (found := quant_panels.panels(kind, store)):
        raise LocalentError(f"{store.path} has no comparison with data for '{kind}': 'localent compare' makes one.")
    return found


def _of_runs(store: Database, run: tuple[str, ...], kind: str | None) -> tuple[str, Sequence[Panel]]:
    """The kind that was asked for, or that suits the number of runs, and its panels."""
    from localent.report.outcome_panels import panels
    from localent.report.panels import facts

    runs = facts(store, chosen(store, run))
    if kind is None:
        probed = any(one.probes is not None for one in runs)
        kind = "curves" if len(runs) == 1 else "gain" if probed else "quant"
    if not (found := panels(kind, runs, store)):
        raise LocalentError(f"These runs have no data for '{kind}': {NEEDS.get(kind, 'nothing was probed')}.")
    return kind, found
