"""Figures of two models that were fed the same tokens: llama-perplexity's, and more.

Definitions are llama-perplexity's where it has the quantity. `uncertainty` is its standard error, which treats
positions as independent; `low` and `high` are a 95 % interval, on traces clustered by problem, on plain text from
`neighbours`.
Differences are candidate minus reference.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np

from localent.analysis import neighbours, quantities
from localent.analysis.intervals import Estimate, estimate
from localent.analysis.metrics import Array, Statistic
from localent.analysis.quantities import Figure
from localent.analysis.significance import sign_flip_p

Columns = dict[str, Array]
Spread = Callable[[Array, Array], Estimate]  # values (n,), mask (n,) -> their mean with its interval
MOST = math.log(sys.float_info.max)
DEPTHS = 8  # ranges of positions by their place in the text
UNCERTAINTIES = {  # column -> of the reference, its change, the size of that
    "entropy": (quantities.ENTROPY_BASE, quantities.ENTROPY_CHANGE, quantities.ENTROPY_DISTANCE),
    "varentropy": (quantities.VARENTROPY_BASE, quantities.VARENTROPY_CHANGE, quantities.VARENTROPY_DISTANCE),
}


@dataclass(frozen=True, slots=True)
class Group:
    """Some of the positions: one class of token, one decile of the reference's entropy, or one range of depth."""

    name: str
    n: int
    kld: Estimate
    same_top: Estimate
    delta_entropy: Estimate  # nats
    delta_varentropy: Estimate  # nats squared


@dataclass(frozen=True, slots=True)
class TeacherForced:
    """Teacher-forced figures of one candidate."""

    n: int  # positions
    figures: tuple[Figure, ...]
    classes: tuple[Group, ...]  # empty: plain text
    deciles: tuple[Group, ...]
    depths: tuple[Group, ...] = ()  # by place in the text; empty: stored before there were any

    def __getitem__(self, key: str) -> Figure:
        """The figure of a quantity. Raises KeyError where there is none."""
        if (found := self.get(key)) is None:
            raise KeyError(key)
        return found

    def get(self, key: str) -> Figure | None:
        """The figure of a quantity; None where there is none."""
        return next((figure for figure in self.figures if figure.name == key), None)


def teacher_forced(
    reference: Columns,
    candidate: Columns,
    *,
    cut: bool,
    problems: Array | None = None,
    classes: Array | None = None,
    depth: Array | None = None,
    distribution: bool = True,
) -> TeacherForced:
    """All figures of one candidate from columns (n,) of `compare.teacher_forcing.score`.

    cut: a plain text in its order, KLD over what the reference gives more than e^-16, llama-perplexity's definition;
    else KLD over the full vocabulary. problems (or chunks), classes: (n,) names. depth (n,): tokens before each
    position. distribution: the reference's whole distribution is known, not only its 16 bits in a base file, which has
    no entropy.
    """
    kld = candidate["kld_cut" if cut else "kld"]
    change = {f"delta_{name}": candidate[name] - reference[name] for name in ("entropy", "varentropy")}
    wanted = candidate | change | {"kld": kld}
    spread = _along(problems) if cut else _across(problems)
    interval = partial(_interval, spread)
    figures = (
        *perplexities(reference["surprisal"], candidate["surprisal"], interval),
        *_kld_figures(kld, interval),
        *_token_figures(reference, candidate, interval),
        *(_shape_figures(reference, candidate, cut, interval) if distribution else ()),
    )
    if problems is not None and not cut:
        figures = tuple(tested(figure, change["delta_entropy"], problems) for figure in figures)
    groups = [(name, classes == name) for name in dict.fromkeys(classes)] if classes is not None else []
    tenths = deciles(reference["entropy"]) if distribution else []
    ranges = depths(depth) if depth is not None and distribution else []
    return TeacherForced(
        n=len(kld),
        figures=figures,
        classes=tuple(_group(name, mask, wanted, spread) for name, mask in groups),
        deciles=tuple(_group(name, mask, wanted, spread) for name, mask in tenths),
        depths=tuple(_group(name, mask, wanted, spread) for name, mask in ranges),
    )


# --- llama-perplexity's figures ---------------------------------------------------------------------------------

Interval = Callable[[Array], tuple[float | None, float | None]]


def mean_and_error(values: Array) -> tuple[float, float]:
    """Mean and its standard error, sqrt((E[x²] - E[x]²)/(n - 1)): (n,) -> two numbers; NaN for that of an infinity.

    Source: mean_and_uncertainty in llama.cpp's tools/perplexity.
    """
    mean = float(values.mean())
    if not math.isfinite(mean):
        return mean, math.nan
    return mean, math.sqrt(float(((values - mean) ** 2).mean()) / (len(values) - 1)) if len(values) > 1 else 0.0


