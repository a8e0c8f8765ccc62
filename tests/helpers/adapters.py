"""Small LoRA adapters made by hand, and the same weights merged into a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np

Pairs = Mapping[str, tuple[np.ndarray, np.ndarray]]  # tensor -> A (r, n_in), B (n_out, r)


def pairs(model: Path, names: list[str], rank: int = 4, seed: int = 0, size: float = 0.2) -> Pairs:
    """Random pairs for tensors of a model."""
    rng, shapes = np.random.default_rng(seed), {t.name: t.shape for t in gguf.GGUFReader(model).tensors}
    found = {}
    for name in names:
        n_in, n_out = map(int, shapes[name])
        a, b = rng.normal(0, size, (rank, n_in)), rng.normal(0, size, (n_out, rank))
        found[name] = (a.astype(np.float32), b.astype(np.float32))
    return found


def write(path: Path, pairs: Pairs, *, arch: str = "llama", alpha: float = 8.0, kind: str = "lora", ends="ab") -> Path:
    """A LoRA adapter as convert_lora_to_gguf.py writes it."""
    writer = gguf.GGUFWriter(path, arch)
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", kind)
    writer.add_float32("adapter.lora.alpha", alpha)
    for name, (a, b) in pairs.items():
        for end, values in (("a", a), ("b", b)):
            if end in ends:
                writer.add_tensor(f"{name}.lora_{end}", np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def merge(base: Path, target: Path, pairs: Pairs, *, alpha: float = 8.0, scale: float = 1.0) -> Path:
    """A copy of an F32 model with W + scale · alpha / r · B A in the place of W."""
    target.write_bytes(base.read_bytes())
    reader = gguf.GGUFReader(target, "r+")
    for tensor in reader.tensors:
        if tensor.name in pairs:
            a, b = pairs[tensor.name]
            tensor.data[:] = tensor.data + scale * alpha / len(a) * (b.astype(float) @ a)
    reader.data.flush()
    return target
