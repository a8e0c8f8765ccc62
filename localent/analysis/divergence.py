"""What a comparison of two models says of the tokens that both were fed: llama-perplexity's figures and more.

Names and definitions of the teacher-forced figures are llama-perplexity's, so that people can compare. `uncertainty` is
its standard error, which takes positions for independent; `low` and `high` are a 95 % interval clustered by problem,
where there are problems. Differences are candidate minus reference.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from localent.analysis.intervals import Estimate, estimate
from localent.analysis.metrics import Array, Statistic

Columns = dict[str, Array]
PERCENTILES_KLD = (99.9, 99.0, 95.0, 90.0, 50.0, 10.0, 5.0, 1.0, 0.1)
PERCENTILES_DP = (99.9, 99.0, 95.0, 90.0, 75.0, 50.0, 25.0, 10.0, 5.0, 1.0, 0.1)
MOST = math.log(sys.float_info.max)


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a comparison."""

    name: str
    value: float
    uncertainty: float | None = None  # standard error, positions taken for independent
    low: float | None = None  # 95 %, clustered by problem
    high: float | None = None
    unit: str = "nats"  # "nats" | "nats²" | "share" | "perplexity" | "ratio" | "correlation"


@dataclass(frozen=True, slots=True)
class Group:
    """Some of the positions: one class of token, or one decile of the reference's entropy."""

    name: str
    n: int
    kld: Estimate
    same_top: Estimate
    delta_entropy: Estimate  # nats
    delta_varentropy: Estimate  # nats squared


@dataclass(frozen=True, slots=True)
class Forced:
    """Teacher-forced figures of one candidate."""

    n: int  # positions
    figures: tuple[Figure, ...]
    classes: tuple[Group, ...]  # empty: plain text
    deciles: tuple[Group, ...]

    def __getitem__(self, name: str) -> Figure:
        return next(figure for figure in self.figures if figure.name == name)


