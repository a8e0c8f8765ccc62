"""Read full logits rows: one sweep over a float32 row that llama.cpp owns, in blocks that stay in the cache.

Nothing of vocabulary size is allocated. The formulas are those of `entropy.py`, which has them in float64 for arrays
of any leading shape; tests hold the two against each other.

Measured for a row of 151,936 on one core (AVX-512, numpy 2.4, minimum of interleaved runs): reading 0.15 ms, of
which exp alone 0.054; rank and surprisal 0.016 (0.001 where the top token was taken); top-k measures 0.07. One
decode of 16 such rows took 100 to 150 ms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localent.errors import BrokenLogitsError, LocalentError
from localent.measure.entropy import Array, entropy, log_softmax

Row = NDArray[np.float32]
Numbers = NDArray[np.floating[Any]]  # of either precision

CHUNK = 512  # entries summed in float32 by one dot product; short, so that rounding stays below 1e-7
BLOCK = 80 * CHUNK  # most entries swept at a time: two scratch blocks of 160 KiB stay in the L2 cache
SPAN = 8 * CHUNK  # entries per maximum
UNDERFLOW = -800.0  # exp is exactly 0 from -104 down in float32, from -746 in float64


@dataclass(frozen=True, slots=True)
class Reading:
    """The measures from one sweep over a next-token distribution, softmax of the raw logits at temperature 1."""

    entropy: float  # nats
    varentropy: float  # nats squared
    renyi2: float  # nats
    top1_prob: float
    margin: float  # l(1) - l(2), nats; inf where only one token is possible
    self_certainty: float  # KL(U || p), nats; inf where a token is impossible
    top1_id: int  # the lowest id on ties
    max_logit: float
    log_normaliser: float  # ln of the sum of exp(logit - max_logit)
    masses: Array  # (n_chunks,) sum of exp(logit - max_logit) over each CHUNK entries; what sampling needs

    @property
    def min_entropy(self) -> float:
        """-ln max p, nats."""
        return self.log_normaliser


@dataclass(frozen=True, slots=True)
class Taken:
    """The token that was taken, seen by the prediction before it."""

    surprisal: float  # nats; inf for an impossible token
    rank: int  # 1 + how many tokens were strictly more likely


@dataclass(frozen=True, slots=True)
class TopK:
    """Measures of the k most likely tokens alone, for comparison with the full ones."""

    confidence: float  # -mean log-probability of the k, nats
    partial_bias: float  # entropy minus -sum p ln p over the k, nats; never negative
    renormalised_bias: float  # entropy minus the entropy of the k rescaled to sum 1, nats


class Meter:
    """Reads rows of `n_vocab` logits. Owns the scratch blocks, so: one meter per thread."""

    def __init__(self, n_vocab: int) -> None:
        if n_vocab < 2:
            raise LocalentError(f"A next-token distribution needs at least 2 tokens, got n_vocab {n_vocab}.")
        self.n_vocab = n_vocab
        self.n_chunks = -(-n_vocab // CHUNK)
        self._above, self._below = np.empty((2, n_vocab), bool)
        scratch = _aligned(2 * BLOCK * 4)  # one memory for both precisions: a float64 block has half the entries
        self._exact = _Sweep(n_vocab, scratch.view(np.float64).reshape(2, -1))
        small = n_vocab <= 8 * CHUNK
        self._fast = self._exact if small else _Sweep(n_vocab, scratch.view(np.float32).reshape(2, -1))

    def read(self, row: Row) -> Reading:
        """Every measure that needs no top-k: (n_vocab,) float32 -> Reading.

        Entropy is within 1e-6 nats of float64. `row` is only read, and not kept.
        Raises LocalentError where the row is not a distribution: NaN, +inf, nothing finite, wrong shape or type.
        """
        self._check(row)
        with np.errstate(all="ignore"):  # -inf entries make NaNs in passing; they are found and the sweep redone
            top1_id, top, second = _top2(row)
            sums = self._fast.moments(row, top)
            sz, s, sez, see, sezz = sums.sum(axis=1, dtype=np.float64).tolist()
            if not math.isfinite(sz):  # -inf entries, or a range beyond float32
                sums = self._fast.moments(row, top, floor=True)
                _, s, sez, see, sezz = sums.sum(axis=1, dtype=np.float64).tolist()
                sz = float(row.sum(dtype=np.float64)) - self.n_vocab * top
            if self._fast is not self._exact and _tied(row):
                sums = self._exact.moments(row, top, floor=True)
                _, s, sez, see, sezz = sums.sum(axis=1).tolist()
        log_s, mean = math.log(s), sez / s
        return Reading(
            entropy=max(log_s - mean, 0.0),
            varentropy=max(sezz / s - mean * mean, 0.0),
            renyi2=max(2 * log_s - math.log(see), 0.0),
            top1_prob=1.0 / s,
            margin=top - second,
            self_certainty=max(log_s - sz / self.n_vocab - math.log(self.n_vocab), 0.0),
            top1_id=top1_id,
            max_logit=top,
            log_normaliser=log_s,
            masses=sums[1].astype(np.float64),
        )

    def taken(self, row: Row, reading: Reading, token_id: int) -> Taken:
        """Surprisal (nats) and rank of the token taken, from the row and its reading."""
        if not 0 <= token_id < self.n_vocab:
            raise LocalentError(f"Token {token_id} is not in a vocabulary of {self.n_vocab}.")
        logit = row[token_id]
        rank = 1
        if logit < reading.max_logit:
            rank += int(np.count_nonzero(np.greater(row, logit, out=self._above)))
        return Taken(reading.max_logit - float(logit) + reading.log_normaliser, rank)

    def topk(self, row: Row, reading: Reading, k: int = 20) -> TopK:
        """Token confidence and what truncation to the k most likely tokens does to the entropy.

        Optional, because finding the k costs extra. k is part of the name of these measures: state it.
        Source: token confidence, Fu et al. 2025 (DeepConf, arXiv 2508.15260); truncation, arXiv 2508.20384.
        """
        if not 1 <= k <= self.n_vocab:
            raise LocalentError(f"Expected k between 1 and n_vocab {self.n_vocab}, got {k}.")
        _, logits = self.largest(row, reading, k)
        log_probs = logits - reading.max_logit - reading.log_normaliser
        partial = float(entropy(log_probs))
        renormalised = float(entropy(log_softmax(log_probs)))
        left_out = max(0.0, reading.entropy - partial)  # all terms of the difference are positive: below 0 is rounding
        return TopK(-float(log_probs.mean()), left_out, reading.entropy - renormalised)

    def largest(self, row: Row, reading: Reading, k: int) -> tuple[NDArray[np.intp], Array]:
        """Ids and logits of the k largest logits, largest first, ties by id: -> (k,), (k,) float64.

        The k-th largest in the heaviest chunks is a level that k entries reach; one comparison finds all that do.
        """
        chunks, _ = heaviest(reading, 16 + 2 * k // CHUNK)
        near = by_chunk(row, chunks).ravel()
        level = np.partition(near, near.size - k)[near.size - k]
        ids = np.flatnonzero(np.greater_equal(row, level, out=self._above))
        logits = row[ids]
        if ids.size > k:
            level = np.partition(logits, ids.size - k)[ids.size - k]
            n_tied = k - np.count_nonzero(logits > level)
            kept = np.sort(np.concatenate([np.flatnonzero(logits > level), np.flatnonzero(logits == level)[:n_tied]]))
            ids, logits = ids[kept], logits[kept]
        order = np.argsort(-logits, kind="stable")
        return ids[order], logits[order].astype(np.float64)

    def tempered(self, row: Row, reading: Reading, temperature: float, least: float = -math.inf) -> Array:
        """Chunk masses at another temperature: sums of exp((logit - max) / temperature) over logits >= least."""
        if temperature == 1.0 and least == -math.inf:
            return reading.masses
        with np.errstate(all="ignore"):
            return self._fast.masses(row, reading.max_logit, 1.0 / temperature, least).astype(np.float64)

    def between(self, row: Row, low: float, high: float) -> NDArray[np.intp]:
        """Ids of the logits in [low, high), rising."""
        np.greater_equal(row, low, out=self._above)
        np.less(row, high, out=self._below)
        return np.flatnonzero(np.logical_and(self._above, self._below, out=self._above))

    def _check(self, row: Row) -> None:
        if row.dtype != np.float32 or row.shape != (self.n_vocab,) or not row.flags.c_contiguous:
            raise LocalentError(
                f"Expected a contiguous float32 logits row of {self.n_vocab}, got {row.dtype} of shape {row.shape}."
            )


class _Sweep:
    """One pass over a row at one precision: exponentials and their moments, summed chunk by chunk.

    The sums are many dot products of CHUNK entries in one call. They are too short for BLAS to start threads, which
    would fight with llama.cpp for the cores, and short enough for float32.
    """

    def __init__(self, n_vocab: int, scratch: Numbers) -> None:
        self._dtype = scratch.dtype
        self._one = np.ones(CHUNK, scratch.dtype)
        self._sums = np.empty((5, -(-n_vocab // CHUNK)), scratch.dtype)
        n_blocks = -(-n_vocab // scratch.shape[1])
        width = -(-n_vocab // (n_blocks * CHUNK)) * CHUNK  # blocks of about equal size: fewer calls
        self._blocks = [_block(i, min(i + width, n_vocab), scratch, self._sums) for i in range(0, n_vocab, width)]

    def moments(self, row: Row, top: float, floor: bool = False) -> Numbers:
        """Sums of z, e, e·z, e², e·z² with z = logit - top, e = exp(z): -> (5, n_chunks), valid until the next call."""
        shift, least = self._dtype.type(top), self._dtype.type(UNDERFLOW)
        for where, z, e, chunks, padding, s_z_e, s_ez_ee, s_ezz in self._blocks:
            padding.fill(0)
            np.subtract(row[where], shift, out=z, dtype=self._dtype)
            if floor:  # exp(floor) is 0: impossible tokens then add 0 · finite
                np.maximum(z, least, out=z)
            np.exp(z, out=e)
            np.vecdot(chunks, self._one, out=s_z_e)
            np.vecdot(chunks, chunks[1], out=s_ez_ee)
            np.multiply(e, z, out=e)  # not z · z: that overflows where e is 0
            np.vecdot(chunks[0], chunks[1], out=s_ezz)
        return self._sums

    def masses(self, row: Row, top: float, scale: float, least: float) -> Numbers:
        """Sum of exp((logit - top) · scale) over logits >= least: -> (n_chunks,), valid until the next call."""
        shift, factor = self._dtype.type(top), self._dtype.type(scale)
        for where, z, e, chunks, padding, s_z_e, *_ in self._blocks:
            padding.fill(0)
            np.subtract(row[where], shift, out=z, dtype=self._dtype)
            np.multiply(z, factor, out=z)
            np.exp(z, out=e)
            if least > -math.inf:
                np.multiply(e, row[where] >= least, out=e)
            np.vecdot(chunks[1], self._one, out=s_z_e[1])
        found: Numbers = self._sums[1]
        return found


def _block(start: int, end: int, scratch: Numbers, sums: Numbers) -> tuple[Any, ...]:
    """The views that one block of a sweep needs, made once: making them takes as long as a pass.

    Where in the row, z and e, both by chunk (2, n, CHUNK), what lies beyond the vocabulary's end, where the sums go.
    """
    n = end - start
    first, n_chunks = start // CHUNK, -(-n // CHUNK)
    padded = n_chunks * CHUNK
    chunks = scratch[:, :padded].reshape(2, -1, CHUNK)
    mine = sums[:, first : first + n_chunks]
    return slice(start, end), scratch[0, :n], scratch[1, :n], chunks, scratch[:, n:padded], mine[:2], mine[2:4], mine[4]


def _tied(row: Row) -> bool:
    """True where many logits are equal or nearly so: float32 rounding then does not average out, it is a bias.

    Up to 3e-6 nats were seen on rows of a few levels, at most 2e-7 on all others; so such rows, which no trained model
    gives, are swept again in float64. Judged by 256 entries, of which 3 equal ones are no coincidence.
    """
    some = np.sort(row[:: -(-row.size // 256)])
    n_equal = some.size - 1 - np.count_nonzero(some[1:] > some[:-1])
    return bool(n_equal >= 3 or some[3 * some.size // 4] - some[some.size // 4] < 0.05)


def _aligned(n_bytes: int) -> NDArray[np.uint8]:
    """Scratch that starts at a cache line, (n_bytes,) uint8: same speed and same bits in every process."""
    memory = np.empty(n_bytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + n_bytes]


def _top2(row: Row) -> tuple[int, float, float]:
    """Id of the largest logit (lowest on ties), its value, and the second largest value."""
    full = row.size // SPAN * SPAN
    maxima = np.maximum.reduce(row[:full].reshape(-1, SPAN), axis=1).tolist()
    if full < row.size:
        maxima.append(float(np.maximum.reduce(row[full:])))
    top = max(maxima)
    if not math.isfinite(sum(maxima)) and (math.isinf(top) or any(math.isnan(m) for m in maxima)):
        raise BrokenLogitsError(_broken(row))
    winner = maxima.index(top)
    span = row[winner * SPAN : (winner + 1) * SPAN]
    at = int(span.argmax())
    del maxima[winner]
    maxima += [float(np.maximum.reduce(side)) for side in (span[:at], span[at + 1 :]) if side.size]
    return winner * SPAN + at, top, max(maxima)


def _broken(row: Row) -> str:
    """The reason why this row is not a distribution."""
    nans, infs = int(np.isnan(row).sum()), int(np.isposinf(row).sum())
    what = f"{nans} NaN and {infs} +inf" if nans or infs else "nothing but -inf"
    return f"The logits row is broken: {what} among {row.size} entries. The model file or the backend is at fault."


def by_chunk(row: Row, chunks: NDArray[np.intp]) -> Row:
    """A copy of the given chunks, -inf beyond the vocabulary's end: (n_vocab,), (k,) -> (k, CHUNK)."""
    n_full = row.size // CHUNK
    if chunks.max() < n_full:
        return row[: n_full * CHUNK].reshape(-1, CHUNK)[chunks]
    logits = np.full((chunks.size, CHUNK), -np.inf, np.float32)
    whole = chunks < n_full
    logits[whole] = row[: n_full * CHUNK].reshape(-1, CHUNK)[chunks[whole]]
    logits[~whole, : row.size - n_full * CHUNK] = row[n_full * CHUNK :]
    return logits


def heaviest(reading: Reading, n_chunks: int) -> tuple[NDArray[np.intp], float]:
    """Chunks (rising) that hold every logit above the second value: the mass of a chunk bounds its largest logit."""
    masses = reading.masses
    if n_chunks >= masses.size:
        return np.arange(masses.size), -math.inf
    order = np.argpartition(masses, masses.size - n_chunks - 1)[::-1]
    outside = float(masses[order[n_chunks]])
    if outside == 0:
        return np.sort(order[:n_chunks]), -math.inf
    level = reading.max_logit + math.log(outside) + 1e-6  # forgives the rounding of float32 sums
    return np.sort(order[:n_chunks]), float(np.nextafter(np.float32(level), np.float32(np.inf)))
