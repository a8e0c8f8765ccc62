"""The functions that localent.engine asks of a backend."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from localent.engine.llama import guard
from localent.engine.llama.bindings import PINNED
from localent.engine.llama.bindings import check_bindings as check_build
from localent.engine.llama.context import check_options
from localent.engine.llama.devices import build_info, devices, supports_gpu, supports_rpc
from localent.engine.llama.model import LlamaModel
from localent.engine.llama.quantizer import FTYPES, quantize
from localent.files.lora import Adapter

__all__ = ["build_info", "check_build", "check_options", "devices", "open", "quantize", "quants", "requirement"]
__all__ += ["supports_gpu", "supports_rpc"]


def open(path: Path, *, gpu_layers: int, vocab_only: bool, adapters: Sequence[Adapter] = ()) -> LlamaModel:
    """Load a GGUF file; an odd one is tried in a child process first."""
    guard.check(path)
    return LlamaModel(path, gpu_layers, vocab_only=vocab_only, adapters=adapters)


def quants() -> frozenset[str]:
    """Names of the quants that llama.cpp can write."""
    return frozenset(FTYPES)


def requirement() -> str:
    """The package as pip takes it."""
    return f"llama-cpp-python=={PINNED}"
