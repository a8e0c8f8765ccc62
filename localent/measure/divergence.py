"""Divergence of two models at one position: measures of two next-token distributions, from their logits rows.

The formulas are those of `kl` and `js` below, and of `entropy.py`, in float64 and in walks over blocks that
stay in the cache; exp, the most expensive part, is taken once per row and kept for the second walk. The reference's
side is computed once and shared by all candidates. In float32 the sums would go negative for near-lossless quants;
here a distribution and itself give exactly 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from localent.errors import BrokenLogitsError, LocalentError
from localent.measure.entropy import Array, p_and_finite_log
from localent.measure.meter import Row

BLOCK = 32_768  # entries at a time: few calls, and what they leave is still in the cache for the next
DOT = 8192  # entries of one dot product: BLAS starts no threads for so few
DEEP = -700.0  # nats below the top: soon exp is 0, from -745 down in float64
IMPOSSIBLE = -1e39  # below any difference of float32 logits, in the place of -inf: 0 times it is 0
TINY = np.finfo(np.float64).tiny
CUT = -16.0  # llama-perplexity leaves out what the reference gives less than e^-16
LN_2 = math.log(2)


def kl(p_log: ArrayLike, q_log: ArrayLike) -> Array:
    """KL(P || Q) in nats from log-probabilities, P the reference: (..., n_vocab) twice -> (...).

    inf where Q rules out what P allows.
    Source: Kullback and Leibler (1951).
    """
    p, lp = p_and_finite_log(p_log)
    lq = np.where(p > 0, np.asarray(q_log, np.float64), 0.0)
    found: Array = np.where(p > 0, p * (lp - lq), 0.0).sum(axis=-1)
    return found


def js(p_log: ArrayLike, q_log: ArrayLike) -> Array:
    """Jensen-Shannon divergence in nats, 0 to ln 2, symmetric: (..., n_vocab) twice -> (...).

    Source: Lin (1991).
    """
    mixture = np.logaddexp(p_log, q_log) - math.log(2)
    return (kl(p_log, mixture) + kl(q_log, mixture)) / 2


def total_variation(p_log: ArrayLike, q_log: ArrayLike) -> Array:
    """Total variation distance from log-probabilities, symmetric: (..., n_vocab) twice -> (...), 0 to 1.

    1 minus it is the share of draft tokens that speculative sampling accepts, with either model as the draft.
    Source: Leviathan, Kalman and Matias (2023), arXiv 2211.17192, theorem 3.5.
    """
    p, q = (np.exp(np.asarray(one, np.float64)) for one in (p_log, q_log))
    found: Array = np.abs(p - q).sum(axis=-1) / 2
    return found


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
    """The divergence of a candidate's distribution from the reference's at one position."""

    kld: float  # KL(reference || candidate), nats, full vocabulary
    kld_cut: float  # the same sum over tokens with ln p > -16 in the reference only: llama-perplexity's
    kld_reverse: float  # KL(candidate || reference), nats
    jsd: float  # Jensen-Shannon, nats, at most ln 2
    tv: float  # total variation, 0 to 1: half the sum of |p - q|
    same_top: bool  # both find the same token most likely
    candidate: Side


class PairMeter:
    """Compares rows of `n_vocab` logits. Owns its scratch memory, so: one meter per thread."""

    def __init__(self, n_vocab: int) -> None:
        self.n_vocab = n_vocab
        self._width = min(BLOCK, n_vocab)
        self._blocks = [slice(i, min(i + self._width, n_vocab)) for i in range(0, n_vocab, self._width)]
        self._make_room(2)

    def read(
        self, reference: Row, candidates: Sequence[Row], token_id: int, *, normalised: bool = False
    ) -> tuple[Side, list[Divergence]]:
        """Compare rows of raw logits, each (n_vocab,) float32, where `token_id` is the token that follows.

        normalised: the reference row holds log-probabilities and is taken as it is, even where it does not quite sum
        to 1 (the 16-bit rows of a llama-perplexity file).
        Raises BrokenLogitsError where a row is not a distribution (NaN, +inf, nothing finite), and where one model
        rules out a token, by a logit of -inf, that the other allows: the divergence is infinite one way.
        """
        rows = [reference, *candidates]
        tops = [self._top2(i, row) for i, row in enumerate(rows)]
        if deep := any(top.deep for top in tops):
            _check_possible(rows, CUT if normalised else -math.inf)
        if len(rows) != len(self._exp):
            self._make_room(len(rows))
        sums = _Sums(len(rows))
        with np.errstate(under="ignore"):
            for where in self._blocks:
                self._moments(rows, tops, sums, where)
            sums.close(-tops[0].top if normalised else None)
            least = tops[0].top + sums.log_s[0] + CUT
            for where in self._blocks:
                self._mixtures(sums, where, deep)
                self._cut(reference, least, sums, where)
        sides = [sums.side(i, row, top, token_id) for i, (row, top) in enumerate(zip(rows, tops, strict=True))]
        return sides[0], [sums.divergence(i, tops, sides[i]) for i in range(1, len(rows))]

    def _make_room(self, n_models: int) -> None:
        self._exp, self._gap = np.empty((n_models, self.n_vocab)), np.empty((n_models - 1, self.n_vocab))
        self._scratch = np.empty((2, n_models, self._width))

    def _moments(self, rows: Sequence[Row], tops: Sequence[_Top], sums: _Sums, where: slice) -> None:
        """First walk: exponentials, their sums and moments, and the cross terms of both directions of KL.

        Blocks are (n_models, n): z = logit - top, e = exp(z).
        """
        z, ez = self._scratch[:, :, : where.stop - where.start]
        e, gap = self._exp[:, where], self._gap[:, where]
        for row, top, out in zip(rows, tops, z, strict=True):
            np.subtract(row[where], top.top, out=out, dtype=np.float64)
            if top.deep:
                np.maximum(out, IMPOSSIBLE, out=out)
        np.exp(z, out=e)
        np.multiply(e, z, out=ez)
        sums.s += np.add.reduce(e, axis=1)
        sums.ez += np.add.reduce(ez, axis=1)
        sums.ezz += _dot(ez, z)
        np.subtract(z[0], z[1:], out=gap)
        sums.forward += _dot(e[0], gap)
        sums.backward -= _dot(e[1:], gap)

    def _mixtures(self, sums: _Sums, where: slice, deep: bool) -> None:
        """Second walk, with the normalisers known: Σ |e_reference - e_candidate·ratio|, and of their sums Σ m ln m."""
        mixture, log = self._scratch[:, 1:, : where.stop - where.start]
        np.multiply(self._exp[1:, where], sums.ratio[:, None], out=mixture)
        np.subtract(mixture, self._exp[0, where], out=log)
        np.abs(log, out=log)
        sums.apart += np.add.reduce(log, axis=1)
        np.add(mixture, self._exp[0, where], out=mixture)
        if deep:
            np.maximum(mixture, TINY, out=mixture)  # 0 · log 0
        np.log(mixture, out=log)
        sums.mixture += _dot(mixture, log)

    def _cut(self, reference: Row, least: float, sums: _Sums, where: slice) -> None:
        """The forward cross term again, over tokens that the reference gives more than e^CUT; spends its e."""
        likely, e = self._scratch[0, 0, : where.stop - where.start], self._exp[0, where]
        np.greater(reference[where], least, out=likely)
        np.multiply(e, likely, out=e)
        sums.likely += float(np.add.reduce(e))
        sums.cut += _dot(e, self._gap[:, where])

    def _top2(self, i: int, row: Row) -> _Top:
        if row.shape != (self.n_vocab,):
            raise LocalentError(f"Expected a logits row of {self.n_vocab}, got one of shape {row.shape}.")
        at = int(row.argmax())  # NaN wins
        top = float(row[at])
        if not math.isfinite(top):
            raise BrokenLogitsError(
                f"a logits row is broken ({top} in it): the model file or the backend is at fault.", i
            )
        second = max((side.max() for side in (row[:at], row[at + 1 :]) if side.size), default=-math.inf)
        return _Top(at, top, float(second), float(row.min()) < top + DEEP)


def _check_possible(rows: Sequence[Row], least: float) -> None:
    """Raise where a token is impossible in one model only. least: the ln p that the reference must give it."""
    reference = rows[0]
    for i, row in enumerate(rows[1:], 1):
        lost, won = np.isneginf(row) & (reference > least), np.isneginf(reference) & ~np.isneginf(row)
        if len(apart := np.flatnonzero(lost | won)):
            said = f"the logit of token {apart[0]} is -inf here or in the reference, not in both"
            raise BrokenLogitsError(f"{said}: their divergence is infinite.", i)


def _dot(a: Array, b: Array) -> Array:
    """Σ a·b over the last axis: (..., n) -> (...)."""
    parts = (np.vecdot(a[..., i : i + DOT], b[..., i : i + DOT]) for i in range(0, a.shape[-1], DOT))
    found: Array = sum(parts)
    return found


@dataclass(frozen=True, slots=True)
class _Top:
    """The head of a row."""

    id: int  # of the largest logit, lowest on ties
    top: float
    second: float  # the second largest
    deep: bool  # some token is all but impossible, -inf among them: rare, and worth a pass only then


class _Sums:
    """Sums over the rows of one position, (n_models,) or (n_models - 1,): the reference is first."""

    def __init__(self, n_models: int) -> None:
        self.s, self.ez, self.ezz = np.zeros((3, n_models))  # of e, e·z, e·z²
        self.forward, self.backward, self.mixture, self.cut, self.apart = np.zeros((5, n_models - 1))
        self.likely = 0.0  # Σ e of the reference over its likely tokens

    def close(self, log_s_reference: float | None) -> None:
        """Settle the normalisers; log_s_reference where the reference's is given."""
        self.log_s = np.log(self.s)
        self.ratio = self.s[0] / self.s[1:]
        if log_s_reference is not None:
            self.log_s[0] = log_s_reference

    def entropy(self, i: int) -> float:
        return float(max(math.log(self.s[i]) - self.ez[i] / self.s[i], 0.0))

    def side(self, i: int, row: Row, top: _Top, token_id: int) -> Side:
        mean = self.ez[i] / self.s[i]
        surprisal = top.top + self.log_s[i] - float(row[token_id])
        varentropy = max(self.ezz[i] / self.s[i] - mean * mean, 0.0)
        return Side(float(surprisal), float(self.entropy(i)), float(varentropy), top.top - top.second, top.id)

    def divergence(self, i: int, tops: Sequence[_Top], candidate: Side) -> Divergence:
        """The record of candidate i. KL: mean of z_p - z_q, plus the difference of the normalisers."""
        shift, forward, backward = self.log_s[i] - self.log_s[0], self.forward[i - 1], self.backward[i - 1]
        cut = (self.cut[i - 1] + shift * self.likely) * math.exp(-self.log_s[0])
        same = forward == 0.0 and backward == 0.0 and shift == 0.0
        return Divergence(
            kld=float(max(forward / self.s[0] + shift, 0.0)),
            kld_cut=float(cut),
            kld_reverse=float(max(backward / self.s[i] - shift, 0.0)),
            jsd=0.0 if same else min(max(self._jsd(i), 0.0), LN_2),
            tv=float(min(self.apart[i - 1] / (2 * self.s[0]), 1.0)),
            same_top=tops[0].id == tops[i].id,
            candidate=candidate,
        )

    def _jsd(self, i: int) -> float:
        """H((P + Q) / 2) - (H(P) + H(Q)) / 2; the mixture was summed as (P + Q)·s of the reference."""
        double = self.mixture[i - 1] / self.s[0] - 2 * math.log(2 * self.s[0])  # Σ (P + Q) ln((P + Q) / 2)
        return float(-double / 2 - (self.entropy(0) + self.entropy(i)) / 2)
