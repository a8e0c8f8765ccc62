"""What fits where: a model's weights and lanes in this machine's memory, its layers on the GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from localent.engine.glance import Glance, glance, parts
from localent.engine.llama import Device, devices

GPU_SHARE = 0.85  # of free GPU memory that layers and lanes may take; the rest is for compute buffers
GUESSED_LANES, GUESSED_CTX = 16, 1024  # where the user leaves them open


@dataclass(frozen=True, slots=True)
class Offload:
    """How many layers go to the GPU, and why not all."""

    layers: int  # -1: all
    why: str | None = None  # a sentence where memory is short


def gpu_layers(path: Path, *, lanes: int | None = None, n_ctx: int | None = None) -> Offload:
    """As many layers as the GPU's free memory holds; none where this build has no GPU backend."""
    gpus = [device for device in devices() if device.kind in ("gpu", "igpu")]
    n_bytes = sum(part.stat().st_size for part in parts(path))
    return offload(glance(path), n_bytes, gpus, lanes or GUESSED_LANES, n_ctx or GUESSED_CTX)


def offload(head: Glance, n_bytes: int, gpus: list[Device], lanes: int, n_ctx: int) -> Offload:
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
        "a smaller quant, fewer --lanes or --gpu-layers 0 are the alternatives",
    )


def report(path: Path, wanted: int | None, lanes: int | None, n_ctx: int | None, status: Callable[[str], None]) -> int:
    """The number of GPU layers for a run: what the user wants, else what fits, with a word where that is not all."""
    if wanted is not None:
        return wanted
    found = gpu_layers(path, lanes=lanes, n_ctx=n_ctx)
    if found.why:
        status(found.why)
    return found.layers
