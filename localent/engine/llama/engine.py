"""A model with lanes: streams that are filled, advanced together and cut back, each its own to the last bit.

A context has `n_lanes` streams for traces and one more, in which prompts are computed and from which they are copied.
So the samples of a problem share one computation of its prompt, and the prompts of a run that of their shared prefix.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from localent.engine.interface import Engine, Options, Prompt, Row, Rows
from localent.engine.llama import interrupts
from localent.engine.llama.bindings import C
from localent.engine.llama.context import Batch, check_options, decode, free_context, new_context, rows
from localent.engine.llama.weights import Weights
from localent.errors import LocalentError

PARTIAL: int = C.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY  # the recurrent part of a state alone
State = ctypes.Array[ctypes.c_uint8]  # of one lane, as llama.cpp saves it


class LlamaEngine(Engine):
    """A model with lanes; see `localent.engine.Engine` for its calls.

    Raises LocalentError when memory for the lanes is short.
    """

    def __init__(self, model: Weights, options: Options):
        check_options(options)
        self.model, self.options, self.n_lanes = model, options, options.n_lanes
        self.vocab, self.n_vocab = model.vocab, model.vocab.n_tokens
        streams = options.n_lanes + 1
        self._context = new_context(model, options, streams, n_outputs=streams)
        self._memory = C.llama_get_memory(self._context)
        self.n_ctx = C.llama_n_ctx_seq(self._context)
        self._lengths = [0] * streams
        self._source = self.n_lanes  # the stream that prompts are computed in
        self._held: _Held | None = None
        self._marks = [] if model.can_rewind else [_Marks() for _ in range(streams)]
        self._step = Batch(self.n_lanes)
        self._step.set_lanes(range(self.n_lanes), flagged=self.n_lanes)

    def prefill(self, lane: int, prompt: Prompt) -> Row:
        self._check_lane(lane)
        self._check_prompt(prompt)
        held = self._computed(tuple(prompt.tokens), prompt.n_shared)
        self.rewind(lane, 0)
        C.llama_memory_seq_cp(self._memory, self._source, lane, -1, -1)  # whole: a partial copy aborts
        self._lengths[lane] = len(held.tokens)
        if self._marks:
            end = len(held.tokens)
            self._marks[lane] = _Marks(list(held.tokens), {end: self._marks[self._source].states[end]})
        return held.row

    def extend(self, lane: int, tokens: Sequence[int]) -> Row:
        self._check_lane(lane)
        if not tokens:
            raise LocalentError("expected at least one token to feed, got none")
        if self._lengths[lane] + len(tokens) > self.n_ctx:
            raise self._full(lane)
        self._feed(lane, tokens)
        row: Row = self._logits(1)[0]
        return row

    def decode(self, tokens: Sequence[int | None]) -> Rows:
        if len(tokens) != self.n_lanes:
            raise LocalentError(f"expected one token or None for each of {self.n_lanes} lanes, got {len(tokens)}")
        batch = self._step
        for lane, token in enumerate(tokens):
            if token is None:  # an idle lane is fed too, from an empty start, to keep the shape of the call
                self.rewind(lane, 0)
            batch.token[lane] = self._check_token(token or 0)
            batch.pos[lane] = self._room(lane)
        self._run(batch, self.n_lanes)
        for lane in range(self.n_lanes):
            self._lengths[lane] += 1
            if self._marks:
                self._marks[lane].fed.append(int(batch.token[lane]))
        return self._logits(self.n_lanes)

    def rewind(self, lane: int, n_tokens: int) -> None:
        self._check_lane(lane)
        self._cut(lane, n_tokens)

    def close(self) -> None:
        """Free the context. Safe to call twice."""
        context, self._context = self._context, None
        if context:
            free_context(context)

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────

    def _computed(self, tokens: tuple[int, ...], n_shared: int) -> _Held:
        """A prompt in the stream of prompts, with the row after it; only what differs from the last one is computed."""
        if self._held and (self._held.tokens, self._held.n_shared) == (tokens, n_shared):
            return self._held
        shares = self._held and self._held.tokens[: self._held.n_shared] == tokens[:n_shared]
        self._held = None  # until the new prompt is whole
        self._cut(self._source, n_shared if shares else 0)
        if n_shared and not shares:
            self._feed(self._source, tokens[:n_shared])
            self._cut(self._source, n_shared)
        self._feed(self._source, tokens[n_shared:])
        row = self._logits(1)[0].copy()  # llama.cpp overwrites its own at the next decode
        row.flags.writeable = False
        self._cut(self._source, len(tokens))
        self._held = _Held(tokens, n_shared, row)
        return self._held

    def _cut(self, lane: int, n_tokens: int) -> None:
        """Keep n_tokens of a stream; one that cannot forget marks the place, to come back to it."""
        if not 0 <= n_tokens <= self._lengths[lane]:
            raise LocalentError(f"cannot rewind lane {lane} to {n_tokens}: it holds {self._lengths[lane]} tokens")
        if self._marks and n_tokens:
            self._return_to(lane, n_tokens)
        elif n_tokens < self._lengths[lane]:
            self._remove(lane, n_tokens)
            self._lengths[lane] = n_tokens
            if self._marks:
                self._marks[lane] = _Marks()

    def _feed(self, lane: int, tokens: Sequence[int]) -> None:
        """Feed tokens in chunks of fixed size; only the very last one gets logits."""
        checked = [self._check_token(token) for token in tokens]
        for start in range(0, len(checked), self.options.chunk):
            chunk = checked[start : start + self.options.chunk]
            batch = Batch(len(chunk))
            batch.set_lanes([lane] * len(chunk), flagged=int(start + len(chunk) == len(checked)))
            batch.token[:] = chunk
            batch.pos[:] = np.arange(self._lengths[lane], self._lengths[lane] + len(chunk))
            self._run(batch, len(chunk))
            self._lengths[lane] += len(chunk)
        if self._marks:
            self._marks[lane].fed.extend(checked)

    def _run(self, batch: Batch, n_tokens: int) -> None:
        decode(self._context, batch, n_tokens)

    def _logits(self, n_rows: int) -> Rows:
        return rows(self._context, n_rows, self.n_vocab)

    def _return_to(self, lane: int, n_tokens: int) -> None:
        """Rewind a lane that cannot forget: restore the last state marked before n_tokens, feed the rest, mark it.

        A lane that is at n_tokens already is only marked, so that what follows can be undone to the bit.
        """
        marks = self._marks[lane]
        if n_tokens < self._lengths[lane]:
            start = max((n for n in marks.states if n <= n_tokens), default=0)
            if start:  # before the attention's part is cut: a recurrent part cannot be cut anywhere else
                self._set_state(lane, marks.states[start])
            self._remove(lane, start)
            self._lengths[lane] = start
            rest, marks.fed = marks.fed[start:n_tokens], marks.fed[:start]
            self._feed(lane, rest)
        known = {n: state for n, state in marks.states.items() if n <= n_tokens}
        if n_tokens not in known:
            known[n_tokens] = self._state(lane)
        self._marks[lane] = _Marks(marks.fed, known)

    def _state(self, lane: int) -> State:
        """A copy of what a lane cannot forget: its recurrent state. The attention's part can be cut."""
        size = C.llama_state_seq_get_size_ext(self._context, lane, PARTIAL)
        state: State = (ctypes.c_uint8 * size)()
        with interrupts.held():
            written = C.llama_state_seq_get_data_ext(self._context, state, size, lane, PARTIAL)
        if written != size:
            raise LocalentError(f"llama.cpp could not save a state of {self.model.path.name}: use --no-probe.")
        return state

    def _set_state(self, lane: int, state: State) -> None:
        with interrupts.held():
            read = C.llama_state_seq_set_data_ext(self._context, state, len(state), lane, PARTIAL)
        if not read:
            raise LocalentError(f"llama.cpp could not restore a state of {self.model.path.name}: use --no-probe.")

    def _remove(self, lane: int, n_tokens: int) -> None:
        if not C.llama_memory_seq_rm(self._memory, lane, n_tokens, -1):
            raise LocalentError(f"{self.model.path.name} is recurrent or hybrid: it cannot forget the end of a text.")

    def _room(self, lane: int) -> int:
        if self._lengths[lane] >= self.n_ctx:
            raise self._full(lane)
        return self._lengths[lane]

    def _full(self, lane: int) -> LocalentError:
        return LocalentError(f"lane {lane} is full: {self.n_ctx} tokens. Give it more with --ctx.")

    def _check_lane(self, lane: int) -> None:
        if not 0 <= lane < self.n_lanes:
            raise LocalentError(f"expected a lane in 0..{self.n_lanes - 1}, got {lane}")

    def _check_token(self, token: int) -> int:
        if not 0 <= token < self.n_vocab:
            raise LocalentError(f"expected a token id in 0..{self.n_vocab - 1}, got {token}")
        return token

    def _check_prompt(self, prompt: Prompt) -> None:
        if not 0 <= prompt.n_shared < len(prompt.tokens):
            raise LocalentError("a prompt needs at least one token of its own after the shared prefix")
        if len(prompt.tokens) >= self.n_ctx:
            raise LocalentError(
                f"the prompt has {len(prompt.tokens)} tokens, a lane holds {self.n_ctx}: give more with --ctx"
            )


@dataclass(frozen=True, slots=True)
class _Held:
    """The prompt in the stream of prompts."""

    tokens: tuple[int, ...]
    n_shared: int
    row: Row  # after its last token


@dataclass(slots=True)
class _Marks:
    """The places that a lane of a recurrent model can return to: the tokens fed, and its state after some of them."""

    fed: list[int] = field(default_factory=list)
    states: dict[int, State] = field(default_factory=dict)  # number of tokens -> state
