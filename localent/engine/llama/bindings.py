"""llama.cpp's raw bindings: the only module that imports llama_cpp. The rest of this package speaks through `C`."""

from __future__ import annotations

from typing import Any

import llama_cpp
from llama_cpp import _ggml
from llama_cpp import llama_cpp as C  # noqa: N812  the bindings keep C's names

from localent.errors import LocalentError

__all__ = ["GGML", "PINNED", "VERSION", "C", "Pointer", "check_bindings"]

PINNED, VERSION = "0.3.36", llama_cpp.__version__
GGML = _ggml.libggml
Pointer = Any  # an object of llama.cpp: the bindings give it no type


def check_bindings() -> None:
    """Compare the bindings' view of llama.cpp's structs with known defaults: drift would corrupt memory."""
    if VERSION != PINNED:
        raise LocalentError(
            f"localent needs llama-cpp-python {PINNED}, found {VERSION}: pip install 'llama-cpp-python=={PINNED}'"
        )
    seen, want = C.llama_context_default_params(), dict(n_ctx=512, n_batch=2048, n_ubatch=512, n_seq_max=1, type_k=1)
    wrong = {name: getattr(seen, name) for name, value in want.items() if getattr(seen, name) != value}
    if wrong or not C.llama_model_default_params().use_extra_bufts:
        raise LocalentError(
            f"The llama.cpp library does not match its Python bindings (read {wrong}): "
            f"pip install --force-reinstall --no-cache-dir 'llama-cpp-python=={PINNED}'"
        )
