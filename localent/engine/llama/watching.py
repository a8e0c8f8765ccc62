"""The inputs of every weight matrix while a text is read: of them importance matrices are made.

llama.cpp's scheduler calls back for every operation of a decode, as it does for llama-imatrix. The bindings do not
describe its tensors: the struct is written down here and checked against the library's own functions at the first use.
Source: `collect_imatrix` in llama.cpp's tools/imatrix.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from localent.engine.interface import Options, Rows, Take
from localent.engine.llama import interrupts
from localent.engine.llama.bindings import GGML, PINNED, C, Pointer
from localent.engine.llama.scorer import LlamaScorer
from localent.engine.llama.weights import Weights
from localent.errors import LocalentError

F32 = 0  # ggml's number of the type
LAYERS = "blk."  # how the names of the matrices begin that count; llama-imatrix leaves the others out, too


class _Tensor(ctypes.Structure):
    """The head of ggml_tensor, in ggml.h."""


_Tensor._fields_ = [
    ("type", ctypes.c_int),
    ("buffer", ctypes.c_void_p),
    ("ne", ctypes.c_int64 * 4),
    ("nb", ctypes.c_size_t * 4),
    ("op", ctypes.c_int),
    ("op_params", ctypes.c_int32 * 16),
    ("flags", ctypes.c_int32),
    ("src", ctypes.c_void_p * 10),
    ("view_src", ctypes.c_void_p),
    ("view_offs", ctypes.c_size_t),
    ("data", ctypes.c_void_p),
    ("name", ctypes.c_char * 64),
]


def _function(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    found = GGML[name]  # an object of its own: the bindings' types stay as they are
    found.restype, found.argtypes = result, list(arguments)
    return found  # type: ignore[no-any-return]


_name_of = _function("ggml_get_name", ctypes.c_char_p, ctypes.c_void_p)
_op_name = _function("ggml_op_name", ctypes.c_char_p, ctypes.c_int)
_n_bytes = _function("ggml_nbytes", ctypes.c_size_t, ctypes.c_void_p)
_n_elements = _function("ggml_nelements", ctypes.c_int64, ctypes.c_void_p)
_get = _function("ggml_backend_tensor_get", None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t)


class WatchedScorer(LlamaScorer):
    """A scorer that hands the inputs of every weight matrix to `take`."""

    def __init__(self, model: Weights, options: Options, take: Take):
        self._take, self._failed = take, list[BaseException]()
        self._callback = C.ggml_backend_sched_eval_callback(self._called)  # lives as long as the context
        super().__init__(model, options)

    def feed(self, tokens: Sequence[int], n_rows: int) -> Rows:
        """As LlamaScorer does; raises what `take` raised."""
        with interrupts.held():  # an exception cannot pass through C
            found = super().feed(tokens, n_rows)
        if self._failed:
            raise self._failed[0]
        return found

    def _new_context(self) -> Pointer:
        return self._made_context(self._callback)

    def _called(self, pointer: int, ask: bool, _: object) -> bool:
        """Asked, whether the result of an operation is wanted; then with it. False ends the decode."""
        try:
            tensor = _at(pointer)
            if ask:
                return _matrix_of(tensor) is not None
            self._seen(tensor)
        except BaseException as error:  # raised again by feed
            self._failed.append(error)
            return False
        return True

    def _seen(self, tensor: _Tensor) -> None:
        name, inputs = _matrix_of(tensor), _at(tensor.src[1])
        if name is None or inputs.type != F32:
            return
        values = _values(tensor.src[1], np.float32)  # (n_tokens, n_used, n_in) or (n_tokens, n_in)
        if _operation(tensor) == "MUL_MAT":
            self._take(name, values.reshape(-1, values.shape[-1]), None)
            return
        experts = _values(tensor.src[2], np.int32)  # (n_tokens, n_used)
        experts = experts.reshape(-1, experts.shape[-1])
        rows = values.reshape(len(experts), -1, values.shape[-1])
        spread = np.broadcast_to(rows, (*experts.shape, rows.shape[-1]))  # one input may go to all experts
        self._take(name, spread.reshape(-1, rows.shape[-1]), experts.reshape(-1))


def _at(pointer: int) -> _Tensor:
    return _Tensor.from_address(pointer)


def _operation(tensor: _Tensor) -> str:
    return str(_op_name(tensor.op), "utf-8")


def _matrix_of(tensor: _Tensor) -> str | None:
    """The name of the weight matrix that an operation multiplies by; None for any other operation."""
    if _operation(tensor) not in ("MUL_MAT", "MUL_MAT_ID"):
        return None
    _check(tensor.src[0])
    name = _at(tensor.src[0]).name.decode("utf-8", "replace")
    name = name.split("#")[1] if "#" in name else name  # a copy on another device is "CUDA0#name#0"
    return name if name.startswith(LAYERS) and name.endswith(".weight") else None


def _check(pointer: int) -> None:
    """Raise LocalentError where the struct is not as it is written down here: drift would read other memory."""
    tensor = _at(pointer)
    if tensor.name != _name_of(pointer) or math.prod(tensor.ne) != _n_elements(pointer):
        raise LocalentError(f"The ggml library is not that of llama-cpp-python {PINNED}: install that one again.")


def _values(pointer: int, kind: Any) -> np.ndarray:
    """The numbers of a tensor, wherever it lies: ggml's dimensions the other way round, without leading ones."""
    tensor = _at(pointer)
    raw = np.empty(_n_bytes(pointer), np.uint8)
    _get(pointer, raw.ctypes.data, 0, raw.size)
    shape, strides = tuple(tensor.ne)[::-1], tuple(tensor.nb)[::-1]
    found = np.lib.stride_tricks.as_strided(raw.view(kind), shape, strides)
    n_leading = next((i for i, n in enumerate(shape[:-1]) if n != 1), len(shape) - 2)
    return found.reshape(shape[n_leading:])
