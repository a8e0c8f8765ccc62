"""llama.cpp's own quantizer, in process."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable
from pathlib import Path

from localent.engine.interface import QuantizeOptions
from localent.engine.llama import guard, interrupts, log
from localent.engine.llama.bindings import C, Pointer, check_bindings
from localent.errors import LocalentError, UsageError
from localent.files.imatrix import Imatrix

_TENSOR_COUNT = re.compile(r"\[ *(\d+)/ *(\d+)\]")  # how the quantizer counts tensors in its log
FTYPES = {
    name.removeprefix("LLAMA_FTYPE_MOSTLY_"): value
    for name, value in vars(C).items()
    if name.startswith("LLAMA_FTYPE_MOSTLY_")
} | {"F32": C.LLAMA_FTYPE_ALL_F32}

_PLAIN = re.compile(r"(?:[\w.\-|()*+?^$]|\\[.dw]|\[\^?(?:\w-\w|[\w.])+\])+", re.ASCII)  # of any dialect
_ODD_REPEAT = re.compile(r"[\^$(|][*+?]|[*+?][*+]|[*+?]\?[*+?]")
TENSOR_TYPES: dict[str, int] = {
    name.removeprefix("GGML_TYPE_"): value
    for name, value in vars(C).items()
    if re.fullmatch(r"GGML_TYPE_(F32|F16|I?Q\d_\w+|TQ\d_0|MXFP4)", name) and not name.endswith(("Q8_1", "Q8_K"))
} | {"BF16": 30}  # which the bindings do not name


def quantize(
    source: Path,
    target: Path,
    quant: str,
    options: QuantizeOptions,
    report: Callable[[int, int], object] = lambda done, total: None,
) -> None:
    """Write `target` as a quantized copy of `source`, with llama.cpp's own quantizer. Never leaves a partial file.

    `report(done, total)` is called for every tensor.
    Raises UsageError for an unknown quant or type name, LocalentError when llama.cpp refuses.
    """
    if quant not in FTYPES:
        raise UsageError(f"No quant '{quant}' in llama.cpp. It knows {', '.join(sorted(FTYPES))}.")
    check_bindings()
    guard.check(source, guard.LOAD)
    params = C.llama_model_quantize_default_params()
    params.ftype, params.nthread, params.allow_requantize = FTYPES[quant], options.n_threads, options.requantize
    kept = [*_add_types(params, options), *(_add_imatrix(params, options.imatrix) if options.imatrix else ())]
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with interrupts.held(lambda: partial.unlink(missing_ok=True)), log.heard_by(lambda line: _count(line, report)):
            code = C.llama_model_quantize(str(source).encode(), str(partial).encode(), ctypes.byref(params))
        if code:
            raise LocalentError(f"llama.cpp could not quantize {source.name} to {quant}. {log.last_words()}")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
        del kept


def _add_types(params: Pointer, options: QuantizeOptions) -> tuple[object, ...]:
    """The types of tensors that were asked for by name; returns what must stay alive."""
    params.pure = options.pure
    for field, name in (("output_tensor_type", options.output_type), ("token_embedding_type", options.embedding_type)):
        if name is not None:
            setattr(params, field, _tensor_type(name))
    if not options.tensor_types:
        return ()
    entries = (C.llama_model_tensor_override * (len(options.tensor_types) + 1))()  # the last one ends the list
    for entry, (pattern, name) in zip(entries, options.tensor_types, strict=False):
        entry.pattern, entry.type = _pattern(pattern), _tensor_type(name)
    params.tt_overrides = entries
    return (entries,)


def _tensor_type(name: str) -> int:
    """ggml's number of a type. Raises UsageError for one that does not exist, or cannot hold weights."""
    if name.upper() not in TENSOR_TYPES:
        raise UsageError(f"No tensor type '{name}' in llama.cpp. It knows {', '.join(sorted(TENSOR_TYPES))}.")
    return int(TENSOR_TYPES[name.upper()])


def _pattern(text: str) -> bytes:
    """A regular expression that llama.cpp's own library takes, too: a bad one would end the process."""
    try:
        re.compile(text)
    except re.error as error:
        raise UsageError(f"--tensor-type: {text!r} is not a regular expression ({error}).") from None
    if not _PLAIN.fullmatch(text) or _ODD_REPEAT.search(text):
        raise UsageError(f"--tensor-type: {text!r} is too unusual: use letters, digits and _ . - | ( ) [ ] * + ? ^ $.")
    return text.encode()


def _add_imatrix(params: Pointer, imatrix: Imatrix) -> tuple[object, ...]:
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


def _count(line: str, report: Callable[[int, int], object]) -> None:
    """Pass a "[ 12/ 290]" of the log to `report`: the quantizer's only sign of progress."""
    if found := _TENSOR_COUNT.match(line):
        report(int(found[1]), int(found[2]))
