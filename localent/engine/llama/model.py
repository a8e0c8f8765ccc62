"""A GGUF file as a model of localent: its weights, with lanes and scorers on them."""

from __future__ import annotations

from functools import cached_property

from localent.engine.interface import Options, Take
from localent.engine.llama.engine import LlamaEngine
from localent.engine.llama.scorer import LlamaScorer
from localent.engine.llama.watching import WatchedScorer
from localent.engine.llama.weights import Weights
from localent.files.header import read_header


class LlamaModel(Weights):
    """The weights and vocabulary of one GGUF file. Close its lanes and scorers before it."""

    def kv_bytes(self, n_tokens: int) -> int:
        """Memory of n_tokens in the key-value cache, F16, all layers."""
        return self._kv_bytes_per_token * n_tokens

    def lanes(self, options: Options) -> LlamaEngine:
        """Lanes to generate in."""
        return LlamaEngine(self, options)

    def scorer(self, options: Options) -> LlamaScorer:
        """A scorer of given texts."""
        return LlamaScorer(self, options)

    def watched(self, options: Options, take: Take) -> WatchedScorer:
        """A scorer that hands the inputs of every weight matrix to `take`."""
        return WatchedScorer(self, options, take)

    @cached_property
    def _kv_bytes_per_token(self) -> int:
        return read_header(self.path).kv_bytes
