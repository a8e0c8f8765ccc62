"""The devices that this build of llama.cpp can compute on."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator

from localent.engine.interface import Device
from localent.engine.llama import interrupts
from localent.engine.llama.bindings import GGML, VERSION, C, Pointer
from localent.errors import UsageError


def build_info(gpu_layers: int) -> dict[str, str]:
    """The software and hardware that compute the logits, as far as they can change a bit."""
    gpus = [f"{d.name} {d.description}" for d in devices() if d.kind != "cpu"] if gpu_layers else []
    return {
        "llama_cpp_python": VERSION,
        "backend": ", ".join(gpus) or "cpu",
        "cpu": C.llama_print_system_info().decode().strip(" |"),
        "machine": platform.machine(),
    }


def devices() -> list[Device]:
    """The devices of this build, as its backends report them."""
    with interrupts.held():
        C.llama_backend_init()
    lib = GGML
    try:
        for name in ("name", "description"):
            getattr(lib, f"ggml_backend_dev_{name}").restype = ctypes.c_char_p
        lib.ggml_backend_dev_count.restype, lib.ggml_backend_dev_get.restype = ctypes.c_size_t, ctypes.c_void_p
    except AttributeError:
        return []  # a platform on which the library hides them
    return [_device(lib, ctypes.c_void_p(lib.ggml_backend_dev_get(i))) for i in _sizes(lib.ggml_backend_dev_count())]


def _device(lib: Pointer, handle: ctypes.c_void_p) -> Device:
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    lib.ggml_backend_dev_memory(handle, ctypes.byref(free), ctypes.byref(total))
    name, description = lib.ggml_backend_dev_name(handle), lib.ggml_backend_dev_description(handle)
    kind = dict(enumerate(("cpu", "gpu", "igpu", "accelerator"))).get(lib.ggml_backend_dev_type(handle), "accelerator")
    return Device(name.decode(), description.decode("utf-8", "replace"), kind, free.value, total.value)


def _sizes(n: int) -> Iterator[ctypes.c_size_t]:
    return (ctypes.c_size_t(i) for i in range(n))


def supports_rpc() -> bool:
    """True where this build has llama.cpp's RPC backend."""
    return bool(C.llama_supports_rpc())


def supports_gpu() -> bool:
    """True where this build of llama.cpp can put layers on a GPU."""
    return bool(C.llama_supports_gpu_offload())


def check_gpu(gpu_layers: int) -> None:
    if gpu_layers and not C.llama_supports_gpu_offload():
        raise UsageError(
            "This llama.cpp was built without a GPU backend: 'localent doctor' prints the line that builds one for "
            "this machine's GPU, or use --gpu-layers 0 or auto."
        )
