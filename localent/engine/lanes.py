"""Lanes and coroutines: every procedure is a straight line, batching happens here and nowhere else.

A coroutine is a generator that yields what it wants done in its own lane and is sent back the answer:

    row = yield Prompt(tokens)   # prefill; the row predicts the next token
    row = yield token_id         # feed one token
    row = yield Feed(tokens)     # feed several known tokens; the row after the last of them
    yield Rewind(n)              # forget all but the first n tokens of the lane

A row is a float32 view (n_vocab,) of the raw logits, valid until the coroutine yields again.
`drive` advances all live coroutines by one token per decode. Every decode has one row per lane, whichever
lanes are live, so that a lane's logits do not depend on what its neighbours do. For the same reason prompts and feeds
of several tokens are computed lane by lane: llama.cpp would cut a batch of them by the lengths it happens to hold.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from localent.engine.interface import Engine, Prompt

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rewind:
    """Keep only the first `n_tokens` tokens of the lane."""

    n_tokens: int


@dataclass(frozen=True, slots=True)
class Feed:
    """Feed these tokens after those in the lane; only the row after the last one is computed.

    A single token is fed by the common decode, as a plain token id is.
    """

    tokens: Sequence[int]


Request = int | Prompt | Feed | Rewind
Coroutine = Generator[Request, Any, T]


def drive(
    engine: Engine,
    coroutines: Iterable[Coroutine[T]],
    *,
    on_decode: Callable[[int], object] = lambda n_live: None,
    go_on: Callable[[], bool] = lambda: True,
) -> Iterator[T]:
    """Run the coroutines through the engine's lanes; yield their results in the order in which they finish.

    New coroutines are drawn only when a lane is free, so an endless or lazy iterable is fine. `on_decode` is called
    after every decode with the number of lanes at work, `go_on` before each: False abandons those that are under way.
    """
    scheduler = _Scheduler(engine, iter(coroutines))
    try:
        while True:
            yield from scheduler.settle()
            n_live = scheduler.n_live
            if not (n_live and go_on()):
                return
            scheduler.advance()
            on_decode(n_live)
    finally:
        scheduler.close()


class _Scheduler(Generic[T]):
    def __init__(self, engine: Engine, queue: Iterator[Coroutine[T]]):
        self.engine, self.queue = engine, queue
        self.lanes: list[Coroutine[T] | None] = [None] * engine.n_lanes
        self.wants: list[Request | None] = [None] * engine.n_lanes
        self.results: list[T] = []

    @property
    def n_live(self) -> int:
        return sum(lane is not None for lane in self.lanes)

    def advance(self) -> None:
        """One decode; every live coroutine gets its row and says what it wants next."""
        rows = self.engine.decode([want for want in self.wants if want is None or isinstance(want, int)])
        for lane, coroutine in enumerate(self.lanes):
            if coroutine is not None:
                self._send(lane, rows[lane])

    def settle(self) -> Iterator[T]:
        """Serve prompts, feeds and rewinds and refill free lanes, until every live lane wants one token fed.

        After `advance`, because a prefill overwrites the rows of the decode before it.
        """
        for lane in range(len(self.lanes)):
            while not isinstance(self.wants[lane], int) and (self.lanes[lane] or self._refill(lane)):
                self._serve(lane)
            yield from self.results
            self.results.clear()

    def _serve(self, lane: int) -> None:
        match self.wants[lane]:
            case Prompt() as prompt:
                self._send(lane, self.engine.prefill(lane, prompt))
            case Feed([token]):
                self.wants[lane] = token
            case Feed(tokens):
                self._send(lane, self.engine.extend(lane, tokens))
            case Rewind(n_tokens):
                self.engine.rewind(lane, n_tokens)
                self._send(lane, None)
            case other:
                raise TypeError(f"expected a token id (int), Prompt, Feed or Rewind from a coroutine, got {other!r}")

    def _refill(self, lane: int) -> bool:
        """Start the next coroutine in the lane; False when there is none left."""
        coroutine = next(self.queue, None)
        if coroutine is not None:
            self.lanes[lane] = coroutine
            self._send(lane, None)
        return coroutine is not None

    def _send(self, lane: int, reply: Any) -> None:
        coroutine = self.lanes[lane]
        assert coroutine is not None, f"lane {lane} is free"
        try:
            self.wants[lane] = coroutine.send(reply)
        except StopIteration as end:
            self.results.append(end.value)
            self.lanes[lane] = self.wants[lane] = None

    def close(self) -> None:
        for coroutine in filter(None, self.lanes):
            coroutine.close()
