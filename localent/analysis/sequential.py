"""Which of several candidates is closest to the reference, looked at repeatedly while data come in.

A look tests whether the leader, whose mean is least, is below each other candidate, on paired values of the same texts.
The looks share one error rate: the level of each is the part of it that its share of the data may spend, and a union
over looks and over candidates bounds the whole, whatever their dependence. So the chance of ever naming a candidate
before one that is truly closer is at most ALPHA.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from localent.analysis.metrics import Array
from localent.analysis.significance import sign_flip_p

ALPHA = 0.05
LEAST = 10  # texts at the first look
GROWTH = 2  # from one look to the next


def looks(n: int) -> list[int]:
    """Numbers of texts at which one looks, doubling up to all n of them: [10, 20, 40, 80, 100] for 100."""
    found = [min(n, LEAST)]
    while found[-1] < n:
        found.append(min(n, GROWTH * found[-1]))
    return found


def levels(at: Sequence[int], alpha: float = ALPHA) -> list[float]:
    """The level of each look: what its share of the data adds to alpha·ln(1 + (e - 1)·t), so that they sum to alpha.

    Source: Lan and DeMets (1983), doi:10.1093/biomet/70.3.659, with the spending function after Pocock.
    """
    spent = [alpha * math.log1p((math.e - 1) * n / at[-1]) for n in (0, *at)]
    return [after - before for before, after in pairwise(spent)]


@dataclass(frozen=True, slots=True)
class Standing:
    """The order of the candidates at one look."""

    leader: int
    p: tuple[float | None, ...]  # of each candidate, that it is as close as the leader; None: leader, or cannot be told
    level: float  # of this look, for one pair

    @property
    def open(self) -> tuple[int, ...]:
        """The candidates that the leader is not told apart from."""
        others = (i for i in range(len(self.p)) if i != self.leader)
        return tuple(i for i in others if (p := self.p[i]) is None or p > self.level)

    @property
    def decided(self) -> bool:
        """True if the leader is closer than every other."""
        return not self.open


def standing(values: Array, level: float) -> Standing:
    """The order by mean: values (n_texts, n_candidates), of each text the sum of KLD; level: of this look.

    Each pair has the level / (n_candidates - 1). p: the larger of Student's t and of sign flips, both two-sided and
    paired, so that neither a few heavy texts nor a skew decides alone.
    """
    leader, n = int(values.mean(axis=0).argmin()), values.shape[1]
    p = tuple(None if i == leader else _p(values[:, i] - values[:, leader]) for i in range(n))
    return Standing(leader, p, level / max(n - 1, 1))


def _p(differences: Array) -> float | None:
    """Two-sided p that a mean difference is 0; None for too few texts, and where none differs."""
    from scipy.stats import ttest_1samp

    flipped = sign_flip_p(differences, np.arange(len(differences)))
    return None if flipped is None else max(flipped, float(ttest_1samp(differences, 0.0).pvalue))
