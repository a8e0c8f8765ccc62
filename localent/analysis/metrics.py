"""Metrics of one run: separation of wrong from right traces by a score. Pure functions, one home for each formula.

Conventions, the same everywhere:

- `scores` (n,): higher = more uncertain. `wrong` (n,): bool. A wrong trace is the positive class.
- Traces with equal scores count as ordered at random: each gets the mean over all their orders.
- `counts` (..., n): the count of each trace, one row per resample; 1 each by default. Where a
  resample leaves the metric undefined (no wrong trace in it), its row is NaN.
- A metric that is undefined for the sample itself raises `UndefinedError` with the reason. Missing scores are left
  out, and counted, before they come here (see intervals.estimate): a NaN raises.

`*_of` functions fix scores and labels and do the sorting once; what they return maps counts (..., n) to (...).
The AUROC alone is followed to first order in the counts (see auroc_of).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localent.errors import LocalentError

Array = NDArray[Any]
Floats = Array | Sequence[float] | Sequence[float | None]  # NaN or None: missing
Names = Array | Sequence[Any]  # of problems
Statistic = Callable[[Array], Array]  # counts (..., n) -> (...) or (..., n_columns)

ALL_RIGHT, ALL_WRONG, NO_TRACES = "all traces are right", "all traces are wrong", "no traces"
NO_PAIR = "no stratum has both a right and a wrong trace"


class UndefinedError(LocalentError):
    """A metric has no value for this sample; the message is the reason: "all traces are right"."""


# --- separation of wrong from right -----------------------------------------------------------------


def auroc(scores: Array, wrong: Array, strata: Array | None = None) -> float:
    """Probability that a wrong trace has a higher score than a right one, ties half: in [0, 1].

    With `strata` (n,), only pairs from one stratum count: the traces of one question, or of like length.
    Raises: UndefinedError where all traces are right, or all wrong, or no stratum has both.
    Source: Mann and Whitney (1947), doi:10.1214/aoms/1177730491; Hanley and McNeil (1982).
    """
    return auroc_parts(scores, wrong, strata)[0]


def auroc_of(scores: Array, wrong: Array, strata: Array | None = None, problems: Names | None = None) -> Statistic:
    """The AUROC and how it moves with the counts, to first order: each trace's part as often as the trace is taken.

    Resampled pair by pair, the AUROC would have the noise of single pairs twice, and intervals within small strata
    would be 1.2 times too wide (scripts/coverage.py). `problems` (n,): what is resampled; see auroc_parts.
    """
    value, parts, _ = auroc_parts(scores, wrong, strata, problems)
    return lambda counts: value - parts.sum() + counts @ parts


def auroc_parts(
    scores: Array, wrong: Array, strata: Array | None = None, problems: Names | None = None
) -> tuple[float, Array, Array]:
    """(AUROC, each trace's part in its deviation (n,), which traces are in a pair (n,) bool).

    With `problems` (n,), a pair of one problem is the part of its right trace alone: a problem that is taken c times
    brings its own pairs c times, not c² times.
    Source: the components of DeLong et al. (1988), doi:10.2307/2531595; clusters as in Obuchowski (1997).
    """
    scores, wrong = _two_classes(scores, wrong)
    won, pairs = placements(scores, wrong, strata)
    if not pairs.any():
        raise UndefinedError(NO_PAIR)
    n_pairs = pairs[wrong].sum()
    value = won[wrong].sum() / n_pairs
    parts = won - value * pairs
    if problems is not None:
        own_won, own_pairs = placements(scores, wrong, crossed(strata, problems))
        parts = parts - wrong * (own_won - value * own_pairs)
    return float(value), parts / n_pairs, pairs > 0


def crossed(strata: Array | None, problems: Names) -> Array:
    """One number for each stratum of each problem: (n,) -> (n,)."""
    problem = np.unique(problems, return_inverse=True)[1].ravel()
    return problem if strata is None else problem + len(problem) * np.unique(strata, return_inverse=True)[1].ravel()


def placements(scores: Array, wrong: Array, strata: Array | None = None) -> tuple[Array, Array]:
    """(won, pairs), each (n,): the pairs of right and wrong that a trace is in, and how many the wrong one wins.

    Ties are won by half. The AUROC is the sum of `won` over that of `pairs`, in either class.
    """
    scores, wrong = _two_classes(scores, wrong)
    keys, won, pairs = _Keys(scores, strata), np.empty(len(scores)), np.empty(len(scores))
    for mine in (wrong, ~wrong):
        start, lower, upper, end = keys.places(np.flatnonzero(mine), np.sort(keys.values[~mine]))
        below = (lower + upper) / 2 - start
        pairs[mine] = end - start
        won[mine] = below if mine is wrong else end - start - below
    return won, pairs


def roc(scores: Array, wrong: Array) -> tuple[Array, Array]:
    """(false alarms, hits), both (n_values + 1,): shares of right and of wrong traces scored at least each value.

    From no trace to all of them, the most uncertain first; traces of one score come together.
    Source: Fawcett (2006), Pattern Recognition Letters 27, algorithm 1.
    """
    scores, wrong = _two_classes(scores, wrong)
    order = np.argsort(-scores, kind="stable")
    last = np.r_[np.flatnonzero(np.diff(scores[order])), len(scores) - 1]
    hits, alarms = (np.r_[0, np.cumsum(label[order])[last]] for label in (wrong, ~wrong))
    return alarms / alarms[-1], hits / hits[-1]


def average_precision(scores: Array, wrong: Array, counts: Array | None = None) -> float | Array:
    """Area under the precision-recall curve as a step function: in [0, 1]; the base rate is the share of wrong.

    Raises: UndefinedError where all traces are right, or all wrong.
    Source: scikit-learn's average_precision_score: sum of (R_i - R_(i-1)) P_i over thresholds.
    """
    scores, wrong = _two_classes(scores, wrong)
    groups = _Groups(-scores, wrong)

    def statistic(counts: Array) -> Array:
        taken, found = groups.sums(counts)
        precision = _ratio(np.cumsum(found, -1), np.cumsum(taken, -1), otherwise=0.0)
        return _ratio((found * precision).sum(-1), found.sum(-1) * (found.sum(-1) < taken.sum(-1)))

    return _at(statistic, counts, len(scores))


# --- selective answering ------------------------------------------------------------------------------


def risk_coverage(scores: Array, wrong: Array) -> tuple[Array, Array]:
    """(coverage, risk), both (n,): share of wrong among the k most certain traces, at coverage k/n, k = 1..n.

    Source: El-Yaniv and Wiener (2010), JMLR 11; Geifman and El-Yaniv (2017), arXiv 1705.08500.
    """
    scores, wrong = _checked(scores, wrong)
    taken, found = _Groups(scores, wrong).sums(np.ones(len(scores)))
    k = np.arange(1, len(scores) + 1)
    errors = np.interp(k, np.r_[0, np.cumsum(taken)], np.r_[0, np.cumsum(found)])  # ties: at the group's own rate
    return k / len(scores), errors / k


def aurc(scores: Array, wrong: Array, counts: Array | None = None) -> float | Array:
    """Area under the risk-coverage curve: mean over k of the share of wrong among the k most certain, in [0, 1].

    Lower is better. Raises: UndefinedError where there are no traces.
    Source: Geifman, Uziel and El-Yaniv (2019), arXiv 1805.08206.
    """
    return _at(aurc_of(scores, wrong), counts, len(scores))


def aurc_of(scores: Array, wrong: Array) -> Statistic:
    """See aurc."""
    scores, wrong = _checked(scores, wrong)
    groups = _Groups(scores, wrong)
    return lambda counts: _mean_risk(groups, counts)


def excess_aurc(scores: Array, wrong: Array, counts: Array | None = None) -> float | Array:
    """AURC minus that of an oracle that knows which traces are wrong: >= 0, 0 is perfect.

    Source: Geifman, Uziel and El-Yaniv (2019), arXiv 1805.08206, with the oracle's own AURC in place of its
    approximation r + (1 - r) ln(1 - r).
    """
    scores, wrong = _checked(scores, wrong)
    mine, oracle = aurc_of(scores, wrong), aurc_of(wrong.astype(float), wrong)
    return _at(lambda counts: mine(counts) - oracle(counts), counts, len(scores))


def prr(scores: Array, wrong: Array, counts: Array | None = None, *, max_rejection: float = 1.0) -> float | Array:
    """Prediction-rejection ratio: (A - A_random) / (A_oracle - A_random), an oracle 1, a constant 0, at most 1.

    A is the mean accuracy of the kept traces over rejection of 0 up to `max_rejection` of them, most uncertain first.
    A_random is the accuracy of all: no shuffling.
    Raises: UndefinedError where all traces are right, all wrong, or too few to reject one.
    Source: Malinin et al. (2017); as in LM-Polygraph (arXiv 2406.15627), which settles ties by row order.
    """
    return _at(prr_of(scores, wrong, max_rejection=max_rejection), counts, len(scores))


def prr_of(scores: Array, wrong: Array, *, max_rejection: float = 1.0) -> Statistic:
    """See prr."""
    scores, wrong = _two_classes(scores, wrong)
    mine, best = _Groups(scores, wrong), _Groups(wrong.astype(float), wrong)

    def statistic(counts: Array) -> Array:
        risk = _ratio((counts * wrong).sum(-1), counts.sum(-1))
        oracle = risk - _mean_risk(best, counts, max_rejection)
        return _ratio(risk - _mean_risk(mine, counts, max_rejection), oracle * (oracle > 1e-12))

    return statistic


def selective_accuracy(scores: Array, wrong: Array, coverage: float, counts: Array | None = None) -> float | Array:
    """Share of right among the most certain traces, as many as make up `coverage` of all, rounded up: in [0, 1].

    Raises: UndefinedError where there are no traces.
    """
    scores, wrong = _checked(scores, wrong)
    groups = _Groups(scores, wrong)

    def statistic(counts: Array) -> Array:
        taken, found = groups.sums(counts)
        k = np.ceil(coverage * taken.sum(-1, keepdims=True) - 1e-9)
        share = np.clip(_ratio(k - (np.cumsum(taken, -1) - taken), taken, otherwise=0.0), 0, 1)
        return 1 - _ratio((share * found).sum(-1), k[..., 0])

    return _at(statistic, counts, len(scores))


# --- calibration of stated probabilities ------------------------------------------------------------------------


def brier(probs: Array, correct: Array, counts: Array | None = None) -> float | Array:
    """Mean squared difference between the stated probability of being right and what came out: in [0, 1].

    Source: Brier (1950), doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2, for two outcomes.
    """
    probs, correct = _probabilities(probs, correct)
    return _at(mean_of((probs - correct) ** 2), counts, len(probs))


def ece(
    probs: Array, correct: Array, counts: Array | None = None, *, n_bins: int = 10, equal_mass: bool = False
) -> float | Array:
    """Expected calibration error: mean over traces of |accuracy - mean probability| of their bin, in [0, 1].

    Bins are of equal width, closed on the right (0 in the first), or of equal mass; equal probabilities share a bin.
    Biased upwards where bins hold few traces. Source: Naeini et al. (2015); Guo et al. (2017), arXiv 1706.04599.
    """
    probs, correct = _probabilities(probs, correct)
    place = _mid_ranks(probs) / len(probs) if equal_mass else probs
    edges = np.linspace(0, 1, n_bins + 1)[1:-1]
    member = np.searchsorted(edges, place, "right" if equal_mass else "left")
    gaps = np.zeros((len(probs), n_bins))
    gaps[np.arange(len(probs)), member] = probs - correct
    return _at(lambda counts: _ratio(np.abs(counts @ gaps).sum(-1), counts.sum(-1)), counts, len(probs))


# --- means ------------------------------------------------------------------------------------------------------


def mean_of(values: Array) -> Statistic:
    """Mean over traces: values (n,) or (n, n_columns), counts (..., n) -> (...) or (..., n_columns).

    NaN marks what a trace does not have (a trace of 3 steps has no 5th): the mean is over those that have it.
    """
    values = np.asarray(values, float)
    present = ~np.isnan(values)
    filled, weight = np.where(present, values, 0.0), present.astype(float)
    return lambda counts: _ratio(counts @ filled, counts @ weight)


def gap_of(values: Array, wrong: Array) -> Statistic:
    """Mean of the wrong traces minus mean of the right ones, in the unit of `values`; see mean_of."""
    mean, wrong = mean_of(values), np.asarray(wrong, bool)
    return lambda counts: mean(counts * wrong) - mean(counts * ~wrong)


# --- helpers ---------------------------------------------------------------------------------------------------


class _Keys:
    """An integer key for each trace that sorts by stratum, then by score."""

    def __init__(self, scores: Array, strata: Array | None) -> None:
        strata = np.zeros(len(scores), int) if strata is None else strata
        level = np.unique(scores, return_inverse=True)[1].ravel()
        self.width = int(level.max(initial=-1)) + 1
        self.first = np.unique(strata, return_inverse=True)[1].ravel() * self.width  # the stratum's lowest
        self.values = self.first + level

    def places(self, at: Array, ordered: Array) -> tuple[Array, ...]:
        """Positions of traces in sorted keys: (start of the stratum, left and right of the key, end of the stratum)."""
        first, mine = self.first[at], self.values[at]
        left = [np.searchsorted(ordered, keys, side="left") for keys in (first, mine, first + self.width)]
        return left[0], left[1], np.searchsorted(ordered, mine, side="right"), left[2]


class _Groups:
    """Traces with equal scores, most certain first."""

    def __init__(self, scores: Array, wrong: Array) -> None:
        self.order = np.argsort(scores, kind="stable")
        self.wrong = wrong[self.order].astype(float)
        ordered = scores[self.order]
        self.starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])

    def sums(self, counts: Array) -> tuple[Array, Array]:
        """Traces taken, and wrong ones among them: (..., n) -> twice (..., n_groups)."""
        taken = counts[..., self.order]
        found = taken * self.wrong
        if len(self.starts) == len(self.order):
            return taken, found
        return np.add.reduceat(taken, self.starts, axis=-1), np.add.reduceat(found, self.starts, axis=-1)


def _mean_risk(groups: _Groups, counts: Array, max_rejection: float = 1.0) -> Array:
    """Mean over k of (expected wrong among the k most certain) / k, for the last `max_rejection` of k = 1..n: (...).

    A group that holds places a+1..b with e wrong before it and m in it has e + (k - a) m/(b - a) at k, so that the sum
    over its places is m + (e - a m/(b - a)) (H_b - H_a), H the harmonic numbers: exact, with no loop over k.
    """
    taken, found = groups.sums(counts)
    last, before = np.cumsum(taken, -1), np.cumsum(found, -1) - found
    first, rate = last - taken, _ratio(found, taken, otherwise=0.0)
    n = last[..., -1:]
    rejected = np.floor(max_rejection * n + 1e-9)
    low = np.maximum(first, np.minimum(last, n - rejected))
    harmonic = np.r_[0.0, np.cumsum(1 / np.arange(1, int(n.max()) + 1))]
    sums = rate * (last - low) + (before - rate * first) * (harmonic[last.astype(int)] - harmonic[low.astype(int)])
    return _ratio(sums.sum(-1), rejected[..., 0])


def _mid_ranks(values: Array) -> Array:
    """Number of smaller values, plus half of the other equal ones: (n,) -> (n,), from 0."""
    ordered = np.sort(values)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right") - 1) / 2


def _ratio(above: Array, below: Array, otherwise: float = np.nan) -> Array:
    """above / below, and `otherwise` where below is 0."""
    above, below = np.broadcast_arrays(np.asarray(above, float), np.asarray(below, float))
    found = np.full(above.shape, otherwise)
    np.divide(above, below, out=found, where=below != 0)
    return found


def _at(statistic: Statistic, counts: Array | None, n: int) -> float | Array:
    """The statistic at the given resamples, or its value at the sample itself."""
    if counts is not None:
        return statistic(np.asarray(counts, float))
    value = float(statistic(np.ones(n)))
    if np.isnan(value):
        raise UndefinedError(f"{n} traces are too few")
    return value


def _checked(scores: Array, wrong: Array) -> tuple[Array, Array]:
    scores, wrong = np.asarray(scores, float), np.asarray(wrong)
    if scores.ndim != 1 or scores.shape != wrong.shape:
        raise ValueError(f"expected scores and labels of one length, got {scores.shape} and {wrong.shape}")
    if not np.isin(wrong, (0, 1)).all():
        raise ValueError("expected labels 0 and 1 or bool")
    if np.isnan(scores).any():
        raise ValueError(f"expected no missing score, got {np.isnan(scores).sum()} NaN; see intervals.estimate")
    if not len(scores):
        raise UndefinedError(NO_TRACES)
    return scores, wrong.astype(bool)


def _two_classes(scores: Array, wrong: Array) -> tuple[Array, Array]:
    scores, wrong = _checked(scores, wrong)
    if wrong.all() or not wrong.any():
        raise UndefinedError(ALL_WRONG if wrong.all() else ALL_RIGHT)
    return scores, wrong


def _probabilities(probs: Array, correct: Array) -> tuple[Array, Array]:
    probs, correct = _checked(probs, correct)
    if probs.min() < 0 or probs.max() > 1:
        raise ValueError(f"expected probabilities in [0, 1], got {probs.min()} to {probs.max()}")
    return probs, correct
