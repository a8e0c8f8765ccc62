"""localent quantize: make quants of a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from localent.cli.options import PATH
from localent.cli.output import print_table
from localent.cli.progress import Bar


@click.command("quantize")
@click.argument("source")
@click.argument("quants", nargs=-1, required=True, metavar="QUANT...")
@click.option("--imatrix", type=PATH, help="Importance matrix, as llama-imatrix writes it.")
@click.option("--out", type=PATH, help="Folder for the new files. Default: where SOURCE lies.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
@click.option("--requantize", is_flag=True, help="Accept a source that is quantized itself: loses more.")
@click.option("--threads", type=int, help="Default: the physical cores this process may use.")
@click.option("--json", "json_", is_flag=True, help="Print JSON, one object a line.")
def command(source, quants, imatrix, out, force, requantize, threads, json_) -> None:
    """Make quants of SOURCE with llama.cpp's own quantizer.

    SOURCE is a path to a GGUF, best F16, BF16 or F32, or a name of models.toml. QUANT is any that llama.cpp knows.

    \b
    localent quantize model-f16.gguf Q8_0 Q6_K Q4_K_M Q3_K_M Q2_K
    localent quantize model-f16.gguf IQ3_XXS --imatrix imatrix.gguf --out quants
    """
    from localent import models
    from localent.files import identity
    from localent.machine import hardware
    from localent.runs import quantize as making

    path = models.resolve(source)
    head = identity.identify(path)
    targets = making.targets(path, head.model.quant, quants, out or _writable(path), force=force)
    making.check_source(path, head)
    matrix = making.matrix_for(path, imatrix) if imatrix else None
    how = dict(n_threads=threads or hardware.usable_cores(), matrix=matrix, requantize=requantize)
    rows = (_made(path, target, quant, how) for quant, target in targets.items())
    with _stoppable():
        print_table(["quant", "file", "MB", "bits per weight", "sha256"], rows, "json" if json_ else None)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Ctrl-C in words that are true of quants: the same command would refuse to replace the finished ones."""
    from localent.cli.group import STOPPED, fail

    try:
        yield
    except KeyboardInterrupt:
        fail("Stopped. Finished quants are kept, and no half one: ask for the rest, or for all with --force.", STOPPED)


def _made(path: Path, target: Path, quant: str, how: dict) -> tuple:
    """Make one quant; its row of the table."""
    from localent.files.tensors import fallback_sentence, inspect
    from localent.runs.quantize import make

    with Bar() as bar:
        make(path, target, quant, report=lambda done, total: bar.show(quant, done, total, "tensor"), **how)
    found = inspect(target)
    if sentence := fallback_sentence(found):
        click.echo(f"Warning: {sentence}", err=True)
    return quant, str(target), found.model.file_bytes / 1e6, found.model.bits_per_weight, found.model.sha256[:12]


def _writable(path: Path) -> Path:
    """The source's own folder; the working folder for what lies inside the package."""
    package = Path(__file__).parents[1].resolve()
    return Path() if package in path.resolve().parents else path.parent
