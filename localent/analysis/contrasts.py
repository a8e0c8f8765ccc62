"""Right against wrong: the signatures as claims. Both groups are selected on the outcome.

Early separability. Half-way is the last probe at or before t = 0.5; of a trace of one step that is its start, where
every trace is uncertain. Since short traces are right more often, right traces then look uncertain though nothing was
read. So the claim is about pairs of a right and a wrong trace with the same number K >= 2 of steps, each read after
K // 2 of them: equal k and equal t, and never the start. Its control is the start itself: what the question alone
tells is told there, and the first half of the reasoning has to add to it. The plain comparison, any K with any other,
stands beside; where that separates, but not with length held fixed, both are "explained by length".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from localent.analysis.claims import EARLY, EARLY_ANY, LENGTH, SMALLEST, SUPPORTED, UNDECIDED, Verdict, decide, varying
from localent.analysis.curves import HALF, at_position, half_way
from localent.analysis.intervals import Estimate, estimate, if_enough, in_pair, of_those, separation
from localent.analysis.metrics import Array, Statistic, UndefinedError, auroc, auroc_of, gap_of
from localent.analysis.probed import Probed
from localent.analysis.signatures import gap_values, lock_time, modal_lock, saturation, violations
from localent.analysis.significance import gap_p, partial_rank_of, separation_gain_p, separation_p

DELONG, INTERVAL = "clustered DeLong", "interval alone"
GAP, GAPS = "clustered t", ("nats", "share")  # compared by their means


def signatures(subject: str, p: Probed, length: Array, options: dict) -> Iterator[Verdict]:
    half = at_position(p.trajectory(p.entropy), HALF)
    n_up = violations(p.entropy)
    rises = np.where(np.isnan(n_up), np.nan, n_up > 0)
    delta, auroc = "Cliff's delta", "AUROC - 0.5"
    yield _contrast(
        "lock-in: wrong traces lock in later", subject, p, lock_time(p.entropy, p.position), delta, length, options
    )
    leader = modal_lock(p.leader, p.position)
    yield _contrast("lock-in of the leading answer", subject, p, leader, delta, length, options)
    claim = "separability: wrong traces stay uncertain"
    yield _contrast(claim, subject, p, gap_values(p), "nats", length, options)
    plain = _contrast(EARLY_ANY, subject, p, half, auroc, length, options)
    yield from _early(subject, p, length, options)
    yield replace(plain, note=plain.note or "traces of one step are read at their start")
    yield _within(subject, p, length, options)
    yield _contrast("monotonicity: wrong traces rise more often", subject, p, rises, "share", length, options)
    effect = saturation(p, **options)
    note = "noise around a level gives a positive slope as well"
    claim, unit = "saturation: steps shrink near the floor", "nats a nat"
    yield Verdict(claim, subject, effect, unit, INTERVAL, None, decide(effect, unit), None, False, note)


def _contrast(claim: str, subject: str, p: Probed, scores: Array, unit: str, length: Array, options: dict) -> Verdict:
    """Wrong against right by one score (n,), higher = as claimed for wrong traces."""
    if unit in GAPS:
        effect = estimate(gap_of, scores, p.wrong, problems=p.problems, **options)
    else:
        scale = 2 if unit == "Cliff's delta" else 1
        effect = scaled(separation(scores, p.wrong, p.problems, **options), scale, -0.5 * scale)
    return _beside_length(claim, subject, p, scores, effect, unit, length, options)


def _comparable(effect: Estimate, scores: Array, wrong: Array) -> Estimate:
    """The effect, or why right and wrong cannot be compared."""
    known = ~np.isnan(scores)
    size = dict(n=effect.n, n_missing=effect.n_missing, n_problems=effect.n_problems)
    if not ((wrong & known).any() and (~wrong & known).any()):
        return Estimate(None, **size, reason="needs right and wrong traces")
    if len(np.unique(scores[known])) == 1:
        return Estimate(None, **size, reason="all traces are alike in it")
    return effect


def _early(subject: str, p: Probed, length: Array, options: dict) -> Iterator[Verdict]:
    """Early separability between traces of equally many steps, and what it has beyond the start: see above."""
    half = half_way(p.trajectory(p.entropy))
    start = np.where(np.isnan(half), np.nan, p.entropy[:, 0])
    effect = scaled(separation(half, p.wrong, p.problems, p.n_steps, **options), 1, -0.5)
    found = _beside_length(EARLY, subject, p, half, effect, "AUROC - 0.5", length, options, p.n_steps)
    yield replace(found, note=found.note or "pairs of equally many steps, two or more")
    gain = gain_of_separation(half, start, p.wrong, p.problems, p.n_steps, **options)
    test = _p_of(~np.isnan(half), separation_gain_p, half, start, p.wrong, p.problems, p.n_steps)
    claim, note = "early separability beyond the start", "of the same pairs, AUROC at half minus at k = 0"
    yield Verdict(claim, subject, gain, "AUROC", DELONG, test, decide(gain, "AUROC"), None, True, note)


def gain_of_separation(
    after: Array, before: Array, wrong: Array, problems: Array, strata: Array, **options
) -> Estimate:
    """AUROC of `after` minus that of `before`, over the same pairs: n, the traces in one.

    No interval where all pairs agree before: resamples do not see how sure that is, and near 1 there is no room.
    """
    gain = estimate(_gain_of, after, before, wrong, strata, problems, problems=problems, **options)
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


def _within(subject: str, p: Probed, length: Array, options: dict) -> Verdict:
    """Pairs of one question, of two steps or more: at k = 0 all its traces are alike."""
    half = half_way(p.trajectory(p.entropy))
    effect = scaled(separation(half, p.wrong, p.problems, p.problems, **options), 1, -0.5)
    claim, unit = "within-question separability, t = 0.5", "AUROC - 0.5"
    return _beside_length(claim, subject, p, half, effect, unit, length, options, p.problems)


def _beside_length(
    claim: str,
    subject: str,
    p: Probed,
    scores: Array,
    effect: Estimate,
    unit: str,
    length: Array,
    options: dict,
    strata: Array | None = None,
) -> Verdict:
    strata = np.zeros(len(p.wrong), int) if strata is None else strata
    kept = in_pair(scores, p.wrong, strata)
    effect = varying(if_enough(_comparable(effect, scores, p.wrong), p.problems[kept], p.wrong[kept]))
    given, verdict, note = _rank_correlation(p, scores, length, strata, options), decide(effect, unit), ""
    if verdict == SUPPORTED and not (given.known and given.low > 0):
        verdict, note = _without_length(given, _rank_correlation(p, scores, 0 * length, strata, options))
    known, labels = ~np.isnan(scores), (scores, p.wrong, p.problems)
    if unit in GAPS:
        name, test = GAP, _p_of(known, gap_p, *labels)
    else:
        name, test = DELONG, _p_of(known, separation_p, *labels, strata)
    return Verdict(claim, subject, effect, unit, name, test, verdict, given, True, note)


def _rank_correlation(p: Probed, scores: Array, given: Array, strata: Array, options: dict) -> Estimate:
    """Of the scores with being wrong, `given` (n,) held fixed, over the traces that have a pair in their stratum."""
    ranked = np.where(in_pair(scores, p.wrong, strata), scores, np.nan)
    return estimate(partial_rank_of, ranked, p.wrong, given, strata, problems=p.problems, **options)


def _without_length(given: Estimate, whatever: Estimate) -> tuple[str, str]:
    """Verdict and note on an effect that ranks at equal length do not show. whatever: the same, whatever the length."""
    if not given.known:
        return UNDECIDED, "length cannot be held fixed"
    return (LENGTH, "") if whatever.known and whatever.low > 0 else (UNDECIDED, "by ranks nothing is shown")


def _p_of(known: Array, test: Callable, *arrays: Array) -> float | None:
    try:
        return test(*(array[known] for array in arrays))
    except UndefinedError:
        return None


def scaled(found: Estimate, factor: float, shift: float) -> Estimate:
    """factor · estimate + shift, with its interval; factor is positive."""
    ends = (None if x is None else factor * x + shift for x in (found.value, found.low, found.high))
    return replace(found, **dict(zip(("value", "low", "high"), ends, strict=True)))
