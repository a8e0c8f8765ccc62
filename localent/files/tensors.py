"""The tensors of GGUF files: types, fallbacks, and which of them differ between two files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from localent.errors import LocalentError
from localent.files import identity
from localent.files.header import Header, parts, read_header
from localent.records import Model

QUANTIZED_BY = "quantize.imatrix."
BLOCK, SMALL_BLOCK = 256, 32  # weights per block: K- and I-quants; the types they fall back to
FALLBACKS = ("IQ4_NL", "Q4_0", "Q5_0", "Q5_1", "Q8_0")
EXPONENTS: dict[str, np.unsignedinteger[Any]] = {
    "F16": np.uint16(0x7C00),
    "BF16": np.uint16(0x7F80),
    "F32": np.uint32(0x7F800000),
}
SPAN = 1 << 20  # weights checked in one step


@dataclass(frozen=True, slots=True)
class Details:
    """One file as `inspect` shows it."""

    model: Model
    imatrix: dict[str, object]  # what llama-quantize noted of its importance matrix; empty: none
    n_tensors: int
    fallbacks: tuple[Fallback, ...]


@dataclass(frozen=True, slots=True)
class Fallback:
    """Weights that the quant's own type could not hold, because its blocks do not fit the rows."""

    type: str  # what they are stored in
    share: float  # of all weights
    rows: tuple[str, ...]  # their lengths of row: "n_embd 896", "n_ff 4864", "rows of 352"
    tensor: str  # the first of them


def inspect(path: Path) -> Details:
    """Identity and make of one GGUF file. Raises LocalentError for a missing, foreign or damaged one."""
    found, head = identity.identify(path), read_header(path)
    noted = {k.removeprefix(QUANTIZED_BY): _noted(v) for k, v in head.fields.items() if QUANTIZED_BY in k}
    tensors = tensors_of(path)
    return Details(found.model, noted, len(tensors), fallbacks(head, tensors, found.model))


def _noted(value: Any) -> object:
    return value if isinstance(value, str | int) else str(value)[:80]


def tensors_of(path: Path) -> list[gguf.ReaderTensor]:
    """The tensors of a model, of all its parts where it is split."""
    return [tensor for part in parts(path) for tensor in reading(part).tensors]


def reading(path: Path) -> gguf.GGUFReader:
    """The gguf package's reader of a file whose header was looked at. Raises LocalentError where it cannot read it."""
    read_header(path)
    try:
        return gguf.GGUFReader(path)
    except identity.BROKEN as error:
        raise LocalentError(f"{path} is damaged or cut off ({error}): download it again.") from None


def readable_quants() -> set[str]:
    """The quants that a GGUF header can name, as GGUF spells them."""
    return {kind.name.removeprefix("MOSTLY_").removeprefix("ALL_") for kind in gguf.LlamaFileType}


def is_finite(tensor: gguf.ReaderTensor) -> bool:
    """True if no exponent has all its bits set, as NaN and infinity have; llama.cpp judges quantized weights itself."""
    mask = EXPONENTS.get(tensor.tensor_type.name)
    if mask is None:
        return True
    bits = tensor.data.reshape(-1).view(mask.dtype)
    return not any(((bits[i : i + SPAN] & mask) == mask).any() for i in range(0, len(bits), SPAN))


def n_columns(tensor: gguf.ReaderTensor) -> int:
    """Numbers that an importance matrix holds of a tensor: one a column, of each expert."""
    return int(tensor.shape[0]) * (int(tensor.shape[2]) if len(tensor.shape) > 2 else 1)


def fallbacks(head: Header, tensors: Sequence[gguf.ReaderTensor], model: Model) -> tuple[Fallback, ...]:
    """The weights for which a K- or I-quant fell back to another type: its blocks need rows of a multiple of 256.

    Source: tensor_type_fallback in llama.cpp's llama-quant.cpp.
    """
    if not (model.quant.endswith("_K") or "_K_" in model.quant or model.quant.startswith(("IQ", "TQ"))):
        return ()
    fallen = [t for t in tensors if len(t.shape) > 1 and _fell_back(t, model.quant)]
    found = []
    for name in dict.fromkeys(t.tensor_type.name for t in fallen):
        mine = [t for t in fallen if t.tensor_type.name == name]
        share = sum(int(t.n_elements) for t in mine) / model.n_params
        rows = tuple(_row_name(head, row) for row in sorted({int(t.shape[0]) for t in mine}))
        found.append(Fallback(name, share, rows, mine[0].name))
    return tuple(sorted(found, key=lambda f: -f.share))


def _fell_back(tensor: gguf.ReaderTensor, quant: str) -> bool:
    """IQ4_NL's own blocks are small. F16 is the last resort, but also what convolutions are always stored in."""
    row, kind = int(tensor.shape[0]), tensor.tensor_type.name
    if kind == "F16":
        return row % SMALL_BLOCK != 0 and "conv" not in tensor.name
    return row % BLOCK != 0 and kind in FALLBACKS and kind != quant


def _row_name(head: Header, row: int) -> str:
    for name, key in (("n_embd", "embedding_length"), ("n_ff", "feed_forward_length")):
        if head.arch_field(key) == row:
            return f"{name} {row}"
    return f"rows of {row}"


def own_type(quant: str) -> str | None:
    """The type of tensor that a quant is named after: "Q4_K" of Q4_K_M; None for one that is named after none."""
    known = {kind.name for kind in gguf.GGMLQuantizationType}
    parts = quant.split("_")
    names = ("_".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((name for name in names if name in known), None)


def mixture_sentence(model: Model) -> str | None:
    """ "MXFP4_MOE of this model is 100 % Q8_0, and has no MXFP4 ..."; None where some weights have the quant's type.

    MXFP4_MOE gives its type to the experts of a mixture only; IQ mixes of two types are named after one of them.
    """
    own = own_type(model.quant)
    if own is None or model.tensor_types.get(own) or model.quant.startswith("IQ"):
        return None
    most = max(model.tensor_types, key=lambda name: model.tensor_types[name])
    share = 100 * model.tensor_types[most] / max(model.n_params, 1)
    why = ", which only the experts of a mixture get" if model.quant.endswith("_MOE") else ""
    size = f"{model.bits_per_weight:.2f} bits per weight"
    return f"{model.quant} of this model is {share:.1f} % {most} and has no {own}{why} ({size})."


def fallback_sentence(details: Details) -> str | None:
    """ "Q4_K_M of this model is 71 % Q5_0: n_embd 896 is not a multiple of 256 ..."; None where nothing fell back."""
    if not details.fallbacks:
        return mixture_sentence(details.model)
    shares = ", ".join(f"{_percent(f.share)} {f.type}" for f in details.fallbacks)
    rows = list(dict.fromkeys(row for f in details.fallbacks for row in f.rows))
    is_not = "is not a multiple" if len(rows) == 1 and not rows[0].startswith("rows") else "are not multiples"
    return (
        f"{details.model.quant} of this model is {shares}: {' and '.join(rows)} {is_not} of {BLOCK}, "
        f"the block of K- and I-quants ({details.model.bits_per_weight:.2f} bits per weight)."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.005 else "under 1 %"


def differing_tensors(a: Path, b: Path) -> list[str] | None:
    """Names of the tensors whose bytes differ; None where the two files do not hold the same tensors."""
    one, two = ({t.name: t for t in tensors_of(path)} for path in (a, b))
    if {n: (t.tensor_type, tuple(t.shape)) for n, t in one.items()} != {
        n: (t.tensor_type, tuple(t.shape)) for n, t in two.items()
    }:
        return None
    return [name for name, tensor in one.items() if tensor.data.tobytes() != two[name].data.tobytes()]
