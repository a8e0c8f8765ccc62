"""Draw the next token: penalties, temperature, top-k, top-p, min-p, from one uniform number.

A token costs exactly one uniform, from a stream keyed by (seed, problem, sample): what a trace draws never depends
on which lane it ran in, on its neighbours, or on probes in between.

Order, beside that of llama.cpp (its default chain without the filters that are missing here):

| here      | penalties | temperature | top-k | top-p | min-p       |
| llama.cpp | penalties | top-k       | top-p | min-p | temperature |

Here, as in most libraries, top-p and min-p see the tempered probabilities (top-p those of what top-k left, rescaled);
in llama.cpp those at temperature 1, so its nucleus is another one at another temperature. At temperature 1 the two
orders are one. The rules themselves are llama.cpp's: tests run its own samplers in the order of this table.

Exact: the probability of each token is that of a float64 reference within 1e-6. Speed comes from reusing the chunk
masses of the sweep that measured the row (`Reading.masses`), not from approximation: where the bulk of the vocabulary
cannot change the outcome, it is skipped.

Measured against a reading of 0.15 ms (151,936 tokens, one core, minimum; in brackets on a flat row of 8.4 nats, which
needs passes over the vocabulary): temperature 1 0.009 ms; 0.7 0.027 (0.12); with top-p 0.95 0.03 (0.6); with top-k 20
0.06. Penalties cost a copy of the row and a second reading.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from localent.errors import UsageError
from localent.measure.entropy import Array
from localent.measure.meter import CHUNK, Meter, Numbers, Reading, Row, by_chunk, heaviest

LEAST = float(np.finfo(np.float32).min)  # the least logit of a possible token
HEAD = 16  # chunks looked at first
MIN_TEMPERATURE = 0.001  # below it float32 has no room; 0 is greedy


def rng(seed: int, problem_id: str, sample: int, stream: str = "trace") -> np.random.Generator:
    """The random stream of one trace. Another `stream` (rollouts, say) shares nothing with the trace's own.

    Source: Philox, Salmon et al. (2011), a counter-based generator; its 128-bit key is a BLAKE2b hash.
    """
    name = json.dumps([seed, problem_id, sample, stream]).encode()
    key = int.from_bytes(hashlib.blake2b(name, digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=key))


@dataclass(frozen=True, slots=True, kw_only=True)
class Penalties:
    """Lower logits of the tokens that came lately, in the prompt or in the trace: llama.cpp's rule and window.

    A positive logit is divided by `repeat`, any other multiplied by it; then `presence` is subtracted, and `frequency`
    as often as the token came. Source: Keskar et al. (2019), section 4.1, for `repeat`.
    """

    repeat: float = 1.0  # 1: off
    presence: float = 0.0  # in units of the logit; 0: off
    frequency: float = 0.0  # the same, for each time
    last_n: int = 64  # tokens looked back at; -1: all

    def __post_init__(self) -> None:
        if not 0 < self.repeat < math.inf:
            raise UsageError(f"Expected a repeat penalty above 0 (1: off), got {self.repeat}.")
        for name, value in (("presence", self.presence), ("frequency", self.frequency)):
            if not math.isfinite(value):
                raise UsageError(f"Expected a {name} penalty that is a number (0: off), got {value}.")
        if self.last_n < 1 and self.last_n != -1:
            raise UsageError(f"Expected penalties over at least 1 token (-1: over all), got {self.last_n}.")

    @property
    def off(self) -> bool:
        return self.repeat == 1 and self.presence == 0 == self.frequency

    def applied(self, row: Row, recent: Iterable[int]) -> Row:
        """The row with the logits of these tokens lowered: (n_vocab,) float32 -> a copy of it."""
        counts = Counter(recent)
        ids, times = np.fromiter(counts, np.intp, len(counts)), np.fromiter(counts.values(), np.float32, len(counts))
        repeat, presence, frequency = (np.float32(x) for x in (self.repeat, self.presence, self.frequency))
        lowered, logits = row.copy(), row[ids]
        lowered[ids] = np.where(logits <= 0, logits * repeat, logits / repeat) - (times * frequency + presence)
        return lowered


NO_PENALTIES = Penalties()


@dataclass(frozen=True, slots=True)
class Sampler:
    """The rule by which tokens are drawn. Temperature 0 takes the most likely token, the lowest id on ties."""

    temperature: float = 1.0
    top_p: float = 1.0  # 1: off
    top_k: int = 0  # 0: off
    min_p: float = 0.0  # least probability as a share of the largest; 0: off
    penalties: Penalties = NO_PENALTIES

    def __post_init__(self) -> None:
        if not (self.temperature == 0 or MIN_TEMPERATURE <= self.temperature < math.inf):
            raise UsageError(f"Expected temperature 0 (greedy) or from {MIN_TEMPERATURE} up, got {self.temperature}.")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"Expected top-p above 0 and at most 1 (1: off), got {self.top_p}.")
        if self.top_k < 0:
            raise UsageError(f"Expected top-k of at least 0 (0: off), got {self.top_k}.")
        if not 0 <= self.min_p <= 1:
            raise UsageError(f"Expected min-p from 0 (off) to 1, got {self.min_p}.")

    def sample(self, meter: Meter, row: Row, reading: Reading, u: float) -> int:
        """The token that the uniform number u in [0, 1) selects, given the row and its reading; without penalties."""
        if self.temperature == 0:
            return reading.top1_id
        if 0 < self.top_k < row.size:
            return self._from_top_k(meter, row, reading, u)
        if self.min_p > 0:
            return self._from_min_p(meter, row, reading, u)
        if self.top_p < 1:
            return self._from_nucleus(meter, row, reading, u)
        if self.temperature == 1:
            return self._from_chunks(row, reading, np.arange(reading.masses.size), reading.masses, u)
        return self._from_tempered(meter, row, reading, u)

    def _weights(self, logits: Numbers, reading: Reading) -> Array:
        """Tempered probabilities, 1 for the most likely token: any shape -> same, float64."""
        z = np.subtract(logits, reading.max_logit, dtype=np.float64)
        if self.temperature != 1:
            z /= self.temperature
        return np.exp(z, out=z)

    def _from_top_k(self, meter: Meter, row: Row, reading: Reading, u: float) -> int:
        ids, logits = meter.largest(row, reading, self.top_k)
        weights = self._weights(logits, reading)
        if self.top_p < 1:
            weights = weights[: _n_nucleus(np.cumsum(weights), self.top_p * weights.sum())]
        weights = weights[: np.count_nonzero(weights >= self.min_p)]
        return int(ids[_pick(weights, u)])

    def _from_min_p(self, meter: Meter, row: Row, reading: Reading, u: float) -> int:
        """From the tokens of at least min_p times the largest probability, and of the nucleus. Source: Nguyen (2024).

        The nucleus is cut first, but both keep the most likely: its end is looked for among what min-p leaves.
        """
        level = np.float32(reading.max_logit + self.temperature * math.log(self.min_p))
        ids = meter.between(row, max(float(np.nextafter(level, np.float32(-np.inf))), LEAST), math.inf)
        weights = self._weights(row[ids], reading)
        kept = np.flatnonzero(weights >= self.min_p)
        if self.top_p < 1:
            falling = kept[np.argsort(-weights[kept], kind="stable")]
            mass = self.top_p * self._total(meter, row, reading)
            kept = np.sort(falling[: _n_nucleus(weights[falling].cumsum(), mass)])
        return int(ids[kept[_pick(weights[kept], u)]])

    def _from_nucleus(self, meter: Meter, row: Row, reading: Reading, u: float) -> int:
        """From the smallest set of most likely tokens that holds top_p, ties by id. Source: Holtzman et al. (2020)."""
        total = self._total(meter, row, reading) if self.temperature >= 1 else None
        narrow = self._narrow(row, reading, total)
        if narrow is not None:
            ids, logits = narrow
            return int(ids[_pick(self._weights(logits, reading), u)])
        masses, last_id = self._wide(meter, row, reading, total or self._total(meter, row, reading))
        return self._from_chunks(row, reading, np.arange(masses.size), masses, u, last_id)

    def _narrow(self, row: Row, reading: Reading, total: float | None) -> tuple[NDArray[np.intp], Numbers] | None:
        """Ids (rising) and logits of the nucleus, where the heaviest chunks settle it, else None.

        Candidates are all tokens above a level that only those chunks reach. They settle it if the nucleus ends among
        them for every total mass that the others allow; at temperature >= 1 `total` is known.
        """
        for n_chunks in (HEAD, 4 * HEAD):
            ids, logits, outside = _candidates(row, reading, n_chunks)
            weights = self._weights(logits, reading)
            low = float(weights.sum()) if total is None else total
            high = low + self._unseen(reading, logits, outside) if total is None else total
            if weights.sum() < self.top_p * high and outside > -math.inf:
                continue  # before sorting: a flat row
            falling = -np.sort(-logits)
            held = self._weights(falling, reading).cumsum()
            n = _n_nucleus(held, self.top_p * low)
            if held[n - 1] >= self.top_p * high or outside == -math.inf:
                kept = _first(logits, falling, n)
                return ids[kept], logits[kept]
        return None

    def _wide(self, meter: Meter, row: Row, reading: Reading, total: float) -> tuple[Array, int]:
        """Masses by chunk of the nucleus of a flat row, and its last token: the least likely, the highest id on ties.

        A sample brackets the level at which the nucleus ends; only what lies in the bracket is sorted.
        """
        mass = self.top_p * total
        for low, high in (self._bracket(row, reading, total - mass), (LEAST, math.inf)):
            masses = meter.tempered(row, reading, self.temperature, least=high)
            above = float(masses.sum())
            ids = meter.between(row, low, high)
            logits = row[ids]
            falling = -np.sort(-logits)
            held = above + self._weights(falling, reading).cumsum()
            if above < mass and held.size and held[-1] >= mass:
                break
        kept = _first(logits, falling, _n_nucleus(held, mass))
        ids, logits = ids[kept], logits[kept]
        masses = masses + np.bincount(ids // CHUNK, self._weights(logits, reading), masses.size)
        return masses, int(ids[logits == logits.min()][-1])

    def _bracket(self, row: Row, reading: Reading, outside: float) -> tuple[float, float]:
        """Two logits that most probably enclose the end of a nucleus which leaves this mass outside.

        From one entry in `step`, counted from below, where tokens are many and a sample is good.
        """
        step = max(row.size // 8192, 1)
        rising = np.sort(row[::step])
        below = step * self._weights(rising, reading).cumsum()
        at = int(below.searchsorted(outside))
        width = 3 * math.isqrt(rising.size)
        low = float(rising[at - width]) if at >= width else LEAST
        return max(low, LEAST), float(rising[at + width]) if at + width < rising.size else math.inf

    def _total(self, meter: Meter, row: Row, reading: Reading) -> float:
        return float(meter.tempered(row, reading, self.temperature).sum())

    def _unseen(self, reading: Reading, seen: Numbers, outside: float) -> float:
        """Most tempered mass that tokens not above `outside` can have (temperature < 1).

        For p <= c, p^(1/T) <= c^(1/T - 1) p; so their sum is at most that power of c times their mass at temperature 1.
        """
        if outside == -math.inf:
            return 0.0
        mass = float(reading.masses.sum())
        left = max(mass - float(np.exp(seen.astype(np.float64) - reading.max_logit).sum()), 0.0) + 1e-6 * mass
        return left * math.exp((outside - reading.max_logit) * (1 / self.temperature - 1))

    def _from_tempered(self, meter: Meter, row: Row, reading: Reading, u: float) -> int:
        """From the whole vocabulary at temperature != 1, chunks in the order of falling mass.

        Below temperature 1 the heavy chunks mostly decide alone: u points at the same token for every total mass
        that the others can have (the bound of `_unseen`). That saves a pass over the vocabulary.
        """
        order = np.argsort(-reading.masses, kind="stable")
        if self.temperature < 1 and order.size > HEAD:
            token_id = self._from_head(row, reading, order, u)
            if token_id is not None:
                return token_id
        return self._from_chunks(row, reading, order, meter.tempered(row, reading, self.temperature)[order], u)

    def _from_head(self, row: Row, reading: Reading, order: NDArray[np.intp], u: float) -> int | None:
        """The token if the first chunks of `order` decide it, else None."""
        left = reading.masses[order[HEAD:]]
        bound = float(left.sum()) * float(left[0]) ** (1 / self.temperature - 1) * (1 + 1e-6)
        if bound > 0.05:  # of at least 1: too much to be worth a try
            return None
        head = order[:HEAD]
        weights = self._weights(by_chunk(row, head), reading)
        held = weights.sum(axis=1).cumsum()
        low, high = u * held[-1], u * (held[-1] + bound)  # where u points, for the least and the greatest total
        at = int(held.searchsorted(low, side="right"))
        if at == held.size:
            return None
        before = held[at - 1] if at else 0.0
        within = weights[at].cumsum()
        i = int(within.searchsorted(low - before, side="right"))
        if i == CHUNK or high - before >= within[i]:
            return None
        return int(head[at]) * CHUNK + i

    def _from_chunks(
        self,
        row: Row,
        reading: Reading,
        order: NDArray[np.intp],
        masses: Array,
        u: float,
        last_id: int | None = None,
    ) -> int:
        """Inverse distribution function, first over chunks in the given order, then over one chunk's tokens.

        With `last_id`, only over tokens that are more likely than that one, or as likely and of no higher id.
        """
        held = masses.cumsum()
        target = u * held[-1]
        at = int(held.searchsorted(target, side="right"))
        if at == held.size:
            at = int(np.flatnonzero(masses)[-1])
        within = (target - (held[at - 1] if at else 0.0)) / masses[at]
        start = int(order[at]) * CHUNK
        logits = row[start : start + CHUNK]
        weights = self._weights(logits, reading)
        if last_id is not None:
            weights[logits < row[last_id]] = 0
            weights[max(last_id + 1 - start, 0) :][logits[max(last_id + 1 - start, 0) :] == row[last_id]] = 0
        return start + _pick(weights, within)


class Draws:
    """The draws of one trace: a uniform number a token, and the tokens before it, for the penalties."""

    def __init__(self, sampler: Sampler, stream: np.random.Generator, before: Iterable[int] = ()) -> None:
        """before: the tokens of the prompt, and of the trace so far."""
        last_n = sampler.penalties.last_n
        self._sampler, self._stream = sampler, stream
        self._recent = deque(before, None if last_n == -1 else last_n)

    def take(self, meter: Meter, row: Row, reading: Reading) -> int:
        """The next token, given the row and its reading, which stay those of the raw logits."""
        if not self._sampler.penalties.off:
            row = self._sampler.penalties.applied(row, self._recent)
            reading = meter.read(row)
        token_id = self._sampler.sample(meter, row, reading, self._stream.random())
        self._recent.append(token_id)
        return token_id

    def give(self, token_id: int) -> int:
        """A token that is given, not drawn; it uses up its number all the same."""
        self._stream.random()
        self._recent.append(token_id)
        return token_id


def _candidates(row: Row, reading: Reading, n_chunks: int) -> tuple[NDArray[np.intp], Numbers, float]:
    """Ids (rising) and logits of the possible tokens that reach a level, and that level: no other token is above it."""
    chunks, level = heaviest(reading, n_chunks)
    logits = by_chunk(row, chunks).ravel()
    at = np.flatnonzero(logits >= max(level, LEAST))
    return chunks[at // CHUNK] * CHUNK + at % CHUNK, logits[at], level


def _first(logits: Numbers, falling: Numbers, n: int) -> NDArray[np.bool_]:
    """Mask of the n largest logits, ties by place; `falling`: the same logits, sorted."""
    least = falling[n - 1]
    kept: NDArray[np.bool_] = logits > least
    kept[np.flatnonzero(logits == least)[: n - np.count_nonzero(kept)]] = True
    return kept


def _n_nucleus(held: Array, mass: float) -> int:
    """Number of most likely tokens that reach this mass; all of them where they do not."""
    return min(int(held.searchsorted(mass, side="left")) + 1, held.size)


def _pick(weights: Array, u: float) -> int:
    """The index that u in [0, 1] selects; never one of weight 0."""
    held = weights.cumsum()
    at = int(held.searchsorted(u * held[-1], side="right"))
    return at if at < held.size else int(np.flatnonzero(weights)[-1])
