"""A model beside an ideal reader, where the data say what that one knows: information per step against that available.

What there is to gain at a step is what the ideal reader's entropy falls by; the model's gain is that of ln q(true
answer), raw or recalibrated. Where the clues arrive with the steps, no reader can gain more on average. Where all of
them stand in the question, the reference is the reader who applies one a step, and what a model knows beyond it is
look-ahead. Steps that tell nothing are a control that comes with the data: confidence alone moves what is raw, and
nothing that is recalibrated.

Recalibrated: the distribution is raised to a power and mixed with a guess among the answers that are possible at first.
Power and weight are those that fit the other half of the problems best, at each part of the trace apart. A power takes
overconfidence out that favours one of several answers, which no mixture does [ours]; as temperature scaling, Guo et al.
(2017), arXiv 1706.04599, on probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from localent.analysis import claims
from localent.analysis.claims import REFUTED, SUPPORTED, UNDECIDED, Claim, Ps, Verdict, judged
from localent.analysis.contrasts import Sample
from localent.analysis.curves import FLOOR, log_true
from localent.analysis.information import N_CELLS, cells, halves
from localent.analysis.intervals import DEFAULT, Estimate, Resampling, estimate
from localent.analysis.metrics import Array, Statistic, mean_of
from localent.analysis.probed import Probed
from localent.analysis.recorded import Ideal
from localent.analysis.significance import sign_flip_p

WEIGHTS = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0)  # of the guess among the answers that are possible at first
NOTHING = 1e-9  # nats: less than this is nothing to gain


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Information per step, raw or recalibrated: nats gained and available between neighbouring probes, (n, J_max)."""

    gained: Array
    available: Array
    problems: Array  # (n,) problem of each trace, variants as one

    @property
    def useful(self) -> Array:
        """(n,) mean gain of a trace over its steps that have something to tell; NaN: it has none."""
        return _mean_where(self.gained, self.available > NOTHING)

    @property
    def useless(self) -> Array:
        """(n,) mean gain of a trace over its steps that tell nothing; NaN: it has none."""
        return _mean_where(self.gained, np.abs(self.available) <= NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gains:
    """Gains against what there is to gain."""

    efficiency: Estimate  # gained / available, over all steps
    slope: Estimate  # of the gain on what is available, over steps
    useful: Estimate  # nats a step that has something to tell
    useless: Estimate  # nats a step that tells nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """One model beside the ideal reader."""

    n_useful: int  # steps
    n_useless: int
    available: Estimate  # nats a step
    correlation: Estimate  # of the model's and the ideal entropy, over prefixes
    excess: Estimate  # nats: KL(ideal || model), mean over prefixes in which all possible answers were looked at
    outside: Estimate  # probability of answers that were never possible, mean over prefixes
    ahead: Estimate  # nats: information before the first step beyond the ideal reader's, recalibrated
    beyond: Estimate  # nats: the same over all prefixes; below 0 where the model lacks some
    raw: Gains
    recalibrated: Gains


def beside(p: Probed, ideal: Ideal, resampling: Resampling = DEFAULT) -> Beside:
    """The figures of a run's own probes. Intervals are clustered by problem."""
    q = readable(p, ideal)
    raw, recalibrated = (steps(p, ideal, log_q) for log_q in (log_true(p.p_true), q))
    useless = np.abs(recalibrated.available) <= NOTHING

    def mean(values: Array) -> Estimate:
        return _over(mean_of, p.clusters, resampling, values)

    return Beside(
        n_useful=int((recalibrated.available > NOTHING).sum()),
        n_useless=int(useless.sum()),
        available=mean(recalibrated.available),
        correlation=_over(correlation_of, p.clusters, resampling, p.entropy, ideal.entropy),
        excess=mean(ideal.excess),
        outside=mean(ideal.outside),
        ahead=mean(q[:, :1] + ideal.entropy[:, :1]),
        beyond=mean(q + ideal.entropy),
        raw=gains(raw, resampling),
        recalibrated=gains(recalibrated, resampling),
    )


def gains(s: Steps, resampling: Resampling = DEFAULT) -> Gains:
    """The gains of one kind."""
    trace = s.problems
    return Gains(
        efficiency=_over(ratio_of, trace, resampling, s.gained, s.available),
        slope=_over(slope_of, trace, resampling, s.gained, s.available),
        useful=estimate(mean_of, s.useful, problems=trace, resampling=resampling),
        useless=estimate(mean_of, s.useless, problems=trace, resampling=resampling),
    )


def steps(p: Probed, ideal: Ideal, log_q: Array) -> Steps:
    """Gains between neighbouring probes. log_q: ln of the true answer's probability at each, (n, J_max + 1) nats."""
    available = -np.diff(ideal.entropy, axis=1)
    gained = np.where(np.isnan(available), np.nan, np.diff(log_q, axis=1))
    return Steps(gained=gained, available=np.where(np.isnan(gained), np.nan, available), problems=p.clusters)


# --- recalibration --------------------------------------------------------------------------------------------------


def readable(p: Probed, ideal: Ideal) -> Array:
    """ln q_k(true answer), recalibrated as the module says: (n, J_max + 1) nats, NaN where not known.

    Each problem counts once in each part of the trace. All NaN where no problem is in the other half.
    """
    there = ~np.isnan(ideal.entropy) & ~np.isnan(ideal.entropy[:, :1]) & ~np.isnan(ideal.powers).any(-1)
    found = np.full(there.shape, np.nan)
    if len(np.unique(halves(p.clusters))) < 2 or not there.any():
        return found
    guess = np.broadcast_to(np.exp(-ideal.entropy[:, :1]), there.shape)[there]
    mixed = np.log(_mixed(ideal.powers[there], guess))
    of = cells(p.position, there, p.clusters)
    fit = np.zeros((N_CELLS, mixed.shape[1]))
    np.add.at(fit, of.own, mixed * of.counts[:, None])
    found[there] = mixed[np.arange(len(mixed)), fit.argmax(1)[of.other]]
    return found


def _mixed(powers: Array, guess: Array) -> Array:
    """The true answer's probability under every power and weight: (m, n_powers), (m,) -> (m, n_powers * n_weights)."""
    weights = np.array(WEIGHTS)
    found = (1 - weights) * powers[:, :, None] + weights * guess[:, None, None]
    return np.maximum(found.reshape(len(powers), -1), 1e-300)


# --- statistics -----------------------------------------------------------------------------------------------------


def ratio_of(above: Array, below: Array) -> Statistic:
    """Sum of `above` over the sum of `below`, (n,) each."""

    def ratio(counts: Array) -> Array:
        total = counts @ below
        return np.divide(counts @ above, total, out=np.full(np.shape(total), np.nan), where=total > NOTHING)

    return ratio


def slope_of(y: Array, x: Array) -> Statistic:
    """The least-squares slope of y on x, (n,) each."""
    return lambda counts: _moments(counts, x, y)[1]


def correlation_of(x: Array, y: Array) -> Statistic:
    """Pearson's correlation of x and y, (n,) each."""
    return lambda counts: _moments(counts, x, y)[0]


def _moments(counts: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """(correlation, slope of y on x); NaN where x, or for the correlation y, has no spread."""
    n = counts.sum(-1)
    mx, my = counts @ x / n, counts @ y / n
    xx, yy, xy = counts @ x**2 / n - mx**2, counts @ y**2 / n - my**2, counts @ (x * y) / n - mx * my
    with np.errstate(divide="ignore", invalid="ignore"):
        return (
            np.where((xx > NOTHING) & (yy > NOTHING), xy / np.sqrt(np.maximum(xx * yy, NOTHING**2)), np.nan),
            np.where(xx > NOTHING, xy / np.maximum(xx, NOTHING), np.nan),
        )


def _over(make: Callable[..., Statistic], problems: Array, resampling: Resampling, *values: Array) -> Estimate:
    """A statistic over all probes or steps, (n, m) each, clustered by the problem of their trace."""
    known = ~np.isnan(np.stack(values)).any(0)
    first, *others = (one[known] for one in values)
    names = np.broadcast_to(np.asarray(problems)[:, None], known.shape)[known]
    return estimate(make, first, *others, problems=names, resampling=resampling)


def _mean_where(values: Array, wanted: Array) -> Array:
    """Mean over the wanted entries of each row: (n, m) -> (n,); NaN where there is none."""
    wanted = wanted & ~np.isnan(values)
    n = wanted.sum(1)
    return np.where(n > 0, np.where(wanted, values, 0.0).sum(1) / np.maximum(n, 1), np.nan)


# --- claims ---------------------------------------------------------------------------------------------------------


def verdicts(s: Sample, ideal: Ideal) -> Iterator[Verdict]:
    """The claims about one model beside the ideal reader; they belong to the family of its other claims."""
    found = steps(s.p, ideal, readable(s.p, ideal))
    raw = steps(s.p, ideal, log_true(s.p.p_true))
    yield _gains(s, found.useful)
    yield _gains_nothing(s, found.useless)
    for claim, values in ((claims.RAW_USEFUL, raw.useful), (claims.RAW_USELESS, raw.useless)):
        effect = estimate(mean_of, values, problems=s.p.clusters, resampling=s.resampling)
        yield claims.reported(claim, s.subject, effect, f"floor {FLOOR:g}; moves with confidence alone")


def _gains(s: Sample, values: Array) -> Verdict:
    """That steps which have something to tell are gained from: (n,) nats."""
    claim, size = claims.GAINS_USEFUL, s.rules.smallest(claims.GAINS_USEFUL.unit)
    effect = claims.varying(estimate(mean_of, values, problems=s.p.clusters, resampling=s.resampling))
    above = effect.value is None or effect.value >= size
    smaller = 1.0 if above else sign_flip_p(values, s.p.clusters, size)
    return judged(claim, s.subject, effect, Ps(sign_flip_p(values, s.p.clusters), smaller), rules=s.rules)


def _gains_nothing(s: Sample, values: Array) -> Verdict:
    """That steps which tell nothing are not gained from, (n,) nats: two one-sided tests against the smallest effect.

    Refuted if the whole interval is beyond that size on one side. Source: Schuirmann (1987), doi:10.1007/BF01068419.
    """
    claim, size = claims.GAINS_NOTHING, s.rules.smallest(claims.GAINS_NOTHING.unit)
    effect = estimate(mean_of, values, problems=s.p.clusters, resampling=s.resampling)
    sides = [sign_flip_p(values, s.p.clusters, bound) for bound in (-size, size)]
    same = None if None in sides else max(p for p in sides if p is not None)
    refuted = effect.above(size) or effect.below(-size)
    verdict = SUPPORTED if effect.above(-size) and effect.below(size) else REFUTED if refuted else UNDECIDED
    return _nothing(claim, s, effect, sign_flip_p(values, s.p.clusters) if refuted else same, verdict)


def _nothing(claim: Claim, s: Sample, effect: Estimate, p: float | None, verdict: str) -> Verdict:
    about = (claim.title, claim.key, s.subject, effect, claim.unit, claim.test, p)
    size = s.rules.smallest(claim.unit)
    note = f"supported where the whole interval is within {size:g} of 0"
    return Verdict(*about, verdict, None, claim.selected, note, smallest=size)
