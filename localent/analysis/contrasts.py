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

from localent.analysis import claims, held
from localent.analysis.claims import (
    DEFAULT_RULES,
    GAP,
    LENGTH,
    QUESTION,
    SMALLEST,
    SUPPORTED,
    Claim,
    Ps,
    Rules,
    Verdict,
    judged,
    undecided,
    varying,
)
from localent.analysis.curves import GRID, HALF
from localent.analysis.held import Compared, Held
from localent.analysis.intervals import (
    DEFAULT,
    MIN_TOLD,
    Estimate,
    Resampling,
    estimate,
    if_enough,
    in_pair,
    n_rarer,
    of_those,
    separation,
)
from localent.analysis.metrics import Array, Statistic, UndefinedError, auroc, auroc_of, gap_of
from localent.analysis.probed import Probed
from localent.analysis.saturation import early, saturation
from localent.analysis.signatures import gap_values, lock_time, modal_lock, violations
from localent.analysis.significance import Shift, gap_shift, separation_gain_shift, separation_shift

FEW_TOLD = f"right or wrong traces of fewer than {MIN_TOLD} problems"
ONE_SAMPLE = "questions are not held fixed: too few have right and wrong traces"


@dataclass(frozen=True, slots=True)
class Sample:
    """The probed traces of one model, whose right and wrong ones are compared."""

    subject: str
    p: Probed
    length: Array  # (n,) tokens
    resampling: Resampling = DEFAULT
    rules: Rules = DEFAULT_RULES

    @property
    def anywhere(self) -> Array:
        """One stratum for all traces: (n,)."""
        return np.zeros(len(self.p.wrong), int)


@dataclass(frozen=True, slots=True)
class Scored:
    """One score per trace, higher = as claimed for wrong ones. Arrays are (n,), NaN: the trace lacks it."""

    values: Array
    strata: Array  # only pairs from one stratum count
    se: Array | None = None  # standard error of each, in nats, where it is estimated; None: not in nats, or exact
    by_question: bool = False  # the strata are the questions


def signatures(s: Sample) -> Iterator[Verdict]:
    """The verdicts on all signatures of right against wrong traces."""
    p, rules = s.p, s.rules
    n_up = violations(p.entropy, p.entropy_se, rules.slack)
    rises = np.where(np.isnan(n_up), np.nan, n_up > 0)
    locked = lock_time(p.entropy, p.position, rules.lock)
    yield contrast(claims.LOCK_IN, s, Scored(locked, s.anywhere))
    yield contrast(claims.LOCK_IN_LEADER, s, Scored(modal_lock(p.leader, p.position), s.anywhere))
    yield contrast(claims.SEPARABILITY, s, Scored(gap_values(p), s.anywhere, _mean_se(p)))
    at_any = contrast(claims.EARLY_ANY, s, Scored(p.at(p.entropy, HALF), s.anywhere, p.at(p.entropy_se, HALF)))
    yield from _early(s)
    yield replace(at_any, note=at_any.note or "traces of one step are read at their start")
    within = Scored(p.half_way(p.entropy), p.problems, p.half_way(p.entropy_se), by_question=True)
    yield contrast(claims.WITHIN, s, within)
    yield contrast(claims.MONOTONICITY, s, Scored(rises, s.anywhere))
    yield _saturates(s)


def _mean_se(p: Probed) -> Array:
    """Root mean square over t of the standard errors of a trace's entropies: (n,) nats."""
    found: Array = np.sqrt((np.nan_to_num(p.at(p.entropy_se, GRID)) ** 2).mean(1))
    return found


def contrast(claim: Claim, s: Sample, x: Scored) -> Verdict:
    """The claim by one score."""
    p, kept = s.p, in_pair(x.values, s.p.wrong, x.strata)
    if claim.test == GAP:
        effect = estimate(gap_of, x.values, p.wrong, problems=p.clusters, resampling=s.resampling)
    else:
        found = separation(x.values, p.wrong, p.clusters, x.strata, s.resampling)
        effect = scaled(found, claim.scale, -0.5 * claim.scale)
    effect = varying(if_enough(_comparable(effect, x.values, p.wrong), p.clusters[kept], p.wrong[kept]))
    verdict = judged(claim, s.subject, effect, _ps(claim, s, x), rules=s.rules)
    return _told(resolved(beside(verdict, s, x), s, x), p.clusters[kept], p.wrong[kept])


def _comparable(effect: Estimate, scores: Array, wrong: Array) -> Estimate:
    """The effect, or why right and wrong cannot be compared."""
    known = ~np.isnan(scores)
    size = replace(effect, value=None, low=None, high=None)
    if not ((wrong & known).any() and (~wrong & known).any()):
        return replace(size, reason="needs right and wrong traces")
    if len(np.unique(scores[known])) == 1:
        return replace(size, reason="all traces are alike in it")
    return effect


def _ps(claim: Claim, s: Sample, x: Scored) -> Ps:
    """The p-values of a difference between right and wrong traces."""
    known, labels = ~np.isnan(x.values), (x.values, s.p.wrong, s.p.clusters)
    if claim.test == GAP:
        return _ps_of(claim, s, _shift_of(known, gap_shift, *labels))
    return _ps_of(claim, s, _shift_of(known, separation_shift, *labels, x.strata))


def _ps_of(claim: Claim, s: Sample, shift: Shift | None) -> Ps:
    size = s.rules.smallest(claim.unit) / claim.scale
    return Ps(None, None) if shift is None else Ps(shift.p(), shift.p_below(size))


def _shift_of(known: Array, test: Callable[..., Shift], *arrays: Array) -> Shift | None:
    try:
        return test(*(array[known] for array in arrays))
    except UndefinedError:
        return None


