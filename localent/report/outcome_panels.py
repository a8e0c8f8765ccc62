"""Figures about the outcome of traces, for print: p(true) along the reasoning, ROC, reliability, accuracy by tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from localent.analysis import curves, intervals
from localent.analysis.curves import GRID
from localent.analysis.metrics import roc
from localent.report import panels as others
from localent.report.panels import BAND, FROM_END, POSITION, RESAMPLING, Line, Panel, RunFacts, of_curve, plain, shown

if TYPE_CHECKING:
    from localent.store import Database

SELECTED = "Right and wrong are known only at the end: selected on the outcome."
N_BUDGETS = 16  # numbers of tokens
N_BINS = 10  # of the reliability diagram, of equally many traces
Make = Callable[[RunFacts], Panel | None]


def panels(kind: str, runs: Sequence[RunFacts], db: Database) -> list[Panel]:
    """The figures of one kind, those of this module or of report.panels."""
    if kind in COMPARED:
        tasks = others.by_task(runs)
        found = {task: panel for task, some in tasks.items() if (panel := COMPARED[kind](some)) is not None}
        return [replace(panel, title=f"{panel.title}: {task}") for task, panel in found.items()]
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
    caption = f"{run.size()}. {BAND} {SELECTED}"
    return Panel("p-true", f"Probability of the true answer: {run.name}", POSITION, "p(true)", shown(lines), caption)


def end_panel(run: RunFacts) -> Panel | None:
    """The same, by the steps that are left: a jump that each trace makes at another share of its way shows as one."""
    p = run.by_id
    if p is None:
        return None
    steps = FROM_END.places([p])
    by = curves.by_class(steps, p.from_end(p.p_true, steps), p.wrong, p.clusters, RESAMPLING)
    lines = tuple(of_curve(name, name, getattr(by, name)) for name in ("wrong", "right"))
    caption = f"{run.size()}; each point has those that are so long. {BAND} {SELECTED}"
    title = f"Probability of the true answer: {run.name}"
    return Panel("p-true", title, FROM_END.x_label, "p(true)", shown(lines), caption)


def tokens_panel(runs: Sequence[RunFacts]) -> Panel | None:
    """Share of right answers where every trace is stopped after so many tokens and gives the answer that leads."""
    ends = [float(np.quantile(run.traces.n_tokens, 0.95)) for run in runs if len(run.traces)]
    if not ends:
        return None
    budgets = np.linspace(0.0, max(ends), N_BUDGETS)
    lines = [stopped_line(run, str(i), budgets) for i, run in enumerate(runs) if len(run.traces)]
    caption = f"{others.sizes(runs)}. A trace that is longer gives the answer that leads at its last probe before; one"
    caption += f" that is not known to lead counts as wrong. {BAND}"
    title = "Accuracy by tokens generated"
    return Panel("tokens", title, "tokens of a trace at most", "share of right answers", shown(lines), caption)


def stopped_line(run: RunFacts, role: str, budgets: np.ndarray) -> Line:
    """Accuracy at each number of tokens; of a run without probes at its mean length only."""
    traces, p = run.traces, run.by_id
    if p is None:
        accuracy = run.summary.accuracy
        return others.of_estimates(run.name, role, [float(traces.n_tokens.mean())], [accuracy])
    order = np.argsort(traces.trace_ids)
    mine = order[np.searchsorted(traces.trace_ids[order], p.trace_ids)]
    led = curves.at_position(p.leader_true, p.n_tokens, budgets.tolist())
    whole = traces.n_tokens[mine, None] <= budgets
    right = np.where(whole, ~p.wrong[:, None], led == 1).astype(float)
    return of_curve(run.name, role, curves.curve(budgets.tolist(), right, p.clusters, RESAMPLING))


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


MADE: dict[str, Make] = {"p-true": p_true_panel, "p-true-end": end_panel, "roc": roc_panel}
MADE |= {"reliability": reliability_panel}
COMPARED: dict[str, Callable[[Sequence[RunFacts]], Panel | None]] = {"tokens": tokens_panel}
KINDS = (*others.KINDS, *MADE, *COMPARED)
