"""The claims of SIA about one model, and about a step of its training, judged; what a verdict is: claims.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from localent.analysis.beyond_controls import gap_to
from localent.analysis.claims import REFUTED, SUPPORTED, UNDECIDED, Verdict, by_length, decide, settled, varying
from localent.analysis.contrasts import signatures
from localent.analysis.curves import FLOOR, half_way, log_true
from localent.analysis.intervals import estimate
from localent.analysis.metrics import Array, mean_of
from localent.analysis.probed import Probed
from localent.analysis.scores import mean
from localent.analysis.signatures import slope
from localent.analysis.significance import sign_flip_p

GAIN_RISES = "information gain rises with steps"
FLIPS = "sign flips of problem means"
BY_OUTCOME = ("wrong-trace",)  # controls that are chosen by how a trace ended


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
    judged += [*signatures(subject, p, np.asarray(n_tokens, float), options)]
    return by_length(settled(judged))


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
    effect = varying(estimate(mean_of, values, problems=problems, **options))
    p = sign_flip_p(values, problems)
    return Verdict(claim, subject, effect, unit, FLIPS, p, decide(effect, unit), None, False, note)


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


# --- training -------------------------------------------------------------------------------------------------------


def training(earlier: tuple[str, Probed], later: tuple[str, Probed], **options) -> Verdict:
    """Training increases the gain: later minus earlier stage, paired by problem, in nats per whole trace."""
    (name_a, a), (name_b, b) = earlier, later
    gains = gain_slope(a), gain_slope(b)
    values, problems = _differences(gains, (a.problems, b.problems))
    effect = varying(estimate(mean_of, values, problems=problems, **options))
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
