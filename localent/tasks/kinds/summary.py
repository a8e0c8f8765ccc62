"""The answer distribution that a partial search has found, given that there is an answer, and its entropy.

The answers form a tree of tokens whose branches have exact probabilities. What a search has explored is known
exactly. What it left open is estimated without bias from a few paths drawn in proportion to its probability (see
tracing/probe.py), and bounded with certainty by what any allocation of it could do to the entropy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Masses = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Explored:
    """The state of a search: what has been found, and what has not been explored. All probabilities."""

    answers: dict[str, float]  # those found
    invalid: float  # of continuations that are no answer of this kind
    branches: Masses  # (n,) of each unexplored branch
    ln_answers: float  # ln of how many answers there can be

    @property
    def residual(self) -> float:
        return math.fsum(self.branches)


@dataclass(frozen=True, slots=True)
class Drawn:
    """Paths drawn from the unexplored branches in proportion to their probability: (m,) each.

    Every branch is first counted as one answer of its own. A path says how that has to be corrected, each entry for
    the whole of the unexplored probability.
    """

    mass: Masses  # of answers; negative: so much of the unexplored leads to no answer
    entropy: Masses  # sum of -p ln p, in nats: what the branch holds, less what is the same answer as another


LEAST_MASS = 1e-3  # of answers: below it, a few drawn paths do not see what they spread over
NOTHING_DRAWN = Drawn(np.zeros(0), np.zeros(0))


@dataclass(frozen=True, slots=True)
class Summary:
    """A distribution over answers, given that there is one.

    Entropies in nats; None where no answer was found, or so few that the paths do not see what they spread over.
    """

    answers: dict[str, float]  # most likely first; they sum to the share of answers that was explored
    mass: float  # probability that there is an answer, by which the others are divided
    invalid: float  # that there is none: 1 - mass
    residual: float  # that was not explored, answers or not
    entropy: float | None
    entropy_se: float | None  # standard error of the estimate; 0: explored, or paths agree; None: fewer than two
    entropy_lower: float | None
    entropy_upper: float | None


def summarise(found: Explored, drawn: Drawn = NOTHING_DRAWN, known: Explored | None = None) -> Summary:
    """The distribution given an answer: H = ln Z + L / Z, where Z is the mass of answers and L = sum of -m ln m.

    Z and L are exact for what was explored and estimated for the rest, so that the error is that of a ratio.
    known: what the paths have explored beside it. It may not enter the estimate, which would be biased towards what
    happened to be drawn; it says between which values Z and H lie.
    """
    known = known or found
    explored, residual = math.fsum(known.answers.values()), known.residual
    estimate = math.fsum(found.answers.values()) + found.residual + _mean(drawn.mass)
    mass = min(max(estimate, explored), explored + residual)
    if not mass > 0:
        return Summary({}, 0.0, 1.0, 0.0, None, None, None, None)
    entropy = math.log(mass) + (plogp([*found.answers.values(), *found.branches]) + _mean(drawn.entropy)) / mass
    invalid = min(1.0, max(0.0, 1.0 - mass / (explored + known.invalid + residual)))
    lower, upper = bounds(known)
    error = _standard_error(drawn, mass, entropy) if residual > 0 else 0.0
    if mass < LEAST_MASS and error is not None and error > upper - lower > 0:
        return Summary({}, mass, invalid, residual, None, None, None, None)
    ranked = sorted(known.answers.items(), key=lambda item: (-item[1], item[0]))
    return Summary(
        answers={value: min(1.0, m / mass) for value, m in ranked},
        mass=mass,
        invalid=invalid,
        residual=residual,
        entropy=min(max(entropy, lower), upper),
        entropy_se=error,
        entropy_lower=lower,
        entropy_upper=upper,
    )


def bounds(found: Explored) -> tuple[float, float]:
    """The least and the most entropy that any allocation of the unexplored probability can give, in nats.

    Least: all of it falls to the most likely answer. Most: it is poured over the answers that were not found, and over
    those found once they are as unlikely. Probability that leads to no answer only brings both closer.
    """
    masses, residual = sorted(found.answers.values(), reverse=True), found.residual
    if not masses:
        return 0.0, found.ln_answers
    peaked = [masses[0] + residual, *masses[1:]]
    return _normalised_entropy(peaked), min(_levelled(masses, residual, found.ln_answers), found.ln_answers)


def plogp(masses: Sequence[float] | Masses) -> float:
    """Sum of -m ln m in nats, of masses that need not sum to 1; 0 for a mass of 0."""
    return -math.fsum(m * math.log(m) for m in masses if m > 0)


def _normalised_entropy(masses: Sequence[float]) -> float:
    total = math.fsum(masses)
    return max(0.0, math.log(total) + plogp(masses) / total)


def _levelled(masses: Sequence[float], residual: float, ln_answers: float) -> float:
    """Entropy of falling masses after the residual has filled up the smallest, the answers not found first."""
    n_unfound = max(0.0, math.exp(ln_answers) - len(masses))
    kept = len(masses)
    while kept and (n_unfound + len(masses) - kept) * masses[kept - 1] < residual + math.fsum(masses[kept:]):
        kept -= 1
    filled, n = residual + math.fsum(masses[kept:]), n_unfound + len(masses) - kept
    level = filled * (math.log(n) - math.log(filled)) if filled > 0 and n > 0 else 0.0
    total = math.fsum(masses[:kept]) + filled
    return math.log(total) + (plogp(masses[:kept]) + level) / total


def _mean(values: Masses) -> float:
    return float(values.mean()) if len(values) else 0.0


def _standard_error(drawn: Drawn, mass: float, entropy: float) -> float | None:
    """Of ln Z + L / Z, by the delta method; None: a single path says nothing of its spread."""
    if len(drawn.mass) < 2:
        return None
    slope = (1.0 + math.log(mass) - entropy) / mass  # of H in Z; in L it is 1 / Z
    influence = drawn.entropy / mass + drawn.mass * slope
    steps = np.diff(influence)  # neighbours are of neighbouring strata, so most alike (Wolter 2007, section 8.2)
    return math.sqrt(float(steps @ steps) / (2 * len(steps) * len(influence)))