def _told(v: Verdict, problems: Array, wrong: Array) -> Verdict:
    """The verdict, left open where one class is small."""
    few = v.verdict != claims.UNDECIDED and n_rarer(problems, wrong) < MIN_TOLD
    return undecided(v, FEW_TOLD) if few else v


# --- length and question held fixed -----------------------------------------------------------------------------------


def beside(v: Verdict, s: Sample, x: Scored) -> Verdict:
    """The verdict with length and the question held fixed: of a supported one, what is left decides."""
    length, question, whole = held_fixed(s, x)
    v = replace(v, given_length=length.left, given_question=question.left)
    if v.verdict != SUPPORTED or whole is None:
        return v
    why, note = held.decide(whole, length, None if x.by_question else question)
    if why in (LENGTH, QUESTION):
        return replace(v, verdict=why)
    if note:
        return undecided(v, note)
    ps = [one for one in (v.p, length.p, question.p) if one is not None]
    return replace(v, p=max(ps, default=None), note=v.note or (ONE_SAMPLE if question.p is None else ""))


def held_fixed(s: Sample, x: Scored) -> tuple[Held, Held, float | None]:
    """AUROC minus 0.5 of the same pairs with length held fixed, with the question held fixed, and as a whole."""
    compared = Compared.of(x.values, s.p, s.length)
    question = held.by_question(compared)
    whole = _shift_of(~np.isnan(x.values), separation_shift, x.values, s.p.wrong, s.p.clusters, x.strata)
    length = held.by_both(compared) if x.by_question else held.by_length(compared)
    return length, question, None if whole is None else whole.value


# --- what the estimates resolve ---------------------------------------------------------------------------------------


def resolved(v: Verdict, s: Sample, x: Scored) -> Verdict:
    """The verdict, left open where the estimates cannot show the difference that it is about."""
    known, wrong = ~np.isnan(x.values), s.p.wrong
    if v.verdict == claims.UNDECIDED or not (known & wrong).any() or not (known & ~wrong).any():
        return v
    why = _tied(v, x, s) or ("" if x.se is None else _noisy(v, x, s))
    return undecided(v, why) if why else v


def _tied(v: Verdict, x: Scored, s: Sample) -> str:
    """An AUROC is bounded by the pairs that differ at all; where most are tied, nothing is shown to be small."""
    if not v.is_smaller or v.test == GAP:
        return ""
    known = ~np.isnan(x.values)
    below, above = (x.values[known & side] for side in (s.p.wrong, ~s.p.wrong))
    tied = float((below[:, None] == above[None, :]).mean())
    return f"{tied:.0%} of the pairs are tied: it does not resolve them" if tied > 0.5 else ""


def _noisy(v: Verdict, x: Scored, s: Sample) -> str:
    """A difference inside the standard error of the entropies decides nothing; nor does noise show that it is small."""
    known = ~np.isnan(x.values)
    values, wrong = x.values[known], s.p.wrong[known]
    noise = float(np.sqrt((np.nan_to_num(x.se[known]) ** 2).mean())) if x.se is not None else 0.0
    gap = abs(float(values[wrong].mean() - values[~wrong].mean()))
    limit = s.rules.smallest("nats") if v.unit == "nats" else float(values.std()) / 2
    if (v.is_smaller and noise > limit) or (not v.is_smaller and gap <= noise):
        return f"inside the standard error of the entropies: {gap:.2g} nats apart, {noise:.2g} each"
    return ""


# --- single claims ----------------------------------------------------------------------------------------------------


def _early(s: Sample) -> Iterator[Verdict]:
    """Early separability between traces of equally many steps, and what it has beyond the start: see above."""
    p, half = s.p, s.p.half_way(s.p.entropy)
    start = np.where(np.isnan(half), np.nan, p.entropy[:, 0])
    x = Scored(half, p.n_steps, p.half_way(p.entropy_se))
    found = contrast(claims.EARLY, s, x)
    yield replace(found, note=found.note or "pairs of equally many steps, two or more")
    gain = gain_of_separation(half, start, p.wrong, p.clusters, p.n_steps, resampling=s.resampling)
    known = ~np.isnan(half)
    shift = _shift_of(known, separation_gain_shift, half, start, p.wrong, p.clusters, p.n_steps)
    note = "of the same pairs, AUROC at half minus at k = 0"
    beyond = judged(claims.EARLY_GAIN, s.subject, gain, _ps_of(claims.EARLY_GAIN, s, shift), note, s.rules)
    kept = in_pair(half, p.wrong, p.n_steps)
    yield _told(resolved(beside(beyond, s, x), s, x), p.clusters[kept], p.wrong[kept])


def _saturates(s: Sample) -> Verdict:
    """The claim by both contrasts of saturation.py; where nothing falls, nothing can flatten."""
    found, size = saturation(s.p, s.resampling), s.rules.smallest(claims.SATURATION.unit)
    ps = Ps(found.p, found.p_smaller(size, s.p.clusters, early(s.p)))
    verdict = judged(claims.SATURATION, s.subject, varying(found.effect), ps, rules=s.rules)
    if claims.decide(found.fall, claims.SATURATION.unit, s.rules) != SUPPORTED:
        return undecided(verdict, "the answer entropy is not shown to fall")
    if verdict.verdict != claims.UNDECIDED and abs(found.effect.value or 0.0) <= found.noise:
        return undecided(verdict, f"inside the standard error of the entropies, {found.noise:.2g} nats each")
    return verdict


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


def scaled(found: Estimate, factor: float, shift: float) -> Estimate:
    """factor · estimate + shift, with its interval; factor is positive."""
    value, low, high = (None if x is None else factor * x + shift for x in (found.value, found.low, found.high))
    return replace(found, value=value, low=low, high=high)
