"""localent quantize: make quants of a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localent.cli import complete
from localent.cli.arguments import Finite, Group, refuse_unused
from localent.cli.options import PATH, db_option
from localent.cli.output import echo, print_table
from localent.cli.progress import Bar
from localent.cli.settings import threads_option
from localent.errors import UsageError

if TYPE_CHECKING:
    from localent.engine import QuantizeOptions
    from localent.runs.bits import Mixture


@dataclass(frozen=True, slots=True)
class Files:
    """The quants to make, and their folder."""

    quants: tuple[str, ...]
    bits: tuple[float, ...]
    out: Path | None
    force: bool


@dataclass(frozen=True, slots=True)
class How:
    """The settings of the quantizer."""

    imatrix: Path | None
    imatrix_from: tuple[str, ...]
    imatrix_chunks: int | None
    requantize: bool
    pure: bool
    output_type: str | None
    embedding_type: str | None
    tensor_types: tuple[tuple[str, str], ...]
    threads: int | None

    def check(self) -> None:
        """Refuse options that do not go together."""
        if self.imatrix and self.imatrix_from:
            raise UsageError("--imatrix names a matrix, --imatrix-from makes one: give one of both.")
        if not self.imatrix_from:
            refuse_unused("A quantization without --imatrix-from", "imatrix_chunks", "db")
        if self.imatrix_chunks is not None and self.imatrix_chunks < 1:
            raise UsageError(f"--imatrix-chunks must be at least 1, got {self.imatrix_chunks}.")

    def made(self, source: Path, target: Path, db: Path) -> How:
        """The same with the importance matrix made, where it is to be."""
        from localent.runs import imatrix
        from localent.runs.passages import read_passages

        if not self.imatrix_from:
            return self
        passages = read_passages(self.imatrix_from, db)
        with Bar() as bar:
            imatrix.make(str(source), passages, target, limit=self.imatrix_chunks, threads=self.threads, report=bar)
        echo(f"Wrote {target}: --imatrix takes it another time.", err=True)
        return replace(self, imatrix=target, imatrix_from=(), imatrix_chunks=None)

    def options(self, source: Path) -> QuantizeOptions:
        """The quantizer's options for a source, with its importance matrix read and checked."""
        from localent.engine import QuantizeOptions
        from localent.machine import hardware
        from localent.runs.quantize import matrix_for

        matrix = matrix_for(source, self.imatrix) if self.imatrix else None
        n_threads = self.threads or hardware.usable_cores()
        return QuantizeOptions(
            n_threads=n_threads,
            imatrix=matrix,
            requantize=self.requantize,
            pure=self.pure,
            output_type=self.output_type,
            embedding_type=self.embedding_type,
            tensor_types=self.tensor_types,
        )


class TensorType(click.ParamType):
    """PATTERN=TYPE -> (pattern, type)."""

    name = "pattern=type"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        pattern, sign, kind = str(value).rpartition("=")
        if not (sign and pattern and kind):
            self.fail(f"{value!r} is not written PATTERN=TYPE, for example attn_v=Q6_K.", param, ctx)
        return pattern, kind


