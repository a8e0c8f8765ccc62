"""LoRA adapters beside a model, named MODEL+FILE[:SCALE], and checked against its tensors before they are loaded.

Source of the layout: llama.cpp's convert_lora_to_gguf.py and src/llama-adapter.cpp. Of a matrix W of shape
(n_out, n_in), an adapter holds A (r, n_in) and B (n_out, r); W + scale · alpha / r · B A takes its place.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from localent.errors import LocalentError, UsageError
from localent.files import tensors
from localent.files.header import OTHERS, Header, parts, read_header
from localent.files.identity import Identity, file_sha256
from localent.records import Model, file_parts

A, B = ".lora_a", ".lora_b"
EMBEDDING = "token_embd.weight"  # whose adapter is transposed
ALORA = "adapter.alora.invocation_tokens"


@dataclass(frozen=True, slots=True)
class Adapter:
    """One adapter file and the factor that it counts with."""

    path: Path
    scale: float
    sha256: str

    @property
    def spelled(self) -> str:
        """FILE, or FILE:SCALE."""
        return str(self.path) if self.scale == 1 else f"{self.path}:{self.scale:g}"


def split(text: str) -> tuple[str, tuple[tuple[Path, float], ...]]:
    """(the model, (file, scale) of each adapter) of a name. Raises UsageError for a scale that is no number."""
    if Path(text).exists():
        return text, ()
    base, *found = file_parts(text)
    return base, tuple(map(_one, found))


def _one(text: str) -> tuple[Path, float]:
    file, colon, number = text.rpartition(":")
    if not (colon and file.endswith(".gguf")):
        return Path(text).expanduser(), 1.0
    try:
        scale = float(number)
    except ValueError:
        scale = math.nan
    if not math.isfinite(scale):
        raise UsageError(f"The scale of {file} is a number, got {number!r}: write {file}:0.5.")
    return Path(file).expanduser(), scale


def read(path: Path, scale: float, base: Path) -> Adapter:
    """The adapter of a file, for a model. Raises UsageError for a missing file, LocalentError for one that is none,
    is damaged, or belongs to another model."""
    if not path.is_file():
        raise UsageError(f"There is no file {path}: name a LoRA adapter in GGUF.")
    seen = read_header(path)
    if seen.purpose != OTHERS["adapter"] or seen.fields.get("adapter.type") != "lora":
        raise LocalentError(f"{path.name} is no LoRA adapter: name a GGUF that convert_lora_to_gguf.py wrote.")
    if ALORA in seen.fields:
        raise LocalentError(f"{path.name} is an activated LoRA, which counts after some tokens only: not supported.")
    if why := _unfit(seen, base):
        raise LocalentError(f"{path.name} is an adapter of another model than {base.name}: {why}.")
    broken = next((tensor.name for tensor in tensors.tensors_of(path) if not tensors.is_finite(tensor)), None)
    if broken:
        raise LocalentError(f"{path.name} holds NaN or infinite weights in {broken}: make it again.")
    return Adapter(path.resolve(), scale, file_sha256(path))


def _unfit(adapter: Header, base: Path) -> str | None:
    """The reason in words if an adapter does not fit the tensors of a model; None where it does."""
    heads = [read_header(part) for part in parts(base)]
    if adapter.arch != heads[0].arch:
        return f"it is for {adapter.arch}, the model is {heads[0].arch}"
    known = {tensor.name: tensor.dims for head in heads for tensor in head.tensors}
    mine = {tensor.name: tensor.dims for tensor in adapter.tensors}
    names = sorted({name.removesuffix(A).removesuffix(B) for name in mine})
    if not names:
        return "it holds no tensors"
    return next(filter(None, (_unfit_pair(name, known.get(name), mine) for name in names)), None)


def _unfit_pair(name: str, dims: Sequence[int] | None, mine: dict[str, tuple[int, ...]]) -> str | None:
    """Of one tensor of the model: dims are row length first."""
    a, b = mine.get(name + A), mine.get(name + B)
    if dims is None:
        return f"the model has no {name}"
    if a is None or b is None:
        return f"it lacks half of the pair for {name}"
    rank = a[1:2] != b[:1]
    if name != EMBEDDING and (a[:1] != tuple(dims[:1]) or b[1:2] != tuple(dims[1:2]) or rank):
        return f"{name} is {_product(dims)} there, its pair {_product(a)} and {_product(b)}"
    return None


def _product(dims: Sequence[int]) -> str:
    return " x ".join(map(str, dims))


def adapted(header: Identity, path: Path, adapters: Sequence[Adapter]) -> Identity:
    """The identity of a model with adapters: another model, whose path names them, too."""
    if not adapters:
        return header
    model = header.model
    digest = hashlib.sha256(model.sha256.encode())
    for one in adapters:
        digest.update(f"+{one.sha256}:{one.scale!r}".encode())
    whole = replace(
        model,
        sha256=digest.hexdigest(),
        name="+".join([model.name, *(_short(one) for one in adapters)]),
        path="+".join([str(path), *(one.spelled for one in adapters)]),
        file_bytes=model.file_bytes + sum(one.path.stat().st_size for one in adapters),
    )
    return replace(header, model=whole)


def _short(one: Adapter) -> str:
    return one.path.stem if one.scale == 1 else f"{one.path.stem}:{one.scale:g}"


def base_of(model: Model) -> Path:
    """The file of a model without its adapters."""
    return Path(file_parts(model.path)[0])
