"""Making the quants to compare: their names, their files, and the reasons for which one cannot be made."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path

from localent import engine
from localent.errors import LocalentError, UsageError
from localent.files import identity, imatrix, tensors
from localent.files.header import PART
from localent.files.imatrix import Imatrix
from localent.files.opening import real

QUANTS = tuple(sorted(engine.quants() & tensors.readable_quants()))  # what llama.cpp writes and localent can read again

OUTPUT = "output.weight"  # llama.cpp ignores its importance where the size differs


def names(quants: Sequence[str]) -> list[str]:
    """Quants as GGUF spells them, each once. Raises UsageError for an unknown one, with the nearest."""
    found = list(dict.fromkeys(quant.upper() for quant in quants))
    if unknown := next((quant for quant in found if quant not in QUANTS), None):
        near = get_close_matches(unknown, QUANTS, n=1)
        guess = f"Did you mean '{near[0]}'? " if near else ""
        raise UsageError(f"No quant '{unknown}' in llama.cpp. {guess}It knows {', '.join(QUANTS)}.")
    return found


def targets(
    source: Path, source_quant: str, quants: Sequence[str], out: Path, *, force: bool, bits: Sequence[float] = ()
) -> dict[str, Path]:
    """Quant -> file to write; "4.5bpw" -> that of a target in bits. Raises UsageError before anything is written."""
    stem = _stem(source, source_quant)
    wanted = [*names(quants), *(named_bits(number) for number in dict.fromkeys(bits))]
    found = {quant: out / f"{stem}-{quant}.gguf" for quant in wanted}
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file: name a folder with --out.")
    for target in found.values():
        _refuse_existing(target, source, force=force)
    return found


def named_bits(bits: float) -> str:
    """ "4.5bpw": what a quant of so many bits per weight is called."""
    return f"{bits:g}bpw"


def imatrix_target(source: Path, source_quant: str, out: Path, *, force: bool) -> Path:
    """The file for an importance matrix that is made on the way. Raises UsageError where there is one."""
    target = out / f"{_stem(source, source_quant)}-imatrix.gguf"
    _refuse_existing(target, source, force=force)
    out.mkdir(parents=True, exist_ok=True)
    return target


def _stem(source: Path, source_quant: str) -> str:
    """The name of a model's file without its part and its quant."""
    part = PART.match(source.name)
    stem = part["stem"] if part else source.stem
    for ending in (source_quant, source_quant.lower()):
        stem = stem.removesuffix(f"-{ending}").removesuffix(f".{ending}")
    return stem


def _refuse_existing(target: Path, source: Path, *, force: bool) -> None:
    if target.exists() and real(target) == real(source):
        raise UsageError(f"{target} is the source itself: name another folder with --out.")
    if target.exists() and not force:
        raise UsageError(f"{target} exists already: replace it with --force, or name another folder with --out.")


def check_source(source: Path, head: identity.Identity) -> None:
    """Raise LocalentError where there is nothing to quantize: a vocabulary alone, or weights that are not finite."""
    if not head.has_weights:
        raise LocalentError(f"{source.name} holds a vocabulary only, no weights to quantize. Name a whole model.")
    broken = next((tensor.name for tensor in tensors.tensors_of(source) if not tensors.is_finite(tensor)), None)
    if broken:
        raise LocalentError(_not_finite(source, broken))


def _not_finite(source: Path, tensor: str) -> str:
    return f"{source.name} holds NaN or infinite weights in {tensor}: download it again."


def matrix_for(source: Path, path: Path) -> Imatrix:
    """An importance matrix of the source's tensors and their sizes. Raises LocalentError for another model's."""
    found = imatrix.read(path)
    columns = {tensor.name: tensors.n_columns(tensor) for tensor in tensors.tensors_of(source)}
    sizes = {name: values.size for name, values in found.weights.items()}
    why = None
    if not columns.keys() & sizes.keys():
        why = f"{source.name} has none of its tensors, such as {next(iter(sizes))}"
    elif other := next((n for n in columns if n != OUTPUT and sizes.get(n, columns[n]) != columns[n]), None):
        why = f"it has {sizes[other]:,} columns for {other}, {source.name} has {columns[other]:,}"
    if why:
        raise LocalentError(f"{path.name} is of another model: {why}; make one of this model with --imatrix-from.")
    return found


def make(
    source: Path,
    target: Path,
    quant: str,
    options: engine.QuantizeOptions,
    report: Callable[[int, int], object] = lambda done, total: None,
) -> None:
    """Write `target`, whole or not at all; see engine.quantize. Partial files of killed runs are removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target.parent)
    try:
        engine.quantize(source, target, quant, options, report)
    except UsageError:
        raise
    except LocalentError as error:
        raise LocalentError(_reason(str(error), source, target, quant)) from None


def _reason(said: str, source: Path, target: Path, quant: str) -> str:
    """llama.cpp's reason, with the way out where one is known."""
    if "requantizing from type" in said:
        return (
            f"{source.name} is quantized itself: give its F16, BF16 or F32 file, "
            "or accept the double loss with --requantize."
        )
    if "importance matrix" in said or "imatrix!" in said:
        return (
            f"{quant} needs an importance matrix: make one of a text with --imatrix-from, or name one with --imatrix."
        )
    if broken := re.search("tensor '(.+?)' has invalid data", said):
        return _not_finite(source, broken[1])
    if "iostream error" in said:
        return f"{target} could not be written, though {source.name} could be read: the disk is probably full."
    return said


def _sweep(folder: Path) -> None:
    """Remove partial files of processes that are gone: after kill -9 only the next run can clean up."""
    for partial in folder.glob(".*.gguf.*.partial"):
        pid = partial.suffixes[-2].removeprefix(".")
        if pid.isdigit() and not _lives(int(pid)):
            partial.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    if os.name == "nt":
        return True  # not known there: signal 0 is a Ctrl-C on Windows
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it is another user's
    return True
