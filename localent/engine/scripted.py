"""A fake model whose next-token distribution is a plain function of the tokens before it: exact and instant.

with scripted.at(path, ScriptedModel(vocab, logits)):
    model = engine.open(path)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType

import numpy as np

from localent.engine.backends import registered
from localent.engine.interface import Backend, Engine, Model, Options, Prompt, Row, Rows, Scorer
from localent.errors import LocalentError
from localent.files.lora import Adapter

Logits = Callable[[tuple[int, ...]], Sequence[float]]  # tokens before -> (n_vocab,)


class ScriptedVocab:
    """A vocabulary of given pieces; text is tokenized greedily, longest piece first."""

    def __init__(self, pieces: Sequence[bytes], *, eog: frozenset[int] = frozenset(), bos: int | None = None):
        self.pieces, self.eog, self.bos, self.n_tokens = list(pieces), eog, bos, len(pieces)
        self._by_length = sorted(range(len(pieces)), key=lambda i: -len(pieces[i]))

    variables: Mapping[str, str] = MappingProxyType({})

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


class ScriptedEngine(Engine):
    """Lanes of plain token lists; `logits(tokens) -> (n_vocab,)` says what comes next.

    Like the real engine: every call writes into one buffer that the next call overwrites,
    and idle lanes are fed too. `calls` records what was asked, for tests of the scheduler.
    """

    def __init__(self, vocab: ScriptedVocab, logits: Logits, *, n_lanes: int = 4, n_ctx: int = 4096):
        self.vocab, self.logits, self.n_lanes, self.n_ctx = vocab, logits, n_lanes, n_ctx
        self.n_vocab = vocab.n_tokens
        self.lanes: list[list[int]] = [[] for _ in range(n_lanes)]
        self.calls: list[tuple[object, ...]] = []
        self._rows = np.zeros((n_lanes, self.n_vocab), dtype=np.float32)

    def prefill(self, lane: int, prompt: Prompt) -> Row:
        self.calls.append(("prefill", lane, tuple(prompt.tokens)))
        self._rows[:] = np.nan  # llama.cpp overwrites its buffer: nobody may still be reading it
        self.lanes[lane] = list(prompt.tokens)
        return self._read(lane)

    def extend(self, lane: int, tokens: Sequence[int]) -> Row:
        if not tokens:
            raise LocalentError("expected at least one token to feed, got none")
        self.calls.append(("extend", lane, tuple(tokens)))
        self._rows[:] = np.nan
        self.lanes[lane] += tokens
        return self._read(lane)

    def decode(self, tokens: Sequence[int | None]) -> Rows:
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
        row: Row = self._rows[lane]
        return row


class ScriptedScorer(Scorer):
    """One text at a time; `logits(tokens) -> (n_vocab,)` says what comes next."""

    can_keep = True

    def __init__(self, name: str, vocab: ScriptedVocab, logits: Logits):
        self.name, self.n_vocab, self.logits = name, vocab.n_tokens, logits
        self._fed: list[int] = []

    def keep(self, n_tokens: int) -> None:
        if not 0 <= n_tokens <= len(self._fed):
            raise LocalentError(f"cannot keep {n_tokens} of {len(self._fed)} tokens")
        del self._fed[n_tokens:]

    def feed(self, tokens: Sequence[int], n_rows: int) -> Rows:
        self._fed += tokens
        ends = range(len(self._fed) - n_rows + 1, len(self._fed) + 1)
        rows = [self.logits(tuple(self._fed[:end])) for end in ends]
        return np.array(rows, dtype=np.float32).reshape(n_rows, self.n_vocab)


class ScriptedModel(Model):
    """A vocabulary and a rule in the place of weights."""

    gpu_layers, can_rewind = 0, True

    def __init__(self, vocab: ScriptedVocab, logits: Logits, *, n_ctx_train: int = 4096):
        self.path, self.vocab, self.logits, self.n_ctx_train = Path("scripted"), vocab, logits, n_ctx_train

    def kv_bytes(self, n_tokens: int) -> int:
        return 0

    def lanes(self, options: Options) -> ScriptedEngine:
        return ScriptedEngine(self.vocab, self.logits, n_lanes=options.n_lanes, n_ctx=options.n_ctx)

    def scorer(self, options: Options) -> ScriptedScorer:
        return ScriptedScorer(self.path.name, self.vocab, self.logits)


def at(path: Path, model: ScriptedModel) -> AbstractContextManager[None]:
    """Inside the block, `engine.open(path)` gives this model; the file itself is not read."""
    model.path = path
    return registered(lambda asked: asked == path, _Scripted(model))


class _Scripted(Backend):
    """The backend of one scripted model."""

    def __init__(self, model: ScriptedModel):
        self.model = model

    def open(self, path: Path, *, gpu_layers: int, vocab_only: bool, adapters: Sequence[Adapter] = ()) -> ScriptedModel:
        if adapters:
            raise LocalentError("A scripted model has no weights that an adapter could change.")
        return self.model

    def build_info(self, gpu_layers: int) -> dict[str, str]:
        return {"backend": "scripted"}
