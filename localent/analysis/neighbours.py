"""Intervals of means over positions in the order of a text, where neighbours are alike."""

from __future__ import annotations

import numpy as np

from localent.analysis.intervals import LEVEL
from localent.analysis.metrics import Array

LEAST_COSINES, LEAST_POSITIONS = 3, 30  # with fewer positions there is no interval


def cosines(n_chunks: int) -> int:
    """The number of cosines that measure the spread: slow enough for chunks that resemble the ones beside them.

    Source: 0.4 n^(2/3) of Lazarus et al. (2018), see `interval`; at least 3.
    """
    return max(LEAST_COSINES, round(0.4 * n_chunks ** (2 / 3)))


def interval(values: Array, n_cosines: int, mask: Array | None = None) -> tuple[float | None, float | None]:
    """95 % interval of the mean of a series under any correlation of neighbours: (n,) -> (low, high).

    mask (n,) bool: the mean is of these positions alone. The variance of the mean is the mean square of the first
    `n_cosines` cosine transforms of the deviations over n; the quantile is Student's t with as many degrees of freedom.
    (None, None) for fewer than LEAST_POSITIONS positions, or values that are not finite.
    Source: equal-weighted cosines, Müller (2007), doi:10.1016/j.jeconom.2006.10.006, as recommended by Lazarus, Lewis,
    Stock and Watson (2018), doi:10.1080/07350015.2018.1506926. Coverage: scripts/coverage.py --series.
    """
    from scipy.fft import dct
    from scipy.special import stdtrit

    among = np.ones(len(values), bool) if mask is None else mask
    if among.sum() < LEAST_POSITIONS or not np.isfinite(values[among]).all():
        return None, None
    mean = values[among].mean()
    deviations = np.where(among, values - mean, 0.0) / among.mean()
    waves = dct(deviations, norm="ortho")[1 : n_cosines + 1]
    half = stdtrit(n_cosines, (1 + LEVEL) / 2) * np.sqrt((waves**2).mean() / len(values))
    return float(mean - half), float(mean + half)
