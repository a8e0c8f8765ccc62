"""What a claim is, and when it is supported, refuted or undecided.

A claim is supported where its whole interval lies on the claimed side of 0, the effect reaches the smallest size that
would count, and p stays below 0.05 under Holm's rule; refuted where the interval lies below that size, and has a width:
where nothing varies, nothing was tested; undecided in between. Where right and wrong are compared, an effect that
passes, and vanishes with length held fixed, is "explained by length".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from localent.analysis.curves import FLOORED
from localent.analysis.intervals import Estimate
from localent.analysis.signatures import LOCK, SLACK
from localent.analysis.significance import holm

SUPPORTED, REFUTED, UNDECIDED, LENGTH = "supported", "refuted", "undecided", "explained by length"
EARLY, EARLY_ANY = "early separability, t = 0.5", "early separability, t = 0.5, any K"
NO_SPREAD = "nothing varies"
ALPHA = 0.05
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


def varying(effect: Estimate) -> Estimate:
    """With the reason why it refutes nothing, where its interval has no width."""
    return replace(effect, reason=NO_SPREAD) if effect.flat else effect


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
