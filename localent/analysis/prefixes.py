"""Two models' answer distributions on the same prefixes of the same traces. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from localent.analysis.curves import log_true
from localent.analysis.intervals import Estimate, estimate
from localent.analysis.metrics import Array, Floats, mean_of
from localent.analysis.significance import sign_flip_p

PROGRESS = (0.0, 0.25, 0.5, 0.75, 1.0)  # share of the reasoning steps at which answer entropies are shown


@dataclass(frozen=True, slots=True)
class Prefix:
    """Answer distributions of both models at one prefix of one trace; pairs are (reference, candidate)."""

    trace: int  # index of the trace
    problem: str
    position: float  # k / K
    entropy: tuple[float, float]  # nats
    p_true: tuple[float, float]
    leader: tuple[str | None, str | None]


@dataclass(frozen=True, slots=True)
class Trajectory:
    """Answer distributions on the same prefixes."""

    n: int  # prefixes
    n_traces: int
    delta_entropy: Estimate  # nats, mean over prefixes
    abs_delta_entropy: Estimate
    delta_p_true: Estimate
    abs_delta_p_true: Estimate
    same_leader: Estimate
    gain_reference: Estimate  # nats of information about the true answer from the first prefix to the last
    gain_candidate: Estimate
    gain_change: Estimate
    at: tuple[float, ...]  # share of the steps
    entropy_reference: tuple[float | None, ...]  # nats, mean over traces at `at`
    entropy_candidate: tuple[float | None, ...]
    delta_entropy_p: float | None = None  # two-sided, of no change, by sign flips of problems; None: see sign_flip_p
    gain_change_p: float | None = None


def trajectory(prefixes: Sequence[Prefix]) -> Trajectory:
    """Figures of answer distributions on the same prefixes, clustered by problem."""
    problems = np.array([p.problem for p in prefixes])
    h = np.array([p.entropy for p in prefixes], float)
    p_true = np.array([p.p_true for p in prefixes], float)
    by_trace: dict[int, list[Prefix]] = {}
    for prefix in prefixes:
        by_trace.setdefault(prefix.trace, []).append(prefix)
    traces = [sorted(group, key=lambda p: p.position) for group in by_trace.values()]
    gains = np.array([[_gain(group, side) for side in (0, 1)] for group in traces], float)
    owners = np.array([group[0].problem for group in traces])

    def mean(values: Floats, names: Array = problems) -> Estimate:
        return estimate(mean_of, np.asarray(values, float), problems=names)

    return Trajectory(
        n=len(prefixes),
        n_traces=len(traces),
        delta_entropy=mean(h[:, 1] - h[:, 0]),
        abs_delta_entropy=mean(np.abs(h[:, 1] - h[:, 0])),
        delta_p_true=mean(p_true[:, 1] - p_true[:, 0]),
        abs_delta_p_true=mean(np.abs(p_true[:, 1] - p_true[:, 0])),
        same_leader=mean([p.leader[0] == p.leader[1] for p in prefixes]),
        gain_reference=mean(gains[:, 0], owners),
        gain_candidate=mean(gains[:, 1], owners),
        gain_change=mean(gains[:, 1] - gains[:, 0], owners),
        at=PROGRESS,
        entropy_reference=_along(traces, 0),
        entropy_candidate=_along(traces, 1),
        delta_entropy_p=sign_flip_p(h[:, 1] - h[:, 0], problems),
        gain_change_p=sign_flip_p(gains[:, 1] - gains[:, 0], owners),
    )


def _gain(group: Sequence[Prefix], side: int) -> float:
    """Information gained about the true answer from the first prefix to the last, in nats."""
    first, last = log_true(np.array([group[0].p_true[side], group[-1].p_true[side]]))
    return float(last - first)


def _along(traces: Sequence[Sequence[Prefix]], side: int) -> tuple[float | None, ...]:
    """Mean answer entropy at each share of the steps; the value at t is that of the last prefix at or before t."""
    return tuple(
        float(np.mean([[p for p in group if p.position <= t + 1e-9][-1].entropy[side] for group in traces]))
        for t in PROGRESS
    )
