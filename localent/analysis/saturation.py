"""Saturation: the answer entropy falls early in a trace, then flattens.

The slope of |H_k+1 - H_k| on H_k, which suggests itself, is positive in pure noise, where high values are followed by
lower ones, and negative near a ceiling. Here two contrasts of the start, the half and the end are judged together, both
of which are 0 on average if the order of the probes means nothing:

    fall   H_0 - H_1                            the entropy falls at all
    early  (H_0 - H_half) - (H_half - H_1)      more in the first half than in the second

The smaller of the two is the effect: an entropy that only rises late is early without a fall, a steady fall has a fall
that is not early.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from localent.analysis.curves import HALF
from localent.analysis.intervals import DEFAULT, SEED, Estimate, Resampling, estimate
from localent.analysis.metrics import Array, mean_of
from localent.analysis.probed import Probed
from localent.analysis.significance import sign_flip_p

N_ORDERS = 1999
CHUNK = 1 << 21  # values in memory at a time
FALL, EARLY = np.array([1.0, 0.0, -1.0]), np.array([1.0, -2.0, 1.0])  # of the start, the half and the end


@dataclass(frozen=True, slots=True)
class Saturation:
    """The two contrasts over traces of two steps or more, in nats, and their p-values: none exists for few problems."""

    fall: Estimate
    early: Estimate
    p: float | None  # two-sided, the larger of both; 1 where one is not above 0
    noise: float  # nats: root mean square of the standard errors of `early`

    @property
    def effect(self) -> Estimate:
        """The smaller of both."""
        return min(self.fall, self.early, key=lambda one: np.inf if one.value is None else one.value)

    def p_smaller(self, size: float, problems: Array, values: Array) -> float | None:
        """Two-sided p that `early` is `size`, given its values per trace; 1 where it is above."""
        above = self.early.value is None or self.early.value >= size
        return 1.0 if above else sign_flip_p(values, problems, size)


def saturation(p: Probed, resampling: Resampling = DEFAULT) -> Saturation:
    """Both contrasts of a run.

    Each p is the larger of two tests that hold under different assumptions: the probes of each trace in random order
    (exact if they are exchangeable, under any distribution), and sign flips of the means of problems (which allow
    neighbouring probes to be alike, as in a random walk). Source: Fisher (1935), The Design of Experiments; the larger
    p of claims that must all hold: Berger (1982), doi:10.1080/00401706.1982.10487790.
    """
    points, se = _points(p, p.entropy), _points(p, p.entropy_se)

    def mean(weights: Array) -> Estimate:
        return estimate(mean_of, points @ weights, problems=p.clusters, resampling=resampling)

    ps = [_p(p, points @ weights, weights) for weights in (FALL, EARLY)]
    noise, known = np.nan_to_num(se) ** 2 @ EARLY**2, ~np.isnan(points).any(1)
    return Saturation(
        fall=mean(FALL),
        early=mean(EARLY),
        p=None if None in ps else max(one for one in ps if one is not None),
        noise=float(np.sqrt(noise[known].mean())) if known.any() else 0.0,
    )


def early(p: Probed) -> Array:
    """(H_0 - H_half) - (H_half - H_1) of each trace of two steps or more: (n,) nats."""
    found: Array = _points(p, p.entropy) @ EARLY
    return found


def _points(p: Probed, values: Array) -> Array:
    """The values at the start, the half and the end: (n, 3); NaN for a trace of one step."""
    found: Array = np.where(p.n_steps[:, None] >= 2, p.at(values, (0.0, HALF, 1.0)), np.nan)
    return found


def _p(p: Probed, values: Array, weights: Array) -> float | None:
    mean, flips = float(np.nanmean(values)) if not np.isnan(values).all() else 0.0, sign_flip_p(values, p.clusters)
    if flips is None or mean <= 0:
        return None if flips is None else 1.0
    entropies = p.entropy[~np.isnan(values)]
    reached = sum(int((one >= mean * (1 - 1e-12)).sum()) for one in _orders(entropies, weights))
    return max(flips, min(1.0, 2 * (1 + reached) / (1 + N_ORDERS)))


def _orders(entropy: Array, weights: Array) -> Iterator[Array]:
    """The mean contrast under N_ORDERS random orders of each trace's probes, in chunks: (n, J_max + 1) -> (n_chunk,).

    A random order puts any three of the probes at the start, the half and the end.
    """
    rng, known = np.random.default_rng(SEED), np.sort(entropy, 1)  # NaN last
    n_known, rows = (~np.isnan(known)).sum(1), np.arange(len(known))
    size = max(1, CHUNK // max(len(known), 1))
    for first in range(0, N_ORDERS, size):
        u = rng.random((min(size, N_ORDERS - first), len(known), 3))
        yield (known[rows[:, None], _distinct(u, n_known)] @ weights).mean(1)


def _distinct(u: Array, n: Array) -> Array:
    """Three different places among the first n of each trace: u (..., n_traces, 3) uniform -> the same of int."""
    first = (u[..., 0] * n).astype(int)
    second = (u[..., 1] * (n - 1)).astype(int)
    second += second >= first
    third = (u[..., 2] * (n - 2)).astype(int)
    low, high = np.minimum(first, second), np.maximum(first, second)
    third += third >= low
    third += third >= high
    return np.stack([first, second, third], -1)