def forced(
    reference: Columns,
    candidate: Columns,
    *,
    cut: bool,
    problems: Array | None = None,
    classes: Array | None = None,
    distribution: bool = True,
) -> Forced:
    """All figures of one candidate from columns (n,) of `compare.forced.score`.

    cut: KLD over what the reference gives more than e^-16, llama-perplexity's definition (plain text); else over the
    full vocabulary. problems, classes: (n,) names. distribution: the reference's whole distribution is known, not only
    its 16 bits in a base file, which has no entropy.
    """
    kld = candidate["kld_cut" if cut else "kld"]
    change = {f"delta_{name}": candidate[name] - reference[name] for name in ("entropy", "varentropy")}
    wanted = candidate | change | {"kld": kld}
    interval = _interval_of(problems)
    figures = (
        *perplexities(reference["surprisal"], candidate["surprisal"], interval),
        *_kld_figures(kld, interval),
        *_token_figures(reference, candidate, interval),
        *(_shape_figures(reference, candidate, cut, interval) if distribution else ()),
    )
    groups = [(name, classes == name) for name in dict.fromkeys(classes)] if classes is not None else []
    tenths = deciles(reference["entropy"]) if distribution else []
    return Forced(
        n=len(kld),
        figures=figures,
        classes=tuple(_group(name, mask, wanted, problems) for name, mask in groups),
        deciles=tuple(_group(name, mask, wanted, problems) for name, mask in tenths),
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
    ppl_m, ppl_b = _exp([m, b])
    with np.errstate(invalid="ignore"):  # two infinities
        gap = ppl_m * mine - ppl_b * base  # its variance: (PPL_m em)² + (PPL_b eb)² - 2 PPL_m PPL_b covariance
    low, high = interval(mine - base)
    (times,) = _exp([ratio])
    correlation = covariance / (em * eb) if em and eb else math.nan
    return [
        Figure("Mean PPL(Q)", ppl_m, ppl_m * em, *_exp(interval(mine)), unit="perplexity"),
        Figure("Mean PPL(base)", ppl_b, ppl_b * eb, *_exp(interval(base)), unit="perplexity"),
        Figure("Cor(ln(PPL(Q)), ln(PPL(base)))", correlation, unit="correlation"),
        Figure("Mean ln(PPL(Q)/PPL(base))", ratio, ratio_error, low, high),
        Figure("Mean PPL(Q)/PPL(base)", times, times * ratio_error, *_exp((low, high)), unit="ratio"),
        Figure("Mean PPL(Q)-PPL(base)", ppl_m - ppl_b, mean_and_error(gap)[1], unit="perplexity"),
    ]


def _kld_figures(kld: Array, interval: Interval) -> list[Figure]:
    percentiles = [Figure(_percentile_name(q, "KLD"), percentile(kld, q)) for q in PERCENTILES_KLD]
    return [
        Figure("Mean KLD", *mean_and_error(kld), *interval(kld)),
        Figure("Maximum KLD", float(kld.max())),
        *percentiles,
        Figure("Minimum KLD", float(kld.min())),
    ]


def _token_figures(reference: Columns, candidate: Columns, interval: Interval) -> list[Figure]:
    """Δp of the token that follows, and how often both find the same token most likely."""
    dp = np.exp(-candidate["surprisal"]) - np.exp(-reference["surprisal"])
    square, square_error = mean_and_error(dp**2)
    rms, same = math.sqrt(square), candidate["same_top"]
    share = float(same.mean())
    ends = [None if x is None else math.sqrt(max(x, 0.0)) for x in interval(dp**2)]
    percentiles = [Figure(_percentile_name(q, "Δp"), percentile(dp, q), unit="share") for q in PERCENTILES_DP]
    error = math.sqrt(share * (1 - share) / max(len(same) - 1, 1))
    return [
        Figure("Mean Δp", *_with_interval(dp, interval), unit="share"),
        Figure("Maximum Δp", float(dp.max()), unit="share"),
        *percentiles,
        Figure("Minimum Δp", float(dp.min()), unit="share"),
        Figure("RMS Δp", rms, 0.5 / rms * square_error if rms else 0.0, *ends, unit="share"),
        Figure("Same top p", share, error, *interval(same), unit="share"),
    ]


def _shape_figures(reference: Columns, candidate: Columns, cut: bool, interval: Interval) -> list[Figure]:
    """What llama-perplexity does not look at: the whole distributions, and how uncertain each model is."""
    found = [Figure("Mean KLD, full vocabulary", *_with_interval(candidate["kld"], interval))] if cut else []
    found += [
        Figure("Mean reverse KLD", *_with_interval(candidate["kld_reverse"], interval)),
        Figure("Mean JSD", *_with_interval(candidate["jsd"], interval)),
    ]
    for name, column, unit in (("H", "entropy", "nats"), ("varentropy", "varentropy", "nats²")):
        change = candidate[column] - reference[column]
        found += [
            Figure(f"Mean {name}(base)", *_with_interval(reference[column], interval), unit=unit),
            Figure(f"Mean Δ{name}", *_with_interval(change, interval), unit=unit),
            Figure(f"Mean |Δ{name}|", *_with_interval(np.abs(change), interval), unit=unit),
        ]
    finite = np.isfinite(reference["margin"]) & np.isfinite(candidate["margin"])
    margin = (candidate["margin"] - reference["margin"])[finite]
    return [*found, Figure("Mean Δmargin", *mean_and_error(margin))] if len(margin) else found


def percentile(values: Array, q: float) -> float:
    """Interpolated at q/100 · (n - 1), as llama-perplexity does."""
    return float(np.quantile(values, q / 100))


def _percentile_name(q: float, what: str) -> str:
    return f"Median {what}" if q == 50 else f"{q:.1f}% {what}"


def _with_interval(values: Array, interval: Interval) -> tuple[float, float, float | None, float | None]:
    return *mean_and_error(values), *interval(values)


def _exp(numbers: Sequence[float | None]) -> list[float | None]:
    """Beyond float64: inf."""
    return [None if x is None else math.exp(x) if x < MOST else math.inf for x in numbers]


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


def _interval_of(problems: Array | None) -> Interval:
    if problems is None:
        return lambda values: (None, None)

    def interval(values: Array) -> tuple[float | None, float | None]:
        found = clustered(values, problems)
        return found.low, found.high

    return interval


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


def _group(name: str, mask: Array, columns: Columns, problems: Array | None) -> Group:
    def mean(column: str) -> Estimate:
        values = np.asarray(columns[column], float)[mask]
        if problems is not None:
            return clustered(values, problems[mask])
        value, error = mean_and_error(values)
        return Estimate(value, value - 1.96 * error, value + 1.96 * error, n=len(values))

    return Group(name, int(mask.sum()), mean("kld"), mean("same_top"), mean("delta_entropy"), mean("delta_varentropy"))
