"""Curves over reasoning position: what the answer distribution does while a trace goes on.

A trace is probed after k = 0..K of its steps, at positions k/K. Its value at position t is that of the last probe at or
before t: a step function. What stands between two probes has not been read, and interpolating would look at the
step that is still to come, so that "half-way" would know part of the second half. The store's
`answer_entropy_half` is the same value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from localent.analysis.intervals import Estimate, bootstrap, estimate
from localent.analysis.metrics import Array, Statistic, mean_of

FLOOR = 1e-3  # a true answer less likely than this counts as this likely, so that no single trace rules a mean
FLOORED = f"A true answer less likely than {FLOOR:g} counts as {FLOOR:g}."
GRID = tuple(i / 10 for i in range(11))  # t, share of the reasoning steps
HALF = 0.5
TOUCH = 1e-9  # 3/10 computed in another way is still the same position


@dataclass(frozen=True, slots=True)
class Trajectories:
    """One quantity at every probe of every trace. NaN: the trace is shorter, or the quantity is not known there."""

    values: Array  # (n_traces, K_max + 1), by step
    positions: Array  # (n_traces, K_max + 1), k / K; NaN where not probed
    wrong: Array  # (n_traces,), bool
    problems: Array  # (n_traces,), problem ids
    trace_ids: Array  # (n_traces,)

    def __len__(self) -> int:
        return len(self.wrong)


@dataclass(frozen=True, slots=True)
class Curve:
    """Means over traces at a row of points, each with its interval. Arrays are (n_points,); NaN: no trace there."""

    at: Array  # position t, or step k
    value: Array
    low: Array
    high: Array
    n: Array  # traces


@dataclass(frozen=True, slots=True)
class ByClass:
    """The same curve for right and for wrong traces, and the gap between them (wrong minus right)."""

    right: Curve
    wrong: Curve
    gap: Curve


def n_steps(traj: Trajectories) -> Array:
    """Reasoning steps of each trace, K: (n_traces,)."""
    return (~np.isnan(traj.positions)).sum(1) - 1


def at_position(traj: Trajectories, t: float | Sequence[float]) -> Array:
    """The value of each trace at share t of its steps: (n_traces,), or (n_traces, n_t) for several t."""
    grid = np.atleast_1d(np.asarray(t, float))
    reached = traj.positions[:, None, :] <= grid[:, None] + TOUCH  # NaN is never reached
    last = reached.shape[-1] - 1 - np.argmax(reached[..., ::-1], axis=-1)
    found = np.where(reached.any(-1), np.take_along_axis(traj.values, last, axis=1), np.nan)
    return found[:, 0] if np.ndim(t) == 0 else found


def half_way(traj: Trajectories) -> Array:
    """The value of each trace half-way: (n_traces,); NaN for a trace of one step, whose half is its start."""
    return np.where(n_steps(traj) >= 2, at_position(traj, HALF), np.nan)


def by_position(traj: Trajectories, grid: Sequence[float] = GRID, **options) -> ByClass:
    """Mean of right and of wrong traces at each t of the grid, every trace counting at every t.

    Right and wrong are known only at the end: the classes are selected on the outcome.
    """
    return by_class(grid, at_position(traj, grid), traj.wrong, traj.problems, **options)


def by_step(traj: Trajectories, **options) -> ByClass:
    """Mean of right and of wrong traces after k = 0, 1, ... steps. At larger k only the longer traces are left."""
    return by_class(np.arange(traj.values.shape[1]), traj.values, traj.wrong, traj.problems, **options)


def mean_by_step(traj: Trajectories, **options) -> Curve:
    """Mean over all traces after k = 0, 1, ... steps: no selection on the outcome."""
    return curve(np.arange(traj.values.shape[1]), traj.values, traj.problems, **options)


def by_class(at: Sequence[float], values: Array, wrong: Array, problems: Sequence, **options) -> ByClass:
    """Curves of right and wrong traces and their gap: values (n_traces, n_points)."""
    means, present = mean_of(values), ~np.isnan(values)
    n_right, n_wrong = (present & ~wrong[:, None]).sum(0), (present & wrong[:, None]).sum(0)

    def statistic(counts: Array) -> Array:  # (..., n_traces) -> (..., 3, n_points)
        right, wrong_ = means(counts * ~wrong), means(counts * wrong)
        return np.stack([right, wrong_, wrong_ - right], axis=-2)

    value, low, high = with_interval(statistic, problems, (3, len(at)), **options)
    n = (n_right, n_wrong, np.minimum(n_right, n_wrong))
    return ByClass(*(Curve(np.asarray(at, float), *points) for points in zip(value, low, high, n, strict=True)))


def curve(at: Sequence[float], values: Array, problems: Sequence, **options) -> Curve:
    """Mean over all traces: values (n_traces, n_points)."""
    found = with_interval(mean_of(values), problems, (len(at),), **options)
    return Curve(np.asarray(at, float), *found, (~np.isnan(values)).sum(0))


def with_interval(statistic: Statistic, problems: Sequence, shape: tuple[int, ...], **options) -> tuple[Array, ...]:
    """(value, low, high) of a statistic with many columns; NaN for a run without traces."""
    if not len(problems):
        return (np.full(shape, np.nan),) * 3
    return statistic(np.ones(len(problems))), *bootstrap(statistic, problems, **options)


# --- information about the true answer ----------------------------------------------------------------------------


def log_true(p_true: Array, floor: float = FLOOR) -> Array:
    """ln p_k(a*), in nats, with p below `floor` taken as `floor`: any shape -> the same."""
    return np.log(np.maximum(p_true, floor))


def gains(p_true: Trajectories, grid: Sequence[float] = GRID) -> Array:
    """Information gained about the true answer, ln p_k(a*) - ln p_0(a*) in nats: (n_traces, n_t).

    Positive: it became more likely. NaN: not probed.
    Source: the pointwise information of SCIENCE.md 5, as in Ton et al. (2024), arXiv 2411.11984; the floor is ours.
    """
    return log_true(at_position(p_true, grid)) - log_true(at_position(p_true, 0.0))[:, None]


def mean_gain(p_true: Trajectories, **options) -> Estimate:
    """Mean information gain I by the end over all traces, in nats: no selection on the outcome."""
    return estimate(mean_of, gains(p_true, (1.0,))[:, 0], problems=p_true.problems, **options)


def mean_gain_half(p_true: Trajectories, **options) -> Estimate:
    """The same half-way, over the traces of two steps or more."""
    gained = log_true(half_way(p_true)) - log_true(at_position(p_true, 0.0))
    return estimate(mean_of, gained, problems=p_true.problems, **options)
