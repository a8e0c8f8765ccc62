"""The claims of SIA about one model, and about a step of its training, judged; what a verdict is: claims.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial

import numpy as np

from localent.analysis import claims, ideal, information
from localent.analysis.beyond_controls import WRONG, gap_to, of_these
from localent.analysis.claims import (
    DEFAULT_RULES,
    SUPPORTED,
    UNDECIDED,
    Claim,
    Ps,
    Rules,
    Verdict,
    by_length,
    exceeds,
    judged,
    settled,
    undecided,
    varying,
)
from localent.analysis.contrasts import Sample, signatures
from localent.analysis.curves import FLOOR, log_true
from localent.analysis.fano import most_entropy
from localent.analysis.information import CAUTIOUS, OPTIMIST, POOLING, Reader
from localent.analysis.intervals import DEFAULT, Estimate, Resampling, estimate
from localent.analysis.metrics import Array, mean_of
from localent.analysis.probed import Probed
from localent.analysis.recorded import Ideal, Recorded
from localent.analysis.scores import mean
from localent.analysis.signatures import slope
from localent.analysis.significance import sign_flip_p

RESAMPLING = Resampling(1000)  # of every verdict that is told


def judge(
    s: Sample, controls: dict[str, Probed], rolled: Probed | None = None, m: int = 0, beside: Ideal | None = None
) -> list[Verdict]:
    """Verdicts on all claims about one model.

    controls: name -> its probes; rolled: the estimates from m rollouts per prefix; None: no rollouts.
    """
    return in_family(proposed(s, controls, rolled, m, beside))


def in_family(found: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts after Holm's rule over all of them."""
    return by_length(settled(found))


def proposed(
    s: Sample, controls: dict[str, Probed], rolled: Probed | None = None, m: int = 0, beside: Ideal | None = None
) -> list[Verdict]:
    """Every claim as it would be by itself: see judge."""
    found = [*_information(s)]
    found += [] if beside is None else [*ideal.verdicts(s, beside)]
    found += [] if rolled is None else [_by_rollouts(s, rolled, m)]
    return [*found, *_controls(s, controls), *signatures(s)]


def proposed_of(run: Recorded) -> list[Verdict]:
    """The claims about a run's whole traces, those that repeat themselves left out; none where it was not probed."""
    kept = run.among(~run.traces.looped)
    own, rolled = kept.probes.own, kept.probes.rolled
    if own is None or not own.there_at_all.any():
        return []
    m = 0 if rolled is None else int(rolled.n_rollouts.max(initial=0))
    sample = Sample(run.traces.model, own, kept.traces.n_tokens.astype(float), RESAMPLING)
    controls = {name: of_these(own, name, control) for name, control in kept.probes.controls.items()}
    return proposed(sample, controls, rolled, m, kept.probes.ideal)


# --- information about the true answer: all traces, nothing selected ----------------------------------------------


def _information(s: Sample) -> Iterator[Verdict]:
    p = s.p
    raw = slope(log_true(p.p_true, s.rules.floor), p.position)
    leads = slope(np.where(p.open_leader, np.nan, p.leader_true), p.position)
    gains = cache(lambda reader: information.gain(p, s.rules.floor, reader))
    rises = _read(claims.GAIN_RISES, s, lambda reader: slope(gains(reader), p.position), CAUTIOUS)
    yield replace(rises, note=rises.note or allowed(p, s.rules.floor))
    yield _read(
        claims.GAIN_RISES_POOLED,
        s,
        lambda reader: slope(after_start(gains(reader)), p.position),
        POOLING,
        "each distribution pooled with the start's; from the first step on",
    )
    yield _read(
        claims.GAIN_BY_HALF, s, lambda reader: p.half_way(gains(reader)), CAUTIOUS, "traces of two steps or more"
    )
    yield _of_means(claims.LEADER_RISES, s, leads)
    for claim, values, note in (
        (claims.P_TRUE_RISES, slope(p.p_true, p.position), "rises with confidence alone where most leaders are right"),
        (claims.CALIBRATION, raw, f"floor {s.rules.floor:g}; falls where confidence outruns accuracy"),
    ):
        effect = varying(estimate(mean_of, values, problems=p.clusters, resampling=s.resampling))
        yield claims.reported(claim, s.subject, effect, note)


