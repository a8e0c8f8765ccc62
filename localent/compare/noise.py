"""The noise floor: how far the reference is from itself when only the shape of a call changes.

Another number of rows in a call selects other kernels, which round differently. Differences that are not above this
floor cannot be told apart from rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from localent.analysis.divergence import TeacherForced
from localent.analysis.intervals import Estimate
from localent.analysis.pairs import FreeRunning
from localent.analysis.prefixes import Trajectory
from localent.analysis.quantities import QUANTITIES
from localent.compare.text import Text
from localent.engine import Rows, Scorer

SHARE, LEAST, MOST = 0.02, 2, 40  # of the texts are scored twice: the share, and its bounds in texts
LEAST_ROWS = 500  # positions, where there are so many: fewer estimate the noise too coarsely
View = TeacherForced | FreeRunning | Trajectory


class Rechunked(Scorer):
    """A scorer that feeds another one in pieces of `chunk` tokens."""

    def __init__(self, scorer: Scorer, chunk: int) -> None:
        self.scorer, self.chunk, self.name = scorer, chunk, scorer.name
        self.n_vocab, self.can_keep = scorer.n_vocab, scorer.can_keep

    def keep(self, n_tokens: int) -> None:
        self.scorer.keep(n_tokens)

    def feed(self, tokens: Sequence[int], n_rows: int) -> Rows:
        found, first = [], len(tokens) - n_rows
        for start in range(0, len(tokens), self.chunk):
            end = min(start + self.chunk, len(tokens))
            found.append(np.array(self.scorer.feed(tokens[start:end], max(0, end - max(start, first)))))
        return np.concatenate(found)  # a copy: each call overwrites the rows of the one before


def sample(texts: Sequence[Text]) -> list[Text]:
    """A few texts, evenly spaced: enough to estimate the noise."""
    rows = sum(text.n_rows for text in texts) / len(texts)
    wanted = max(LEAST, math.ceil(LEAST_ROWS / max(rows, 1)), min(MOST, round(SHARE * len(texts))))
    n = min(len(texts), wanted)
    return [texts[i * len(texts) // n] for i in range(n)]


def multiples(mine: View, floor: View) -> dict[str, float | None]:
    """Each difference as a multiple of the same one in the noise floor; None where that is 0 or unknown."""
    ours, noise = magnitudes(mine), magnitudes(floor)
    return {name: value / noise[name] if noise.get(name) else None for name, value in ours.items()}


def magnitudes(found: View) -> dict[str, float]:
    """The absolute size of each difference, by name: 0 for a model and itself."""
    match found:
        case TeacherForced():
            at_itself = {figure.name: QUANTITIES[figure.name].at_itself for figure in found.figures}
            return {key: abs(found[key].value - own) for key, own in at_itself.items() if own is not None}
        case FreeRunning():
            changes = _sizes(found, 0.0, "flips", "accuracy_change", "diverged_early", "abandoned_change")
            return changes | _sizes(found, 1.0, "length_ratio", "same_answer", "identical")
        case Trajectory():
            changes = _sizes(found, 0.0, "abs_delta_entropy", "abs_delta_p_true", "gain_change", "information_change")
            return changes | _sizes(found, 1.0, "same_leader")


def _sizes(view: FreeRunning | Trajectory, at_itself: float, *names: str) -> dict[str, float]:
    """Distance of each named estimate that has a value from the value of a model and itself."""
    estimates: dict[str, Estimate] = {name: getattr(view, name) for name in names}
    return {name: abs(found.value - at_itself) for name, found in estimates.items() if found.value is not None}
