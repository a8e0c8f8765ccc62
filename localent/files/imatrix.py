"""Importance matrices, as llama-imatrix writes them: how much each input column of a tensor matters.

Two forms: a GGUF of `NAME.in_sum2` (sums of squared activations) and `NAME.counts`; and the older plain binary.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np

from localent.errors import LocalentError, UsageError
from localent.files.opening import refuse_special
from localent.files.tensors import reading

SUMS, COUNTS = ".in_sum2", ".counts"


@dataclass(frozen=True, slots=True)
class Imatrix:
    """An importance matrix: how much each input column of each tensor matters."""

    path: str
    dataset: str | None
    n_chunks: int
    weights: dict[str, np.ndarray]  # tensor name -> float32, one per column


def read(path: Path) -> Imatrix:
    """Read either form. Raises UsageError for a missing file, LocalentError for any other file."""
    refuse_special(path)
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        found = _read_gguf(path) if magic == b"GGUF" else _read_plain(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, MemoryError, struct.error) as error:
        raise LocalentError(
            f"{path} is not an importance matrix, or is cut off ({error}): make one with 'localent quantize"
            " --imatrix-from'."
        ) from None
    if not found.weights:
        raise LocalentError(f"{path} holds no importance data: make one with 'localent quantize --imatrix-from'.")
    broken = next((name for name, values in found.weights.items() if not _is_sound(values)), None)
    if broken:
        raise LocalentError(
            f"{path} has values for {broken} that are negative or not finite: make it again with 'localent quantize"
            " --imatrix-from'."
        )
    empty = next((name for name, values in found.weights.items() if not values.any()), None)
    if empty:
        raise LocalentError(
            f"{path} has nothing but zeros for {empty}: make it again with 'localent quantize --imatrix-from'."
        )
    return found


@dataclass(frozen=True, slots=True)
class MadeOf:
    """What an importance matrix was made of."""

    datasets: tuple[str, ...]
    n_chunks: int
    chunk_size: int  # tokens


def write(path: Path, sums: dict[str, np.ndarray], counts: dict[str, np.ndarray], made_of: MadeOf) -> None:
    """Write a matrix as llama-imatrix does, whole or not at all.

    sums: tensor -> (n_experts, n_in) of squared inputs; counts: tensor -> (n_experts,) inputs.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    writer = gguf.GGUFWriter(partial, "imatrix")
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", list(made_of.datasets))
    writer.add_uint32("imatrix.chunk_count", made_of.n_chunks)
    writer.add_uint32("imatrix.chunk_size", made_of.chunk_size)
    for name in sorted(sums):
        writer.add_tensor(name + SUMS, sums[name].astype(np.float32))
        writer.add_tensor(name + COUNTS, counts[name].astype(np.float32).reshape(-1, 1))
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        partial.replace(path)
    except OSError as error:
        raise LocalentError(f"{path} could not be written: {error.strerror}.") from None
    finally:
        partial.unlink(missing_ok=True)


def _is_sound(values: np.ndarray) -> bool:
    """True for means of squares; llama.cpp ends the process on others."""
    return bool(np.isfinite(values).all() and (values >= 0).all())


def _read_gguf(path: Path) -> Imatrix:
    reader = reading(path)
    tensors = {t.name: t.data for t in reader.tensors}
    names = [name.removesuffix(SUMS) for name in tensors if name.endswith(SUMS)]
    weights = {name: _mean(tensors[name + SUMS], tensors[name + COUNTS]) for name in names}
    datasets, n_chunks = reader.get_field("imatrix.datasets"), reader.get_field("imatrix.chunk_count")
    first = next(iter(datasets.contents()), None) if datasets else None
    first = first if isinstance(first, str) else None
    return Imatrix(str(path), first, int(n_chunks.contents()) if n_chunks else 0, weights)


def _mean(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean squared activation per column; 1 where an expert was never used, as llama-quantize has it: -> (n,)."""
    counts = np.rint(np.asarray(counts, np.float32)).reshape(-1, 1)
    sums = np.asarray(sums, np.float32).reshape(len(counts), -1)
    return np.where(counts > 0, sums / np.where(counts > 0, counts, 1), 1).astype(np.float32).ravel()


def _read_plain(path: Path) -> Imatrix:
    """int32 n, then n times: int32 length, name, int32 calls, int32 n values, float32 values; chunks and data set."""
    raw, at, weights = path.read_bytes(), 4, {}
    (n_entries,) = struct.unpack_from("<i", raw)
    if not 1 <= n_entries <= len(raw) // 12:
        raise ValueError(f"it counts {n_entries} entries")
    for _ in range(n_entries):
        name, at = _text(raw, at)
        calls, n = struct.unpack_from("<ii", raw, at)
        if n < 0:
            raise ValueError(f"{n} values of {name}")
        values = np.frombuffer(raw, "<f4", n, at + 8)
        weights[name] = (values / calls if calls > 0 else values).astype(np.float32)
        at += 8 + 4 * n
    n_chunks = struct.unpack_from("<i", raw, at)[0] if at + 4 <= len(raw) else 0
    dataset = _text(raw, at + 4)[0] if at + 8 <= len(raw) else None
    return Imatrix(str(path), dataset, n_chunks, weights)


def _text(raw: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<i", raw, at)
    if not 0 <= length <= len(raw) - at:
        raise ValueError(f"a text of {length} bytes at byte {at}")
    return raw[at + 4 : at + 4 + length].decode(), at + 4 + length
