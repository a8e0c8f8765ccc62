"""The interface of a backend: the weights of a file, its vocabulary, lanes that generate, a scorer of given texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
import numpy.typing as npt

from localent.errors import LocalentError

if TYPE_CHECKING:
    from localent.files.imatrix import Imatrix
    from localent.files.lora import Adapter

Row = npt.NDArray[np.float32]  # (n_vocab,) raw logits
Rows = npt.NDArray[np.float32]  # (n_rows, n_vocab) raw logits

Take = Callable[[str, npt.NDArray[np.float32], npt.NDArray[np.int32] | None], object]
"""Takes a matrix's name, its inputs (n, n_in), and of a mixture the expert that each goes to, (n,)."""

CTX_STEP = 256  # tokens that the context of a lane is rounded up to
CACHE_BITS = {  # types of keys and values in the cache, as llama.cpp spells them -> bits of one number
    "f16": 16.0,
    "bf16": 16.0,
    "f32": 32.0,
    "q8_0": 8.5,
    "q5_1": 6.0,
    "q5_0": 5.5,
    "q4_1": 5.0,
    "q4_0": 4.5,
    "iq4_nl": 4.5,
}


@dataclass(frozen=True, slots=True)
class Prompt:
    """Clear the lane and start it with these tokens. The first `n_shared` are the same in every prompt of the run."""

    tokens: Sequence[int]
    n_shared: int = 0


@dataclass(frozen=True, slots=True)
class Options:
    """The settings of lanes or a scorer. All but n_ctx can change the last bits of a logit."""

    n_lanes: int
    n_ctx: int  # tokens a lane can hold
    n_threads: int
    chunk: int = 256  # tokens of one prefill call
    flash_attn: bool = True  # off, memory grows with context: heads x chunk x n_ctx floats
    type_k: str = "f16"  # of the keys in the cache, one of CACHE_BITS
    type_v: str = "f16"  # of the values; a quantized one needs flash attention

    @property
    def cache_share(self) -> float:
        """Size of the cache as a multiple of one of 16 bits, heads of keys and values being of one size."""
        return (CACHE_BITS[self.type_k] + CACHE_BITS[self.type_v]) / 32


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeOptions:
    """The settings of a quantization. Threads change no bit of its result."""

    n_threads: int
    imatrix: Imatrix | None = None
    requantize: bool = False  # accept a source that is quantized itself
    pure: bool = False  # all tensors in the quant's own type, without the mixture of a K-quant
    output_type: str | None = None  # of the output tensor, as GGUF spells it; None: as the quant has it
    embedding_type: str | None = None  # of the token embeddings
    tensor_types: tuple[tuple[str, str], ...] = ()  # (regular expression of a tensor's name, type); the first counts


@dataclass(frozen=True, slots=True)
class Device:
    """Something that a backend can compute on, with its memory in bytes."""

    name: str  # "CUDA0", "Vulkan0", "CPU"
    description: str
    kind: str  # "cpu", "gpu", "igpu" (shares the machine's memory), "accelerator"
    free_bytes: int
    total_bytes: int


