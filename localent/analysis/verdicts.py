"""The claims of SIA about one model, and about a step of its training, judged; what a verdict is: claims.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from localent.analysis import claims
from localent.analysis.beyond_controls import gap_to
from localent.analysis.claims import (
    REFUTED,
    SUPPORTED,
    UNDECIDED,
    Claim,
    Verdict,
    by_length,
    exceeds,
    judged,
    settled,
    varying,
)
from localent.analysis.contrasts import Sample, signatures
from localent.analysis.curves import FLOOR, log_true
from localent.analysis.intervals import DEFAULT, Resampling, estimate
from localent.analysis.metrics import Array, mean_of
from localent.analysis.probed import Probed
from localent.analysis.scores import mean
from localent.analysis.signatures import slope
from localent.analysis.significance import sign_flip_p

BY_OUTCOME = ("wrong-trace",)  # controls that are chosen by how a trace ended


def judge(
    subject: str,
    p: Probed,
    controls: dict[str, Probed],
    n_tokens: Array,
    rolled: Probed | None = None,
    m: int = 0,
    resampling: Resampling = DEFAULT,
) -> list[Verdict]:
    """All claims about one model.

    controls: name -> its probes; n_tokens (n,): length of each trace; rolled: what m rollouts a prefix said.
    """
    found = [*_information(subject, p, resampling)]
    found += [] if rolled is None else [_by_rollouts(subject, rolled, m, resampling)]
    found += _controls(subject, p, controls, resampling)
    found += signatures(Sample(subject, p, np.asarray(n_tokens, float), resampling))
    return by_length(settled(found))


# --- information about the true answer: all traces, nothing selected ----------------------------------------------


def _information(subject: str, p: Probed, resampling: Resampling) -> Iterator[Verdict]:
    exact = np.log(np.where(p.p_true > 0, p.p_true, np.nan))
    floored, unfloored = f"floor {FLOOR:g}", "one answer thought impossible can rule this mean"
    judgeable = (
        (claims.GAIN_RISES, gain_slope(p), floored),
        (claims.GAIN_RISES_NO_FLOOR, slope(exact, p.position), unfloored),
        (claims.GAIN_BY_HALF, gain_half(p), f"{floored}; traces of two steps or more"),
        (claims.P_TRUE_RISES, slope(p.p_true, p.position), ""),
    )
    for claim, values, note in judgeable:
        yield _of_means(claim, subject, values, p.problems, resampling, note)


def gain_slope(p: Probed) -> Array:
    """Slope of the information gain over k/K, in nats per whole trace: (n,); NaN for a trace without steps."""
    return slope(p.gain, p.position)


def gain_half(p: Probed) -> Array:
    """Information gained by half of the steps: (n,) nats; see Probed.half_way."""
    return p.half_way(p.gain)


def _of_means(
    claim: Claim, subject: str, values: Array, problems: Array, resampling: Resampling, note: str = ""
) -> Verdict:
    effect = varying(estimate(mean_of, values, problems=problems, resampling=resampling))
    return judged(claim, subject, effect, sign_flip_p(values, problems), note)


def _by_rollouts(subject: str, rolled: Probed, m: int, resampling: Resampling) -> Verdict:
    """The first claim by the other estimator: the reasoning is continued, not cut off; floor 1/(2m)."""
    values = slope(log_true(rolled.p_true, 1 / (2 * m)), rolled.position)
    note = f"{m} rollouts a prefix; the traces that have them"
    return _of_means(claims.GAIN_RISES_ROLLOUTS, subject, values, rolled.problems, resampling, note)


# --- controls ---------------------------------------------------------------------------------------------------------


def _controls(subject: str, p: Probed, controls: dict[str, Probed], resampling: Resampling) -> Iterator[Verdict]:
    """Each control over all steps, the least of them, and the least of them by half of the steps."""
    gaps = {name: gap_to(p, control) for name, control in controls.items()}
    whole = {name: _over(subject, p, name, mean(gap[:, 1:]), resampling) for name, gap in gaps.items()}
    by_half = {name: _over(subject, p, name, p.half_way(gap), resampling) for name, gap in gaps.items()}
    yield from whole.values()
    if whole:
        yield least_of(claims.EXCEEDS_ALL, whole)
        yield least_of(claims.EXCEEDS_ALL_HALF, by_half)


def _over(subject: str, p: Probed, control: str, gaps: Array, resampling: Resampling) -> Verdict:
    by_outcome = control in BY_OUTCOME
    note = "also where the trace itself is wrong: all traces count" if by_outcome else ""
    return _of_means(exceeds(control, selected=by_outcome), subject, gaps, p.problems, resampling, note)


def least_of(claim: Claim, found: dict[str, Verdict]) -> Verdict:
    """The verdict over all controls, by name: the least effect of that verdict, with the largest p.

    Supported if every control is exceeded, refuted if one is not.
    """
    effects = {name: v.effect.value for name, v in found.items() if v.effect.value is not None}
    known = {name: found[name] for name in effects}
    verdicts = {v.verdict for v in found.values()}
    verdict = REFUTED if REFUTED in verdicts else SUPPORTED if verdicts == {SUPPORTED} else UNDECIDED
    shown = {name: v for name, v in known.items() if v.verdict == verdict} or known
    name = min(shown, key=effects.__getitem__, default=next(iter(found)))
    note = f"the least of {len(shown)}" + (f" {verdict}" if len(shown) < len(known) else "") + f": {name}"
    missing = ", ".join(name for name in found if name not in known)
    return replace(
        found[name],
        claim=claim.title,
        key=claim.key,
        p=max((v.p for v in known.values() if v.p is not None), default=None),
        verdict=verdict,
        selected=any(v.selected for v in known.values()),
        note=note + (f"; none to be had: {missing}" if missing else ""),
    )


# --- training -------------------------------------------------------------------------------------------------------


def training(earlier: tuple[str, Probed], later: tuple[str, Probed], resampling: Resampling = DEFAULT) -> Verdict:
    """Training increases the gain: later minus earlier stage, paired by problem, in nats per whole trace."""
    (name_a, a), (name_b, b) = earlier, later
    gains = gain_slope(a), gain_slope(b)
    values, problems = _differences(gains, (a.problems, b.problems))
    effect = varying(estimate(mean_of, values, problems=problems, resampling=resampling))
    return judged(claims.TRAINING, f"{name_a} -> {name_b}", effect, sign_flip_p(values, problems))


def _differences(values: Sequence[Array], problems: Sequence[Array]) -> tuple[Array, Array]:
    """Mean of each shared problem in the second arm minus in the first."""
    shared = np.intersect1d(problems[0], problems[1])
    means = [
        np.array([mean_or_nan(v[names == name]) for name in shared]) for v, names in zip(values, problems, strict=True)
    ]
    return means[1] - means[0], shared


def mean_or_nan(values: Array) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan
