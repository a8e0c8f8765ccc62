"""What two models say of one position: the measures of two next-token distributions, from their logits rows.

The formulas are those of `localent.entropy` (kl, js, entropy, varentropy), in float64 and in one walk over blocks that
stay in the cache. The reference's side is computed once and shared by all candidates. In float32 the sums would go
negative for near-lossless quants; here a distribution and itself give exactly 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from localent.entropy import Row
from localent.errors import LocalentError

BLOCK = 8192  # entries at a time: six blocks of float64 stay in the L2 cache, and BLAS starts no threads for them
FLOOR = -700.0  # nats below the top; exp is above 0 in float64 down to -745
CUT = -16.0  # llama-perplexity leaves out what the reference gives less than e^-16


@dataclass(frozen=True, slots=True)
class Side:
    """One model's distribution at one position."""

    surprisal: float  # of the token that follows, nats
    entropy: float  # nats
    varentropy: float  # nats squared
    margin: float  # l(1) - l(2), nats
    top1_id: int  # lowest id on ties


@dataclass(frozen=True, slots=True)
class Divergence:
    """How a candidate's distribution differs from the reference's at one position."""

    kld: float  # KL(reference || candidate), nats, full vocabulary
    kld_cut: float  # the same sum over tokens with ln p > -16 in the reference only: llama-perplexity's
    kld_reverse: float  # KL(candidate || reference), nats
    jsd: float  # Jensen-Shannon, nats, at most ln 2
    same_top: bool  # both find the same token most likely
    candidate: Side


class PairMeter:
    """Compares rows of `n_vocab` logits. Owns its scratch memory, so: one meter per thread."""

    def __init__(self, n_vocab: int) -> None:
        self.n_vocab = n_vocab
        width = min(BLOCK, n_vocab)
        self._scratch = np.empty((6, width))
        self._blocks = [slice(i, min(i + width, n_vocab)) for i in range(0, n_vocab, width)]

    def read(
        self, reference: Row, candidates: Sequence[Row], token_id: int, *, normalised: bool = False
    ) -> tuple[Side, list[Divergence]]:
        """Compare rows of raw logits, each (n_vocab,) float32, where `token_id` is the token that follows.

        normalised: the reference row holds log-probabilities and is taken as it is, even where it does not quite sum
        to 1 (the 16-bit rows of a llama-perplexity file).
        Raises LocalentError where a row is no distribution: NaN, +inf, nothing finite.
        """
        p = _Sums(reference, self._top2(reference), len(candidates))
        qs = [_Sums(row, self._top2(row), 1) for row in candidates]
        with np.errstate(under="ignore"):
            for where in self._blocks:
                self._moments(p, qs, where)
            p.close(as_is=normalised)
            for q in qs:
                q.close()
            for where in self._blocks:
                self._mixtures(p, qs, where)
        return p.side(token_id), [_divergence(p, q, i, token_id) for i, q in enumerate(qs)]

    def _moments(self, p: _Sums, qs: Sequence[_Sums], where: slice) -> None:
        """First walk: normalisers, moments, and the cross terms of both directions of KL."""
        n = where.stop - where.start
        z_p, e_p, z_q, e_q, gap, _ = (block[:n] for block in self._scratch)
        p.exponentials(where, z_p, e_p)
        p.add(z_p, e_p, gap)
        for i, q in enumerate(qs):
            q.exponentials(where, z_q, e_q)
            q.add(z_q, e_q, gap)
            np.subtract(z_p, z_q, out=gap)
            p.cross[i] += np.vecdot(e_p, gap)
            q.cross[0] -= np.vecdot(e_q, gap)

    def _mixtures(self, p: _Sums, qs: Sequence[_Sums], where: slice) -> None:
        """Second walk, with the normalisers known: the entropy of the mixture, and KL over likely tokens only."""
        n = where.stop - where.start
        p_z, p_e, q_z, q_e, mixture, other = (block[:n] for block in self._scratch)
        p.log_probs(where, p_z, p_e)
        for i, q in enumerate(qs):
            q.log_probs(where, q_z, q_e)
            np.add(p_e, q_e, out=mixture)
            np.log(mixture, out=other)
            p.mixture[i] += np.vecdot(mixture, other)
            np.subtract(p_z, q_z, out=q_z)
            np.greater(p_z, CUT, out=other)
            np.multiply(other, p_e, out=other)
            p.cut[i] += np.vecdot(other, q_z)

    def _top2(self, row: Row) -> tuple[int, float, float]:
        """Id of the largest logit (lowest on ties), its value, the second largest value."""
        if row.shape != (self.n_vocab,):
            raise LocalentError(f"Expected a logits row of {self.n_vocab}, got one of shape {row.shape}.")
        at = int(row.argmax())  # NaN wins
        top = float(row[at])
        if not math.isfinite(top):
            raise LocalentError(f"A logits row is broken ({top} in it): the model file or the backend is at fault.")
        return at, top, float(max((side.max() for side in (row[:at], row[at + 1 :]) if side.size), default=-math.inf))


