"""Which of several candidates is closest to the reference, looked at repeatedly while data come in.

A look tests whether the leader, whose mean is least, is below each other candidate, on paired values of the same texts.
A candidate that is told apart from the leader is out, and reads no more. The looks share one error rate: the level of
each is the part of it that its share of the data may spend, and a union over looks and over candidates bounds the
whole, whatever their dependence. So the chance of ever putting a candidate out for one that is truly farther is at
most ALPHA.
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


def looks(n: int, n_candidates: int = 2) -> list[int]:
    """Numbers of texts at which one looks, doubling up to all n of them: [10, 20, 40, 80, 100] for 100.

    With many candidates the first look comes later: where sign flips of all its texts can reach the level of a pair.
    """
    enough = (k for k in range(LEAST, n) if 2.0 ** (1 - k) <= _of_pair(levels([k, n])[0], n_candidates))
    found = [next(enough, n)]
    while found[-1] < n:
        found.append(min(n, GROWTH * found[-1]))
    return found


def levels(at: Sequence[int], alpha: float = ALPHA) -> list[float]:
    """The level of each look: what its share of the data adds to alpha·ln(1 + (e - 1)·t), so that they sum to alpha.

    Source: Lan and DeMets (1983), doi:10.1093/biomet/70.3.659, with the spending function after Pocock.
    """
    spent = [alpha * math.log1p((math.e - 1) * n / at[-1]) for n in (0, *at)]
    return [after - before for before, after in pairwise(spent)]


def _of_pair(level: float, n_candidates: int) -> float:
    return level / max(n_candidates - 1, 1)


@dataclass(frozen=True, slots=True)
class Standing:
    """The order of the candidates after one look and those before it."""

    leader: int
    p: tuple[float | None, ...]  # of each at its last look, that it is as close as the leader; None: leads, or no test
    level: tuple[float, ...]  # of that look, for one pair

    @property
    def open(self) -> tuple[int, ...]:
        """The candidates that no leader was told apart from."""
        others = (i for i in range(len(self.p)) if i != self.leader)
        return tuple(i for i in others if (p := self.p[i]) is None or p > self.level[i])

    @property
    def racing(self) -> tuple[int, ...]:
        """The leader and the open ones, in their order."""
        return tuple(sorted((self.leader, *self.open)))

    @property
    def decided(self) -> bool:
        """True if the leader is closer than every other."""
        return not self.open


def standing(values: Sequence[Array], level: float, before: Standing | None = None) -> Standing:
    """The order by mean. values: of each candidate the sum of KLD of each text (n_texts,); level: of this look.

    before: the look before this one; candidates that were out then stay out, and their values are not used.
    Each pair has the level / (n_candidates - 1). p: the larger of Student's t and of sign flips, both two-sided and
    paired, so that neither a few heavy texts nor a skew decides alone.
    """
    n = len(values)
    racing = before.racing if before else range(n)
    leader = min(racing, key=lambda i: float(values[i].mean()))
    p, levels_ = list(before.p if before else [None] * n), list(before.level if before else [0.0] * n)
    for i in racing:
        p[i] = None if i == leader else _p(values[i] - values[leader])
        levels_[i] = _of_pair(level, n)
    return Standing(leader, tuple(p), tuple(levels_))


def _p(differences: Array) -> float | None:
    """Two-sided p that a mean difference is 0; None for too few texts, and where none differs."""
    from scipy.stats import ttest_1samp

    flipped = sign_flip_p(differences, np.arange(len(differences)))
    return None if flipped is None else max(flipped, float(ttest_1samp(differences, 0.0).pvalue))
