"""The noise floor: how far the reference is from itself when nothing but the shape of a call changes.

Another number of rows in a call means other kernels and other rounding. What is not above this cannot be told apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from localent.analysis.divergence import TeacherForced
from localent.analysis.pairs import FreeRunning
from localent.analysis.prefixes import Trajectory
from localent.analysis.quantities import QUANTITIES
from localent.compare.text import Text
from localent.engine import Rows, Scorer

SHARE, LEAST, MOST = 0.02, 2, 40  # of the texts that are scored twice
LEAST_ROWS = 500  # positions, where there are so many: a few short traces do not know the size of the noise
View = TeacherForced | FreeRunning | Trajectory


class Rechunked(Scorer):
    """A scorer that is fed in smaller pieces than asked for."""

    def __init__(self, scorer: Scorer, chunk: int):
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
    """A few texts from all over: enough to know the size of the noise."""
    rows = sum(text.n_rows for text in texts) / len(texts)
    n = max(LEAST, math.ceil(LEAST_ROWS / max(rows, 1)), min(MOST, round(SHARE * len(texts))))
    n = min(len(texts), n)
    return [texts[i * len(texts) // n] for i in range(n)]


def multiples(
    mine: TeacherForced | FreeRunning | Trajectory, floor: TeacherForced | FreeRunning | Trajectory
) -> dict[str, float | None]:
    """Every difference over the same one of the reference against itself; None where that is 0, or not known."""
    ours, noise = magnitudes(mine), magnitudes(floor)
    return {name: value / noise[name] if noise.get(name) else None for name, value in ours.items()}


def magnitudes(found: View) -> dict[str, float]:
    """Differences as sizes, 0 for a model and itself."""
    match found:
        case TeacherForced():
            at_itself = {figure.name: QUANTITIES[figure.name].at_itself for figure in found.figures}
            return {key: abs(found[key].value - own) for key, own in at_itself.items() if own is not None}
        case FreeRunning():
            sizes = {"flips": found.flips, "accuracy_change": found.accuracy_change}
            sizes |= {"diverged_early": found.diverged_early, "abandoned_change": found.abandoned_change}
            alike = {"same_answer": found.same_answer, "identical": found.identical}
            return _known(sizes) | _known({"length_ratio": found.length_ratio} | alike, 1.0)
        case Trajectory():
            names = ("abs_delta_entropy", "abs_delta_p_true", "gain_change")
            sizes = _known({name: getattr(found, name) for name in names})
            return sizes | _known({"same_leader": found.same_leader}, 1.0)


def _known(estimates: dict, alike: float = 0.0) -> dict[str, float]:
    """How far each estimate that has a value is from what a model and itself give."""
    return {name: abs(found.value - alike) for name, found in estimates.items() if found.value is not None}
