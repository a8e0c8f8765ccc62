"""A fake engine whose next-token distribution is a plain function of the lane's tokens: exact and instant."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from localent.engine.lanes import Prompt, Row
from localent.errors import LocalentError


class ScriptedVocab:
    """A vocabulary of given pieces; text is tokenized greedily, longest piece first."""

    def __init__(self, pieces: Sequence[bytes], *, eog: frozenset[int] = frozenset(), bos: int | None = None):
        self.pieces, self.eog, self.bos, self.n_tokens = list(pieces), eog, bos, len(pieces)
        self._by_length = sorted(range(len(pieces)), key=lambda i: -len(pieces[i]))

    def tokenize(self, text: str, *, special: bool = False) -> list[int]:
        rest, ids = text.encode(), []
        while rest:
            fitting = (i for i in self._by_length if self._usable(i, special) and rest.startswith(self.pieces[i]))
            found = next(fitting, None)
            if found is None:
                raise LocalentError(f"no token for {rest[:8]!r}")
            ids.append(found)
            rest = rest[len(self.pieces[found]) :]
        return ids

    def token_named(self, text: str) -> int | None:
        return self.pieces.index(text.encode()) if text.encode() in self.pieces else None

    def _usable(self, token_id: int, special: bool) -> bool:
        return bool(self.pieces[token_id]) and (special or token_id not in self.eog)


class ScriptedEngine:
    """Lanes of plain token lists; `logits(tokens) -> (n_vocab,)` says what comes next.

    Two habits of the real engine are kept: every call writes into one buffer that the next call overwrites,
    and idle lanes are fed too. `calls` records what was asked, for tests of the scheduler.
    """

    def __init__(
        self, vocab: ScriptedVocab, logits: Callable[[tuple[int, ...]], Sequence[float]], *, n_lanes=4, n_ctx=4096
    ):
        self.vocab, self.logits, self.n_lanes, self.n_ctx = vocab, logits, n_lanes, n_ctx
        self.n_vocab = vocab.n_tokens
        self.lanes: list[list[int]] = [[] for _ in range(n_lanes)]
        self.calls: list[tuple] = []
        self._rows = np.zeros((n_lanes, self.n_vocab), dtype=np.float32)

    def prefill(self, lane: int, prompt: Prompt) -> Row:
        self.calls.append(("prefill", lane, tuple(prompt.tokens)))
        self._rows[:] = np.nan  # llama.cpp overwrites its buffer: nobody may still be reading it
        self.lanes[lane] = list(prompt.tokens)
        return self._read(lane)

    def decode(self, tokens: Sequence[int | None]) -> np.ndarray:
        self.calls.append(("decode", tuple(tokens)))
        self._rows[:] = np.nan
        for lane, token in enumerate(tokens):
            if token is not None:
                self.lanes[lane].append(token)
                self._read(lane)
        return self._rows

    def rewind(self, lane: int, n_tokens: int) -> None:
        self.calls.append(("rewind", lane, n_tokens))
        if n_tokens > len(self.lanes[lane]):
            raise LocalentError(f"cannot rewind lane {lane} to {n_tokens}: it holds {len(self.lanes[lane])} tokens")
        del self.lanes[lane][n_tokens:]

    def _read(self, lane: int) -> Row:
        if len(self.lanes[lane]) > self.n_ctx:
            raise LocalentError(f"lane {lane} is full: {self.n_ctx} tokens")
        self._rows[lane] = self.logits(tuple(self.lanes[lane]))
        return self._rows[lane]
