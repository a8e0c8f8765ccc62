"""Right against wrong: the signatures as claims. Both groups are selected on the outcome.

Early separability. Half-way is the last probe at or before t = 0.5; of a trace of one step that is its start, where
every trace is uncertain. Since short traces are right more often, right traces then look uncertain before any step was
read. So the claim is about pairs of a right and a wrong trace with the same number K >= 2 of steps, each read after
K // 2 of them: equal k and equal t, and never the start. Its control is the start itself: it shows what follows from
the question alone, and the first half of the reasoning has to add to it. The plain comparison, any K with any other,
is reported beside it; if that separates, but not with length held fixed, both are "explained by length".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from localent.analysis import claims
from localent.analysis.claims import GAP, LENGTH, SMALLEST, SUPPORTED, UNDECIDED, Claim, Verdict, judged, varying
from localent.analysis.curves import HALF
from localent.analysis.intervals import (
    DEFAULT,
    Estimate,
    Resampling,
    estimate,
    if_enough,
    in_pair,
    of_those,
    separation,
)
from localent.analysis.metrics import Array, Statistic, UndefinedError, auroc, auroc_of, gap_of
from localent.analysis.probed import Probed
from localent.analysis.signatures import gap_values, lock_time, modal_lock, saturation, violations
from localent.analysis.significance import gap_p, partial_rank_of, separation_gain_p, separation_p


@dataclass(frozen=True, slots=True)
class Sample:
    """The probed traces of one model, whose right and wrong ones are compared."""

    subject: str
    p: Probed
    length: Array  # (n,) tokens
    resampling: Resampling = DEFAULT

    @property
    def anywhere(self) -> Array:
        """One stratum for all traces: (n,)."""
        return np.zeros(len(self.p.wrong), int)


def signatures(s: Sample) -> Iterator[Verdict]:
    """The verdicts on all signatures of right against wrong traces."""
    p, n_up = s.p, violations(s.p.entropy)
    rises = np.where(np.isnan(n_up), np.nan, n_up > 0)
    yield contrast(claims.LOCK_IN, s, lock_time(p.entropy, p.position))
    yield contrast(claims.LOCK_IN_LEADER, s, modal_lock(p.leader, p.position))
    yield contrast(claims.SEPARABILITY, s, gap_values(p))
    at_any = contrast(claims.EARLY_ANY, s, p.at(p.entropy, HALF))
    yield from _early(s)
    yield replace(at_any, note=at_any.note or "traces of one step are read at their start")
    yield _within(s)
    yield contrast(claims.MONOTONICITY, s, rises)
    effect, note = saturation(p, s.resampling), "noise around a level gives a positive slope as well"
    yield judged(claims.SATURATION, s.subject, effect, None, note)


def contrast(claim: Claim, s: Sample, scores: Array) -> Verdict:
    """The claim by one score (n,), higher = as claimed for wrong traces."""
    if claim.test == GAP:
        effect = estimate(gap_of, scores, s.p.wrong, problems=s.p.problems, resampling=s.resampling)
    else:
        effect = scaled(
            separation(scores, s.p.wrong, s.p.problems, resampling=s.resampling), claim.scale, -0.5 * claim.scale
        )
    return _beside_length(claim, s, scores, effect, s.anywhere)


def _comparable(effect: Estimate, scores: Array, wrong: Array) -> Estimate:
    """The effect, or why right and wrong cannot be compared."""
    known = ~np.isnan(scores)
    size = replace(effect, value=None, low=None, high=None)
    if not ((wrong & known).any() and (~wrong & known).any()):
        return replace(size, reason="needs right and wrong traces")
    if len(np.unique(scores[known])) == 1:
        return replace(size, reason="all traces are alike in it")
    return effect


def _early(s: Sample) -> Iterator[Verdict]:
    """Early separability between traces of equally many steps, and what it has beyond the start: see above."""
    p, half = s.p, s.p.half_way(s.p.entropy)
    start = np.where(np.isnan(half), np.nan, p.entropy[:, 0])
    effect = scaled(separation(half, p.wrong, p.problems, p.n_steps, resampling=s.resampling), 1, -0.5)
    found = _beside_length(claims.EARLY, s, half, effect, p.n_steps)
    yield replace(found, note=found.note or "pairs of equally many steps, two or more")
    gain = gain_of_separation(half, start, p.wrong, p.problems, p.n_steps, resampling=s.resampling)
    test = _p_of(~np.isnan(half), separation_gain_p, half, start, p.wrong, p.problems, p.n_steps)
    yield judged(claims.EARLY_GAIN, s.subject, gain, test, "of the same pairs, AUROC at half minus at k = 0")


def gain_of_separation(
    after: Array, before: Array, wrong: Array, problems: Array, strata: Array, resampling: Resampling = DEFAULT
) -> Estimate:
    """AUROC of `after` minus that of `before`, over the same pairs: n, the traces in one.

    No interval if all pairs agree before: resampling does not show how certain that is, and near 1 there is no room
    to gain.
    """
    gain = estimate(_gain_of, after, before, wrong, strata, problems, problems=problems, resampling=resampling)
    if gain.value is None:
        return gain
    kept = in_pair(after, wrong, strata)
    gain = if_enough(of_those(gain, problems[kept]), problems[kept], wrong[kept])
    at_start = auroc(before[kept], wrong[kept], strata[kept])
    if at_start == 0 or at_start > 1 - SMALLEST["AUROC"]:
        return replace(
            gain, low=None, high=None, reason=f"AUROC {at_start:.3g} at k = 0 leaves nothing to gain or lose"
        )
    return varying(gain)


def _gain_of(after: Array, before: Array, wrong: Array, strata: Array, problems: Array) -> Statistic:
    """AUROC of `after` minus that of `before`, over the same pairs."""
    one, other = (auroc_of(values, wrong, strata, problems) for values in (after, before))
    return lambda counts: one(counts) - other(counts)


def _within(s: Sample) -> Verdict:
    """Pairs of one question, of two steps or more: at k = 0 all its traces have the same prefix."""
    p, half = s.p, s.p.half_way(s.p.entropy)
    effect = scaled(separation(half, p.wrong, p.problems, p.problems, resampling=s.resampling), 1, -0.5)
    return _beside_length(claims.WITHIN, s, half, effect, p.problems)


def _beside_length(claim: Claim, s: Sample, scores: Array, effect: Estimate, strata: Array) -> Verdict:
    """The verdict on an effect within strata (n,), and the effect that is left with length held fixed."""
    p, kept = s.p, in_pair(scores, s.p.wrong, strata)
    effect = varying(if_enough(_comparable(effect, scores, p.wrong), p.problems[kept], p.wrong[kept]))
    found = judged(claim, s.subject, effect, _p_between(claim, s, scores, strata))
    given, verdict, note = _rank_correlation(s, scores, s.length, strata), found.verdict, ""
    if verdict == SUPPORTED and not given.above(0):
        verdict, note = _without_length(given, _rank_correlation(s, scores, 0 * s.length, strata))
    return replace(found, verdict=verdict, given_length=given, note=note)


def _p_between(claim: Claim, s: Sample, scores: Array, strata: Array) -> float | None:
    """Two-sided p that right and wrong traces do not differ."""
    known, labels = ~np.isnan(scores), (scores, s.p.wrong, s.p.problems)
    return _p_of(known, gap_p, *labels) if claim.test == GAP else _p_of(known, separation_p, *labels, strata)


def _rank_correlation(s: Sample, scores: Array, given: Array, strata: Array) -> Estimate:
    """Rank correlation of scores and being wrong, `given` (n,) held fixed, over the traces that are in a pair."""
    ranked = np.where(in_pair(scores, s.p.wrong, strata), scores, np.nan)
    return estimate(partial_rank_of, ranked, s.p.wrong, given, strata, problems=s.p.problems, resampling=s.resampling)


def _without_length(given: Estimate, at_any: Estimate) -> tuple[str, str]:
    """Verdict and note on an effect that ranks at equal length do not show. at_any: the same at any length."""
    if not given.known:
        return UNDECIDED, "length cannot be held fixed"
    return (LENGTH, "") if at_any.above(0) else (UNDECIDED, "by ranks nothing is shown")


def _p_of(known: Array, test: Callable[..., float], *arrays: Array) -> float | None:
    try:
        return test(*(array[known] for array in arrays))
    except UndefinedError:
        return None


def scaled(found: Estimate, factor: float, shift: float) -> Estimate:
    """factor · estimate + shift, with its interval; factor is positive."""
    value, low, high = (None if x is None else factor * x + shift for x in (found.value, found.low, found.high))
    return replace(found, value=value, low=low, high=high)
