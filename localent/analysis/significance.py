"""Significance beyond length and beyond the question: partial correlation, clustered p-values, Holm, length bins.

Statistics map the counts of traces, (..., n), to (...), as in metrics.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from localent.analysis.intervals import MIN_RARER, SEED, TOO_FEW, Estimate, n_rarer, problem_index
from localent.analysis.metrics import ALL_RIGHT, ALL_WRONG, Array, Names, Statistic, UndefinedError, auroc_parts

N_FLIPS = 9999


def partial_rank_of(scores: Array, other: Array, given: Array, strata: Array | None = None) -> Statistic:
    """Spearman's rank correlation of `scores` and `other` with `given` held fixed: in [-1, 1].

    Ranks are those of the sample, mean ranks for ties; a constant `given` controls for nothing. With `strata` (n,),
    ranks are taken within strata: differences between strata do not count.
    Source: Kendall (1942), doi:10.1093/biomet/32.3-4.277, on ranks: the correlation of the residuals of both.
    """
    columns = np.stack([_centred_ranks(values, strata) for values in (scores, other, given)], 1)  # (n, 3)
    products = (columns[:, :, None] * columns[:, None, :]).reshape(len(columns), 9)
    moments = np.c_[np.ones(len(columns)), columns, products]

    def statistic(counts: Array) -> Array:
        sums = np.asarray(counts, float) @ moments
        means = sums[..., 1:] / sums[..., :1]
        covariance = means[..., 3:].reshape(*means.shape[:-1], 3, 3) - means[..., :3, None] * means[..., None, :3]
        return _partial(covariance)

    return statistic


def _partial(covariance: Array) -> Array:
    """(..., 3, 3) -> correlation of the first two given the third; NaN where one of them is constant."""
    spread = np.sqrt(np.maximum(np.einsum("...ii->...i", covariance), 0.0))
    spread = np.where(spread > 1e-9 * np.maximum(spread.max(-1, keepdims=True), 1.0), spread, 0.0)
    scale = spread[..., :, None] * spread[..., None, :]
    r = np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)
    xy, xz, yz = r[..., 0, 1], r[..., 0, 2], r[..., 1, 2]
    left = np.sqrt(np.maximum(1 - xz**2, 0.0) * np.maximum(1 - yz**2, 0.0))
    defined = (left > 1e-7) & (scale[..., 0, 1] > 0)
    found = np.divide(xy - xz * yz, left, out=np.full(left.shape, np.nan), where=defined)
    return np.clip(found, -1.0, 1.0)  # rounding can exceed the range


def _centred_ranks(values: Array, strata: Array | None) -> Array:
    """Ranks within each stratum, from its middle, as a share of its size: (n,) in (-0.5, 0.5)."""
    from scipy.stats import rankdata

    level = np.unique(np.asarray(values, float), return_inverse=True)[1].ravel()
    index = problem_index(np.zeros(len(level)) if strata is None else strata)
    size = np.bincount(index)
    ranks = rankdata(index * (level.max() + 1) + level) - (np.cumsum(size) - size)[index]
    return (ranks - (size[index] + 1) / 2) / size[index]


# --- p-values -----------------------------------------------------------------------------------------------------


def separation_p(scores: Array, wrong: Array, problems: Names, strata: Array | None = None) -> float:
    """Two-sided p that the AUROC is 0.5, clustered by problem: in (0, 1].

    `strata` (n,): only pairs from one stratum count, as in metrics.auroc.
    The variance is that of the sums over problems of each trace's part in the AUROC (DeLong's components), a pair of
    one problem in them once; see _p_of for the rest. Raises UndefinedError for fewer than MIN_RARER problems.
    Source: Obuchowski (1997), doi:10.2307/2533958; DeLong et al. (1988), doi:10.2307/2531595.
    """
    value, parts, among = auroc_parts(scores, wrong, strata, problems)
    return _p_of(value - 0.5, parts[among], np.asarray(problems)[among], wrong[among])


def separation_gain_p(
    scores: Array, before: Array, wrong: Array, problems: Names, strata: Array | None = None
) -> float:
    """Two-sided p that `scores` separate no better than `before`, over the same pairs; sources as separation_p."""
    value, parts, among = auroc_parts(scores, wrong, strata, problems)
    value_before, parts_before, _ = auroc_parts(before, wrong, strata, problems)
    return _p_of(value - value_before, (parts - parts_before)[among], np.asarray(problems)[among], wrong[among])


def gap_p(values: Array, wrong: Array, problems: Names) -> float:
    """Two-sided p that wrong and right traces have the same mean, clustered by problem; see _p_of."""
    values, wrong = np.asarray(values, float), np.asarray(wrong, bool)
    if wrong.all() or not wrong.any():
        raise UndefinedError(ALL_WRONG if wrong.any() else ALL_RIGHT)
    parts = np.where(wrong, values - values[wrong].mean(), values[~wrong].mean() - values)
    parts = parts / np.where(wrong, wrong.sum(), (~wrong).sum())
    return _p_of(values[wrong].mean() - values[~wrong].mean(), parts, np.asarray(problems), wrong)


def _p_of(effect: float, parts: Array, problems: Array, wrong: Array) -> float:
    """Two-sided p of wrong against right: Student's t of an effect whose deviations are sums of parts over problems.

    The degrees of freedom are the problems of the rarer class, which dominate the variance, minus one. p is at least
    that of a sign test on these: 3 wrong traces may all have the same high score by chance, with no variance [ours].
    """
    from scipy.stats import t

    index, rarer = problem_index(problems), n_rarer(problems, wrong)
    if rarer < MIN_RARER:
        raise UndefinedError(TOO_FEW)
    n = int(index.max()) + 1
    error, least = np.sqrt((np.bincount(index, parts) ** 2).sum() * n / (n - 1)), 2 * 0.5**rarer
    if error < 1e-12:
        return least if abs(effect) > 1e-12 else 1.0
    return max(least, float(2 * t.sf(abs(effect) / error, rarer - 1)))


def sign_flip_p(values: Array, problems: Names) -> float | None:
    """Two-sided p that the mean of the problems' means is 0: the share of sign flips that reach it.

    All 2^n of them, or N_FLIPS at random where there are more. None for fewer than six problems or no difference.
    Source: Fisher (1935), The Design of Experiments, section 21.
    """
    present = ~np.isnan(values)
    names, index = np.unique(np.asarray(problems)[present], return_inverse=True)
    means = np.bincount(index.ravel(), values[present]) / np.maximum(np.bincount(index.ravel()), 1)
    if len(names) < 6 or not means.any():
        return None
    reached = np.abs(_signs(len(means)) @ means) >= abs(means.sum()) * (1 - 1e-12)
    exact = 2 ** len(means) <= N_FLIPS
    return float(reached.mean()) if exact else float((1 + reached.sum()) / (1 + N_FLIPS))


def _signs(n: int) -> Array:
    """Rows of -1 and 1: (2^n, n), or (N_FLIPS, n) at random."""
    if 2**n <= N_FLIPS:
        return np.array(list(itertools.product((-1.0, 1.0), repeat=n)))
    return _random_signs(1 << (n - 1).bit_length())[:, :n]


@lru_cache(maxsize=4)
def _random_signs(n: int) -> Array:
    return 2.0 * np.random.default_rng(SEED).integers(0, 2, (N_FLIPS, n), np.int8) - 1


def correlation_p(found: Estimate) -> float | None:
    """Two-sided p that a correlation is 0, from its 95 % interval on Fisher's scale; None: no interval.

    Below 0.05 just where the interval leaves 0 out: 1.96 errors are from the value to the end that faces 0. The other
    end can be 1, where the scale ends. A correlation of 1 or -1 has p = 0.
    """
    from scipy.stats import norm

    if found.value is None or found.low is None or found.high is None:
        return None
    if 1 - abs(found.value) < 1e-12:
        return 0.0
    if found.flat:
        return None
    with np.errstate(divide="ignore"):  # an end at 1 or -1 is infinitely far
        value, facing = np.arctanh([found.value, found.low if found.value > 0 else found.high])
    error = abs(value - facing) / norm.isf(0.025)
    return float(2 * norm.sf(abs(value) / error)) if error > 0 else None


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Adjusted p-values that bound the chance of any false claim in the family; None stays None and is not counted.

    Source: Holm (1979), Scandinavian Journal of Statistics 6.
    """
    known = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    adjusted: list[float | None] = [None] * len(ps)
    highest = 0.0
    for place, (p, i) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - place)))
        adjusted[i] = highest
    return adjusted


def length_bins(n_tokens: Array, n_bins: int = 10) -> Array:
    """Strata of like length: bins of equal mass, equal lengths together: (n,) -> (n,) int."""
    ordered = np.sort(n_tokens)
    middle = (np.searchsorted(ordered, n_tokens, "left") + np.searchsorted(ordered, n_tokens, "right")) / 2
    return np.minimum(middle * n_bins / max(len(n_tokens), 1), n_bins - 1).astype(int)
