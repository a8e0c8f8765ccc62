"""The machine, the build, the GPUs, the model and the lanes that fit."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import localent
from localent.doctor import conditions
from localent.engine import build_info, check_build, devices, requirement, supports_gpu
from localent.errors import LocalentError
from localent.files import cache
from localent.files.header import Header, parts
from localent.machine import hardware
from localent.machine.findings import Finding
from localent.models.disk import needed_bytes
from localent.models.hub import hub_cache
from localent.records import Model

CONTEXTS = (512, 2048, 8192)  # of a lane
FEATURES = {"avx2": "AVX2", "avx512f": "AVX512", "fma": "FMA", "f16c": "F16C", "avx512_vnni": "AVX512_VNNI"}
FEATURES |= {"asimddp": "DOTPROD", "i8mm": "MATMUL_INT8", "sve": "SVE"}


def this_machine() -> Iterator[Finding]:
    """System, processor, cores, memory and disk."""
    cores, room, total = hardware.cores(), hardware.available_memory(), hardware.total_memory()
    yield Finding("machine", "Python", platform.python_version(), ok=sys.version_info >= (3, 11))
    yield Finding("machine", "system", platform.platform())
    yield Finding("machine", "processor", hardware.host()["cpu"])
    limits = {"affinity": cores.allowed, "physical cores": cores.physical, "control group": cores.quota}
    limiting = ", ".join(f"{name} {limit}" for name, limit in limits.items() if limit)
    yield Finding("machine", "threads allowed", cores.usable, None, True, f"the least of {limiting}")
    if room is not None:
        yield Finding("machine", "memory free", round(room / 1e9, 2), "GB", None, f"of {(total or room) / 1e9:.1f} GB")
    for name, folder in (("models", hub_cache()), ("cache", cache.folder())):
        free = hardware.free_disk(folder)
        yield Finding("machine", f"disk free for {name}", round(free / 1e9, 1), "GB", free > 1e9, str(folder))


def build() -> Iterator[Finding]:
    """Versions of the packages, and the processor features that the build uses."""
    info = build_info(0)
    yield Finding("build", "localent", localent.__version__)
    package, _, wanted = requirement().partition("==")
    yield Finding("build", package, info["llama_cpp_python"], None, info["llama_cpp_python"] == wanted)
    try:
        check_build()
        yield Finding("build", "bindings fit the library", "yes", None, True)
    except LocalentError as error:
        yield Finding("build", "bindings fit the library", "no", None, False, str(error))
    yield Finding("build", "features in use", info["cpu"])
    unused = unused_features(hardware.cpu_flags(), info["cpu"])
    if unused:
        line = install_line("NATIVE")
        yield Finding("build", "features not in use", ", ".join(unused), None, False, f"build for this CPU: {line}")


def unused_features(flags: frozenset[str], used: str) -> list[str]:
    """Processor features that llama.cpp was not built for."""
    return [name for flag, name in FEATURES.items() if flag in flags and f"{name} = 1" not in used]


def install_line(backend: str, arch: str | None = None) -> str:
    """The command that builds llama.cpp for a backend, without pip's cache, which knows builds by version only."""
    option = f"-DGGML_{backend}=on" + (f" -DCMAKE_CUDA_ARCHITECTURES={arch}" if backend == "CUDA" and arch else "")
    install = f'"{sys.executable}" -m pip install --force-reinstall --no-cache-dir --no-deps'
    if find_spec("pip") is None:  # an environment that uv made
        install = f'uv pip install --python "{sys.executable}" --reinstall --no-cache --no-deps'
    if sys.platform == "win32":
        return f'$env:CMAKE_ARGS="{option}"; & {install} "{requirement()}"'
    return f'CMAKE_ARGS="{option}" {install} "{requirement()}"'


def gpus() -> Iterator[Finding]:
    """The GPUs that this build uses, and those that it cannot use."""
    found, usable = hardware.gpus(), [device for device in devices() if device.kind != "cpu"]
    for device in usable:
        free = f"{device.free_bytes / 1e9:.1f} of {device.total_bytes / 1e9:.1f} GB free"
        yield Finding("gpu", device.name, device.description, None, True, free)
    for gpu in () if supports_gpu() else found:
        yield Finding("gpu", gpu.name, gpu.backend, None, False, _advice(gpu))
    if not found and not usable:
        yield Finding("gpu", "GPU", "none found", None, None, f"if there is one: {install_line('VULKAN')}")


def _advice(gpu: hardware.Gpu) -> str:
    """The way to make llama.cpp use a GPU."""
    memory = "" if gpu.total_bytes is None else f"{gpu.total_bytes / 1e9:.1f} GB. "
    lacks_toolkit = gpu.backend == "CUDA" and not shutil.which("nvcc")
    first = " (first install NVIDIA's CUDA toolkit: nvcc is missing)" if lacks_toolkit else ""
    line = install_line(gpu.backend, gpu.arch)
    return f"{memory}This llama.cpp does not use it; build one that does{first}: {line}"


def the_model(path: Path, head: Header, model: Model) -> Iterator[Finding]:
    """The model's size, and the lanes of it that fit into free memory."""
    n_bytes = sum(part.stat().st_size for part in parts(path))
    yield Finding("model", "name", model.name, None, None, str(path))
    yield Finding("model", "architecture", model.arch, None, None, f"{model.n_params / 1e6:,.1f} million parameters")
    yield Finding("model", "quant", model.quant, None, None, f"{model.bits_per_weight:.2f} bits per weight")
    yield Finding("model", "size", round(n_bytes / 1e9, 3), "GB")
    yield Finding("model", "context", model.n_ctx_train, "tokens")
    yield Finding("model", "a lane of 1,024 tokens", round(head.kv_bytes * 1024 / 1e9, 4), "GB")
    room = hardware.available_memory()
    if room is None:
        return
    limit = model.n_ctx_train or max(CONTEXTS)
    contexts = sorted({min(ctx, limit) for ctx in CONTEXTS})
    fitting = {ctx: n for ctx in contexts for n in conditions.LANES if needed_bytes(head, n_bytes, n, ctx) <= room}
    fits = ", ".join(f"{n} lane{'s' * (n > 1)} of {ctx:,} tokens" for ctx, n in fitting.items())
    advice = None if fits else f"it needs {needed_bytes(head, n_bytes, 1, 512) / 1e9:.1f} GB: take a smaller quant"
    yield Finding("model", "fits", fits or "no", None, bool(fits), advice)
