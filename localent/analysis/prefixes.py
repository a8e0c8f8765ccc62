"""Two models' answer distributions on the same prefixes of the same traces. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from localent.analysis.curves import FLOOR, log_true
from localent.analysis.information import recalibrated, too_few
from localent.analysis.intervals import Estimate, estimate
from localent.analysis.metrics import Array, Floats, mean_of
from localent.analysis.signatures import last
from localent.analysis.significance import sign_flip_p

PROGRESS = (0.0, 0.25, 0.5, 0.75, 1.0)  # share of the reasoning steps at which answer entropies are shown
UNKNOWN = Estimate(None, reason="compared before information was recalibrated")


@dataclass(frozen=True, slots=True)
class Prefix:
    """Answer distributions of both models at one prefix of one trace; pairs are (reference, candidate)."""

    trace: int  # index of the trace
    problem: str
    position: float  # k / K
    entropy: tuple[float, float]  # nats
    p_true: tuple[float, float]
    leader: tuple[str | None, str | None]
    leads: tuple[float, float] = (math.nan, math.nan)  # 1: the true answer leads; p_true where the leader is open
    guess: float = 0.0  # probability that a blind guess is right; 0: no guessing


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
    gain_reference: Estimate  # nats: rise of ln p(true answer) from the first prefix to the last, calibration in it
    gain_candidate: Estimate
    gain_change: Estimate
    at: tuple[float, ...]  # share of the steps
    entropy_reference: tuple[float | None, ...]  # nats, mean over traces at `at`
    entropy_candidate: tuple[float | None, ...]
    delta_entropy_p: float | None = None  # two-sided, of no change, by sign flips of problems; None: see sign_flip_p
    gain_change_p: float | None = None
    information_reference: Estimate = UNKNOWN  # nats: the same, recalibrated on the other half of the problems
    information_candidate: Estimate = UNKNOWN
    information_change: Estimate = UNKNOWN
    information_change_p: float | None = None


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
    few = too_few(owners)
    told = gains * np.nan if few else np.array([_information(traces, owners, side) for side in (0, 1)]).T

    def mean(values: Floats, names: Array = problems) -> Estimate:
        return estimate(mean_of, np.asarray(values, float), problems=names)

    def known(values: Array) -> Estimate:
        return Estimate(None, reason=few) if few else mean(values, owners)

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
        information_reference=known(told[:, 0]),
        information_candidate=known(told[:, 1]),
        information_change=known(told[:, 1] - told[:, 0]),
        information_change_p=None if few else sign_flip_p(told[:, 1] - told[:, 0], owners),
    )


def _information(traces: Sequence[Sequence[Prefix]], owners: Array, side: int) -> Array:
    """Information gained about the true answer from the first prefix to the last, recalibrated: (n_traces,) nats."""
    width = max(map(len, traces))
    position, now = np.full((len(traces), width), np.nan), np.full((len(traces), width, 3), np.nan)
    for i, group in enumerate(traces):
        position[i, : len(group)] = [p.position for p in group]
        now[i, : len(group)] = [(p.p_true[side], p.leads[side], p.guess or FLOOR) for p in group]
    found = recalibrated(now, now, position, owners)
    return last(found) - found[:, 0]


def _gain(group: Sequence[Prefix], side: int) -> float:
    """Rise of ln p(true answer) from the first prefix to the last, in nats."""
    start, end = log_true(np.array([group[0].p_true[side], group[-1].p_true[side]]))
    return float(end - start)


def _along(traces: Sequence[Sequence[Prefix]], side: int) -> tuple[float | None, ...]:
    """Mean answer entropy at each share of the steps; the value at t is that of the last prefix at or before t."""
    return tuple(
        float(np.mean([[p for p in group if p.position <= t + 1e-9][-1].entropy[side] for group in traces]))
        for t in PROGRESS
    )
