"""llama.cpp through its raw bindings: the only module that imports llama_cpp.

Every guard here stands in front of a C assertion that would end the whole process, or of a silent wrong
answer. An engine is one context with `n_lanes` streams for traces and one more that holds the prompt prefix
shared by all problems of a run.
"""

from __future__ import annotations

import collections
import ctypes
import os
import platform
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import llama_cpp
import numpy as np
from llama_cpp import _ggml
from llama_cpp import llama_cpp as C  # noqa: N812  the bindings keep C's names

from localent.engine import guard
from localent.engine.glance import glance
from localent.engine.lanes import Prompt, Row
from localent.errors import LocalentError, UsageError

PINNED = "0.3.36"
CTX_STEP = 256  # llama.cpp pads a stream's context to this
_TENSOR_COUNT = re.compile(r"\[ *(\d+)/ *(\d+)\]")  # how the quantizer counts tensors in its log
_INTERRUPTED = threading.Event()
_LOG: collections.deque[str] = collections.deque(maxlen=40)


@C.llama_log_callback
def _keep_log(level, text, _):
    try:
        _LOG.append(text.decode("utf-8", "replace"))
    except KeyboardInterrupt:  # C cannot pass it on; raised again after the call
        _INTERRUPTED.set()


C.llama_log_set(_keep_log, ctypes.c_void_p(0))  # after the import, which installs its own printer


@dataclass(frozen=True, slots=True)
class Options:
    """How a model is loaded. Everything here can change the last bits of a logit, so runs record it."""

    n_lanes: int
    n_ctx: int  # tokens a lane can hold
    n_threads: int
    chunk: int = 256  # tokens of one prefill call
    flash_attn: bool = True  # off, memory grows with context: heads x chunk x n_ctx floats


def check_bindings() -> None:
    """Compare the bindings' view of llama.cpp's structs with known defaults: drift would corrupt memory."""
    if llama_cpp.__version__ != PINNED:
        raise LocalentError(
            f"localent needs llama-cpp-python {PINNED}, found {llama_cpp.__version__}: "
            f"pip install 'llama-cpp-python=={PINNED}'"
        )
    seen, want = C.llama_context_default_params(), dict(n_ctx=512, n_batch=2048, n_ubatch=512, n_seq_max=1, type_k=1)
    wrong = {name: getattr(seen, name) for name, value in want.items() if getattr(seen, name) != value}
    if wrong or not C.llama_model_default_params().use_extra_bufts:
        raise LocalentError(
            f"The llama.cpp library does not match its Python bindings (read {wrong}): "
            f"pip install --force-reinstall --no-cache-dir 'llama-cpp-python=={PINNED}'"
        )


def build_info(gpu_layers: int) -> dict[str, str]:
    """What computed the logits, as far as it can change their bits."""
    gpus = [f"{d.name} {d.description}" for d in devices() if d.kind != "cpu"] if gpu_layers else []
    return {
        "llama_cpp_python": llama_cpp.__version__,
        "backend": ", ".join(gpus) or "cpu",
        "cpu": C.llama_print_system_info().decode().strip(" |"),
        "machine": platform.machine(),
    }


@dataclass(frozen=True, slots=True)
class Device:
    """What this build of llama.cpp can compute on, with its memory in bytes."""

    name: str  # "CUDA0", "Vulkan0", "CPU"
    description: str
    kind: str  # "cpu", "gpu", "igpu" (shares the machine's memory), "accelerator"
    free_bytes: int
    total_bytes: int


def devices() -> list[Device]:
    """The devices of this build, as its backends report them."""
    C.llama_backend_init()
    lib = _ggml.libggml
    try:
        for name in ("name", "description"):
            getattr(lib, f"ggml_backend_dev_{name}").restype = ctypes.c_char_p
        lib.ggml_backend_dev_count.restype, lib.ggml_backend_dev_get.restype = ctypes.c_size_t, ctypes.c_void_p
    except AttributeError:
        return []  # a platform on which the library hides them
    return [_device(lib, ctypes.c_void_p(lib.ggml_backend_dev_get(i))) for i in _sizes(lib.ggml_backend_dev_count())]