def after_start(gains: Array) -> Array:
    """Pooled gains (n, K_max + 1) without the start, NaN there.

    The mean of two noisy distributions is worth more than one of them, but no more after the last step than after the
    first: a rise from the first step on is information.
    """
    found = gains.copy()
    found[:, 0] = np.nan
    return found


def gain_slope(p: Probed, reader: Reader = CAUTIOUS) -> Array:
    """Slope of the information gain over k/K, in nats per whole trace: (n,); NaN for a trace without steps."""
    return slope(information.gain(p, reader=reader), p.position)


def gain_half(p: Probed) -> Array:
    """Information gained by half of the steps: (n,) nats; see Probed.half_way."""
    return p.half_way(information.gain(p))


def allowed(p: Probed, floor: float = FLOOR) -> str:
    """The uncertainty that the leader's errors allow before the first step and after the last, by Fano's inequality."""
    rates = [1 - np.where(p.open_leader, np.nan, p.leader_true)[:, :1], p.at_end(1 - p.leader_true)]
    errors = [float(np.nanmean(rate)) if not np.isnan(rate).all() else np.nan for rate in rates]
    ln_others = float(np.log(np.maximum(1 / information.blind(p, floor) - 1, 1)).mean()) if len(p.wrong) else np.nan
    open_ = [most_entropy(error, ln_others) for error in errors]
    if np.isnan(open_).any():
        return ""
    return f"by Fano, the leader's errors leave at most {open_[0]:.2f} nats at the start, {open_[1]:.2f} at the end"


def _read(claim: Claim, s: Sample, by: Callable[[Reader], Array], reader: Reader, note: str = "") -> Verdict:
    """A claim about information, by one reader of it. by: one value per trace as a reader has it, (n,)."""
    return unless_missed(_of_means(claim, s, by(reader), note), lambda: by(OPTIMIST), s.p.clusters, s.resampling)


def unless_missed(v: Verdict, by_optimist: Callable[[], Array], problems: Array, resampling: Resampling) -> Verdict:
    """The verdict; not that the effect is small where a reader that errs the other way finds more.

    The weights of a recalibration are learned from few problems, and the cautious reader forgets the start where it
    trusts what follows: it gains less than there is. by_optimist: the effect by a reader that gains too much, (n,).
    """
    if not v.is_smaller or v.p_smaller is None:
        return v
    most = by_optimist()
    bound = estimate(mean_of, most, problems=problems, resampling=resampling)
    if bound.below(v.smallest):
        return replace(v, p_smaller=max(v.p_smaller, sign_flip_p(most, problems, v.smallest) or 0.0))
    if bound.value is None:
        return undecided(v, "too little was read to call it small")
    return undecided(v, f"pooled with the start's distribution it is up to {bound.value:.2f} {v.unit}")


def _of_means(claim: Claim, s: Sample, values: Array, note: str = "") -> Verdict:
    """The claim by the mean of one value per trace, (n,)."""
    effect = varying(estimate(mean_of, values, problems=s.p.clusters, resampling=s.resampling))
    return judged(claim, s.subject, effect, ps_of_mean(claim, effect, values, s.p.clusters, s.rules), note, s.rules)


def ps_of_mean(claim: Claim, effect: Estimate, values: Array, problems: Array, rules: Rules = DEFAULT_RULES) -> Ps:
    """The p-values of a mean over traces: sign flips of the means of problems, from 0 and from the smallest effect."""
    size = rules.smallest(claim.unit)
    above = effect.value is None or effect.value >= size
    return Ps(sign_flip_p(values, problems), 1.0 if above else sign_flip_p(values, problems, size))


def _by_rollouts(s: Sample, rolled: Probed, m: int) -> Verdict:
    """The first claim by the other estimator: the reasoning is continued, not cut off."""
    seen = bool((rolled.p_true >= 1 / m).any())  # else it was never drawn: m continuations cannot see it move
    note = f"{m} rollouts a prefix; the traces that have them"

    def by(reader: Reader) -> Array:
        return slope(information.gain(rolled, s.rules.floor, reader), rolled.position) * seen

    found = _read(claims.GAIN_RISES_ROLLOUTS, s, by, CAUTIOUS, note)
    return found if rolled.there.any() else undecided(found, "no trace was rolled out: give it more time")


# --- controls ---------------------------------------------------------------------------------------------------------


