"""The share of probes without an answer. Where it is large, the answers say little: nothing is judged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from localent.analysis.probed import Probed
from localent.records import INVALID_LIMIT


@dataclass(frozen=True, slots=True)
class Validity:
    """The probability that no answer follows, over the probes of the traces' own prefixes."""

    invalid: float  # mean of probes
    n_probes: int

    @property
    def doubtful(self) -> bool:
        """True if the format does not work for the model."""
        return self.invalid > INVALID_LIMIT

    @property
    def sentence(self) -> str:
        """The reason that stands in place of verdicts where it is doubtful."""
        return (
            f"No answer follows the cue with probability {self.invalid:.0%}, mean of {self.n_probes} probes (limit "
            f"{INVALID_LIMIT:.0%}): the format does not work for this model, so there is no verdict. 'localent prompt "
            "MODEL TASK' shows how other cues do."
        )


def validity(p: Probed | None) -> Validity | None:
    """Of the own probes of a run; None without probes."""
    masses = np.zeros(0) if p is None else p.invalid[~np.isnan(p.invalid)]
    return Validity(float(masses.mean()), len(masses)) if len(masses) else None