def _device(lib, handle: ctypes.c_void_p) -> Device:
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    lib.ggml_backend_dev_memory(handle, ctypes.byref(free), ctypes.byref(total))
    name, description = lib.ggml_backend_dev_name(handle), lib.ggml_backend_dev_description(handle)
    kind = dict(enumerate(("cpu", "gpu", "igpu", "accelerator"))).get(lib.ggml_backend_dev_type(handle), "accelerator")
    return Device(name.decode(), description.decode("utf-8", "replace"), kind, free.value, total.value)


def _sizes(n: int) -> Iterator[ctypes.c_size_t]:
    return (ctypes.c_size_t(i) for i in range(n))


def supports_gpu() -> bool:
    """True where this build of llama.cpp can put layers on a GPU."""
    return bool(C.llama_supports_gpu_offload())


class LlamaVocab:
    """A GGUF's vocabulary. Text of users and data sets is tokenized with special=False and so stays text."""

    def __init__(self, model):
        self._vocab = C.llama_model_get_vocab(model)
        self.n_tokens = C.llama_vocab_n_tokens(self._vocab)
        self.eog = frozenset(i for i in range(self.n_tokens) if C.llama_vocab_is_eog(self._vocab, i))
        self.bos = C.llama_vocab_bos(self._vocab) if C.llama_vocab_get_add_bos(self._vocab) else None
        self._spellable = self._characters() if C.llama_vocab_type(self._vocab) == C.LLAMA_VOCAB_TYPE_SPM else None

    @cached_property
    def variables(self) -> dict[str, str]:
        """What chat templates ask of a tokenizer: the spelling of its BOS and EOS."""
        ids = {"bos_token": C.llama_vocab_bos(self._vocab), "eos_token": C.llama_vocab_eos(self._vocab)}
        return {name: self.pieces[i].decode("utf-8", "replace") for name, i in ids.items() if 0 <= i < self.n_tokens}

    @cached_property
    def pieces(self) -> list[bytes]:
        """The bytes of every token; control tokens by their spelling."""
        buffer = ctypes.create_string_buffer(256)
        return [self._piece(i, buffer) for i in range(self.n_tokens)]

    def tokenize(self, text: str, *, special: bool = False) -> list[int]:
        if self._spellable is not None:
            self._check_spelling(text)
        raw = text.encode()
        ids = (C.llama_token * (len(raw) + 8))()
        n = C.llama_tokenize(self._vocab, raw, len(raw), ids, len(ids), False, special)
        if n < 0:
            raise LocalentError(f"llama.cpp could not tokenize a text of {len(raw)} bytes (code {n})")
        return ids[:n]

    def token_named(self, text: str) -> int | None:
        ids = self.tokenize(text, special=True)
        return ids[0] if len(ids) == 1 else None

    def _characters(self) -> frozenset[str] | None:
        """What a SentencePiece vocabulary without byte tokens can spell; None where it has them."""
        texts = [C.llama_vocab_get_text(self._vocab, i).decode("utf-8", "replace") for i in range(self.n_tokens)]
        return None if "<0x0A>" in texts else frozenset(text for text in texts if len(text) == 1)

    def _check_spelling(self, text: str) -> None:
        """Refuse a character that would end the process in llama.cpp's tokenizer."""
        for char in text.replace(" ", "\u2581"):
            if char not in self._spellable:
                raise LocalentError(f"This model's vocabulary has no token for {char!r}: it cannot read this text.")

    def _piece(self, token_id: int, buffer) -> bytes:
        n = C.llama_token_to_piece(self._vocab, token_id, buffer, len(buffer), 0, True)
        if n < 0:
            buffer = ctypes.create_string_buffer(-n)
            n = C.llama_token_to_piece(self._vocab, token_id, buffer, len(buffer), 0, True)
        return buffer.raw[:n]


