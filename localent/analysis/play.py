"""What a policy is, and what comes of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from localent.analysis.metrics import Array

N_THRESHOLDS = 20


@dataclass(frozen=True, slots=True)
class Play:
    """What came of a policy, one row per answer that was asked for: a trace, or a problem in a vote."""

    right: Array  # probability of being answered right: ties in a vote are settled at random
    answered: Array  # bool
    tokens: Array  # generated
    probe_tokens: Array  # fed to decide
    problems: Array


@dataclass(frozen=True, slots=True)
class Policy:
    """A rule with one open setting."""

    name: str
    kind: str  # "abstain" | "vote" | "stop"
    settings: tuple[float, ...]  # to choose from
    play: Callable[[float, Array], Play]  # setting, which traces (n,) bool -> what comes of it
    unit: str  # what the setting is


def thresholds(values: Array) -> tuple[float, ...]:
    """Quantiles of what was seen; no label enters."""
    finite = values[np.isfinite(values)]
    return tuple(np.unique(np.quantile(finite, np.linspace(0, 1, N_THRESHOLDS))).tolist()) if len(finite) else (0.0,)
