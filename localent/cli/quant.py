"""localent quantize, inspect, compare: make quants, see what is in files, and what quantization changed."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from localent.cli.options import PATH, data_options, db_option, gpu_layers_option
from localent.cli.show import print_table


@click.command()
@click.argument("source")
@click.argument("quants", nargs=-1, required=True, metavar="QUANT...")
@click.option("--imatrix", type=PATH, help="Importance matrix, as llama-imatrix writes it.")
@click.option("--out", type=PATH, help="Folder for the new files. Default: where SOURCE lies.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
@click.option("--requantize", is_flag=True, help="Accept a source that is quantized itself: loses more.")
@click.option("--threads", type=int, help="Default: the physical cores this process may use.")
@click.option("--json", "json_", is_flag=True, help="Print JSON, one object a line.")
def quantize(source, quants, imatrix, out, force, requantize, threads, json_) -> None:
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
    head = identity.read(path)
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
    from localent.cli import STOPPED, fail

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


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--json", "json_", is_flag=True, help="Print JSON, one object a line.")
def inspect(files, json_) -> None:
    """Show what is in GGUF files, side by side: identity, tensor types, bits per weight, tokenizer.

    Two files with one label and other content are two models; where they hold the same tensors, it names those that
    differ.

    \b
    localent inspect model-Q4_K_M.gguf other-Q4_K_M.gguf
    """
    from localent import models
    from localent.files.tensors import fallback_sentence
    from localent.files.tensors import inspect as look

    found = [look(models.resolve(name)) for name in files]
    if json_:
        for details in found:
            click.echo(json.dumps(_as_json(details), ensure_ascii=False))
        return
    facts = [_facts(details) for details in found]
    names = list(dict.fromkeys(name for fact in facts for name in fact))
    click.echo(_side_by_side(names, facts))
    for details in found:
        if sentence := fallback_sentence(details):
            click.echo(f"\nWarning: {sentence}")
    for sentence in _differences(found):
        click.echo(f"\n{sentence}")


def _as_json(details) -> dict:
    from dataclasses import asdict

    return asdict(details)


def _facts(details) -> dict[str, str]:
    """What `inspect` says of one file: name -> text."""
    m = details.model
    facts = {
        "file": Path(m.path).name,
        "name": m.name,
        "sha256": m.sha256[:16],
        "architecture": m.arch,
        "label": m.quant,
        "bits per weight": f"{m.bits_per_weight:.3f}",
        "MB": f"{m.file_bytes / 1e6:,.1f}",
        "parameters": f"{m.n_params:,}",
        "tensors": f"{details.n_tensors:,}",
        "context": f"{m.n_ctx_train:,}",
        "vocabulary": f"{m.n_vocab:,}",
        "tokenizer": m.tokenizer_sha256[:16],
        "chat template": (m.template_sha256 or "none")[:16],
    }
    shares = sorted(m.tensor_types.items(), key=lambda item: -item[1])
    facts |= {f"  {name}": f"{100 * n / m.n_params:.2f} %" for name, n in shares}
    return facts | {f"imatrix {key}": str(value) for key, value in details.imatrix.items()}


def _side_by_side(names: Sequence[str], facts: Sequence[dict[str, str]]) -> str:
    from localent.report.table import cell_text

    facts = [{name: cell_text(value) for name, value in fact.items()} for fact in facts]  # a file's own words
    widths = [max(len(value) for value in fact.values()) for fact in facts]
    label = max(map(len, names))
    lines = []
    for name in names:
        cells = [fact.get(name, "").ljust(width) for fact, width in zip(facts, widths, strict=True)]
        lines.append("  ".join([name.ljust(label), *cells]).rstrip())
    return "\n".join(lines)


def _differences(found: Sequence) -> list[str]:
    """Each later file beside the first of its label, or else beside the first, in words."""
    return [_difference(_counterpart(found[:i], found[i]), found[i]) for i in range(1, len(found))]


def _counterpart(earlier: Sequence, details):
    return next((one for one in earlier if one.model.quant == details.model.quant), earlier[0])


def _difference(one, other) -> str:
    from localent.files.tensors import differing_tensors

    a, b = one.model, other.model
    same_name = Path(a.path).name == Path(b.path).name
    names = " and ".join(m.path if same_name else Path(m.path).name for m in (a, b))
    if a.sha256 == b.sha256:
        return f"{names} are the same file."
    tensors = differing_tensors(Path(a.path), Path(b.path))
    what = "their tensors are of other types or shapes"
    if tensors is not None:
        listed = ", ".join(tensors[:3]) + (", ..." if len(tensors) > 3 else "")
        what = f"{len(tensors)} of {one.n_tensors} tensors differ ({listed})" if tensors else "only metadata differ"
    label = " in spite of one label" if a.quant == b.quant else ""
    tokens = "" if a.tokenizer_sha256 == b.tokenizer_sha256 else "; their tokenizers differ, too"
    return f"{names} are different{label}: {what}{tokens}."


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="REF CAND...")
@click.option("--text", type=PATH, help="Compare on a text file, in llama-perplexity's chunks.")
@click.option("--task", help="Compare on reasoning traces: REF works on this task first.")
@click.option("--run", "run_id", help="Compare on the traces of a run that is in the database.")
@click.option("--kld-base", type=PATH, help="A base file of llama-perplexity takes the place of REF.")
@click.option("--write-kld-base", type=PATH, help="With --text: also write such a base file of REF. Large.")
@click.option("-n", type=int, help="With --task or --run: the first n problems.")
@click.option("--samples", type=int, default=1, show_default=True, help="With --task: traces per problem.")
@data_options
@click.option("--ctx", type=int, default=512, show_default=True, help="With --text: tokens of a chunk.")
@click.option("--chunks", type=int, help="With --text or --kld-base: chunks at most. Default: all.")
@click.option("--free/--no-free", default=True, show_default=True, help="Let the candidates run free, too.")
@click.option("--noise/--no-noise", default=True, show_default=True, help="Measure the noise floor.")
@click.option("--positions", is_flag=True, help="Store a row per position in the table divergences.")
@click.option("--seed", type=int, default=0, show_default=True, help="With --task: of sampling.")
@click.option("--temperature", type=float, default=0.7, show_default=True, help="With --task: 0 is greedy.")
@click.option("--max-tokens", type=int, help="With --task: tokens a trace may have.")
@click.option("--shots", type=int, help="With --task: worked examples in the prompt.")
@click.option(
    "--max-fed", type=int, default=8, show_default=True, help="With --task: probes stop after so many tokens."
)
@click.option("--lanes", type=int, help="With --task: traces at a time.")
@click.option("--threads", type=int, help="Default: the physical cores this process may use.")
@gpu_layers_option
@click.option("--full", is_flag=True, help="Print every figure there is.")
@db_option
@click.option("--json", "json_", is_flag=True, help="Print everything as JSON.")
def compare(models, text, task, run_id, kld_base, write_kld_base, db, json_, full, **chosen) -> None:
    """Compare candidates with a reference: their distributions, answers and reasoning paths.

    REF and CAND are names of models.toml, NAME:QUANT, or paths to GGUF files. No logits are kept.

    \b
    localent compare abacus-sft abacus-sft:Q8_0 abacus-sft:Q4_K_M abacus-sft:Q2_K --task demo-number -n 50
    localent compare model-f16.gguf model-Q4_K_M.gguf --text wiki.test.raw --chunks 20
    localent compare model-Q4_K_M.gguf --kld-base base.kld
    """
    from localent.report.compare import render

    _check(models, text, task, run_id, kld_base, write_kld_base, chosen)
    with Bar() as bar:
        if kld_base:
            found = _with_base(models, kld_base, db, chosen, bar)
        elif text:
            found = _with_text(models, text, write_kld_base, db, chosen, bar)
        else:
            found = _with_traces(models, task, run_id, db, chosen, bar)
    if json_:
        click.echo(json.dumps(everything(found), ensure_ascii=False, allow_nan=False))
        return
    if found.candidates:
        click.echo(render(found, width=shutil.get_terminal_size((120, 24)).columns, full=full))
    if write_kld_base:
        click.echo(f"Wrote {write_kld_base}.", err=True)


def _check(models, text, task, run_id, kld_base, write_kld_base, chosen) -> None:
    from localent.errors import UsageError

    given = [name for name, v in (("--text", text), ("--task", task), ("--run", run_id), ("--kld-base", kld_base)) if v]
    if len(given) != 1:
        said = f"got {' and '.join(given)}" if given else "got none"
        raise UsageError(f"Say what to compare on with one of --text, --task, --run, --kld-base; {said}.")
    if write_kld_base and not text:
        raise UsageError("--write-kld-base goes with --text: llama-perplexity knows plain text only.")
    if write_kld_base and write_kld_base.exists():
        raise UsageError(f"{write_kld_base} is there already: name another file for --write-kld-base.")
    if kld_base and chosen["positions"]:
        raise UsageError("--positions needs a reference model: the 16 bits of a base file have no entropy to store.")
    if len(models) < 2 and not (kld_base or write_kld_base):
        raise UsageError("Name a reference and at least one candidate: localent compare REF CAND...")
    if chosen["ctx"] < 4:
        raise UsageError(f"--ctx must be at least 4 tokens, got {chosen['ctx']}.")
    for name in ("chunks", "n", "threads", "samples"):
        if chosen[name] is not None and chosen[name] < 1:
            raise UsageError(f"{'-' if name == 'n' else '--'}{name} must be at least 1, got {chosen[name]}.")


def _plan(chosen: dict):
    from localent.compare import Plan

    same = {name: chosen[name] for name in ("ctx", "threads", "gpu_layers", "noise", "free", "positions")}
    return Plan(limit=chosen["chunks"], **same)


def _with_base(models, kld_base, db, chosen, bar):
    from localent.compare import compare_base

    return compare_base(kld_base, models, db=db, plan=_plan(chosen), report=bar)


def _with_text(models, text, write_base, db, chosen, bar):
    from localent.compare import compare_text

    reference, *candidates = models
    return compare_text(reference, candidates, text, db=db, plan=_plan(chosen), write_base=write_base, report=bar)


def _with_traces(models, task, run_id, db, chosen, bar):
    from localent import compare, runs
    from localent.store import open_db

    reference, *candidates = models
    how = dict(db=db, n=chosen["n"], plan=_plan(chosen), report=bar, status=bar.say)
    if run_id:
        with open_db(db, create=False) as store:
            task = store.run(run_id).task
        return compare.compare_run(reference, candidates, run_id, chosen["data"].load(task), **how)
    names = ("seed", "temperature", "max_tokens", "shots", "max_fed", "lanes", "threads", "gpu_layers")
    settings = runs.Settings(**{name: chosen[name] for name in names})
    loaded = chosen["data"].load(task)
    return compare.compare_task(reference, candidates, loaded, samples=chosen["samples"], settings=settings, **how)


def everything(found) -> dict:
    from dataclasses import asdict

    from localent.compare.stored import plain
    from localent.report.compare import sentences

    return plain(asdict(found)) | {"sentences": sentences(found)}


class Bar:
    """A progress bar on stderr with stages: done, rate, time left. Silent where nobody watches."""

    def __init__(self):
        from tqdm import tqdm

        self._bar = tqdm(disable=None, dynamic_ncols=True, smoothing=0.1, leave=False, file=sys.stderr)
        self._stage, self._shown = "", 0.0

    def say(self, text: str) -> None:
        if not self._bar.disable:
            self._bar.set_description(text)

    def show(self, stage: str, done: int, total: int, unit: str) -> None:
        if stage != self._stage:
            self._stage = stage
            self._bar.unit = unit
            self._bar.set_description(stage, refresh=False)
            self._bar.reset(total)
        now = time.monotonic()
        if now - self._shown > 0.2 or done == total:
            self._shown = now
            self._bar.n = done
            self._bar.refresh()

    def __call__(self, progress) -> None:
        """Take a compare.Progress."""
        self.show(progress.stage, progress.n_done, progress.n_todo, progress.unit)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_) -> None:
        self._bar.close()