class LlamaModel:
    """The weights and vocabulary of one GGUF file. Close its engines before it.

    Raises LocalentError, with llama.cpp's last words, when the file cannot be loaded.
    """

    def __init__(self, path: Path, gpu_layers: int = 0, *, vocab_only: bool = False, tried: bool = False):
        """`tried`: skip the trial of an odd file in a child process, where a crash of llama.cpp does no harm."""
        check_bindings()
        _check_gpu(gpu_layers)
        if not tried:
            guard.check(path)
        C.llama_backend_init()
        self.path, self.gpu_layers = Path(path), gpu_layers
        self.handle = _load_model(self.path, gpu_layers, vocab_only)
        try:
            _refuse_unfit(self.handle, self.path)
        except LocalentError:
            self.close()
            raise
        self.vocab = LlamaVocab(self.handle)
        self.n_ctx_train = C.llama_model_n_ctx_train(self.handle)
        self.can_rewind = not (C.llama_model_is_recurrent(self.handle) or C.llama_model_is_hybrid(self.handle))

    def kv_bytes(self, n_tokens: int) -> int:
        """Memory of n_tokens in the key-value cache, F16, all layers."""
        return glance(self.path).kv_bytes * n_tokens

    def close(self) -> None:
        """Free the weights. Safe to call twice."""
        if self.handle:
            C.llama_model_free(self.handle)
        self.handle = None

    def __enter__(self) -> LlamaModel:
        return self

    def __exit__(self, *_) -> None:
        self.close()


