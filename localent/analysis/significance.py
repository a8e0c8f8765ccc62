"""Significance beyond length and beyond the question: clustered and stratified p-values, Holm, strata of length.

Statistics map the counts of traces, (..., n), to (...), as in metrics.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from localent.analysis.intervals import LEVEL, MIN_RARER, SEED, TOO_FEW, n_rarer, problem_index
from localent.analysis.metrics import (
    ALL_RIGHT,
    ALL_WRONG,
    NO_PAIR,
    Array,
    Names,
    UndefinedError,
    auroc_parts,
)

N_FLIPS = 9999
PER_STRATUM = 8  # traces: an eighth of the comparisons is lost, and a stratum is narrow


def within_ranks(values: Array, strata: Array) -> Array:
    """Ranks within each stratum as a share of its size plus one, from its middle: (n,) in (-0.5, 0.5)."""
    index = problem_index(strata)
    size = np.bincount(index)[index]
    found: Array = _centred_ranks(values, index) * size / (size + 1)
    return found


def _centred_ranks(values: Array, strata: Array | None) -> Array:
    """Ranks within each stratum, from its middle, as a share of its size: (n,) in (-0.5, 0.5)."""
    from scipy.stats import rankdata

    level = np.unique(np.asarray(values, float), return_inverse=True)[1].ravel()
    index = problem_index(np.zeros(len(level)) if strata is None else strata)
    size = np.bincount(index)
    ranks = rankdata(index * (level.max(initial=0) + 1) + level) - (np.cumsum(size) - size)[index]
    return (ranks - (size[index] + 1) / 2) / size[index]


# --- p-values -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shift:
    """A difference between wrong and right traces with its standard error, from which p-values and bounds follow.

    Student's t. The degrees of freedom are the problems of the rarer class, which dominate the variance, minus one. p
    is at least that of a sign test on these: 3 wrong traces may all have the same high score by chance, with no
    variance [ours].
    """

    value: float
    error: float  # standard error, clustered by problem
    n_rarer: int  # problems of the rarer class

    def p(self, null: float = 0.0) -> float:
        """Two-sided p that the true difference is `null`: in (0, 1]."""
        from scipy.stats import t

        least, distance = 2 * 0.5**self.n_rarer, abs(self.value - null)
        if self.error < 1e-12:
            return least if distance > 1e-12 else 1.0
        return max(least, float(2 * t.sf(distance / self.error, self.n_rarer - 1)))

    def p_above(self, null: float = 0.0) -> float:
        """The same where the difference is above `null`; 1 where it is below. Half of it is a one-sided p."""
        return self.p(null) if self.value > null else 1.0

    def p_below(self, null: float) -> float:
        """The same where the difference is below `null`; 1 where it is above."""
        return self.p(null) if self.value < null else 1.0

    def low(self, level: float = LEVEL) -> float:
        """The lower end of the two-sided interval."""
        return 2 * self.value - self.high(level)

    def high(self, level: float = LEVEL) -> float:
        """The upper end of the two-sided interval."""
        from scipy.stats import t

        return self.value + float(t.isf((1 - level) / 2, self.n_rarer - 1)) * self.error


def separation_shift(scores: Array, wrong: Array, problems: Names, strata: Array | None = None) -> Shift:
    """The AUROC minus 0.5, clustered by problem.

    `strata` (n,): only pairs from one stratum count, as in metrics.auroc.
    The variance is that of the sums over problems of each trace's part in the AUROC (DeLong's components), a pair of
    one problem in them once. Raises UndefinedError for fewer than MIN_RARER problems.
    Source: Obuchowski (1997), doi:10.2307/2533958; DeLong et al. (1988), doi:10.2307/2531595.
    """
    value, parts, among = auroc_parts(scores, wrong, strata, problems)
    return _shift(value - 0.5, parts[among], np.asarray(problems)[among], wrong[among])


def separation_gain_shift(
    scores: Array, before: Array, wrong: Array, problems: Names, strata: Array | None = None
) -> Shift:
    """The AUROC of `scores` minus that of `before`, over the same pairs; sources as separation_shift."""
    value, parts, among = auroc_parts(scores, wrong, strata, problems)
    value_before, parts_before, _ = auroc_parts(before, wrong, strata, problems)
    return _shift(value - value_before, (parts - parts_before)[among], np.asarray(problems)[among], wrong[among])


def gap_shift(values: Array, wrong: Array, problems: Names) -> Shift:
    """Mean of wrong minus mean of right traces, clustered by problem."""
    values, wrong = np.asarray(values, float), np.asarray(wrong, bool)
    if wrong.all() or not wrong.any():
        raise UndefinedError(ALL_WRONG if wrong.any() else ALL_RIGHT)
    parts = np.where(wrong, values - values[wrong].mean(), values[~wrong].mean() - values)
    parts = parts / np.where(wrong, wrong.sum(), (~wrong).sum())
    return _shift(values[wrong].mean() - values[~wrong].mean(), parts, np.asarray(problems), wrong)


def stratified_shift(scores: Array, wrong: Array, problems: Names, strata: Array) -> Shift:
    """Sum over strata of the mean rank of wrong traces within their stratum, from its middle: 0 where nothing is left.

    Ranks are divided by the stratum's size plus one, the weights that are best for one shift in all strata. The
    variance is that of sums over problems, each stratum's times n / (n - 1) for its estimated share of wrong traces:
    under exchangeable labels it is then exact for strata of any size, where DeLong's is 1.5 times too large for five.
    Raises UndefinedError where no stratum has both classes, or fewer than MIN_RARER problems.
    Source: van Elteren (1960), Bulletin of the International Statistical Institute 37; clustered [ours].
    """
    wrong, index = np.asarray(wrong, bool), problem_index(strata)
    size = np.bincount(index)[index]
    share = (np.bincount(index, wrong) / np.bincount(index))[index]
    mixed = (share > 0) & (share < 1)
    if not mixed.any():
        raise UndefinedError(NO_PAIR)
    parts = (within_ranks(scores, index) * (wrong - share))[mixed]
    inflated = parts * np.sqrt(size / np.maximum(size - 1, 1))[mixed]
    return _shift(parts.sum(), inflated, np.asarray(problems)[mixed], wrong[mixed], corrected=False)


def separation_p(scores: Array, wrong: Array, problems: Names, strata: Array | None = None) -> float:
    """Two-sided p that the AUROC is 0.5; see separation_shift."""
    return separation_shift(scores, wrong, problems, strata).p()


def separation_gain_p(
    scores: Array, before: Array, wrong: Array, problems: Names, strata: Array | None = None
) -> float:
    """Two-sided p that `scores` separate no better than `before`; see separation_gain_shift."""
    return separation_gain_shift(scores, before, wrong, problems, strata).p()


def gap_p(values: Array, wrong: Array, problems: Names) -> float:
    """Two-sided p that wrong and right traces have the same mean; see gap_shift."""
    return gap_shift(values, wrong, problems).p()


def _shift(effect: float, parts: Array, problems: Array, wrong: Array, *, corrected: bool = True) -> Shift:
    """An effect whose deviations are sums of parts over problems."""
    index, rarer = problem_index(problems), n_rarer(problems, wrong)
    if rarer < MIN_RARER:
        raise UndefinedError(TOO_FEW)
    n = int(index.max()) + 1
    factor = n / (n - 1) if corrected else 1.0
    return Shift(float(effect), float(np.sqrt((np.bincount(index, parts) ** 2).sum() * factor)), rarer)


def sign_flip_p(values: Array, problems: Names, null: float = 0.0) -> float | None:
    """Two-sided p that the mean of the problems' means is `null`: the share of sign flips that reach it.

    All 2^n of them, or N_FLIPS at random where there are more. None for fewer than six problems or no difference.
    Source: Fisher (1935), The Design of Experiments, section 21.
    """
    present = ~np.isnan(values)
    names, index = np.unique(np.asarray(problems)[present], return_inverse=True)
    means = np.bincount(index.ravel(), values[present]) / np.maximum(np.bincount(index.ravel()), 1) - null
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


def holm_of(ps: Sequence[float | None], place: int, p: float | None) -> float | None:
    """The adjusted p of one hypothesis, with `p` in place of what the family has there."""
    return holm([*ps[:place], p, *ps[place + 1 :]])[place]


def length_bins(n_tokens: Array, n_bins: int = 10) -> Array:
    """Strata of like length: bins of equal mass, equal lengths together: (n,) -> (n,) int."""
    ordered = np.sort(n_tokens)
    middle = (np.searchsorted(ordered, n_tokens, "left") + np.searchsorted(ordered, n_tokens, "right")) / 2
    return np.minimum(middle * n_bins / max(len(n_tokens), 1), n_bins - 1).astype(int)


def like_lengths(n_steps: Array, n_tokens: Array, per_stratum: int = PER_STRATUM) -> Array:
    """Strata of traces with equally many steps and like numbers of tokens: (n,), (n,) -> (n,) int.

    Traces of one number of steps, in order of their tokens, are parted into strata of about `per_stratum`, equal tokens
    together. More traces make narrower strata, so that what length still tells inside one shrinks faster than the
    standard error: by the square of the width. A NaN number of steps is a stratum of its own.
    """
    steps = np.unique(np.nan_to_num(n_steps, nan=-1.0), return_inverse=True)[1].ravel()
    place = np.zeros(len(steps), int)
    for one in np.unique(steps):
        among = steps == one
        place[among] = length_bins(n_tokens[among], max(1, int(among.sum()) // per_stratum))
    return steps * (len(steps) + 1) + place


def like_tokens(n_tokens: Array, per_stratum: int = PER_STRATUM) -> Array:
    """Strata of traces with like numbers of tokens and any number of steps: (n,) -> (n,) int; see like_lengths."""
    return length_bins(n_tokens, max(1, len(n_tokens) // per_stratum))