class _Sums:
    """One row and what has been summed over it: z = logit - top, e = exp(z)."""

    def __init__(self, row: Row, top2: tuple[int, float, float], n_cross: int) -> None:
        self.row, (self.top1_id, self.top, self.second) = row, top2
        self.s = self.ez = self.ezz = 0.0  # of e, e·z, e·z²
        self.cross, self.mixture, self.cut = [0.0] * n_cross, [0.0] * n_cross, [0.0] * n_cross
        self.log_s = 0.0
        self.deep = float(row.min()) < self.top + FLOOR  # -inf among them: rare, and worth a pass only then

    def exponentials(self, where: slice, z: np.ndarray, e: np.ndarray) -> None:
        np.subtract(self.row[where], self.top, out=z, dtype=np.float64)
        if self.deep:
            np.maximum(z, FLOOR, out=z)  # an impossible token adds 0 · finite
        np.exp(z, out=e)

    def add(self, z: np.ndarray, e: np.ndarray, ez: np.ndarray) -> None:
        np.multiply(e, z, out=ez)
        self.s += float(np.add.reduce(e))
        self.ez += float(np.add.reduce(ez))
        self.ezz += float(np.vecdot(ez, z))

    def close(self, *, as_is: bool = False) -> None:
        """Settle the normaliser. as_is: the row holds log-probabilities already."""
        self.log_s = -self.top if as_is else math.log(self.s)

    def log_probs(self, where: slice, log_p: np.ndarray, p: np.ndarray) -> None:
        np.subtract(self.row[where], self.top + self.log_s, out=log_p, dtype=np.float64)
        if self.deep:
            np.maximum(log_p, FLOOR, out=log_p)
        np.exp(log_p, out=p)

    @property
    def entropy(self) -> float:
        return max(self.log_s - self.ez / self.s, 0.0)

    def side(self, token_id: int) -> Side:
        mean = self.ez / self.s
        surprisal = self.top + self.log_s - float(self.row[token_id])
        varentropy = max(self.ezz / self.s - mean * mean, 0.0)
        return Side(surprisal, self.entropy, varentropy, self.top - self.second, self.top1_id)


def _divergence(p: _Sums, q: _Sums, i: int, token_id: int) -> Divergence:
    """The record of one candidate. KL: mean of z_p - z_q, plus the difference of the normalisers."""
    shift = q.log_s - p.log_s
    js = math.log(2) - p.mixture[i] / 2 - (p.entropy + q.entropy) / 2
    same = p.cross[i] == 0.0 and q.cross[0] == 0.0 and shift == 0.0
    return Divergence(
        kld=max(p.cross[i] / p.s + shift, 0.0),
        kld_cut=p.cut[i],
        kld_reverse=max(q.cross[0] / q.s - shift, 0.0),
        jsd=0.0 if same else min(max(js, 0.0), math.log(2)),
        same_top=p.top1_id == q.top1_id,
        candidate=q.side(token_id),
    )