class LlamaEngine:
    """A model with lanes; see `localent.engine.Engine` for its four calls.

    Raises LocalentError when memory for the lanes is short.
    """

    def __init__(self, model: LlamaModel, options: Options):
        check_options(options)
        self.model, self.options, self.n_lanes = model, options, options.n_lanes
        self.vocab, self.n_vocab = model.vocab, model.vocab.n_tokens
        streams = options.n_lanes + 1
        self._context = _new_context(model.handle, options, streams, n_outputs=streams)
        self._memory = C.llama_get_memory(self._context)
        self.n_ctx = C.llama_n_ctx_seq(self._context)
        self._lengths = [0] * (self.n_lanes + 1)
        self._prefix_lane, self._prefix = self.n_lanes, ()
        self._marks = None if model.can_rewind else [_Marks() for _ in range(self.n_lanes)]
        self._step = _Batch(self.n_lanes)
        self._step.set_lanes(range(self.n_lanes), flagged=self.n_lanes)

    def prefill(self, lane: int, prompt: Prompt) -> Row:
        self._check_lane(lane)
        self._check_prompt(prompt)
        self.rewind(lane, 0)
        if prompt.n_shared:
            self._copy_prefix(lane, tuple(prompt.tokens[: prompt.n_shared]))
        self._feed(lane, prompt.tokens[prompt.n_shared :])
        if self._marks:
            self._marks[lane] = _Marks(list(prompt.tokens), {len(prompt.tokens): self._state(lane)})
        return self._logits(1)[0]

    def decode(self, tokens: Sequence[int | None]) -> np.ndarray:
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
        if not 0 <= n_tokens <= self._lengths[lane]:
            raise LocalentError(f"cannot rewind lane {lane} to {n_tokens}: it holds {self._lengths[lane]} tokens")
        if self._marks and n_tokens:
            self._return_to(lane, n_tokens)
        elif n_tokens < self._lengths[lane]:
            self._remove(lane, n_tokens)
            self._lengths[lane] = n_tokens
            if self._marks:
                self._marks[lane] = _Marks()

    def close(self) -> None:
        """Free the context. Safe to call twice."""
        if self._context:
            C.llama_free(self._context)
        self._context = None

    def __enter__(self) -> LlamaEngine:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────

    def _copy_prefix(self, lane: int, prefix: tuple[int, ...]) -> None:
        """Put the shared prefix into the lane; it is computed once and kept in a stream of its own."""
        if prefix != self._prefix:
            self._remove(self._prefix_lane, 0)
            self._lengths[self._prefix_lane] = 0
            self._feed(self._prefix_lane, prefix)
            self._prefix = prefix
        C.llama_memory_seq_cp(self._memory, self._prefix_lane, lane, -1, -1)  # whole: a partial copy aborts
        self._lengths[lane] = len(prefix)

    def _feed(self, lane: int, tokens: Sequence[int]) -> None:
        """Feed tokens in chunks of fixed size; only the very last one gets logits."""
        for start in range(0, len(tokens), self.options.chunk):
            chunk = [self._check_token(t) for t in tokens[start : start + self.options.chunk]]
            batch = _Batch(len(chunk))
            batch.set_lanes([lane] * len(chunk), flagged=int(start + len(chunk) == len(tokens)))
            batch.token[:] = chunk
            batch.pos[:] = np.arange(self._lengths[lane], self._lengths[lane] + len(chunk))
            self._run(batch, len(chunk))
            self._lengths[lane] += len(chunk)

    def _run(self, batch: _Batch, n_tokens: int) -> None:
        _decode(self._context, batch, n_tokens)

    def _logits(self, n_rows: int) -> np.ndarray:
        return _rows(self._context, n_rows, self.n_vocab)

    def _return_to(self, lane: int, n_tokens: int) -> None:
        """Rewind a lane that cannot forget: take up the last state marked before, feed what lies between, mark it.

        A lane that stands at n_tokens already is only marked, so that what follows can be taken back to the bit.
        """
        marks = self._marks[lane]
        if n_tokens < self._lengths[lane]:
            start = max((n for n in marks.states if n <= n_tokens), default=0)
            self._remove(lane, 0)
            self._lengths[lane] = start
            if start:
                self._set_state(lane, marks.states[start])
            self._feed(lane, marks.fed[start:n_tokens])
        known = {n: state for n, state in marks.states.items() if n <= n_tokens}
        if n_tokens not in known:
            known[n_tokens] = self._state(lane)
        self._marks[lane] = _Marks(marks.fed[:n_tokens], known)

    def _state(self, lane: int) -> ctypes.Array:
        """A copy of all that the context knows of a lane."""
        size = C.llama_state_seq_get_size_ext(self._context, lane, 0)
        state = (ctypes.c_uint8 * size)()
        if C.llama_state_seq_get_data_ext(self._context, state, size, lane, 0) != size:
            raise LocalentError(f"llama.cpp could not save a state of {self.model.path.name}: use --no-probe.")
        return state

    def _set_state(self, lane: int, state: ctypes.Array) -> None:
        if not C.llama_state_seq_set_data_ext(self._context, state, len(state), lane, 0):
            raise LocalentError(f"llama.cpp could not restore a state of {self.model.path.name}: use --no-probe.")

    def _remove(self, lane: int, n_tokens: int) -> None:
        if not C.llama_memory_seq_rm(self._memory, lane, n_tokens, -1):
            raise LocalentError(f"{self.model.path.name} is recurrent or hybrid: it cannot forget the end of a text.")

    def _room(self, lane: int) -> int:
        if self._lengths[lane] >= self.n_ctx:
            raise LocalentError(f"lane {lane} is full: {self.n_ctx} tokens. Give it more with --ctx.")
        return self._lengths[lane]

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