def _controls(s: Sample, controls: dict[str, Probed]) -> Iterator[Verdict]:
    """Each control over all steps, the least of them, and the least of them by half of the steps."""
    gaps = {name: cache(partial(gap_to, s.p, control, s.rules.floor)) for name, control in controls.items()}
    whole = {name: _over(s, name, gap, lambda values: mean(values[:, 1:])) for name, gap in gaps.items()}
    by_half = {name: _over(s, name, gap, s.p.half_way) for name, gap in gaps.items()}
    yield from whole.values()
    if whole:
        yield least_of(claims.EXCEEDS_ALL, whole)
        yield least_of(claims.EXCEEDS_ALL_HALF, by_half)


def _over(s: Sample, name: str, gap: Callable[[Reader], Array], by: Callable[[Array], Array]) -> Verdict:
    """The claim that a model exceeds one control. by: gaps, (n, K_max + 1) nats -> one value per trace, (n,)."""
    by_outcome = name == WRONG
    note = "also where the trace itself is wrong: all traces count" if by_outcome else ""
    return _read(exceeds(name, selected=by_outcome), s, lambda reader: by(gap(reader)), POOLING, note)


def least_of(claim: Claim, found: dict[str, Verdict]) -> Verdict:
    """The verdict over all controls, by name: the least effect of that verdict, with the largest p.

    Supported if every control is exceeded; smaller if one is not, by the smallest p times the number of controls.
    """
    known = {name: v for name, v in found.items() if v.effect.value is not None}
    wanted = _over_all([*found.values()])
    shown = {name: v for name, v in known.items() if wanted(v)} or known
    name = min(shown, key=lambda one: shown[one].effect.value or 0.0, default=next(iter(found)))
    verdict = found[name].verdict if shown is not known or all(map(wanted, found.values())) else UNDECIDED
    small = [v.p_smaller for v in known.values() if v.p_smaller is not None]
    note = f"the least of {len(shown)}" + (f" {verdict}" if len(shown) < len(known) else "") + f": {name}"
    missing = ", ".join(name for name in found if name not in known)
    return replace(
        found[name],
        claim=claim.title,
        key=claim.key,
        p=max((v.p for v in known.values() if v.p is not None), default=None),
        p_smaller=min(1.0, min(small) * len(small)) if small else None,
        verdict=verdict,
        selected=any(v.selected for v in known.values()),
        note=note + (f"; none to be had: {missing}" if missing else ""),
    )


def _over_all(verdicts: Sequence[Verdict]) -> Callable[[Verdict], bool]:
    """Which verdicts on single controls make the one on "every control"."""
    if any(v.is_smaller for v in verdicts):
        return lambda v: v.is_smaller
    if all(v.verdict == SUPPORTED for v in verdicts):
        return lambda v: v.verdict == SUPPORTED
    return lambda v: v.verdict == UNDECIDED


# --- training -------------------------------------------------------------------------------------------------------


def training(earlier: tuple[str, Probed], later: tuple[str, Probed], resampling: Resampling = DEFAULT) -> Verdict:
    """Training increases the gain: later minus earlier stage, paired by problem, in nats per whole trace."""
    (name_a, a), (name_b, b) = earlier, later

    def by(reader: Reader) -> tuple[Array, Array]:
        return _differences([gain_slope(p, reader) for p in (a, b)], (a, b))

    values, clusters = by(CAUTIOUS)
    effect = varying(estimate(mean_of, values, problems=clusters, resampling=resampling))
    ps = ps_of_mean(claims.TRAINING, effect, values, clusters)
    found = judged(claims.TRAINING, f"{name_a} -> {name_b}", effect, ps)
    return unless_missed(found, lambda: by(OPTIMIST)[0], clusters, resampling)


def _differences(values: Sequence[Array], arms: Sequence[Probed]) -> tuple[Array, Array]:
    """(mean of each shared problem in the second arm minus in the first, its cluster)."""
    shared, first, _ = np.intersect1d(arms[0].problems, arms[1].problems, return_indices=True)
    means = [
        np.array([mean_or_nan(v[arm.problems == name]) for name in shared]) for v, arm in zip(values, arms, strict=True)
    ]
    return means[1] - means[0], arms[0].clusters[first]


def mean_or_nan(values: Array) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan
