"""localent compare: what quantization changed."""

from __future__ import annotations

import json
import shutil

import click

from localent.cli.options import DATA, PATH, data_options, db_option, gpu_layers_option, refuse_unused
from localent.cli.progress import Bar

OF_TRACES = ("samples", "seed", "temperature", "max_tokens", "shots", "max_fed", "lanes")  # how REF works on a task
OF_TEXT = ("ctx", "chunks")
UNUSED = {  # by what is compared on
    "--text": (*DATA, "n", *OF_TRACES, "free"),
    "--kld-base": (*DATA, "n", *OF_TRACES, "free", "noise", "ctx"),
    "--task": OF_TEXT,
    "--run": (*OF_TEXT, *OF_TRACES),
}


@click.command("compare")
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
def command(models, text, task, run_id, kld_base, write_kld_base, db, json_, full, **chosen) -> None:
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
    refuse_unused(given[0], *UNUSED[given[0]])
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

    return compare_text(models, text, db=db, plan=_plan(chosen), write_base=write_base, report=bar)


def _with_traces(models, task, run_id, db, chosen, bar):
    from localent import compare, runs
    from localent.store import open_db

    plan, listener = _plan(chosen), runs.Listener(bar, bar.say)
    if run_id:
        with open_db(db, create=False) as store:
            loaded = chosen["data"].load(store.run(run_id).task)
        on = compare.RunTraces(run_id=run_id, task=loaded, n=chosen["n"])
        return compare.compare_run(models, on, db=db, plan=plan, listener=listener)
    names = ("seed", "temperature", "max_tokens", "shots", "max_fed", "lanes", "threads", "gpu_layers")
    settings = runs.Settings(**{name: chosen[name] for name in names})
    attempts = compare.Attempts(n=chosen["n"], samples=chosen["samples"], settings=settings)
    loaded = chosen["data"].load(task)
    return compare.compare_task(models, loaded, db=db, attempts=attempts, plan=plan, listener=listener)


def everything(found) -> dict:
    from dataclasses import asdict

    from localent.compare.stored import plain
    from localent.report.compare import sentences

    return plain(asdict(found)) | {"sentences": sentences(found)}
