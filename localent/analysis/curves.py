"""Curves over reasoning position: the answer distribution along a trace.

A trace is probed after some or all of k = 0..K of its steps, at positions k/K. Its value at position t is that of the
last probe at or before t: a step function. Nothing was measured between two probes, and interpolation would use the
step that follows, so that "half-way" would include part of the second half. The store's `answer_entropy_half` is the
same value. Start, half and end are always probed; where few prefixes are, the value at any other t may be that of an
earlier probe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from localent.analysis.intervals import DEFAULT, Resampling, bootstrap
from localent.analysis.metrics import Array, Floats, Names, Statistic, mean_of

FLOOR = 1e-3  # a true answer less likely than this counts as this likely, so that no single trace dominates a mean
FLOORED = f"A true answer less likely than {FLOOR:g} counts as {FLOOR:g}."
GRID = tuple(i / 10 for i in range(11))  # t, share of the reasoning steps
QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)
HALF = 0.5
TOUCH = 1e-9  # tolerance: 3/10 computed in another way is the same position


@dataclass(frozen=True, slots=True)
class Curve:
    """Means over traces at a series of points, each with its interval. Arrays are (n_points,); NaN: no trace there."""

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


def at_position(values: Array, position: Array, t: float | Sequence[float]) -> Array:
    """The value of each trace at share t of its steps, NaN before its first probe.

    values, position: (n_traces, K_max + 1), NaN where not probed -> (n_traces,), or (n_traces, n_t) for several t.
    """
    grid = np.atleast_1d(np.asarray(t, float))
    reached = position[:, None, :] <= grid[:, None] + TOUCH  # NaN is never reached
    last = reached.shape[-1] - 1 - np.argmax(reached[..., ::-1], axis=-1)
    found = np.where(reached.any(-1), np.take_along_axis(values, last, axis=1), np.nan)
    return found[:, 0] if np.ndim(t) == 0 else found


def by_class(
    at: Sequence[float], values: Array, wrong: Array, problems: Names, resampling: Resampling = DEFAULT
) -> ByClass:
    """Curves of right and wrong traces and their gap: values (n_traces, n_points).

    Right and wrong are known only at the end: the classes are selected on the outcome.
    """
    means, present = mean_of(values), ~np.isnan(values)
    n_right, n_wrong = (present & ~wrong[:, None]).sum(0), (present & wrong[:, None]).sum(0)

    def statistic(counts: Array) -> Array:  # (..., n_traces) -> (..., 3, n_points)
        right, wrong_ = means(counts * ~wrong), means(counts * wrong)
        return np.stack([right, wrong_, wrong_ - right], axis=-2)

    value, low, high = with_interval(statistic, problems, (3, len(at)), resampling)
    n = (n_right, n_wrong, np.minimum(n_right, n_wrong))
    return ByClass(*(Curve(np.asarray(at, float), *points) for points in zip(value, low, high, n, strict=True)))


def curve(at: Sequence[float], values: Array, problems: Names, resampling: Resampling = DEFAULT) -> Curve:
    """Mean over all traces: values (n_traces, n_points)."""
    value, low, high = with_interval(mean_of(values), problems, (len(at),), resampling)
    return Curve(np.asarray(at, float), value, low, high, (~np.isnan(values)).sum(0))


def with_interval(
    statistic: Statistic, problems: Names, shape: tuple[int, ...], resampling: Resampling = DEFAULT
) -> tuple[Array, Array, Array]:
    """(value, low, high) of a statistic with many columns; NaN for a run without traces."""
    if not len(problems):
        return np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, np.nan)
    low, high = bootstrap(statistic, problems, resampling)
    return statistic(np.ones(len(problems))), low, high


def log_true(p_true: Floats, floor: float = FLOOR) -> Array:
    """ln p_k(a*), in nats, with p below `floor` taken as `floor`: any shape -> the same."""
    found: Array = np.log(np.maximum(np.asarray(p_true, float), floor))
    return found
