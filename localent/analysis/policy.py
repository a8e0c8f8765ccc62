"""A policy: a rule with one open setting that abstains, votes or stops early; and the effects of a setting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from localent.analysis.metrics import Array
from localent.stopping import DIGITS, rounded

ABSTAIN, VOTE, STOP = "abstain", "vote", "stop"
N_THRESHOLDS = 20


@dataclass(frozen=True, slots=True)
class Effects:
    """Effects of a policy, one row per answer that was asked for: a trace, or a problem in a vote."""

    right: Array  # probability of being answered right: ties in a vote are settled at random
    answered: Array  # bool
    tokens: Array  # generated
    probe_tokens: Array  # fed to decide
    problems: Array


@dataclass(frozen=True, slots=True)
class Policy:
    """A rule with one open setting. The key identifies it, the title is what people read."""

    key: str
    title: str
    kind: str  # ABSTAIN, VOTE or STOP
    settings: tuple[float, ...]  # to choose from
    apply: Callable[[float, Array], Effects]  # setting, which traces (n,) bool
    unit: str = ""  # of the setting; "": it has none
    negated: bool = False  # settings are stored negated, so that a smaller one always stops later

    def shown(self, setting: float) -> str:
        """A setting as people read it: "tokens 37"; "never" where the rule is off."""
        if not self.unit or np.isinf(setting):
            return "never" if self.unit else ""
        return f"{self.unit} {-setting if self.negated else setting:.{DIGITS}g}"


def thresholds(values: Array) -> tuple[float, ...]:
    """Quantiles of the finite values, rounded so that what is printed is what acts; no label enters."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return (0.0,)
    return tuple(sorted({rounded(x) for x in np.quantile(finite, np.linspace(0, 1, N_THRESHOLDS)).tolist()}))
