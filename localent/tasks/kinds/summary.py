"""Entropy of an answer distribution that was only partly explored, with certified bounds.

`open_ended` suits answers that cannot be listed (numbers), `among` those that can (option labels).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from localent.errors import LocalentError
from localent.measure.entropy import entropy_of_probs


@dataclass(frozen=True, slots=True)
class Explored:
    """The state of a search: what has been found, and what has not been explored. All probabilities."""

    answers: dict[str, float]  # most likely first
    invalid: float  # of continuations that are no answer of this kind
    branches: tuple[float, ...]  # of every unexplored branch, the negligible ones summed up in the last
    residual: float  # of all of them


@dataclass(frozen=True, slots=True)
class Summary:
    """An answer distribution, before its true answer is looked at. Entropies in nats."""

    answers: dict[str, float]
    invalid: float
    residual: float
    entropy: float
    entropy_lower: float
    entropy_upper: float


def open_ended(found: Explored, ln_answers: float) -> Summary:
    """Entropy over answers, the invalid mass and each unexplored branch. ln_answers: ln of how many answers exist."""
    masses = [*found.answers.values(), found.invalid]
    return Summary(
        answers=found.answers,
        invalid=found.invalid,
        residual=found.residual,
        entropy=_entropy([*masses, *found.branches]),
        entropy_lower=_entropy(_with_peak(masses, found.residual)),
        entropy_upper=_entropy([*masses, found.residual]) + found.residual * ln_answers,
    )


def among(found: Explored, n_answers: int) -> Summary:
    """Entropy of the softmax over n answers; what is neither one of them nor unexplored is reported as invalid.

    Raises LocalentError where none of them has any probability.
    """
    explored = math.fsum(found.answers.values())
    if explored == 0.0:
        raise LocalentError("no option label got any probability after the cue: does this vocabulary have them?")
    masses = [*found.answers.values()] + [0.0] * (n_answers - len(found.answers))
    return Summary(
        answers={value: mass / explored for value, mass in found.answers.items()},
        invalid=max(0.0, 1.0 - explored - found.residual),
        residual=found.residual,
        entropy=_entropy(masses),
        entropy_lower=_entropy(_with_peak(masses, found.residual)),
        entropy_upper=_entropy(_levelled(masses, found.residual)),
    )


def _entropy(masses: Sequence[float]) -> float:
    """Entropy in nats of masses that sum to 1 but for the rounding of float32 logits."""
    probs = np.asarray(masses, np.float64)
    return float(entropy_of_probs(probs / probs.sum()))


def _with_peak(masses: Sequence[float], extra: float) -> list[float]:
    """All of `extra` on the largest mass: the least entropy any allocation can have."""
    peaked = sorted(masses, reverse=True)
    peaked[0] += extra
    return peaked


def _levelled(masses: Sequence[float], extra: float) -> list[float]:
    """`extra` poured over the smallest masses: the most entropy any allocation can have."""
    rising = sorted(masses)
    for n in range(1, len(rising) + 1):
        level = (math.fsum(rising[:n]) + extra) / n
        if n == len(rising) or level <= rising[n]:
            return [level] * n + rising[n:]
    raise AssertionError("unreachable: the last n always returns")
