"""The weights and vocabulary of one GGUF file."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Sequence
from pathlib import Path

from localent.engine.interface import Closing
from localent.engine.llama import interrupts, log
from localent.engine.llama.bindings import C, Pointer, check_bindings
from localent.engine.llama.devices import check_gpu
from localent.engine.llama.vocab import LlamaVocab
from localent.errors import LocalentError
from localent.files.lora import Adapter

LOG = logging.getLogger("localent")
_TOLD: set[tuple[Path, str]] = set()  # warnings of files: each is told once, however often the file is loaded


class Weights(Closing):
    """The weights and vocabulary of one GGUF file, loaded without a look at it: see `guard` for odd files.

    Raises LocalentError, with llama.cpp's last words, when the file cannot be loaded.
    """

    def __init__(self, path: Path, gpu_layers: int = 0, *, vocab_only: bool = False, adapters: Sequence[Adapter] = ()):
        check_bindings()
        check_gpu(gpu_layers)
        with interrupts.held():
            C.llama_backend_init()
        self.path, self.gpu_layers = Path(path), gpu_layers
        self.handle = load_model(self.path, gpu_layers, vocab_only)
        try:
            _refuse_unfit(self.handle, self.path)
            self.adapters = [(_adapter(self.handle, one.path), one.scale) for one in adapters]  # freed with the model
        except LocalentError:
            self.close()
            raise
        self.vocab = LlamaVocab(self.handle)
        self.n_ctx_train = C.llama_model_n_ctx_train(self.handle)
        self.can_rewind = not (C.llama_model_is_recurrent(self.handle) or C.llama_model_is_hybrid(self.handle))

    def close(self) -> None:
        """Free the weights. Safe to call twice."""
        handle, self.handle = self.handle, None
        if handle:
            free_model(handle)


def load_model(path: Path, gpu_layers: int, vocab_only: bool) -> Pointer:
    """llama.cpp's model. Raises LocalentError with its last words."""
    params = C.llama_model_default_params()
    params.n_gpu_layers, params.vocab_only = gpu_layers, vocab_only
    no_devices = (ctypes.c_void_p * 1)(None)
    if not gpu_layers:  # or a GPU build moves large batches to the GPU all the same
        params.devices = ctypes.cast(no_devices, ctypes.c_void_p)
    log.clear()
    with interrupts.held():
        model = C.llama_model_load_from_file(str(path).encode(), params)
    if not model:
        short = " Fewer --gpu-layers, or auto, may fit." if gpu_layers else ""
        raise LocalentError(f"llama.cpp could not load {path}. {log.last_words()}{short}")
    _pass_on_warnings(path)
    return model


def _adapter(model: Pointer, path: Path) -> Pointer:
    """llama.cpp's LoRA adapter of a model. Raises LocalentError with its last words."""
    log.clear()
    with interrupts.held():
        found = C.llama_adapter_lora_init(model, str(path).encode())
    if not found:
        raise LocalentError(f"llama.cpp could not load the adapter {path}. {log.last_words()}")
    return found


def free_model(model: Pointer) -> None:
    """Free a model, with signals held: llama.cpp tells its log of it."""
    with interrupts.held():
        C.llama_model_free(model)


def _pass_on_warnings(path: Path) -> None:
    """Tell what llama.cpp warned of while it loaded: a missing pre-tokenizer makes other tokens, for example."""
    text = log.warnings()
    if text and (path, text) not in _TOLD:
        _TOLD.add((path, text))
        LOG.warning("llama.cpp warns of %s: %s", path.name, text)


def _refuse_unfit(model: Pointer, path: Path) -> None:
    if C.llama_model_has_encoder(model) or not C.llama_model_has_decoder(model):
        raise LocalentError(f"{path.name} is an encoder or embedding model: localent needs one that writes text.")
