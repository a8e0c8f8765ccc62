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


def judge(s: Sample, controls: dict[str, Probed], rolled: Probed | None = None, m: int = 0) -> list[Verdict]:
    """Verdicts on all claims about one model.

    controls: name -> its probes; rolled: the estimates from m rollouts per prefix; None: no rollouts.
    """
    found = [*_information(s)]
    found += [] if rolled is None else [_by_rollouts(s, rolled, m)]
    found += [*_controls(s, controls), *signatures(s)]
    return by_length(settled(found))


# --- information about the true answer: all traces, nothing selected ----------------------------------------------


def _information(s: Sample) -> Iterator[Verdict]:
    p = s.p
    exact = np.log(np.where(p.p_true > 0, p.p_true, np.nan))
    floored, unfloored = f"floor {FLOOR:g}", "one answer thought impossible can rule this mean"
    yield _of_means(claims.GAIN_RISES, s, gain_slope(p), floored)
    yield _of_means(claims.GAIN_RISES_NO_FLOOR, s, slope(exact, p.position), unfloored)
    yield _of_means(claims.GAIN_BY_HALF, s, gain_half(p), f"{floored}; traces of two steps or more")
    yield _of_means(claims.P_TRUE_RISES, s, slope(p.p_true, p.position))


def gain_slope(p: Probed) -> Array:
    """Slope of the information gain over k/K, in nats per whole trace: (n,); NaN for a trace without steps."""
    return slope(p.gain, p.position)


def gain_half(p: Probed) -> Array:
    """Information gained by half of the steps: (n,) nats; see Probed.half_way."""
    return p.half_way(p.gain)


def _of_means(claim: Claim, s: Sample, values: Array, note: str = "") -> Verdict:
    """The claim by the mean of one value per trace, (n,)."""
    effect = varying(estimate(mean_of, values, problems=s.p.problems, resampling=s.resampling))
    return judged(claim, s.subject, effect, sign_flip_p(values, s.p.problems), note)


def _by_rollouts(s: Sample, rolled: Probed, m: int) -> Verdict:
    """The first claim by the other estimator: the reasoning is continued, not cut off; floor 1/(2m)."""
    values = slope(log_true(rolled.p_true, 1 / (2 * m)), rolled.position)
    return _of_means(claims.GAIN_RISES_ROLLOUTS, s, values, f"{m} rollouts a prefix; the traces that have them")


# --- controls ---------------------------------------------------------------------------------------------------------


def _controls(s: Sample, controls: dict[str, Probed]) -> Iterator[Verdict]:
    """Each control over all steps, the least of them, and the least of them by half of the steps."""
    gaps = {name: gap_to(s.p, control) for name, control in controls.items()}
    whole = {name: _over(s, name, mean(gap[:, 1:])) for name, gap in gaps.items()}
    by_half = {name: _over(s, name, s.p.half_way(gap)) for name, gap in gaps.items()}
    yield from whole.values()
    if whole:
        yield least_of(claims.EXCEEDS_ALL, whole)
        yield least_of(claims.EXCEEDS_ALL_HALF, by_half)


def _over(s: Sample, control: str, gaps: Array) -> Verdict:
    """The claim that a model exceeds one control, by one gap per trace, (n,) nats."""
    by_outcome = control in BY_OUTCOME
    note = "also where the trace itself is wrong: all traces count" if by_outcome else ""
    return _of_means(exceeds(control, selected=by_outcome), s, gaps, note)


def least_of(claim: Claim, found: dict[str, Verdict]) -> Verdict:
    """The verdict over all controls, by name: the least effect of that verdict, with the largest p.

    Supported if every control is exceeded, refuted if one is not.
    """
    known = {name: v for name, v in found.items() if v.effect.value is not None}
    verdict = _over_all({v.verdict for v in found.values()})
    shown = {name: v for name, v in known.items() if v.verdict == verdict} or known
    name = min(shown, key=lambda one: shown[one].effect.value or 0.0, default=next(iter(found)))
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


def _over_all(verdicts: set[str]) -> str:
    """The verdict on "every control" from the verdicts on each."""
    if REFUTED in verdicts:
        return REFUTED
    return SUPPORTED if verdicts == {SUPPORTED} else UNDECIDED


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
