"""The claims of SIA as tests: each gets an effect, an interval, a p-value and a verdict that can be "refuted".

A claim is supported where its whole interval lies on the claimed side of 0, the effect reaches the smallest size that
would count, and p stays below 0.05 under Holm's rule; refuted where the interval lies below that size, and has a width:
where nothing varies, nothing was tested; undecided in between. Where right and wrong are compared, an effect that
passes, and vanishes with length held fixed, is "explained by length".

Early separability. Half-way is the last probe at or before t = 0.5; of a trace of one step that is its start, where
every trace is uncertain. Since short traces are right more often, right traces then look uncertain though nothing was
read. So the claim is about pairs of a right and a wrong trace with the same number K >= 2 of steps, each read after
K // 2 of them: equal k and equal t, and never the start. Its control is the start itself: what the question alone
tells is told there, and the first half of the reasoning has to add to it. The plain comparison, any K with any other,
stands beside; where that separates, but not with length held fixed, both are "explained by length".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from localent.analysis.beyond import gap_p, holm, partial_rank_of, separation_gain_p, separation_p, sign_flip_p
from localent.analysis.beyond_controls import gap_to
from localent.analysis.curves import FLOOR, FLOORED, HALF, at_position, half_way, log_true
from localent.analysis.intervals import Estimate, estimate, if_enough, in_pair, n_rarer, of_those, separation
from localent.analysis.metrics import Array, Statistic, UndefinedError, auroc, auroc_of, gap_of, mean_of
from localent.analysis.probed import Probed
from localent.analysis.scores import mean
from localent.analysis.signatures import (
    LOCK,
    SLACK,
    gap_values,
    lock_time,
    modal_lock,
    saturation,
    slope,
    violations,
)

SUPPORTED, REFUTED, UNDECIDED, LENGTH = "supported", "refuted", "undecided", "explained by length"
GAIN_RISES = "information gain rises with steps"
EARLY, EARLY_ANY = "early separability, t = 0.5", "early separability, t = 0.5, any K"
NO_SPREAD = "nothing varies"
ALPHA = 0.05
FLIPS, DELONG, INTERVAL = "sign flips of problem means", "clustered DeLong", "interval alone"
GAP, GAPS = "clustered t", ("nats", "share")  # right against wrong by their means
BY_OUTCOME = ("wrong-trace",)  # controls that are chosen by how a trace ended
SMALLEST = {  # the smallest effect that would count, by unit
    "nats a trace": 0.1, "nats": 0.05, "nats a nat": 0.05, "share": 0.05, "AUROC - 0.5": 0.05, "AUROC": 0.05,
    "Cliff's delta": 0.1,
}  # fmt: skip
KNOBS = (
    f"{FLOORED} Locked in: answer entropy of {LOCK:g} nats or less."
    f" A rise: more than {SLACK:g} nats. Smallest effects that count: "
    + ", ".join(f"{size:g} {unit}" for unit, size in SMALLEST.items())
    + "."
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One claim about one subject, judged."""

    claim: str
    subject: str  # a model, or "earlier -> later"
    effect: Estimate  # positive: as claimed
    unit: str
    test: str
    p: float | None  # two-sided
    verdict: str
    given_length: Estimate | None  # rank correlation with being wrong, length held fixed; None: no such comparison
    selected: bool  # compares right and wrong traces, which are selected on the outcome
    note: str = ""
    p_holm: float | None = None  # adjusted over the claims about this subject


def decide(effect: Estimate, unit: str) -> str:
    """Supported, refuted or undecided, from the interval and the smallest effect that counts."""
    if not effect.known:
        return UNDECIDED
    if effect.high < SMALLEST[unit]:
        return UNDECIDED if effect.flat else REFUTED
    return SUPPORTED if effect.low > 0 and effect.value >= SMALLEST[unit] else UNDECIDED


def judge(
    subject: str,
    p: Probed,
    controls: dict[str, Probed],
    n_tokens: Array,
    rolled: Probed | None = None,
    m: int = 0,
    **options,
) -> list[Verdict]:
    """All claims about one model.

    controls: name -> its probes; n_tokens (n,): length of each trace; rolled: what m rollouts a prefix said.
    """
    judged = [*_information(subject, p, options)]
    judged += [] if rolled is None else [_by_rollouts(subject, rolled, m, options)]
    judged += _controls(subject, p, controls, options)
    judged += [*_signatures(subject, p, np.asarray(n_tokens, float), options)]
    return by_length(settled(judged))


def settled(family: Sequence[Verdict]) -> list[Verdict]:
    """An effect, also one of length, only where p, adjusted over the family by Holm's rule, is below ALPHA.

    Claims without p stay.
    """
    adjusted = holm([v.p for v in family])
    return [_settled(v, p) for v, p in zip(family, adjusted, strict=True)]


def _settled(v: Verdict, p_holm: float | None) -> Verdict:
    if v.verdict in (SUPPORTED, LENGTH) and p_holm is not None and p_holm >= ALPHA:
        return replace(v, verdict=UNDECIDED, p_holm=p_holm, note=f"p is {p_holm:.2f} after Holm's rule")
    return replace(v, p_holm=p_holm)


def by_length(family: Sequence[Verdict]) -> list[Verdict]:
    """Where length explains the separation of any K with any other, and equal K show none, it explains both."""
    if not any(v.claim == EARLY_ANY and v.verdict == LENGTH for v in family):
        return list(family)
    none = [v.claim == EARLY and v.effect.known and v.effect.low <= 0 <= v.effect.high for v in family]
    note = "length separates at any K; at equal K nothing is shown"
    return [replace(v, verdict=LENGTH, note=note) if gone else v for v, gone in zip(family, none, strict=True)]


# --- information about the true answer: all traces, nothing selected ----------------------------------------------


def _information(subject: str, p: Probed, options: dict) -> Iterator[Verdict]:
    exact = np.log(np.where(p.p_true > 0, p.p_true, np.nan))
    floored, unfloored = f"floor {FLOOR:g}", "one answer thought impossible can rule this mean"
    claims = {
        GAIN_RISES: (gain_slope(p), "nats a trace", floored),
        f"{GAIN_RISES}, no floor": (slope(exact, p.position), "nats a trace", unfloored),
        "gain by half of the steps": (gain_half(p), "nats", f"{floored}; traces of two steps or more"),
        "probability of the true answer rises": (slope(p.p_true, p.position), "share", ""),
    }
    for claim, (values, unit, note) in claims.items():
        yield _of_means(claim, subject, values, p.problems, unit, options, note)


def gain_slope(p: Probed) -> Array:
    """Slope of the information gain over k/K, in nats per whole trace: (n,); NaN for a trace without steps."""
    return slope(p.gain, p.position)


def gain_half(p: Probed) -> Array:
    """Information gained by half of the steps: (n,) nats; see curves.half_way."""
    return half_way(p.trajectory(p.gain))


def _of_means(
    claim: str, subject: str, values: Array, problems: Array, unit: str, options: dict, note: str = ""
) -> Verdict:
    effect = _varying(estimate(mean_of, values, problems=problems, **options))
    p = sign_flip_p(values, problems)
    return Verdict(claim, subject, effect, unit, FLIPS, p, decide(effect, unit), None, False, note)


def _varying(effect: Estimate) -> Estimate:
    """With the reason why it refutes nothing, where its interval has no width."""
    return replace(effect, reason=NO_SPREAD) if effect.flat else effect


def _by_rollouts(subject: str, rolled: Probed, m: int, options: dict) -> Verdict:
    """The first claim by the other estimator: the reasoning is played on, not cut off; floor 1/(2m)."""
    values = slope(log_true(rolled.p_true, 1 / (2 * m)), rolled.position)
    claim, note = "information gain rises, by rollouts", f"{m} rollouts a prefix; the traces that have them"
    return _of_means(claim, subject, values, rolled.problems, "nats a trace", options, note)


# --- controls ---------------------------------------------------------------------------------------------------------


def _controls(subject: str, p: Probed, controls: dict[str, Probed], options: dict) -> Iterator[Verdict]:
    """Each control over all steps, the least of them, and the least of them by half of the steps."""
    gaps = {name: gap_to(p, control) for name, control in controls.items()}
    every = [_over(subject, p, name, mean(gap[:, 1:]), options) for name, gap in gaps.items()]
    by_half = [_over(subject, p, name, half_way(p.trajectory(gap)), options) for name, gap in gaps.items()]
    yield from every
    if every:
        yield _every("exceeds every control", subject, every)
        yield _every("exceeds every control, t = 0.5", subject, by_half)