@click.command("quantize")
@click.argument("source", shell_complete=complete.models)
@Group(
    "files",
    Files,
    click.argument("quants", nargs=-1, metavar="QUANT..."),
    click.option(
        "--bits",
        type=Finite(),
        multiple=True,
        help="Make a quant of at most so many bits per weight, of several types; may be repeated.",
    ),
    click.option("--out", type=PATH, help="Folder for the new files. Default: that of SOURCE, if it is yours."),
    click.option("--force", is_flag=True, help="Replace existing files."),
)
@Group(
    "how",
    How,
    click.option("--imatrix", type=PATH, help="Importance matrix, as llama-imatrix or --imatrix-from writes it."),
    click.option(
        "--imatrix-from",
        multiple=True,
        metavar="FILE|RUN",
        help="Make the importance matrix first: SOURCE reads plain text, JSONL of conversations, or the traces of a"
        " run. May be repeated.",
    ),
    click.option("--imatrix-chunks", type=int, help="Chunks or conversations of each such text. Default: all."),
    click.option("--requantize", is_flag=True, help="Accept a source that is itself quantized: loses more."),
    click.option("--pure", is_flag=True, help="All tensors in the quant's own type, without a K-quant's mixture."),
    click.option("--output-tensor-type", "output_type", metavar="TYPE", help="Type of the output tensor."),
    click.option("--token-embedding-type", "embedding_type", metavar="TYPE", help="Type of the token embeddings."),
    click.option(
        "--tensor-type",
        "tensor_types",
        type=TensorType(),
        multiple=True,
        help="Type of the tensors whose names match, as attn_v=Q6_K; may be repeated.",
    ),
    threads_option,
)
@db_option
@click.option("--json", "json_", is_flag=True, help="Print JSON, one object a line.")
def command(source: str, files: Files, how: How, db: Path, json_: bool) -> None:
    """Make quants of SOURCE with llama.cpp's own quantizer.

    SOURCE is a path to a GGUF file, preferably F16, BF16 or F32, or a name of models.toml. QUANT is any type that
    llama.cpp can write.

    \b
    localent quantize model-f16.gguf Q8_0 Q6_K Q4_K_M Q3_K_M Q2_K
    localent quantize model-f16.gguf IQ3_XXS --imatrix-from notes.txt --out quants
    localent quantize model-f16.gguf --bits 4.5 --bits 3.2
    localent quantize model-f16.gguf Q4_K_M --tensor-type "ffn_down=Q6_K"
    """
    from localent import models
    from localent.files import identity
    from localent.runs import quantize as making
    from localent.runs.bits import mixture

    how.check()
    if not (files.quants or files.bits):
        raise UsageError(
            "Name a QUANT, or bits per weight. For example 'localent quantize model-f16.gguf Q4_K_M --bits 4.5'."
        )
    if files.bits:
        refuse_unused("--bits, which chooses all types,", "pure", "output_type", "embedding_type", "tensor_types")
    path = models.resolve(source)
    head = identity.identify(path)
    out = _folder(path, files.out)
    targets = making.targets(path, head.model.quant, files.quants, out, force=files.force, bits=files.bits)
    mixtures = {making.named_bits(bits): mixture(path, bits) for bits in files.bits}
    making.check_source(path, head)
    matrix = making.imatrix_target(path, head.model.quant, out, force=files.force) if how.imatrix_from else path
    options = how.made(path, matrix, db).options(path)
    rows = (_made(path, target, quant, options, mixtures.get(quant)) for quant, target in targets.items())
    with _stoppable():
        print_table(["quant", "file", "MB", "bits per weight", "sha256"], rows, "json" if json_ else None)


@contextmanager
def _stoppable() -> Iterator[None]:
    """A message for Ctrl-C: unlike a run, the same command would refuse to replace the finished quants."""
    from localent.cli.group import STOPPED, fail

    try:
        yield
    except KeyboardInterrupt:
        fail("Stopped. Finished quants are kept, no partial file is: name the rest, or all with --force.", STOPPED)


def _made(path: Path, target: Path, quant: str, options: QuantizeOptions, of_bits: Mixture | None) -> tuple[Any, ...]:
    """Make one quant, of_bits: of these types; its row of the table."""
    from localent.files.tensors import fallback_sentence, inspect
    from localent.runs.quantize import make

    kind, chosen = (quant, options) if of_bits is None else (of_bits.file_type, of_bits.options(options))
    with Bar() as bar:
        make(path, target, kind, chosen, lambda done, total: bar.show(quant, done, total, "tensor"))
    found = inspect(target)
    if of_bits is None and (sentence := fallback_sentence(found)):
        echo(f"Warning: {sentence}", err=True)
    size, bits = found.model.file_bytes / 1e6, found.model.bits_per_weight
    return quant, str(target), round(size, 1), round(bits, 2), found.model.sha256[:12]


def _folder(source: Path, out: Path | None) -> Path:
    """The folder for new files: as asked, else the source's own, or the working folder where that is not ours.

    Raises UsageError for one of another program, which would not know them and may clear them away.
    """
    from localent.models.disk import store_of

    if out is None:
        return Path() if store_of(source) or store_of(source.parent) else source.parent
    if place := store_of(out):
        raise UsageError(f"{out} lies in {place}, which is another program's: name a folder of your own with --out.")
    return out
