"""Information about the true answer that a prefix holds, confidence taken out.

ln p_k(a*) mixes two things: how often the model's distribution is right, and how well its confidence is calibrated. A
model whose leader is right twice as often, but which is now always sure, loses log probability though it knows more.
So p_k is recalibrated first, and judged on problems that the recalibration has not seen.
"""

from __future__ import annotations

from zlib import crc32

import numpy as np

from localent.analysis.curves import FLOOR
from localent.analysis.intervals import problem_index
from localent.analysis.metrics import Array
from localent.analysis.probed import Probed

QUARTERS = 4  # positions are recalibrated apart: the start, the end, and each quarter between
N_PASSES = 100  # of the EM algorithm; the log-likelihood then moves by less than 1e-3 nats a trace
RECALIBRATED = (
    "Information is that of distributions recalibrated on the other half of the problems, so that confidence alone"
    " neither gains nor loses any."
)
PRIOR = 1.0  # problems that each forecast is credited with before any is seen: no weight is ever 0


def readable(p: Probed, floor: float = FLOOR) -> Array:
    """ln q_k(a*), the recalibrated log probability of the true answer: (n, J_max + 1) nats, NaN where not probed.

    q is a weighted mean of the model's own distribution p, of its most likely answer alone, of the same two before the
    first step, and of a blind guess, u = 1 / number of options (`floor` where answers cannot be guessed). The weights,
    at least 0 with sum 1, maximise the likelihood over the other half of the problems, each of which counts once, at
    each part of the trace apart: the start, each quarter, the end. Over-confidence goes to u, under-confidence to the
    leader. A reader may ignore what it has read and keep to what it knew before: without that ("optional ignorance"),
    a model that is mostly wrong in the end would have lost information though it is right more often than at the start.
    All NaN where no problem is in the other half.
    Source: V-information, Xu et al. (2020), arXiv 2002.10689, with this family of readers; linear pools, Stone (1961);
    EM for mixture weights, Dempster et al. (1977). The family is ours.
    """
    forecasts = _forecasts(p, floor)
    there = ~np.isnan(forecasts).any(-1) & ~np.isnan(p.position)
    half, n_parts = halves(p.problems), QUARTERS + 2
    part = np.where(there, np.ceil(np.nan_to_num(p.position) * QUARTERS), 0).astype(int) + (p.position == 1)
    cell = (half[:, None] * n_parts + part)[there]
    problem = np.broadcast_to(problem_index(p.problems)[:, None], there.shape)[there]
    weights = _weights(forecasts[there], cell, _once(problem * 2 * n_parts + cell), 2 * n_parts)
    other = ((1 - half[:, None]) * n_parts + part)[there]  # fitted where this problem is not
    found = np.full(there.shape, np.nan)
    found[there] = np.log((forecasts[there] * weights[other]).sum(-1))
    return found if len(np.unique(half)) == 2 else np.full(there.shape, np.nan)


def halves(problems: Array) -> Array:
    """0 or 1 for each trace, by a hash of its problem: the same half whatever other problems there are."""
    names, index = np.unique(problems, return_inverse=True)
    found: Array = np.array([crc32(str(name).encode()) & 1 for name in names.tolist()], int)[index.ravel()]
    return found


def gain(p: Probed, floor: float = FLOOR) -> Array:
    """Information gained about the true answer since k = 0, recalibrated: (n, J_max + 1) nats. Positive: gained."""
    found = readable(p, floor)
    return found - found[:, :1]


def blind(p: Probed, floor: float = FLOOR) -> Array:
    """The probability of the true answer under a blind guess: (n,) in (0, 1); `floor` where there is no guessing."""
    guess = np.zeros(len(p.wrong)) if p.guess is None else np.nan_to_num(p.guess)
    return np.where(guess > 0, guess, floor)


def _forecasts(p: Probed, floor: float) -> Array:
    """The true answer's probability by five forecasts (see `readable`): (n, J_max + 1, 5).

    Where what is unexplored could overtake the leader, the distribution stands in for it.
    """
    leads = np.where(p.open_leader, p.p_true, p.leader_true)
    before = [np.broadcast_to(one[:, :1], leads.shape) for one in (p.p_true, leads)]
    return np.stack([p.p_true, leads, *before, np.broadcast_to(blind(p, floor)[:, None], leads.shape)], -1)


def _once(key: Array) -> Array:
    """What each of several probes with one key counts, so that together they count once: (m,) -> (m,)."""
    index = problem_index(key)
    found: Array = 1 / np.bincount(index)[index] if len(index) else np.zeros(0)
    return found


def _weights(forecasts: Array, cell: Array, counts: Array, n_cells: int) -> Array:
    """Weights of the forecasts in each cell: (m, f), (m,) of cell numbers and counts -> (n_cells, f), rows of sum 1."""
    n = forecasts.shape[-1]
    weights = np.full((n_cells, n), 1 / n)
    for _ in range(N_PASSES):
        shares = forecasts * weights[cell]
        shares = counts[:, None] * shares / shares.sum(-1, keepdims=True)
        weights = PRIOR + np.stack([np.bincount(cell, shares[:, i], n_cells) for i in range(n)], -1)
        weights = weights / weights.sum(-1, keepdims=True)
    return weights