def _over(subject: str, p: Probed, control: str, gaps: Array, options: dict) -> Verdict:
    by_outcome = control in BY_OUTCOME
    note = "also where the trace itself is wrong: all traces count" if by_outcome else ""
    found = _of_means(f"exceeds control: {control}", subject, gaps, p.problems, "nats", options, note)
    return replace(found, selected=by_outcome)


def _every(claim: str, subject: str, found: Sequence[Verdict]) -> Verdict:
    """Supported if every control is exceeded, refuted if one is not: the least effect of that verdict, largest p."""
    known = [v for v in found if v.effect.value is not None]
    verdicts = {v.verdict for v in found}
    verdict = REFUTED if REFUTED in verdicts else SUPPORTED if verdicts == {SUPPORTED} else UNDECIDED
    shown = [v for v in known if v.verdict == verdict] or known
    least = min(shown, key=lambda v: v.effect.value) if shown else found[0]
    ps = [v.p for v in known if v.p is not None]
    lacking = [v.claim.removeprefix("exceeds control: ") for v in found if v.effect.value is None]
    note = f"the least of {len(shown)}" + (f" {verdict}" if len(shown) < len(known) else "")
    note += f": {least.claim.removeprefix('exceeds control: ')}"
    note += f"; none to be had: {', '.join(lacking)}" if lacking else ""
    p = max(ps) if ps else None
    selected = any(v.selected for v in known)
    return replace(least, claim=claim, p=p, verdict=verdict, selected=selected, note=note)


# --- signatures: right against wrong, selected on the outcome -------------------------------------------------------


def _signatures(subject: str, p: Probed, length: Array, options: dict) -> Iterator[Verdict]:
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
    gain = if_enough(of_those(gain, problems[kept]), n_rarer(problems[kept], wrong[kept]))
    at_start = auroc(before[kept], wrong[kept], strata[kept])
    if at_start == 0 or at_start > 1 - SMALLEST["AUROC"]:
        return replace(
            gain, low=None, high=None, reason=f"AUROC {at_start:.3g} at k = 0 leaves nothing to gain or lose"
        )
    return _varying(gain)


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
    effect = _varying(_comparable(effect, scores, p.wrong))
    strata = np.zeros(len(p.wrong), int) if strata is None else strata
    given, verdict, note = _rank_correlation(p, scores, length, strata, options), decide(effect, unit), ""
    if verdict == SUPPORTED and not (given.known and given.low > 0):
        verdict, note = _without_length(given, _rank_correlation(p, scores, 0 * length, strata, options))
    name, arrays = (GAP, (gap_p,)) if unit in GAPS else (DELONG, (separation_p, strata))
    test = _p_of(~np.isnan(scores), arrays[0], scores, p.wrong, p.problems, *arrays[1:])
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


# --- training -------------------------------------------------------------------------------------------------------


def training(earlier: tuple[str, Probed], later: tuple[str, Probed], **options) -> Verdict:
    """Training increases the gain: later minus earlier stage, paired by problem, in nats per whole trace."""
    (name_a, a), (name_b, b) = earlier, later
    gains = gain_slope(a), gain_slope(b)
    values, problems = _differences(gains, (a.problems, b.problems))
    effect = _varying(estimate(mean_of, values, problems=problems, **options))
    unit, subject = "nats a trace", f"{name_a} -> {name_b}"
    p = sign_flip_p(values, problems)
    return Verdict("training increases the gain", subject, effect, unit, FLIPS, p, decide(effect, unit), None, False)


def _differences(values: Sequence[Array], problems: Sequence[Array]) -> tuple[Array, Array]:
    """Mean of each shared problem in the second arm minus in the first."""
    shared = np.intersect1d(*problems)
    means = [
        np.array([mean_or_nan(v[names == name]) for name in shared]) for v, names in zip(values, problems, strict=True)
    ]
    return means[1] - means[0], shared


def mean_or_nan(values: Array) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan
