"""Accuracy beside that of blind guesses. At chance the format does not work for the model: nothing else is judged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from localent.analysis.recorded import Traces

ALPHA = 0.05
FEW = 20  # problems; among fewer, accuracy that works may not show


@dataclass(frozen=True, slots=True)
class Chance:
    """The right answers of a run against blind guessing. Each problem counts once, by its first trace."""

    level: float  # probability that a blind guess is right, mean of problems
    n_right: int  # problems whose first trace is right
    n: int  # problems
    p: float  # one-sided, exact binomial: that guessing is right so often

    @property
    def at_chance(self) -> bool:
        """True if accuracy is not shown to be above chance."""
        return self.p >= ALPHA

    @property
    def sentence(self) -> str:
        """The reason that stands in place of verdicts at chance."""
        few = " or there are too few problems to tell," if self.n < FEW else ""
        counts = f"{self.n_right} of {self.n} problems right, {self.level:.0%} by guessing"
        return (
            f"Accuracy is not above chance ({counts}, exact binomial p = {self.p:.2f}): the format does not work for"
            f" this model,{few} so there is no verdict."
        )


def against_chance(traces: Traces) -> Chance | None:
    """Right answers against blind guesses; None where no answer can be guessed (numbers), or no trace is there.

    With problems of several levels the binomial of their mean is used, which has the larger variance (Hoeffding,
    1956): its p is too large, if anything.
    """
    first = np.lexsort((traces.samples, traces.clusters))
    first = first[np.unique(traces.clusters[first], return_index=True)[1]]
    levels = traces.chance[first]
    if not len(levels) or not (level := float(levels.mean())) > 0:  # also NaN: a kind that is not known
        return None
    n_right = int((~traces.wrong[first]).sum())
    from scipy.stats import binomtest  # here, so that a run without choices does not pay for scipy

    return Chance(level, n_right, len(first), float(binomtest(n_right, len(first), level, "greater").pvalue))