class LlamaScorer:
    """One text at a time, fed in chunks, with the logits of every row that is asked for: what teacher forcing needs.

    Holds `chunk` rows of logits, whatever the length of the text. Works for recurrent models, too.
    """

    def __init__(self, model: LlamaModel, options: Options):
        check_options(options)
        self.model, self.options, self.n_vocab = model, options, model.vocab.n_tokens
        self._context = _new_context(model.handle, options, 1, n_outputs=options.chunk)
        self._memory, self.n_fed, self.can_keep = C.llama_get_memory(self._context), 0, model.can_rewind

    def keep(self, n_tokens: int) -> None:
        """Forget all but the first n_tokens tokens fed. Raises LocalentError where a model cannot keep a part."""
        if not 0 <= n_tokens <= self.n_fed:
            raise LocalentError(f"cannot keep {n_tokens} of {self.n_fed} tokens")
        if n_tokens < self.n_fed and not C.llama_memory_seq_rm(self._memory, 0, n_tokens, -1):
            raise LocalentError(f"{self.model.path.name} is recurrent or hybrid: it cannot forget the end of a text.")
        self.n_fed = n_tokens

    def feed(self, tokens: Sequence[int], n_rows: int) -> np.ndarray:
        """Feed at most `chunk` tokens; logits after each of the last n_rows: (n_rows, n_vocab), until the next feed."""
        n = len(tokens)
        if not (0 < n <= self.options.chunk and 0 <= n_rows <= n):
            raise LocalentError(f"expected 1 to {self.options.chunk} tokens and no more rows, got {n} and {n_rows}")
        if self.n_fed + n > C.llama_n_ctx(self._context):
            raise LocalentError(f"the text is longer than the context of {C.llama_n_ctx(self._context)} tokens")
        if min(tokens) < 0 or max(tokens) >= self.n_vocab:
            raise LocalentError(f"expected token ids in 0..{self.n_vocab - 1}, got {min(tokens)} to {max(tokens)}")
        batch = _Batch(n)
        batch.set_lanes([0] * n, flagged=n_rows)
        batch.token[:] = tokens
        batch.pos[:] = np.arange(self.n_fed, self.n_fed + n)
        _decode(self._context, batch, n)
        self.n_fed += n
        return _rows(self._context, n_rows, self.n_vocab) if n_rows else np.empty((0, self.n_vocab), np.float32)

    def close(self) -> None:
        """Free the context. Safe to call twice."""
        if self._context:
            C.llama_free(self._context)
        self._context = None

    def __enter__(self) -> LlamaScorer:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def _decode(context, batch: _Batch, n_tokens: int) -> None:
    _LOG.clear()
    code = C.llama_decode(context, batch.struct)
    if code:
        raise LocalentError(f"llama.cpp could not decode {n_tokens} tokens (code {code}). {_last_words()}")


def _rows(context, n_rows: int, n_vocab: int) -> np.ndarray:
    """View of llama.cpp's own buffer: (n_rows, n_vocab), overwritten by the next decode."""
    pointer = ctypes.cast(C.llama_get_logits(context), ctypes.POINTER(ctypes.c_float))
    view = np.ctypeslib.as_array(pointer, shape=(n_rows, n_vocab))
    view.flags.writeable = False
    return view


def fastest_lanes(model: LlamaModel, options: Options, candidates: Sequence[int]) -> int:
    """The fewest lanes that reach 95 % of the best total speed, by a few decodes each."""
    speeds = {n: _speed(model, replace(options, n_lanes=n, n_ctx=CTX_STEP)) for n in candidates}
    return min(n for n, speed in speeds.items() if speed >= 0.95 * max(speeds.values()))


def _speed(model: LlamaModel, options: Options, n_steps: int = 5) -> float:
    """Tokens per second of bare decodes; the fastest step counts, because others may be at work."""
    engine, seconds = LlamaEngine(model, options), []
    for _ in range(n_steps):
        start = time.perf_counter()
        engine.decode([0] * options.n_lanes)
        seconds.append(time.perf_counter() - start)
    engine.close()
    return options.n_lanes / min(seconds)


@dataclass(slots=True)
class _Marks:
    """What a lane of a recurrent model can come back to: the tokens fed, and its state after some of them."""

    fed: list[int] = field(default_factory=list)
    states: dict[int, ctypes.Array] = field(default_factory=dict)  # number of tokens -> state


