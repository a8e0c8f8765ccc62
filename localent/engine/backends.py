"""The choice of the backend that computes with a file. A backend is a folder next to this module.

Its `__init__` has `reads(path)` and imports nothing heavy; its `backend` module has the functions of `Backend`, and is
imported when the first file needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

from localent.engine.interface import Backend, Device, Model, Options, QuantizeOptions

if TYPE_CHECKING:
    from localent.files.lora import Adapter

FOLDERS: tuple[str, ...] = ("llama",)  # asked in this order; the last one reads every file that no other claims
_registered: list[tuple[Callable[[Path], bool], Backend]] = []


def open(path: Path | str, *, gpu_layers: int = 0, vocab_only: bool = False, adapters: Sequence[Adapter] = ()) -> Model:
    """The weights and vocabulary of a file, to be closed or used in a with statement.

    gpu_layers: on the GPU; -1: all. vocab_only: load no weights, for a tokenizer alone. adapters: LoRA, as
    files.lora.read checked them.
    Raises LocalentError, with the backend's reason, when the file cannot be loaded.
    """
    return backend_of(path).open(Path(path), gpu_layers=gpu_layers, vocab_only=vocab_only, adapters=adapters)


def backend_of(path: Path | str | None = None) -> Backend:
    """The backend that reads a file; without one, the default."""
    found = (backend for reads, backend in _registered if path is not None and reads(Path(path)))
    return next(found, None) or _imported(path)


@contextmanager
def registered(reads: Callable[[Path], bool], backend: Backend) -> Iterator[None]:
    """Inside the block, `backend` opens the files that `reads` claims, before any other is asked."""
    entry = (reads, backend)
    _registered.insert(0, entry)
    try:
        yield
    finally:
        _registered.remove(entry)


def _imported(path: Path | str | None) -> Backend:
    others, default = FOLDERS[:-1], FOLDERS[-1]
    claims = (name for name in others if path is not None and import_module(f"{__package__}.{name}").reads(Path(path)))
    return cast(Backend, import_module(f"{__package__}.{next(claims, default)}.backend"))


# ── what a build can do, asked of the backend of a file or, without one, of the default ───────────────────────────


def check_options(options: Options, path: Path | str | None = None) -> None:
    """Raise UsageError for lanes, context or threads that cannot work."""
    backend_of(path).check_options(options)


def build_info(gpu_layers: int, path: Path | str | None = None) -> dict[str, str]:
    """The versions, backend and CPU features that compute the logits, as far as they can change a bit."""
    return backend_of(path).build_info(gpu_layers)


def devices() -> list[Device]:
    """The devices that this build can compute on."""
    return backend_of().devices()


def supports_gpu() -> bool:
    """True where this build can put layers on a GPU."""
    return backend_of().supports_gpu()


def supports_rpc() -> bool:
    """True where this build can compute on other machines over the network."""
    return backend_of().supports_rpc()


def requirement() -> str:
    """The package that computes, as pip takes it: "llama-cpp-python==0.3.36"."""
    return backend_of().requirement()


def check_build() -> None:
    """Raise LocalentError where the installed package is not the required one, or does not work."""
    backend_of().check_build()


def quants() -> frozenset[str]:
    """Names of the quants that `quantize` can write."""
    return backend_of().quants()


def quantize(
    source: Path,
    target: Path,
    quant: str,
    options: QuantizeOptions,
    report: Callable[[int, int], object] = lambda done, total: None,
) -> None:
    """Write `target` as a quantized copy of `source`; see `Backend.quantize`."""
    backend_of(source).quantize(source, target, quant, options, report)
