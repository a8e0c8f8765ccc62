"""The parts that lanes and scorers share: contexts, batches, and the rows of logits."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from localent.engine.interface import CACHE_BITS, CTX_STEP, Options, Rows
from localent.engine.llama import interrupts, log
from localent.engine.llama.bindings import C, Pointer
from localent.engine.llama.weights import Weights
from localent.errors import LocalentError, UsageError

GGML_TYPES = {name: getattr(C, f"GGML_TYPE_{name.upper()}", None) for name in CACHE_BITS}
GGML_TYPES["bf16"] = 30  # which the bindings do not name
UNQUANTIZED = 16  # bits of a number that is not kept in blocks
MOST_THREADS = 512  # ggml's own limit; some more are ignored, many more end the process


def check_options(options: Options) -> None:
    """Raise UsageError for options that would make llama.cpp end the process."""
    limit = C.llama_max_parallel_sequences() - 1  # one stream holds the shared prefix
    if not 1 <= options.n_lanes <= limit:
        raise UsageError(f"--lanes must be between 1 and {limit}, got {options.n_lanes}")
    if options.n_ctx < 1:
        raise UsageError(f"--ctx must be at least 1 token, got {options.n_ctx}")
    if not 1 <= options.n_threads <= MOST_THREADS:
        raise UsageError(f"--threads must be between 1 and {MOST_THREADS}, got {options.n_threads}")
    for kind in (options.type_k, options.type_v):
        if kind not in CACHE_BITS:
            raise UsageError(f"No cache type {kind!r} in llama.cpp: it knows {', '.join(CACHE_BITS)}.")
    if CACHE_BITS[options.type_v] < UNQUANTIZED and not options.flash_attn:
        raise UsageError(f"--cache-type-v {options.type_v} needs flash attention, which is off: use f16.")


def new_context(
    model: Weights, options: Options, streams: int, *, n_outputs: int, watch: object | None = None
) -> Pointer:
    """A context of `streams` independent sequences that shows at most n_outputs rows of logits a decode.

    watch: llama.cpp's callback for every operation of a decode, which the caller keeps alive.
    """
    params = C.llama_context_default_params()
    params.n_seq_max, params.n_outputs_max = streams, n_outputs
    params.n_ctx = streams * (-(-options.n_ctx // CTX_STEP) * CTX_STEP)
    params.n_batch = params.n_ubatch = max(options.chunk, streams)
    params.n_threads = params.n_threads_batch = options.n_threads
    params.type_k, params.type_v = (GGML_TYPES[name] for name in (options.type_k, options.type_v))
    params.flash_attn_type = C.LLAMA_FLASH_ATTN_TYPE_ENABLED if options.flash_attn else C.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.kv_unified = False  # one stream a lane: what makes lanes independent to the last bit
    params.swa_full = True  # a sliding window's cache must keep what a rewind comes back to
    params.no_perf = True
    if watch is not None:
        params.cb_eval = watch
    log.clear()
    with interrupts.held():
        context = C.llama_init_from_model(model.handle, params)
    if not context and (why := log.line_with("cache type")):
        raise LocalentError(f"llama.cpp refuses this type of the key-value cache for this model ({why}): use f16.")
    if not context:
        raise LocalentError(
            f"llama.cpp could not set up {options.n_lanes} lanes of {options.n_ctx} tokens: "
            f"try fewer --lanes or a smaller --ctx. {log.last_words()}"
        )
    _adapt(context, model)
    return context


def _adapt(context: Pointer, model: Weights) -> None:
    """Let the model's LoRA adapters take part in every decode."""
    n = len(model.adapters)
    if not n:
        return
    handles = (C.llama_adapter_lora_p_ctypes * n)(*(handle for handle, _ in model.adapters))
    scales = (ctypes.c_float * n)(*(scale for _, scale in model.adapters))
    with interrupts.held():
        code = C.llama_set_adapters_lora(context, handles, n, scales)
    if code:
        free_context(context)
        raise LocalentError(f"llama.cpp could not use the adapters of {model.path.name} (code {code}).")


def free_context(context: Pointer) -> None:
    """Free a context, with signals held: llama.cpp tells its log of it."""
    with interrupts.held():
        C.llama_free(context)


class Batch:
    """A llama_batch over numpy arrays: filled by slices instead of token by token."""

    def __init__(self, n: int):
        self.token, self.pos = np.zeros(n, np.int32), np.zeros(n, np.int32)
        self._n_seq, self._seq, self._flags = np.ones(n, np.int32), np.zeros(n, np.int32), np.zeros(n, np.int8)
        self._seq_pointers = (ctypes.POINTER(C.llama_seq_id) * n)()
        self.struct = C.llama_batch(
            n_tokens=n,
            token=_pointer(self.token, C.llama_token),
            embd=None,
            pos=_pointer(self.pos, C.llama_pos),
            n_seq_id=_pointer(self._n_seq, ctypes.c_int32),
            seq_id=self._seq_pointers,
            logits=_pointer(self._flags, ctypes.c_int8),
        )

    def set_lanes(self, lanes: Sequence[int], *, flagged: int) -> None:
        """Row i belongs to lanes[i]; the last `flagged` rows get logits."""
        self._seq[:] = list(lanes)
        for i in range(len(self._seq)):
            self._seq_pointers[i] = _pointer(self._seq[i:], C.llama_seq_id)
        self._flags[len(self._flags) - flagged :] = 1


def _pointer(array: npt.NDArray[Any], ctype: Any) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(ctype))


def decode(context: Pointer, batch: Batch, n_tokens: int) -> None:
    """Run a batch. Raises LocalentError with llama.cpp's reason."""
    with log.muted():
        code = C.llama_decode(context, batch.struct)
    if code:
        log.clear()
        with interrupts.held():
            C.llama_decode(context, batch.struct)  # once more, for its reason: nothing has changed
        raise LocalentError(f"llama.cpp could not decode {n_tokens} tokens (code {code}). {log.last_words()}")


def rows(context: Pointer, n_rows: int, n_vocab: int) -> Rows:
    """View of llama.cpp's own buffer: (n_rows, n_vocab), overwritten by the next decode."""
    pointer = ctypes.cast(C.llama_get_logits(context), ctypes.POINTER(ctypes.c_float))
    view = np.ctypeslib.as_array(pointer, shape=(n_rows, n_vocab))
    view.flags.writeable = False
    return view