class Closing(Protocol):
    """A resource that is freed by `close`, or at the end of a with block."""

    def close(self) -> None:
        """Free it. Safe to call twice."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Vocab(Protocol):
    """The vocabulary of a model: pieces are bytes, because a character may span tokens."""

    n_tokens: int
    eog: frozenset[int]  # tokens that end a generation
    bos: int | None  # None: prompts of this model do not begin with one

    @property
    def pieces(self) -> Sequence[bytes]:
        """The bytes of every token; control tokens by their spelling."""
        ...

    @property
    def variables(self) -> Mapping[str, str]:
        """The spelling of BOS and EOS by the names that chat templates use: "bos_token", "eos_token"."""
        ...

    def tokenize(self, text: str, *, special: bool = False) -> list[int]:
        """Token ids of text. With `special`, the spelling of a control token becomes that token."""
        ...

    def token_named(self, text: str) -> int | None:
        """The id of the token whose whole text is `text`, or None."""
        ...


class Engine(Closing, Protocol):
    """The lanes of a model, as the scheduler uses them: lanes that are filled, advanced together, and cut back.

    Rows are valid until the next call. Raises LocalentError for a lane that is full or a token that does not exist.
    """

    n_lanes: int
    n_ctx: int  # tokens that fit in one lane
    n_vocab: int
    vocab: Vocab

    def prefill(self, lane: int, prompt: Prompt) -> Row:
        """Clear the lane, feed the prompt in fixed chunks, return the row after its last token."""
        ...

    def extend(self, lane: int, tokens: Sequence[int]) -> Row:
        """Feed at least one token to one lane in fixed chunks, return the row after the last."""
        ...

    def decode(self, tokens: Sequence[int | None]) -> Rows:
        """Feed one token to every lane (None: the lane is idle): rows (n_lanes, n_vocab)."""
        ...

    def rewind(self, lane: int, n_tokens: int) -> None:
        """Keep only the first n_tokens tokens of the lane."""
        ...


class Scorer(Closing, Protocol):
    """Teacher forcing: one given text at a time, with the rows that are asked for."""

    name: str  # of its file
    n_vocab: int
    can_keep: bool  # False: a recurrent model, which can only forget everything

    def keep(self, n_tokens: int) -> None:
        """Forget all but the first n_tokens tokens fed."""
        ...

    def feed(self, tokens: Sequence[int], n_rows: int) -> Rows | Sequence[Row]:
        """Feed tokens; the rows after each of the last n_rows of them, valid until the next call."""
        ...


class Model(Closing, Protocol):
    """The weights and vocabulary of one file. Close its lanes and scorers before it."""

    path: Path
    vocab: Vocab
    n_ctx_train: int  # tokens of context that it was trained for
    gpu_layers: int  # -1: all
    can_rewind: bool  # False: recurrent or hybrid, a lane goes back to a saved state only

    def kv_bytes(self, n_tokens: int) -> int:
        """Memory of n_tokens tokens of context, all layers."""
        ...

    def lanes(self, options: Options) -> Engine:
        """Lanes to generate in. Raises UsageError for impossible options, LocalentError when memory is short."""
        ...

    def scorer(self, options: Options) -> Scorer:
        """A scorer of given texts; `options.chunk` rows of logits are held. Raises as `lanes` does."""
        ...

    def watched(self, options: Options, take: Take) -> Scorer:
        """A scorer that hands the inputs of every weight matrix to `take`. Raises LocalentError where it cannot."""
        raise LocalentError(f"The inputs of the matrices of {self.path.name} cannot be watched: name a GGUF file.")


class Backend(Protocol):
    """One way to compute: the functions of a folder's `backend` module, or the methods of a class in tests.

    A class inherits what a backend without a GPU and without a quantizer answers.
    """

    def open(self, path: Path, *, gpu_layers: int, vocab_only: bool, adapters: Sequence[Adapter] = ()) -> Model:
        """Load a file; LoRA adapters act in all its lanes and scorers. Raises LocalentError where that fails."""
        ...

    def build_info(self, gpu_layers: int) -> dict[str, str]:
        """The software and hardware that compute the logits, as far as they can change a bit."""
        ...

    def check_options(self, options: Options) -> None:
        """Raise UsageError for options that cannot work."""
        return

    def devices(self) -> list[Device]:
        """The devices of this build, with their memory."""
        return []

    def supports_gpu(self) -> bool:
        """True where this build can put layers on a GPU."""
        return False

    def supports_rpc(self) -> bool:
        """True where this build can compute on other machines over the network."""
        return False

    def requirement(self) -> str:
        """The package that computes, as pip takes it: "name==version"."""
        return "localent"

    def check_build(self) -> None:
        """Raise LocalentError where the installed package is not the required one, or does not work."""
        return

    def quants(self) -> frozenset[str]:
        """Names of the quants that `quantize` can write."""
        return frozenset()

    def quantize(
        self,
        source: Path,
        target: Path,
        quant: str,
        options: QuantizeOptions,
        report: Callable[[int, int], object] = lambda done, total: None,
    ) -> None:
        """Write `target` as a quantized copy of `source`, whole or not at all.

        `report(done, total)` is called for every tensor.
        Raises UsageError for an unknown quant, LocalentError when the quantizer refuses.
        """
        raise LocalentError(f"No quantizer can read {source.name}: name a GGUF file.")
