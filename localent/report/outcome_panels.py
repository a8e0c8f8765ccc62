"""Figures about the outcome of traces, for print: p(true) along the reasoning, ROC curves, a reliability diagram."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from localent.analysis import curves, intervals
from localent.analysis.curves import GRID
from localent.analysis.metrics import roc
from localent.report import panels as others
from localent.report.panels import BAND, POSITION, RESAMPLING, Line, Panel, RunFacts, of_curve, plain, shown

if TYPE_CHECKING:
    from localent.store import Database

N_BINS = 10  # of the reliability diagram, of equally many traces
Make = Callable[[RunFacts], Panel | None]


def panels(kind: str, runs: Sequence[RunFacts], db: Database) -> list[Panel]:
    """The figures of one kind, those of this module or of report.panels."""
    if kind not in MADE:
        return others.panels(kind, runs, db)
    return others.drawable(MADE[kind](run) for run in runs)


def p_true_panel(run: RunFacts) -> Panel | None:
    """Probability of the true answer along the traces, right and wrong."""
    p = run.by_id
    if p is None:
        return None
    by = curves.by_class(GRID, p.at(p.p_true, GRID), p.wrong, p.clusters, RESAMPLING)
    lines = tuple(of_curve(name, name, getattr(by, name)) for name in ("wrong", "right"))
    caption = f"{run.size()}. {BAND} Right and wrong are known only at the end: selected on the outcome."
    return Panel("p-true", f"Probability of the true answer: {run.name}", POSITION, "p(true)", shown(lines), caption)


def roc_panel(run: RunFacts) -> Panel | None:
    """ROC curves of token entropy, answer entropy half-way and length: wrong traces are the positive class."""
    wrong, clusters = run.traces.wrong, run.traces.clusters
    if wrong.all() or not wrong.any():
        return None
    lines, areas = [], []
    for name, role, values in run.scores():
        alarms, hits = roc(values, wrong)
        none = [float("nan")] * len(hits)
        lines.append(Line(name, role, alarms.tolist(), hits.tolist(), none, none, [len(wrong)] * len(hits)))
        found = intervals.separation(values, wrong, clusters, resampling=RESAMPLING)
        areas.append(f"{name} {others.short(found)}")
    diagonal = Line("chance", "reference", [0.0, 1.0], [0.0, 1.0], [float("nan")] * 2, [float("nan")] * 2, [0, 0])
    caption = f"{run.size()}. Area under the curve, with its 95 % interval, clustered by problem: {'; '.join(areas)}."
    x_label, y_label = "share of right traces above the threshold", "share of wrong traces above it"
    return Panel("roc", f"Wrong traces found: {run.name}", x_label, y_label, (*lines, diagonal), caption)


def reliability_panel(run: RunFacts) -> Panel | None:
    """How often the leading answer at the end is the true one, by the probability that it has."""
    p = run.by_id
    if p is None:
        return None
    stated, right = p.at_end(p.p_leader), p.at_end(p.leader_true)
    known = ~np.isnan(stated) & ~np.isnan(right)
    groups = [
        g for g in np.array_split(np.flatnonzero(known)[np.argsort(stated[known], kind="stable")], N_BINS) if len(g)
    ]
    if not groups:
        return None
    found = [intervals.share(right[g] == 1, p.clusters[g]) for g in groups]
    y, low, high = ([plain(getattr(one, part)) for one in found] for part in ("value", "low", "high"))
    line = Line(
        "leading answer", "0", [float(stated[g].mean()) for g in groups], y, low, high, [len(g) for g in groups]
    )
    diagonal = Line("as stated", "reference", [0.0, 1.0], [0.0, 1.0], [float("nan")] * 2, [float("nan")] * 2, [0, 0])
    caption = f"{run.size()}; a dot is {len(groups[0])} traces. Whiskers: 95 % interval, clustered by problem."
    x_label, y_label = "probability of the leading answer after the last step", "share that is true"
    return Panel("reliability", f"Reliability: {run.name}", x_label, y_label, (line, diagonal), caption)


MADE: dict[str, Make] = {"p-true": p_true_panel, "roc": roc_panel, "reliability": reliability_panel}
KINDS = (*others.KINDS, *MADE)
