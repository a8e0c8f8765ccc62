"""Teacher forcing: texts that are given, with the logits of every row that is asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from localent.engine.interface import Options, Rows, Scorer
from localent.engine.llama.bindings import C, Pointer
from localent.engine.llama.context import Batch, check_options, decode, free_context, new_context, rows
from localent.engine.llama.weights import Weights
from localent.errors import LocalentError


class LlamaScorer(Scorer):
    """One text at a time, fed in chunks, with the logits of the rows that are asked for.

    Holds `chunk` rows of logits for a text of any length. Works for recurrent models too.
    """

    def __init__(self, model: Weights, options: Options):
        check_options(options)
        self.model, self.options = model, options
        self.name, self.n_vocab = model.path.name, model.vocab.n_tokens
        self._context = self._new_context()
        self._memory, self.n_fed, self.can_keep = C.llama_get_memory(self._context), 0, model.can_rewind

    def _new_context(self) -> Pointer:
        return self._made_context(None)

    def _made_context(self, watch: object) -> Pointer:
        return new_context(self.model, self.options, 1, n_outputs=self.options.chunk, watch=watch)

    def keep(self, n_tokens: int) -> None:
        """Forget all but the first n_tokens tokens fed. Raises LocalentError where a model cannot keep a part."""
        if not 0 <= n_tokens <= self.n_fed:
            raise LocalentError(f"cannot keep {n_tokens} of {self.n_fed} tokens")
        if n_tokens < self.n_fed and not C.llama_memory_seq_rm(self._memory, 0, n_tokens, -1):
            raise LocalentError(f"{self.model.path.name} is recurrent or hybrid: it cannot forget the end of a text.")
        self.n_fed = n_tokens

    def feed(self, tokens: Sequence[int], n_rows: int) -> Rows:
        """Feed at most `chunk` tokens; logits after each of the last n_rows: (n_rows, n_vocab), until the next feed."""
        n = len(tokens)
        if not (0 < n <= self.options.chunk and 0 <= n_rows <= n):
            raise LocalentError(f"expected 1 to {self.options.chunk} tokens and no more rows, got {n} and {n_rows}")
        if self.n_fed + n > C.llama_n_ctx(self._context):
            raise LocalentError(f"the text is longer than the context of {C.llama_n_ctx(self._context)} tokens")
        if min(tokens) < 0 or max(tokens) >= self.n_vocab:
            raise LocalentError(f"expected token ids in 0..{self.n_vocab - 1}, got {min(tokens)} to {max(tokens)}")
        batch = Batch(n)
        batch.set_lanes([0] * n, flagged=n_rows)
        batch.token[:] = tokens
        batch.pos[:] = np.arange(self.n_fed, self.n_fed + n)
        decode(self._context, batch, n)
        self.n_fed += n
        return rows(self._context, n_rows, self.n_vocab) if n_rows else np.empty((0, self.n_vocab), np.float32)

    def close(self) -> None:
        """Free the context. Safe to call twice."""
        context, self._context = self._context, None
        if context:
            free_context(context)
