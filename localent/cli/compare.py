"""localent compare: what quantization changed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localent.cli import complete
from localent.cli.arguments import Group, refuse_unused, typed
from localent.cli.fail_on import Conditions, fail_on_option, failures
from localent.cli.group import fail
from localent.cli.options import (
    DATA,
    PATH,
    ProblemFile,
    data_options,
    db_option,
    minutes_option,
    n_option,
    samples_option,
)
from localent.cli.output import echo, print_table, say
from localent.cli.progress import Bar
from localent.cli.settings import (
    answer_options,
    cache_options,
    effort_options,
    file_of_part,
    gpu_layers_option,
    lanes_option,
    max_tokens_option,
    seed_option,
    settings_options,
    shard_option,
    shots_option,
    temperature_option,
    threads_option,
)
from localent.errors import LocalentError, UsageError

if TYPE_CHECKING:
    from localent.compare import Comparison, Plan
    from localent.runs import Settings
    from localent.runs.clock import Time

OF_TRACES = (  # how REF works on a task
    *("samples", "seed", "temperature", "max_tokens", "shots", "cue", "max_fed", "paths", "lanes"),
    *("answer_by", "option_score", "time", "shard"),
)
OF_TEXT = ("ctx", "chunks")
UNUSED = {  # by what is compared on
    "--text": (*DATA, "n", *OF_TRACES, "free"),
    "--kld-base": (*DATA, "n", *OF_TRACES, "free", "noise", "ctx"),
    "--task": OF_TEXT,
    "--run": (*OF_TEXT, *OF_TRACES, "cache_type_k", "cache_type_v"),
}


OF_MODELS = (  # what a comparison of stored runs does not use
    *(*DATA, "n", *OF_TRACES, *OF_TEXT, "write_kld_base", "free", "noise", "positions", "threads", "gpu_layers"),
    *("cache_type_k", "cache_type_v", "cache_types", "fail_on", "loras"),
)


@dataclass(frozen=True, slots=True)
class Basis:
    """The basis of a comparison: exactly one of text, task, run_id and kld_base."""

    text: tuple[Path, ...]
    task: str | None
    run_id: str | None
    kld_base: Path | None
    write_kld_base: Path | None
    data: ProblemFile
    n: int | None
    samples: int
    time: Time
    loras: tuple[str, ...]

    @property
    def given(self) -> list[str]:
        """The options that name a basis."""
        named = {"--text": self.text, "--task": self.task, "--run": self.run_id, "--kld-base": self.kld_base}
        return [name for name, value in named.items() if value]


@dataclass(frozen=True, slots=True)
class Output:
    """The form in which a comparison is printed."""

    full: bool
    fail_on: Conditions
    form: str | None  # "md" | "csv" | "json" | "card"; None: for people

    def __post_init__(self) -> None:
        if self.form:
            refuse_unused(f"--{self.form}", "full")

    def text(self, found: Comparison) -> str:
        """The comparison in this form."""
        from localent.report import compare, overview, table
        from localent.report.card import card

        width = shutil.get_terminal_size((120, 24)).columns
        if self.form == "json":
            return table.json_text(everything(found))
        if self.form == "csv":
            return "\n".join(table.csv_lines(*overview.full_rows(found)))
        if self.form == "md":
            return table.table(*overview.markdown(found), markdown=True, max_width=None)
        if self.form == "card":
            return card(found, typed("--card"))
        return compare.render(found, width=width, full=True) if self.full else overview.render(found, width)


def _plan(**values: Any) -> Plan:
    from localent.compare import Cache, Plan

    for name in ("chunks", "threads"):
        _at_least(1, name, values[name])
    _at_least(4, "ctx", values["ctx"])
    names = values.pop("cache_types") or ""
    if names:
        refuse_unused("--cache-types", "cache_type_k", "cache_type_v")
    caches = tuple(Cache.named(name.strip()) for name in names.split(",") if name.strip())
    return Plan(limit=values.pop("chunks"), caches=caches, **values)


def _at_least(least: int, name: str, value: int | None) -> None:
    if value is not None and value < least:
        dashes = "-" if len(name) == 1 else "--"
        raise UsageError(f"{dashes}{name} must be at least {least}, got {value}.")


@click.command("compare")
@click.argument("models", nargs=-1, required=True, metavar="REF CAND...", shell_complete=complete.models)
@Group(
    "basis",
    Basis,
    click.option(
        "--lora",
        "loras",
        multiple=True,
        metavar="FILE[:SCALE]",
        help="REF with this LoRA adapter is a candidate; may be repeated. Any other model: MODEL+FILE[:SCALE].",
    ),
    click.option(
        "--text",
        type=PATH,
        multiple=True,
        metavar="FILE|RUN",
        help="Compare on a text: plain, in llama-perplexity's chunks; JSONL of conversations, on what the assistant"
        " says; or the traces of a run, whoever wrote them, as answers. May be repeated.",
    ),
    click.option(
        "--task", shell_complete=complete.tasks, help="Compare on reasoning traces: REF works on this task first."
    ),
    click.option(
        "--run", "run_id", shell_complete=complete.runs, help="Compare on the traces of a run that is in the database."
    ),
    click.option("--kld-base", type=PATH, help="Compare with a base file of llama-perplexity in place of REF."),
    click.option("--write-kld-base", type=PATH, help="With --text: also write such a base file of REF. Large."),
    n_option("With --task or --run: the first n problems. Default: all."),
    samples_option(text="With --task: traces per problem."),
    minutes_option("With --task: so many traces are made and compared as fit in; the same command goes on."),
    data_options,
)
@settings_options(
    seed_option("With --task: seed of sampling."),
    temperature_option("With --task: 0 always takes the most likely token."),
    max_tokens_option("With --task: maximum tokens per trace."),
    shots_option("With --task: worked examples in the prompt."),
    answer_options,
    effort_options("With --task: "),
    lanes_option("With --task: traces at a time."),
    shard_option,
)
@Group(
    "plan",
    _plan,
    click.option("--ctx", type=int, default=512, show_default=True, help="With --text: tokens per chunk."),
    click.option("--chunks", type=int, help="With --text or --kld-base: maximum number of chunks. Default: all."),
    click.option("--free/--no-free", default=True, show_default=True, help="Also let the candidates run free."),
    click.option("--noise/--no-noise", default=True, show_default=True, help="Measure the noise floor."),
    click.option("--positions", is_flag=True, help="Store a row per position in the table divergences."),
    threads_option,
    gpu_layers_option,
    cache_options,
    click.option(
        "--cache-types",
        metavar="TYPE,TYPE...",
        help="Compare REF with itself under other types of its cache, the first being the reference's. K/V: of both.",
    ),
)
@db_option
@Group(
    "output",
    Output,
    click.option("--full", is_flag=True, help="Print every figure."),
    fail_on_option,
    click.option("--md", "form", flag_value="md", help="Print the table in Markdown."),
    click.option("--csv", "form", flag_value="csv", help="Print a row per file with every figure as CSV."),
    click.option("--json", "form", flag_value="json", help="Print everything as JSON."),
    click.option("--card", "form", flag_value="card", help="Print a section for a model card."),
)
def command(models: tuple[str, ...], basis: Basis, settings: Settings, plan: Plan, db: Path, output: Output) -> None:
    """Compare candidates with a reference: their distributions, answers and reasoning paths.

    REF and CAND are names of models.toml, NAME:QUANT, paths to GGUF files, or folders of them. Prints the verdict and a
    row per file. No logits are kept. Or they are runs of one task in the database, say under another build, number of
    threads, backend or quant: then their traces are compared, and whether they are the same to the last bit.

    \b
    localent compare abacus-sft abacus-sft:Q4_K_M --task demo-number -n 50
    localent compare F16.gguf Q4_K_M.gguf --text wiki.test.raw --chunks 20
    localent compare model-Q4_K_M.gguf --kld-base base.kld
    localent compare model.gguf --cache-types f16,q8_0,q4_0 --text wiki.test.raw
    localent compare base.gguf --lora adapter.gguf --task gsm8k --data test.jsonl
    localent compare 3f2a9c 81b07d
    localent compare f16.gguf q4.gguf --task gsm8k --shard 3/16
    """
    from localent.compare import OtherTokensError, are_runs

    if not basis.given and len(models) > 1 and are_runs(models, db):
        show_runs(models, db, output)
        return
    models = _files(models)
    if basis.kld_base:
        refuse_unused("--kld-base", "loras")
    models = (*models, *(f"{models[0]}+{lora}" for lora in basis.loras))
    _check(models, basis, plan)
    with Bar() as bar:
        if basis.kld_base:
            found = _with_base(models, basis.kld_base, plan, db, bar)
        elif basis.text:
            try:
                found = _with_text(models, basis, plan, db, bar)
            except OtherTokensError as error:
                _by_bytes(error, models, basis, plan, output, bar)
                return
        else:
            settings = replace(settings, threads=plan.threads, gpu_layers=plan.gpu_layers)
            settings = replace(settings, cache_type_k=plan.cache_type_k, cache_type_v=plan.cache_type_v)
            if basis.task and (db := file_of_part(db, settings)) and settings.shard:
                _make_part(models, basis, settings, plan, db, bar)
                return
            found = _with_traces(models, basis, settings, plan, db, bar)
    if output.form == "json":
        click.echo(output.text(found))
    elif found.candidates:
        echo(output.text(found))
    if said := failures(output.fail_on, list(zip(found.names, found.candidates, strict=True))):
        fail(" ".join(said), 1)
    if basis.write_kld_base:
        echo(f"Wrote {basis.write_kld_base}.", err=True)


def _files(models: tuple[str, ...]) -> tuple[str, ...]:
    """The models named; in place of a folder its other files, the largest first, which is the better reference."""
    from localent.models import in_folders

    found: list[str] = []
    for name in models:
        if Path(name).is_dir():
            largest_first = sorted(in_folders([name]), key=lambda file: -Path(file).stat().st_size)
            found += [file for file in largest_first if file not in found]
        else:
            found.append(name)
    return tuple(found)


def _check(models: tuple[str, ...], basis: Basis, plan: Plan) -> None:
    """Raise UsageError for a request that cannot be met, before any work."""
    from localent.compare.models import repeated

    _check_basis(basis)
    if basis.kld_base and plan.positions:
        raise UsageError("--positions needs a reference model: the 16 bits of a base file have no entropy to store.")
    if plan.caches and basis.kld_base:
        raise UsageError("--cache-types compares a model with itself: leave --kld-base out.")
    repeated(models, plan)  # refuses several models under --cache-types, before any text is read
    if len(models) < 2 and not (basis.kld_base or basis.write_kld_base or plan.caches):
        raise UsageError("Name a reference and at least one candidate: localent compare REF CAND...")


def _check_basis(basis: Basis) -> None:
    if len(basis.given) != 1:
        got = f"got {' and '.join(basis.given)}" if basis.given else "for example --task demo-number -n 50"
        raise UsageError(
            f"Say what to compare files on with one of --text, --task, --run, --kld-base; {got}. Runs of the database"
            " (--db) need none."
        )
    refuse_unused(basis.given[0], *UNUSED[basis.given[0]])
    base = basis.write_kld_base
    if base and not basis.text:
        raise UsageError("--write-kld-base needs --text: llama-perplexity reads plain text only.")
    if base and base.exists():
        raise UsageError(f"{base} exists already: name another file for --write-kld-base.")
    for name, value in (("n", basis.n), ("samples", basis.samples)):
        _at_least(1, name, value)


def _with_base(models: tuple[str, ...], base: Path, plan: Plan, db: Path, bar: Bar) -> Comparison:
    from localent.compare import compare_base

    return compare_base(base, models, db=db, plan=plan, report=bar)


def _with_text(models: tuple[str, ...], basis: Basis, plan: Plan, db: Path, bar: Bar) -> Comparison:
    from localent.compare import compare_text
    from localent.runs.passages import read_passages

    passages = read_passages([str(text) for text in basis.text], db)
    return compare_text(models, passages, db=db, plan=plan, write_base=basis.write_kld_base, report=bar)


def _by_bytes(
    error: LocalentError, models: tuple[str, ...], basis: Basis, plan: Plan, output: Output, bar: Bar
) -> None:
    """Print models with different tokenizers side by side, where nothing was asked for that needs equal tokens."""
    from dataclasses import asdict

    from localent.analysis.as_json import plain
    from localent.compare import compare_bytes
    from localent.report.by_bytes import sentences, table_of
    from localent.report.table import json_text

    if basis.write_kld_base or plan.positions or output.fail_on or output.form == "card":
        raise error
    if len(basis.text) > 1 or basis.text[0].suffix in (".jsonl", ".ndjson") or not basis.text[0].is_file():
        raise error
    found = compare_bytes(models, basis.text[0], plan=plan, report=bar)
    if output.form == "json":
        click.echo(json_text(plain(asdict(found))))
        return
    print_table(*table_of(found), output.form)
    say(sentences(found), output.form)


def _with_traces(
    models: tuple[str, ...], basis: Basis, settings: Settings, plan: Plan, db: Path, bar: Bar
) -> Comparison:
    from localent import compare
    from localent.store import open_db

    listener = bar.listener(basis.time)
    if basis.run_id:
        with open_db(db, create=False) as store:
            task = basis.data.load(store.run(basis.run_id).task)
        on = compare.RunTraces(run_id=basis.run_id, task=task, n=basis.n)
        return compare.compare_run(models, on, db=db, plan=plan, listener=listener)
    assert basis.task is not None
    attempts = compare.Attempts(n=basis.n, samples=basis.samples, settings=settings)
    task = basis.data.load(basis.task)
    return compare.compare_task(models, task, db=db, attempts=attempts, plan=plan, listener=listener)


def show_runs(run_ids: tuple[str, ...], db: Path, output: Output) -> None:
    """Compare runs of the database, and print a row per run, sentences, and the flips."""
    from localent.compare import compare_runs
    from localent.report import runs_beside
    from localent.report.table import json_text

    form = output.form
    refuse_unused("A comparison of runs", *OF_MODELS)
    if form == "card":
        raise UsageError("--card is for files beside a reference: runs have --md, --csv and --json.")
    found = compare_runs(run_ids, db)
    if form == "json":
        click.echo(json_text(runs_beside.everything(found)))
        return
    print_table(*(runs_beside.pairs_table if form == "csv" else runs_beside.runs_table)(found), form)
    say(runs_beside.sentences(found), form)
    if form is None and (heading := runs_beside.flips_shown(found)):
        say(heading, form)
        print_table(*runs_beside.flips_table(found), form)


def _make_part(models: tuple[str, ...], basis: Basis, settings: Settings, plan: Plan, db: Path, bar: Bar) -> None:
    """Let all models generate their part; what was generated is compared once the parts are merged."""
    from localent import compare

    refuse_unused("--shard", "time", "positions", "full", "fail_on", "form")
    assert basis.task is not None
    attempts = compare.Attempts(n=basis.n, samples=basis.samples, settings=settings)
    task, listener = basis.data.load(basis.task), bar.listener(basis.time)
    outcome = compare.make_part(models, task, db=db, attempts=attempts, plan=plan, listener=listener)
    bar.hide()
    echo(
        f"Part {settings.shard} has its {outcome.n_done} traces of each model, in {db}: merge the parts, then"
        " 'localent compare' with --db on the merged file, without --shard, compares.",
        err=True,
    )


def everything(found: Comparison) -> dict[str, object]:
    """A comparison with its sentences, as JSON values."""
    from dataclasses import asdict

    from localent.analysis.as_json import plain
    from localent.report.compare import sentences

    figures = {name: plain(value) for name, value in asdict(found).items()}
    return figures | {"sentences": sentences(found)}
