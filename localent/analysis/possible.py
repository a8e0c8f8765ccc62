"""One answer distribution beside the answers that an ideal reader still holds possible, all equally likely."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from localent.analysis.curves import FLOOR
from localent.analysis.recorded import POWERS


@dataclass(frozen=True, slots=True)
class Found:
    """The answers that a probe found, with the probability of each given that there is an answer."""

    probs: Mapping[str, float]
    residual: float  # probability that was not explored
    truth: str
    p_true: float  # known also where the search did not come to it

    def prob(self, answer: str) -> float | None:
        """The probability of an answer; None where it was not looked at and may count."""
        if answer == self.truth:
            return self.p_true
        return self.probs.get(answer, 0.0 if self.residual < FLOOR else None)


def excess(found: Found, possible: Sequence[str]) -> float:
    """KL(ideal || model) in nats, no probability of the model's below FLOOR; NaN where one of them is not known.

    Source: Kullback and Leibler (1951).
    """
    probs = [found.prob(answer) for answer in possible]
    if not possible or None in probs:
        return math.nan
    n = len(possible)
    return math.fsum(-math.log(max(p or 0.0, FLOOR)) for p in probs) / n - math.log(n)


def outside(found: Found, possible: Sequence[str]) -> float:
    """Probability of the answers that were found and are not possible; NaN where it is not known which are."""
    if not possible:
        return math.nan
    return math.fsum(p for answer, p in found.probs.items() if answer not in possible)


def raised(found: Found) -> list[float]:
    """The true answer's probability, the distribution raised to each of POWERS and made to sum to 1.

    Answers below FLOOR are left out; what was not explored counts as one answer.
    """
    others = [p for answer, p in found.probs.items() if answer != found.truth]
    kept = [p for p in (found.p_true, *others, found.residual) if p >= FLOOR]
    if found.p_true < FLOOR:
        return [0.0] * len(POWERS)
    return [found.p_true**power / math.fsum(p**power for p in kept) for power in POWERS]
