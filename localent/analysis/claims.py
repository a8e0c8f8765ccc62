"""The claims that a study judges, and when one is supported, refuted or undecided.

A claim is supported if its whole interval is on the claimed side of 0, the effect reaches the smallest size that would
count, and p is below 0.05 after Holm's correction; refuted if the interval is below that size and has a width (without
variation nothing was tested); undecided otherwise. If right and wrong are compared, an effect that passes, but vanishes
with length held fixed, is "explained by length".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from localent.analysis.curves import FLOOR, FLOORED
from localent.analysis.intervals import Estimate
from localent.analysis.signatures import LOCK, SLACK
from localent.analysis.significance import holm

SUPPORTED, REFUTED, UNDECIDED, LENGTH = "supported", "refuted", "undecided", "explained by length"
WITHHELD = "withheld"  # the measurement itself does not work: see the note
FLIPS, DELONG, GAP = "sign flips of problem means", "clustered DeLong", "clustered t"  # tests
INTERVAL = "interval alone"
NO_SPREAD = "nothing varies"
ALPHA = 0.05
SMALLEST = {  # the smallest effect that would count, by unit
    "nats a trace": 0.1, "nats": 0.05, "nats a nat": 0.05, "share": 0.05, "AUROC - 0.5": 0.05, "AUROC": 0.05,
    "Cliff's delta": 0.1,
}  # fmt: skip
_SIZES = ", ".join(f"{size:g} {unit}" for unit, size in SMALLEST.items())
THRESHOLDS = (  # as people read them
    f"{FLOORED} Locked in: answer entropy of {LOCK:g} nats or less. A rise: more than {SLACK:g} nats."
    f" Smallest effects that count: {_SIZES}."
)
RULES = (  # part of the identity of every study: with other words, a stored study would not be found
    f"A true answer less likely than {FLOOR:g} counts as {FLOOR:g}. Locked in: answer entropy of {LOCK:g} nats or less."
    f" A rise: more than {SLACK:g} nats. Smallest effects that count: {_SIZES}."
)


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim about a model. The key identifies it, also in the database; the title is what people read."""

    key: str
    title: str
    unit: str  # of its effect
    test: str  # where its p is from
    selected: bool = False  # compares right and wrong traces, which are selected on the outcome
    scale: float = 1.0  # effect = scale (AUROC - 0.5), where the claim is about an AUROC


GAIN_RISES = Claim("gain_rises", "information gain rises with steps", "nats a trace", FLIPS)
GAIN_RISES_NO_FLOOR = Claim("gain_rises_no_floor", "information gain rises with steps, no floor", "nats a trace", FLIPS)
GAIN_BY_HALF = Claim("gain_by_half", "gain by half of the steps", "nats", FLIPS)
P_TRUE_RISES = Claim("p_true_rises", "probability of the true answer rises", "share", FLIPS)
GAIN_RISES_ROLLOUTS = Claim("gain_rises_rollouts", "information gain rises, by rollouts", "nats a trace", FLIPS)
EXCEEDS_ALL = Claim("exceeds_controls", "exceeds every control", "nats", FLIPS)
EXCEEDS_ALL_HALF = Claim("exceeds_controls_half", "exceeds every control, t = 0.5", "nats", FLIPS)
LOCK_IN = Claim("lock_in", "lock-in: wrong traces lock in later", "Cliff's delta", DELONG, True, 2.0)
LOCK_IN_LEADER = Claim("lock_in_leader", "lock-in of the leading answer", "Cliff's delta", DELONG, True, 2.0)
SEPARABILITY = Claim("separability", "separability: wrong traces stay uncertain", "nats", GAP, True)
EARLY = Claim("early_separability", "early separability, t = 0.5", "AUROC - 0.5", DELONG, True)
EARLY_GAIN = Claim("early_separability_gain", "early separability beyond the start", "AUROC", DELONG, True)
EARLY_ANY = Claim("early_separability_any", "early separability, t = 0.5, any K", "AUROC - 0.5", DELONG, True)
WITHIN = Claim("within_question", "within-question separability, t = 0.5", "AUROC - 0.5", DELONG, True)
MONOTONICITY = Claim("monotonicity", "monotonicity: wrong traces rise more often", "share", GAP, True)
SATURATION = Claim("saturation", "saturation: steps shrink near the floor", "nats a nat", INTERVAL)
TRAINING = Claim("training", "training increases the gain", "nats a trace", FLIPS)


def exceeds(control: str, *, selected: bool) -> Claim:
    """That the gain exceeds one control's. selected: the control is chosen by how a trace ended."""
    return Claim(f"exceeds_control:{control}", f"exceeds control: {control}", "nats", FLIPS, selected)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One claim about one subject, judged."""

    claim: str  # the title
    key: str
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


def judged(claim: Claim, subject: str, effect: Estimate, p: float | None, note: str = "") -> Verdict:
    """The claim by its interval and the smallest effect that counts."""
    about = (claim.title, claim.key, subject, effect, claim.unit, claim.test, p)
    return Verdict(*about, decide(effect, claim.unit), None, claim.selected, note)


def decide(effect: Estimate, unit: str) -> str:
    """Supported, refuted or undecided, from the interval and the smallest effect that counts."""
    if effect.value is None or not effect.known:
        return UNDECIDED
    if effect.below(SMALLEST[unit]):
        return UNDECIDED if effect.flat else REFUTED
    return SUPPORTED if effect.above(0) and effect.value >= SMALLEST[unit] else UNDECIDED


def withheld(v: Verdict, why: str) -> Verdict:
    """The claim without a verdict: what was measured says nothing about it."""
    return replace(v, verdict=WITHHELD, note=why)


def varying(effect: Estimate) -> Estimate:
    """The effect; if its interval has no width, with the reason why it refutes nothing."""
    return replace(effect, reason=NO_SPREAD) if effect.flat else effect


def settled(family: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts after Holm's rule: an effect, also one of length, needs an adjusted p below ALPHA.

    Claims without p stay as they are.
    """
    adjusted = holm([v.p for v in family])
    return [_settled(v, p) for v, p in zip(family, adjusted, strict=True)]


def _settled(v: Verdict, p_holm: float | None) -> Verdict:
    if v.verdict in (SUPPORTED, LENGTH) and p_holm is not None and p_holm >= ALPHA:
        return replace(v, verdict=UNDECIDED, p_holm=p_holm, note=f"p is {p_holm:.2f} after Holm's rule")
    return replace(v, p_holm=p_holm)


def by_length(family: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts on separability at equal K: by length, where length explains that at any K and equal K show none."""
    if not any(v.key == EARLY_ANY.key and v.verdict == LENGTH for v in family):
        return list(family)
    none = [v.key == EARLY.key and v.effect.known and not v.effect.excludes(0) for v in family]
    note = "length separates at any K; at equal K nothing is shown"
    return [replace(v, verdict=LENGTH, note=note) if gone else v for v, gone in zip(family, none, strict=True)]
