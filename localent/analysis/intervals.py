"""Intervals: bootstrap clustered by problem, because attempts at one problem are correlated.

A resample takes whole problems with replacement. A statistic is a function of how often each trace is taken
(see metrics.Statistic), so that 2,000 resamples are a few array operations and not 2,000 samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from localent.analysis.metrics import NO_TRACES, Array, Floats, Names, Statistic, UndefinedError, auroc, auroc_of

NORMAL = NormalDist()
LEVEL, SEED = 0.95, 0
CHUNK = 1 << 20  # counts in memory at a time: 8 MB
MIN_PROBLEMS = 10  # with fewer problems that move the statistic there is no interval: it would be far too narrow
MIN_RARER = 5  # the same for right against wrong, by the number of problems that have a trace of the rarer class
MIN_TOLD = 10  # the same where a sentence or a verdict is to follow from the comparison
TOO_FEW = "too few right or wrong traces for an interval"
MAX_UNDEFINED = 0.05  # the same where the statistic is undefined in a larger share of the resamples


@dataclass(frozen=True, slots=True)
class Resampling:
    """The settings of the bootstrap."""

    n_resamples: int = 2000
    seed: int = SEED  # which problems each resample takes
    level: float = LEVEL


DEFAULT = Resampling()
Make = Callable[..., Statistic]  # (values, *labels), each (n,) -> statistic


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric of one run with its interval, or the reason why there is none."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0  # traces used
    n_missing: int = 0  # traces left out because they lack the score
    n_problems: int = 0
    reason: str | None = None  # why value, or only the interval, is None

    @property
    def known(self) -> bool:
        """True if there are a value and an interval."""
        return self.value is not None and self.low is not None

    @property
    def flat(self) -> bool:
        """True if the interval has no width beyond rounding: without variation nothing follows for other problems."""
        if self.value is None or self.low is None or self.high is None:
            return False
        return self.high - self.low <= 1e-12 * max(1.0, abs(self.value))

    def above(self, value: float) -> bool:
        """True if the whole interval is above `value`; False where there is no interval."""
        return self.low is not None and self.low > value

    def below(self, value: float) -> bool:
        """True if the whole interval is below `value`; False where there is no interval."""
        return self.high is not None and self.high < value

    def excludes(self, value: float) -> bool:
        """True if the whole interval is on one side of `value`; False where there is no interval."""
        return self.above(value) or self.below(value)


def estimate(make: Make, values: Floats, *labels: Array, problems: Names, resampling: Resampling = DEFAULT) -> Estimate:
    """A scalar metric and its interval: make(values, *labels) -> Statistic, as `auroc_of`, `mean_of`, `gap_of`.

    Traces whose value is NaN or None are counted in `n_missing` and left out. A metric that is undefined for the
    sample gives value None with the reason.
    """
    values = np.array(values, float)  # None -> NaN
    present = ~np.isnan(values)
    index = problem_index(np.asarray(problems)[present])
    size = Estimate(
        None, n=int(present.sum()), n_missing=int((~present).sum()), n_problems=int(index.max(initial=-1)) + 1
    )
    try:
        if not size.n:
            raise UndefinedError(NO_TRACES if not size.n_missing else "no trace has it")
        statistic = make(values[present], *(np.asarray(label)[present] for label in labels))
        return _scalar(statistic, index, size, resampling)
    except UndefinedError as error:
        return replace(size, reason=str(error))


def _scalar(statistic: Statistic, index: Array, size: Estimate, resampling: Resampling) -> Estimate:
    value = float(statistic(np.ones(len(index))))
    if np.isnan(value):
        raise UndefinedError("too few traces")
    low, high = bootstrap(statistic, index, resampling)
    if np.isnan(low):
        few = "too few problems for an interval" if size.n_problems < MIN_PROBLEMS else TOO_FEW
        return replace(size, value=value, reason=few)
    return replace(size, value=value, low=float(low), high=float(high))


def separation(
    scores: Floats, wrong: Array, problems: Names, strata: Array | None = None, resampling: Resampling = DEFAULT
) -> Estimate:
    """AUROC of a score with its interval (see _angle_of), for any sample. n: the traces that are in a pair.

    No interval where the wrong traces, or the right ones, of these come from fewer than MIN_RARER problems.
    """
    strata, problems = np.zeros(len(wrong), int) if strata is None else np.asarray(strata), np.asarray(problems)
    found = estimate(_angle_of, scores, wrong, strata, problems, problems=problems, resampling=resampling)
    if found.value is None:
        return found
    kept, wrong = in_pair(scores, wrong, strata), np.asarray(wrong, bool)
    value = auroc(np.array(scores, float)[kept], wrong[kept], strata[kept])
    low, high = (value, value) if found.flat else (_from_angle(end) for end in (found.low, found.high))
    found = of_those(replace(found, value=value, low=low, high=high), problems[kept])
    return _bounded(found, problems[kept], wrong[kept], resampling.level)


def n_rarer(problems: Array, wrong: Array) -> int:
    """Number of problems with a right trace, or with a wrong one, whichever is smaller: both (n,)."""
    return min(len(np.unique(np.asarray(problems)[side])) for side in (wrong, ~wrong))


def if_enough(found: Estimate, problems: Array, wrong: Array) -> Estimate:
    """Right against wrong: without the interval where the rarer class is in fewer than MIN_RARER problems."""
    few = found.known and n_rarer(problems, wrong) < MIN_RARER
    return replace(found, low=None, high=None, reason=TOO_FEW) if few else found


def _angle_of(scores: Array, wrong: Array, strata: Array, problems: Array) -> Statistic:
    """The AUROC, see metrics.auroc_of, as the angle whose squared sine it is: in [0, pi / 2].

    On that scale the variance near 1 is that near 0.5, so that coverage holds with few wrong traces, too.
    Source: Bartlett (1947), doi:10.2307/3001536, of shares; for the AUROC [ours], scripts/coverage.py.
    """
    value, moved = auroc(scores, wrong, strata), auroc_of(scores, wrong, strata, problems)
    slope = 2 * np.sqrt(value * (1 - value)) or np.inf
    return lambda counts: np.arcsin(np.sqrt(value)) + (moved(counts) - value) / slope


def _from_angle(angle: float | None) -> float | None:
    return None if angle is None else float(np.sin(np.clip(angle, 0, np.pi / 2)) ** 2)


def _bounded(found: Estimate, problems: Array, wrong: Array, level: float) -> Estimate:
    """The AUROC, without its interval where that cannot be trusted.

    With complete separation all resamples agree, and a bootstrap interval would have no width even for three traces.
    There the interval is Wilson's, with the problems of the rarer class as n [ours].
    """
    found, n = if_enough(found, problems, wrong), n_rarer(problems, wrong)
    if not found.known or found.value not in (0.0, 1.0):
        return found
    low, high = wilson(found.value * n, n, level)
    return replace(found, low=low, high=high)


def in_pair(scores: Floats, wrong: Array, strata: Array) -> Array:
    """Mask of the traces that are scored and have a scored trace of the other class in their stratum: (n,) bool."""
    wrong, kept = np.asarray(wrong, bool), ~np.isnan(np.array(scores, float))
    paired_: Array = np.where(wrong, np.isin(strata, strata[kept & ~wrong]), np.isin(strata, strata[kept & wrong]))
    return kept & paired_


def of_those(found: Estimate, problems: Array) -> Estimate:
    """The estimate with the counts of these traces only, given the problem of each: (n,)."""
    return replace(found, n=len(problems), n_problems=len(np.unique(problems)))


# --- the bootstrap ----------------------------------------------------------------------------------------------


def bootstrap(statistic: Statistic, problems: Names, resampling: Resampling = DEFAULT) -> tuple[Array, Array]:
    """BCa interval of a statistic under resampling of problems: (low, high), each of the statistic's shape.

    `problems` (n,): the problem of each trace. NaN where fewer than 10 problems move the statistic, or more
    than 5 % of the resamples leave it undefined.
    Source: Efron (1987), doi:10.2307/2289144; clusters as in Davison and Hinkley (1997), section 3.8; widened for
    few problems after Hesterberg (2015), doi:10.1080/00031305.2015.1089789. Coverage: scripts/coverage.py.
    """
    index = problem_index(problems)
    n_problems = int(index.max()) + 1
    value = statistic(np.ones(len(index)))
    if n_problems < MIN_PROBLEMS:
        return np.full(np.shape(value), np.nan), np.full(np.shape(value), np.nan)
    drawn = replicates(statistic, index, resample(n_problems, resampling.n_resamples, resampling.seed))
    without = replicates(statistic, index, 1.0 - np.eye(n_problems))
    return bca(value, drawn, without, resampling.level)


def paired(
    arm_a: Statistic, problems_a: Names, arm_b: Statistic, problems_b: Names, resampling: Resampling = DEFAULT
) -> Estimate:
    """Arm b minus arm a over the problems that both have; a resample takes the same problems in both arms.

    `n` counts the traces of both arms, `n_missing` those of problems that only one arm has. The statistics must be
    exact at any counts; metrics.auroc_of is so only if the arms share all problems.
    """
    names = np.intersect1d(problems_a, problems_b)
    taken_a, n_a = _by_problem(arm_a, problems_a, names)
    taken_b, n_b = _by_problem(arm_b, problems_b, names)
    n_missing = len(problems_a) + len(problems_b) - n_a - n_b
    size = Estimate(None, n=n_a + n_b, n_missing=n_missing, n_problems=len(names))
    if not len(names):
        return replace(size, reason="the arms share no problem")
    try:
        return _scalar(lambda c: taken_b(c) - taken_a(c), np.arange(len(names)), size, resampling)
    except UndefinedError as error:
        return replace(size, reason=str(error))


def _by_problem(statistic: Statistic, problems: Names, names: Array) -> tuple[Statistic, int]:
    """(the statistic as a function of the counts of the problems in `names`, traces that count)."""
    problems = np.asarray(problems)
    shared = np.isin(problems, names)
    place = np.where(shared, np.searchsorted(names, problems), 0) if len(names) else np.zeros(len(problems), int)
    return lambda counts: statistic(counts[..., place] * shared), int(shared.sum())


def problem_index(problems: Names) -> Array:
    """Names -> 0, 1, 2, ...: (n,) -> (n,)."""
    return np.unique(np.asarray(problems), return_inverse=True)[1].ravel()


@lru_cache(maxsize=4)  # every metric of a run is taken over the same resamples
def resample(n_problems: int, n_resamples: int, seed: int) -> Array:
    """Count of each problem in each resample: (n_resamples, n_problems), each row sums to n_problems."""
    drawn = np.random.default_rng(seed).integers(n_problems, size=(n_resamples, n_problems))
    drawn += np.arange(n_resamples)[:, None] * n_problems
    counts = np.bincount(drawn.ravel(), minlength=n_resamples * n_problems).reshape(n_resamples, n_problems)
    counts.flags.writeable = False
    return counts


def replicates(statistic: Statistic, index: Array, counts: Array) -> Array:
    """The statistic at each resample: counts (n_resamples, n_problems) -> (n_resamples, ...)."""
    rows = max(1, CHUNK // len(index))
    counts = counts.astype(float)
    return np.concatenate([statistic(counts[i : i + rows][:, index]) for i in range(0, len(counts), rows)])


def bca(value: Array, drawn: Array, without: Array, level: float = LEVEL) -> tuple[Array, Array]:
    """Bias-corrected, accelerated interval from replicates (n_resamples, ...) and the jackknife (n_problems, ...)."""
    shape = np.shape(value)
    columns = (np.ravel(value), drawn.reshape(len(drawn), -1).T, without.reshape(len(without), -1).T)
    ends = [_bca_column(*column, level) for column in zip(*columns, strict=True)]
    low, high = np.array(ends).reshape(-1, 2).T
    return low.reshape(shape), high.reshape(shape)


def _bca_column(value: float, drawn: Array, without: Array, level: float) -> tuple[float, float]:
    defined = drawn[~np.isnan(drawn)]
    rounding = 1e-12 * max(1.0, abs(value))  # sums in another order must not count as a change, on any processor
    moving = (np.abs(without - value) > rounding).sum()
    if np.isnan(value) or len(defined) < (1 - MAX_UNDEFINED) * len(drawn) or 0 < moving < MIN_PROBLEMS:
        return np.nan, np.nan
    below, tied = (defined < value - rounding).sum(), (np.abs(defined - value) <= rounding).sum()
    bias = _quantile_of((below + tied / 2) / len(defined), len(defined))
    pull = without[~np.isnan(without)]
    pull = pull.mean() - pull  # influence of each problem
    spread = (pull**2).sum()
    acceleration = (pull**3).sum() / (6 * spread**1.5) if spread > 0 else 0.0
    z = _wide_z(level, pull)
    shares = [NORMAL.cdf(bias + (bias + side) / (1 - acceleration * (bias + side))) for side in (-z, z)]
    low, high = np.quantile(defined, shares)
    return float(low), float(high)


def _quantile_of(share: float, n: int) -> float:
    """Standard normal quantile, away from 0 and 1 by half a resample."""
    return NORMAL.inv_cdf(min(max(share, 0.5 / n), 1 - 0.5 / n))


def _wide_z(level: float, pull: Array) -> float:
    """Quantile for few problems: sqrt((f + 1) / f) times Student's t with f degrees of freedom, in place of normal's.

    f = 2n / (kurtosis of the influences - 1), at most n - 1, from the variance of a sample variance. It is about n if
    all problems have equal influence, and small if a few wrong traces dominate. After Hesterberg (2015), f [ours].
    """
    from scipy.special import stdtrit  # here, so that starting the command line does not pay for scipy

    n, spread = len(pull), (pull**2).sum()
    excess = n * (pull**4).sum() / spread**2 - 1 if spread > 0 else 0.0
    freedom = max(1.0, min(n - 1, 2 * n / excess if excess > 0 else np.inf))
    return float(np.sqrt((freedom + 1) / freedom) * stdtrit(freedom, (1 + level) / 2))


# --- shares -----------------------------------------------------------------------------------------------------


def wilson(n_right: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """Interval of a share n_right / n: (low, high) in [0, 1].

    Source: Wilson (1927), doi:10.1080/01621459.1927.10502953; see Brown, Cai and DasGupta (2001).
    """
    if n <= 0:
        raise UndefinedError(NO_TRACES)
    z, share = NORMAL.inv_cdf((1 + level) / 2), n_right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))


def share(flags: Floats, problems: Names, level: float = LEVEL) -> Estimate:
    """A share of traces with Wilson's interval, n reduced where attempts at one problem are correlated.

    The effective n is n / design effect, the clustered variance of the mean over the independent one; at most n, and
    the number of problems where all flags are equal or all are of one problem. One attempt per problem gives plain
    Wilson.
    Source: Korn and Graubard (1998), Survey Methodology 24, with Wilson's interval in place of Clopper-Pearson's.
    """
    flags, index = np.asarray(flags, float), problem_index(problems)
    n, n_problems = len(flags), int(index.max(initial=-1)) + 1
    if not n:
        return Estimate(None, reason=NO_TRACES)
    mean = flags.mean()
    residuals = np.bincount(index, flags - mean)
    independent = mean * (1 - mean) * n
    varies = independent and n_problems > 1
    effect = (residuals**2).sum() / independent if varies else n / n_problems
    low, high = wilson(mean * n / max(effect, 1.0), n / max(effect, 1.0), level)
    return Estimate(float(mean), low, high, n=n, n_problems=n_problems)