def perplexities(base: Array, mine: Array, interval: Interval = lambda values: (None, None)) -> list[Figure]:
    """PPL of both, their ratio and difference with the covariance taken into account: surprisals (n,) twice.

    Source: kl_divergence in llama.cpp's tools/perplexity.
    """
    (m, em), (b, eb) = mean_and_error(mine), mean_and_error(base)
    covariance = float(((mine - m) * (base - b)).mean()) / max(len(mine) - 1, 1)
    ratio, ratio_error = mean_and_error(mine - base)  # its variance is that of both minus twice the covariance
    ppl_m, ppl_b, times = _exp(m), _exp(b), _exp(ratio)
    with np.errstate(invalid="ignore"):  # two infinities
        gap = ppl_m * mine - ppl_b * base  # its variance: (PPL_m em)² + (PPL_b eb)² - 2 PPL_m PPL_b covariance
    low, high = interval(mine - base)
    return [
        quantities.PPL.figure(ppl_m, ppl_m * em, *_exps(interval(mine))),
        quantities.PPL_BASE.figure(ppl_b, ppl_b * eb, *_exps(interval(base))),
        quantities.PPL_CORRELATION.figure(covariance / (em * eb) if em and eb else math.nan),
        quantities.LN_PPL_RATIO.figure(ratio, ratio_error, low, high),
        quantities.PPL_RATIO.figure(times, times * ratio_error, *_exps((low, high))),
        quantities.PPL_CHANGE.figure(ppl_m - ppl_b, mean_and_error(gap)[1]),
    ]


def _kld_figures(kld: Array, interval: Interval) -> list[Figure]:
    return [
        quantities.KLD.figure(*_with_interval(kld, interval)),
        quantities.KLD_MAX.figure(float(kld.max())),
        *(quantity.figure(percentile(kld, q)) for q, quantity in quantities.KLD_PERCENTILES),
        quantities.KLD_MIN.figure(float(kld.min())),
    ]


def _token_figures(reference: Columns, candidate: Columns, interval: Interval) -> list[Figure]:
    """Δp of the token that follows, and how often both find the same token most likely."""
    dp = np.exp(-candidate["surprisal"]) - np.exp(-reference["surprisal"])
    same = candidate["same_top"]
    share = float(same.mean())
    error = math.sqrt(share * (1 - share) / max(len(same) - 1, 1))
    return [
        quantities.DP.figure(*_with_interval(dp, interval)),
        quantities.DP_MAX.figure(float(dp.max())),
        *(quantity.figure(percentile(dp, q)) for q, quantity in quantities.DP_PERCENTILES),
        quantities.DP_MIN.figure(float(dp.min())),
        _root_mean_square(dp, interval),
        quantities.SAME_TOP.figure(share, error, *(x and min(max(x, 0.0), 1.0) for x in interval(same))),
    ]


def _root_mean_square(dp: Array, interval: Interval) -> Figure:
    square, square_error = mean_and_error(dp**2)
    rms = math.sqrt(square)
    ends = (None if x is None else math.sqrt(max(x, 0.0)) for x in interval(dp**2))
    return quantities.DP_RMS.figure(rms, 0.5 / rms * square_error if rms else 0.0, *ends)


def _shape_figures(reference: Columns, candidate: Columns, cut: bool, interval: Interval) -> list[Figure]:
    """Figures that llama-perplexity lacks: divergences of the full distributions, and the uncertainty of each model."""
    columns = [(quantities.KLD_FULL, candidate["kld"])] if cut else []
    columns += [(quantities.KLD_REVERSE, candidate["kld_reverse"]), (quantities.JSD, candidate["jsd"])]
    columns += [(quantities.TOTAL_VARIATION, candidate["tv"])]
    for name, (of_reference, change, distance) in UNCERTAINTIES.items():
        values = candidate[name] - reference[name]
        columns += [(of_reference, reference[name]), (change, values), (distance, np.abs(values))]
    found = [quantity.figure(*_with_interval(values, interval)) for quantity, values in columns]
    finite = np.isfinite(reference["margin"]) & np.isfinite(candidate["margin"])
    margin = (candidate["margin"] - reference["margin"])[finite]
    return [*found, quantities.MARGIN_CHANGE.figure(*mean_and_error(margin))] if len(margin) else found


def tested(figure: Figure, change: Array, problems: Array) -> Figure:
    """The mean change of entropy with its p, that the problems' sums are as often below 0 as above; others as given."""
    if figure.name != quantities.ENTROPY_CHANGE.key:
        return figure
    names, index = np.unique(problems, return_inverse=True)
    return replace(figure, p=sign_flip_p(np.bincount(index, change), names))


