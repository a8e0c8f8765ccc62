"""Layers on the GPU: as many as its memory holds in addition to the lanes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from localent.engine import Device, build_info, devices, supports_gpu
from localent.files.cache import choose_once
from localent.files.header import Header, parts, read_header
from localent.files.lora import base_of
from localent.records import Model

GPU_SHARE = 0.85  # of free GPU memory that layers and lanes may take; the rest is for compute buffers
GUESSED_LANES, GUESSED_CTX = 16, 1024  # where the user leaves them open
LOG = logging.getLogger("localent")


@dataclass(frozen=True, slots=True)
class Offload:
    """The number of layers on the GPU, and the reason if it is not all."""

    layers: int  # -1: all
    why: str | None = None  # a sentence where memory is short


def layers_for(
    models: Sequence[Model], wanted: int | None, *, lanes: int | None = None, n_ctx: int | None = None
) -> int:
    """The layers that the user wants, else as many of each model as fit together; logs a warning when some do not.

    Chosen once on this machine: free memory varies, and with other layers it is another run.
    """
    if wanted is not None or not supports_gpu():
        return wanted or 0
    about: dict[str, object] = {"layers for": [model.sha256 for model in models], "lanes": lanes, "ctx": n_ctx}
    paths = [base_of(model) for model in models]

    def choose() -> tuple[object, ...]:
        return astuple(gpu_layers(read_header(paths[0]), paths, lanes=lanes, n_ctx=n_ctx))

    found = choose_once(about | build_info(-1), _offload_of, choose)
    if found.why:
        LOG.warning(found.why)
    return found.layers


def _offload_of(fields: Sequence[Any]) -> Offload:
    layers, why = fields
    return Offload(int(layers), why)


def gpu_layers(head: Header, paths: Sequence[Path], *, lanes: int | None = None, n_ctx: int | None = None) -> Offload:
    """As many layers of each of these files as the GPU's free memory holds; none without a GPU backend.

    head: of the first file, which the others are taken to be quants of.
    """
    gpus = [device for device in devices() if device.kind in ("gpu", "igpu")]
    n_bytes = sum(part.stat().st_size for path in paths for part in parts(path))
    return offload(head, n_bytes, gpus, (lanes or GUESSED_LANES) * len(paths), n_ctx or GUESSED_CTX)


def offload(head: Header, n_bytes: int, gpus: Sequence[Device], lanes: int, n_ctx: int) -> Offload:
    """Layers are taken to be of one size; the output layer counts as one."""
    if not gpus:
        return Offload(0)
    n_layers = int(head.arch_field("block_count", 0)) + 1
    free = sum(gpu.free_bytes for gpu in gpus)
    each = (n_bytes + head.kv_bytes * (lanes + 1) * n_ctx) / n_layers
    fitting = int(GPU_SHARE * free / each)
    if fitting >= n_layers:
        return Offload(-1)
    names = ", ".join(gpu.name for gpu in gpus)
    return Offload(
        fitting,
        f"{fitting} of {n_layers} layers fit {names} ({free / 1e9:.1f} GB free), the rest stays on the CPU: "
        "a smaller quant, fewer --lanes or --gpu-layers 0 are the alternatives.",
    )