class _Batch:
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


def _pointer(array: np.ndarray, ctype):
    return array.ctypes.data_as(ctypes.POINTER(ctype))


def check_options(options: Options) -> None:
    """Raise UsageError for what llama.cpp would end the process over."""
    limit = C.llama_max_parallel_sequences() - 1  # one stream holds the shared prefix
    if not 1 <= options.n_lanes <= limit:
        raise UsageError(f"--lanes must be between 1 and {limit}, got {options.n_lanes}")
    if options.n_ctx < 1:
        raise UsageError(f"--ctx must be at least 1 token, got {options.n_ctx}")
    if options.n_threads < 1:
        raise UsageError(f"--threads must be at least 1, got {options.n_threads}")


def _check_gpu(gpu_layers: int) -> None:
    if gpu_layers and not C.llama_supports_gpu_offload():
        raise UsageError(
            "This llama.cpp was built without a GPU backend. Rebuild it, for example with "
            f"CMAKE_ARGS='-DGGML_CUDA=on' pip install --force-reinstall --no-cache-dir 'llama-cpp-python=={PINNED}', "
            "or use --gpu-layers 0 or auto."
        )


def _load_model(path: Path, gpu_layers: int, vocab_only: bool):
    params = C.llama_model_default_params()
    params.n_gpu_layers, params.vocab_only = gpu_layers, vocab_only
    no_devices = (ctypes.c_void_p * 1)(None)
    if not gpu_layers:  # or a GPU build moves large batches to the GPU all the same
        params.devices = ctypes.cast(no_devices, ctypes.c_void_p)
    _LOG.clear()
    model = C.llama_model_load_from_file(str(path).encode(), params)
    _raise_interrupt()
    if not model:
        short = " Fewer --gpu-layers, or auto, may fit." if gpu_layers else ""
        raise LocalentError(f"llama.cpp could not load {path}. {_last_words()}{short}")
    return model


def _refuse_unfit(model, path: Path) -> None:
    if C.llama_model_has_encoder(model) or not C.llama_model_has_decoder(model):
        raise LocalentError(f"{path.name} is an encoder or embedding model: localent needs one that writes text.")