def percentile(values: Array, q: float) -> float:
    """Interpolated at q/100 · (n - 1), as llama-perplexity does."""
    return float(np.quantile(values, q / 100))


def _with_interval(values: Array, interval: Interval) -> tuple[float, float, float | None, float | None]:
    return *mean_and_error(values), *interval(values)


def _exp(x: float) -> float:
    """e^x; inf beyond float64."""
    return math.exp(x) if x < MOST else math.inf


def _exps(ends: tuple[float | None, float | None]) -> list[float | None]:
    """The ends of an interval, if there is one, as powers of e."""
    return [None if x is None else _exp(x) for x in ends]


def macro(found: Sequence[Figure | Estimate]) -> Estimate:
    """The average of figures of several texts, each counting the same, with its interval.

    The texts are independent, so that distances to the ends of their intervals add up in squares: the method of
    variance estimates recovery, Zou and Donner (2008), doi:10.1002/sim.3095. No interval unless all have one.
    """
    values = [math.nan if one.value is None else one.value for one in found]
    value, n = sum(values) / len(values), len(values)
    ends = []
    for name, sign in (("low", -1.0), ("high", 1.0)):
        known = [getattr(one, name) for one in found]
        gaps = [math.nan if end is None else end - v for end, v in zip(known, values, strict=True)]
        ends.append(value + sign * math.hypot(*gaps) / n)
    low, high = (None if math.isnan(end) else end for end in ends)
    return Estimate(value, low, high, n=n)


# --- clustered by problem -----------------------------------------------------------------------------------------


def clustered(values: Array, problems: Array) -> Estimate:
    """Mean over positions, with an interval from resampling whole problems: (n,), (n,) names."""
    names, index = np.unique(problems, return_inverse=True)
    sums = np.bincount(index, values)
    found = estimate(ratio_of, sums, np.bincount(index), problems=names)
    return replace(found, n=len(values))


def ratio_of(above: Array, below: Array) -> Statistic:
    """Sum of one quantity over the sum of another: (n,) twice; counts (..., n) -> (...)."""
    above, below = np.asarray(above, float), np.asarray(below, float)

    def statistic(counts: Array) -> Array:
        total = counts @ below
        return np.divide(counts @ above, total, out=np.full(np.shape(total), np.nan), where=total != 0)

    return statistic


def _across(problems: Array | None) -> Spread:
    """Means over positions of traces, clustered by problem; without an interval where there are no problems."""

    def mean(values: Array, mask: Array) -> Estimate:
        if problems is None:
            return Estimate(float(values[mask].mean()), n=int(mask.sum()))
        return clustered(values[mask], problems[mask])

    return mean


def _along(chunks: Array | None) -> Spread:
    """Means over positions of a text in its order; None: it is one chunk."""
    n_chunks = 1 if chunks is None else len(np.unique(chunks))
    n_cosines = neighbours.cosines(n_chunks)

    def mean(values: Array, mask: Array) -> Estimate:
        low, high = neighbours.interval(values, n_cosines, mask)
        return Estimate(float(values[mask].mean()), low, high, n=int(mask.sum()), n_problems=n_chunks)

    return mean


def _interval(spread: Spread, values: Array) -> tuple[float | None, float | None]:
    found = spread(np.asarray(values, float), np.ones(len(values), bool))
    return found.low, found.high


def deciles(entropy: Array) -> list[tuple[str, Array]]:
    """Ten groups of positions by the reference's entropy, lowest first: name with its bounds, mask (n,)."""
    rank = np.empty(len(entropy), int)
    rank[np.argsort(entropy, kind="stable")] = np.arange(len(entropy))
    place = rank * 10 // max(len(entropy), 1)
    found = []
    for d in range(10):
        mask = place == d
        if mask.any():
            found.append((f"{d + 1}: {entropy[mask].min():.2g} to {entropy[mask].max():.2g}", mask))
    return found


def depths(depth: Array) -> list[tuple[str, Array]]:
    """Ranges of depth of equal width, shallowest first: tokens before each position (n,) -> name "256-287", mask (n,).

    DEPTHS of them, fewer where the depths span less; a range that no position is in is left out.
    """
    low, high = int(depth.min()), int(depth.max())
    edges = np.linspace(low, high + 1, min(DEPTHS, high + 1 - low) + 1).round().astype(int)
    masks = ((a, b, (depth >= a) & (depth < b)) for a, b in pairwise(edges.tolist()))
    return [(f"{a}-{b - 1}", mask) for a, b, mask in masks if mask.any()]


def _group(name: str, mask: Array, columns: Columns, spread: Spread) -> Group:
    def mean(column: str) -> Estimate:
        return spread(np.asarray(columns[column], float), mask)

    return Group(name, int(mask.sum()), mean("kld"), mean("same_top"), mean("delta_entropy"), mean("delta_varentropy"))
