"""Information about the true answer that a prefix holds, confidence taken out.

ln p_k(a*) mixes two things: how often the model's distribution is right, and how well its confidence is calibrated. A
model whose leader is right twice as often, but which is now always sure, loses log probability though it knows more.
So p_k is recalibrated first, and judged on problems that the recalibration has not seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

import numpy as np

from localent.analysis.curves import FLOOR
from localent.analysis.intervals import problem_index
from localent.analysis.metrics import Array
from localent.analysis.probed import Probed

QUARTERS = 4  # positions are recalibrated apart: the start, the end, and each quarter between
N_PARTS = QUARTERS + 2
N_CELLS = 2 * N_PARTS  # a part of the trace in one half of the problems
N_PASSES = 100  # of the EM algorithm; the log-likelihood then moves by less than 1e-3 nats a trace
RECALIBRATED = (
    "Information is that of distributions recalibrated on the other half of the problems, so that confidence alone"
    " neither gains nor loses any."
)
LEAST = 20  # problems below which half of them cannot recalibrate the other; a single forecast then weighs too much
PRIOR = 1.0  # problems that each forecast is credited with before any is seen: no weight is ever 0


@dataclass(frozen=True, slots=True)
class Reader:
    """How a reader of a prefix uses the distribution before the first step, and where its weights are fitted."""

    pools: bool = False  # it is one more of the forecasts; False: it takes the place of all, or is not used
    has_seen: bool = False  # the problems themselves fit the weights: never too few to see what they hold, but more


CAUTIOUS = Reader()  # two noisy readings of one distribution are worth more than one: that counts for nothing
POOLING = Reader(pools=True)  # gains by averaging alone, too: to be compared with a control, or with an earlier prefix
OPTIMIST = Reader(pools=True, has_seen=True)  # gains more than there is: what it does not gain is not there


def readable(p: Probed, floor: float = FLOOR, start: Probed | None = None, reader: Reader = CAUTIOUS) -> Array:
    """ln q_k(a*), the recalibrated log probability of the true answer: (n, J_max + 1) nats, NaN where not probed.

    q is a weighted mean of the model's own distribution p, of its most likely answer alone, and of a blind guess,
    u = 1 / number of options (`floor` where answers cannot be guessed). The weights, at least 0 with sum 1, maximise
    the likelihood over the other half of the problems, each of which counts once, at each part of the trace apart: the
    start, each quarter, the end. Over-confidence goes to u, under-confidence to the leader. A reader may ignore what it
    has read ("optional ignorance"), or a model that is mostly wrong in the end would have lost information though it is
    right more often than at the start: by default, where the distribution before the first step is likelier on the
    other half, q is that one's. It is one or the other, never their mean: two noisy readings of one distribution are
    worth more than one, without anything gathered between them. Other readers: see `Reader`. `start`: where the
    distribution before the first step is from, for a control, which has none. All NaN where no problem is in the other
    half.
    Source: V-information, Xu et al. (2020), arXiv 2002.10689, with this family of readers; linear pools, Stone (1961);
    EM for mixture weights, Dempster et al. (1977). The family is ours.
    """
    now = _forecasts(p, floor)
    before = now if start is None else _forecasts(start, floor)
    return recalibrated(now, before, p.position, p.clusters, reader)


def recalibrated(now: Array, start: Array, position: Array, clusters: Array, reader: Reader = CAUTIOUS) -> Array:
    """ln q(a*) of forecasts of the true answer, as readable describes: (n, J, 3) -> (n, J) nats.

    now: by the distribution, by its leader, by guessing; start: likewise, of which the first is before the first step.
    position: (n, J); clusters: (n,) problems, their variants as one.
    """
    first = start[:, :1]
    before = np.where(np.isnan(first), now, first)
    there = ~np.isnan(now).any(-1) & ~np.isnan(position)
    if len(np.unique(halves(clusters))) < 2:
        return np.full(there.shape, np.nan)
    of = cells(position, there, clusters, reader)
    ways = [np.concatenate([now, before[..., :1]], -1)] if reader.pools else [now, before]
    read = [_read(one[there], of) for one in ways]
    likeliest = np.argmax([fit for _, fit in read], 0)[of.other]
    found = np.full(there.shape, np.nan)
    found[there] = np.log(np.choose(likeliest, [q for q, _ in read]))
    return found


@dataclass(frozen=True, slots=True)
class Cells:
    """Where each of m probes counts: (m,) each, cells in 0..N_CELLS - 1."""

    own: Array
    other: Array  # the cell that its own recalibration is fitted in
    counts: Array  # weights that make the probes of a problem in a cell count once


def cells(position: Array, there: Array, clusters: Array, reader: Reader = CAUTIOUS) -> Cells:
    """The cells of the probes that are there: position and there (n, J), clusters (n,)."""
    half = halves(clusters)[:, None] * (not reader.has_seen)
    part = np.where(there, np.ceil(np.nan_to_num(position) * QUARTERS), 0).astype(int) + (position == 1)
    own = (half * N_PARTS + part)[there]
    other = own if reader.has_seen else ((1 - half) * N_PARTS + part)[there]
    problem = np.broadcast_to(problem_index(clusters)[:, None], there.shape)[there]
    return Cells(own, other, _once(problem * N_CELLS + own))


def _read(forecasts: Array, of: Cells) -> tuple[Array, Array]:
    """(q with the weights of the other cell, (m,); the likelihood of its own weights in each cell, (N_CELLS,))."""
    weights = _weights(forecasts, of)
    own = np.log((forecasts * weights[of.own]).sum(-1))
    return (forecasts * weights[of.other]).sum(-1), np.bincount(of.own, of.counts * own, N_CELLS)


def too_few(clusters: Array) -> str:
    """The reason why forecasts of these problems cannot be recalibrated; "" where they can."""
    n = len(np.unique(clusters))
    return "" if n >= LEAST else f"{n} problems are too few to recalibrate; {LEAST} are needed"


def halves(problems: Array) -> Array:
    """0 or 1 for each trace, by a hash of its problem: other problems do not move it."""
    names, index = np.unique(problems, return_inverse=True)
    found: Array = np.array([crc32(str(name).encode()) & 1 for name in names.tolist()], int)[index.ravel()]
    return found


def gain(p: Probed, floor: float = FLOOR, reader: Reader = CAUTIOUS) -> Array:
    """Information gained about the true answer since k = 0, recalibrated: (n, J_max + 1) nats. Positive: gained."""
    found = readable(p, floor, reader=reader)
    return found - found[:, :1]


def blind(p: Probed, floor: float = FLOOR) -> Array:
    """The probability of the true answer under a blind guess: (n,) in (0, 1); `floor` where there is no guessing."""
    guess = np.zeros(len(p.wrong)) if p.guess is None else np.nan_to_num(p.guess)
    return np.where(guess > 0, guess, floor)


def _forecasts(p: Probed, floor: float) -> Array:
    """The true answer's probability by the distribution, by its leader, and by guessing: (n, J_max + 1, 3).

    Where what is unexplored could overtake the leader, the distribution stands in for it.
    """
    leads = np.where(p.open_leader, p.p_true, p.leader_true)
    return np.stack([p.p_true, leads, np.broadcast_to(blind(p, floor)[:, None], leads.shape)], -1)


def _once(key: Array) -> Array:
    """The weight of each of several probes with one key, such that together they count once: (m,) -> (m,)."""
    index = problem_index(key)
    found: Array = 1 / np.bincount(index)[index] if len(index) else np.zeros(0)
    return found


def _weights(forecasts: Array, of: Cells) -> Array:
    """Weights of the forecasts in each cell: (m, f) -> (N_CELLS, f), rows of sum 1."""
    n = forecasts.shape[-1]
    weights = np.full((N_CELLS, n), 1 / n)
    for _ in range(N_PASSES):
        shares = forecasts * weights[of.own]
        shares = of.counts[:, None] * shares / shares.sum(-1, keepdims=True)
        weights = PRIOR + np.stack([np.bincount(of.own, shares[:, i], N_CELLS) for i in range(n)], -1)
        weights = weights / weights.sum(-1, keepdims=True)
    return weights