def _new_context(model, options: Options, streams: int, *, n_outputs: int):
    """A context of `streams` independent sequences that shows at most n_outputs rows of logits a decode."""
    params = C.llama_context_default_params()
    params.n_seq_max, params.n_outputs_max = streams, n_outputs
    params.n_ctx = streams * (-(-options.n_ctx // CTX_STEP) * CTX_STEP)
    params.n_batch = params.n_ubatch = max(options.chunk, streams)
    params.n_threads = params.n_threads_batch = options.n_threads
    params.type_k = params.type_v = C.GGML_TYPE_F16
    params.flash_attn_type = C.LLAMA_FLASH_ATTN_TYPE_ENABLED if options.flash_attn else C.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.kv_unified = False  # one stream a lane: what makes lanes independent to the last bit
    params.swa_full = True  # a sliding window's cache must keep what a rewind comes back to
    params.no_perf = True
    context = C.llama_init_from_model(model, params)
    if not context:
        raise LocalentError(
            f"llama.cpp could not set up {options.n_lanes} lanes of {options.n_ctx} tokens: "
            f"try fewer --lanes or a smaller --ctx. {_last_words()}"
        )
    return context


def _raise_interrupt() -> None:
    if _INTERRUPTED.is_set():
        _INTERRUPTED.clear()
        raise KeyboardInterrupt


def _last_words() -> str:
    """The end of llama.cpp's log: it gives no other reason for a failure."""
    lines = [line.strip() for line in "".join(_LOG).splitlines() if "error" in line.lower() or "fail" in line.lower()]
    return f"It said: {lines[0]}" if lines else "It gave no reason."


FTYPES = {
    name.removeprefix("LLAMA_FTYPE_MOSTLY_"): value
    for name, value in vars(C).items()
    if name.startswith("LLAMA_FTYPE_MOSTLY_")
} | {"F32": C.LLAMA_FTYPE_ALL_F32}


@dataclass(frozen=True, slots=True)
class Imatrix:
    """An importance matrix: how much each input column of each tensor matters. See engine/imatrix.py."""

    path: str
    dataset: str | None
    n_chunks: int
    weights: dict[str, np.ndarray]  # tensor name -> float32, one per column


def quantize(
    source: Path,
    target: Path,
    quant: str,
    *,
    n_threads: int,
    imatrix: Imatrix | None = None,
    requantize: bool = False,
    report: Callable[[int, int], object] = lambda done, total: None,
) -> None:
    """Write `target` as a quantized copy of `source`, with llama.cpp's own quantizer. Never leaves half a file.

    requantize: accept a source that is quantized itself. `report(done, total)` is told of every tensor.
    Raises UsageError for an unknown quant name, LocalentError when llama.cpp refuses.
    """
    if quant not in FTYPES:
        raise UsageError(f"No quant '{quant}' in llama.cpp. It knows {', '.join(sorted(FTYPES))}.")
    check_bindings()
    params = C.llama_model_quantize_default_params()
    params.ftype, params.nthread, params.allow_requantize = FTYPES[quant], n_threads, requantize
    kept = _add_imatrix(params, imatrix) if imatrix else ()
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with _counting(report):
            code = C.llama_model_quantize(str(source).encode(), str(partial).encode(), ctypes.byref(params))
        if code:
            raise LocalentError(f"llama.cpp could not quantize {source.name} to {quant}. {_last_words()}")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
        del kept


def _add_imatrix(params, imatrix: Imatrix) -> tuple:
    """Point the parameters at the matrix and its origin, as llama-quantize does; returns what must stay alive."""
    entries = (C.llama_model_imatrix_data * (len(imatrix.weights) + 1))()  # the last one, all null, ends the list
    for entry, (name, values) in zip(entries, imatrix.weights.items(), strict=False):
        entry.name, entry.size = name.encode(), values.size
        entry.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    texts = {"quantize.imatrix.file": imatrix.path, "quantize.imatrix.dataset": imatrix.dataset}
    counts = {"quantize.imatrix.entries_count": len(imatrix.weights), "quantize.imatrix.chunks_count": imatrix.n_chunks}
    fields = [(k, v) for k, v in (texts | counts).items() if v]
    overrides = (C.llama_model_kv_override * (len(fields) + 1))()
    for override, (key, value) in zip(overrides, fields, strict=False):
        override.key = key.encode()
        if isinstance(value, int):
            override.tag, override.value.val_i64 = C.LLAMA_KV_OVERRIDE_TYPE_INT, value
        else:
            override.tag, override.value.val_str = C.LLAMA_KV_OVERRIDE_TYPE_STR, value.encode()[:127]
    params.imatrix, params.kv_overrides = entries, overrides
    return entries, overrides, imatrix.weights


@contextmanager
def _counting(report: Callable[[int, int], object]) -> Iterator[None]:
    """Tell `report` of each "[ 12/ 290]" in llama.cpp's log, its only sign of progress.

    What `report` raises, or Ctrl-C, cannot pass through C: it is raised when the quantizer has ended.
    """
    raised: list[BaseException] = []

    @C.llama_log_callback
    def listen(level, text, _):
        try:
            _LOG.append(text.decode("utf-8", "replace"))
            if found := _TENSOR_COUNT.match(_LOG[-1]):
                report(int(found[1]), int(found[2]))
        except BaseException as error:
            raised.append(error)

    _LOG.clear()
    C.llama_log_set(listen, ctypes.c_void_p(0))
    try:
        yield
    finally:
        C.llama_log_set(_keep_log, ctypes.c_void_p(0))
    if raised:
        raise raised[0]
