"""localent run: traces, entropies and answer distributions of one model on one task."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localent.cli import complete
from localent.cli.arguments import Finite, Group, refuse_unused
from localent.cli.options import (
    Problems,
    data_options,
    db_option,
    minutes_option,
    n_option,
    rollouts_option,
    samples_option,
)
from localent.cli.output import db_words, dump_summary, echo, how_called, say, show_summary, summary_of
from localent.cli.progress import Bar
from localent.cli.settings import (
    effort_options,
    file_of_part,
    filter_options,
    hardware_options,
    lanes_option,
    lora_option,
    probes_option,
    prompt_options,
    recommended_option,
    rpc_option,
    seed_option,
    settings_options,
    shard_option,
    temperature_option,
    trace_options,
)
from localent.cli.stopping import Stopping, stopping_options, told

if TYPE_CHECKING:
    from localent.runs import Outcome, Settings
    from localent.runs.clock import Time
    from localent.tasks import Task

NEXT = (
    ("show", "a trace in colour"),
    ("report", "all of it on one page"),
    ("signals {run}", "what tells right from wrong"),
)


@dataclass(frozen=True, slots=True)
class Machines:
    """Where the traces are made: here, or on the workers of a cluster."""

    dask: str | None
    workers: int | None
    fetch: bool

    def __post_init__(self) -> None:
        if self.dask and self.workers:
            raise click.UsageError("--dask and --workers are two ways to do it: give one of them.")
        if self.dask or self.workers:
            refuse_unused(
                "--dask" if self.dask else "--workers", "rollouts", "every_step", *(["fetch"] * (not self.dask))
            )
        if not self.dask:
            refuse_unused("A run without --dask", "fetch")

    def run(self, model: str, task: Task, settings: Settings, **where: Any) -> Outcome:
        """Make the traces that are missing. where: db, samples, listener."""
        from localent import runs

        if not (self.dask or self.workers):
            return runs.run(model, task, settings=settings, **where)
        from localent import cluster

        if self.workers and settings.threads is None:
            from localent.machine.hardware import usable_cores

            settings = replace(settings, threads=max(1, usable_cores() // self.workers))
        of = cluster.Cluster(self.dask, self.workers or 0, self.fetch)
        return cluster.run(model, task, settings=settings, cluster=of, **where)


@click.command("run")
@click.argument("model", shell_complete=complete.models)
@lora_option
@Group(
    "problems",
    Problems,
    click.argument("task", shell_complete=complete.tasks),
    n_option(),
    data_options,
    samples_option(),
    rollouts_option,
)
@settings_options(
    seed_option("Seed of sampling and of the choice of worked examples."),
    temperature_option(),
    filter_options,
    recommended_option,
    trace_options,
    prompt_options,
    click.option("--probe/--no-probe", default=True, show_default=True, help="Probe the answer along each trace."),
    probes_option,
    click.option(
        "--epsilon",
        type=Finite(),
        default=0.01,
        show_default=True,
        help="A probe ends below this unexplored probability.",
    ),
    effort_options(),
    click.option("--measure-top-k", type=int, default=0, help="Also store measures over the k most likely tokens."),
    click.option(
        "--alternatives",
        type=click.IntRange(0, 50),
        default=0,
        help="Also store the N most likely tokens of every prediction.",
    ),
    lanes_option("Traces at a time. Default: the fastest number, measured once and remembered."),
    hardware_options,
    shard_option,
)
@Group(
    "machines",
    Machines,
    click.option(
        "--dask", metavar="ADDRESS", help="Let the workers of this dask scheduler make the traces: tcp://host:8786."
    ),
    click.option(
        "--workers",
        type=click.IntRange(1),
        help="Let so many processes of this machine make them.",
    ),
    click.option("--fetch", is_flag=True, help="With --dask: workers that lack the model fetch it from the hub."),
)
@rpc_option
@stopping_options(db_option)
@minutes_option()
@click.option("--json", "json_", is_flag=True, help="Print the summary as JSON.")
def command(
    model: str, problems: Problems, settings: Settings, machines: Machines, stopping: Stopping, time: Time, json_: bool
) -> None:
    """Run MODEL on TASK and store every trace, token, step and probe. A stopped run continues where it was.

    MODEL is a name of models.toml, NAME:QUANT, OWNER/REPO:QUANT of the hub, or a path to any GGUF. TASK is a name that
    'localent tasks' lists, or any name with --data FILE.

    \b
    localent run abacus-sft demo-number -n 50
    localent run qwen2.5-0.5b-instruct:Q8_0 gsm8k -n 100 --samples 4
    localent run model.gguf mine --data mine.csv --question prompt --answer gold
    localent run base.gguf arc-easy --answer-by text --option-score sum
    localent run model.gguf gsm8k --shard 3/16
    localent run model.gguf gsm8k --dask tcp://head:8786
    localent run model.gguf gsm8k -n 5 --rollouts 32 --every-step
    localent run model.gguf gsm8k --stop certain_leader --stop-from 3f2a
    """
    from localent.runs import extend

    task, samples = problems.load(), problems.samples
    settings, promise = stopping.applied(settings)
    db = file_of_part(stopping.db, settings)
    with Bar() as bar:
        listener = bar.listener(time)
        outcome = machines.run(model, task, settings, db=db, samples=samples, listener=listener)
        if problems.rollouts and not outcome.n_left:
            wanted = extend.Wanted(
                problems=task.ids, samples=samples, m=problems.rollouts, every_step=problems.every_step
            )
            wanted = replace(wanted, shard=settings.shard)
            extend.add_probes(model, task, outcome.run_id, db=db, wanted=wanted, listener=listener)
    echo(described(outcome, db), err=True)
    if outcome.n_left:
        echo(unfinished(outcome, "trace", time), err=True)
    if not outcome.n_done and settings.shard:
        return
    (dump_summary if json_ else show_summary)(summary_of(db, outcome.run_id))
    if not (json_ or settings.shard):
        echo(following(outcome.run_id, db), err=True)
    if settings.stop and not settings.shard:
        say(told(db, outcome.run_id, promise), "json" if json_ else None)


def following(run_id: str, db: Path) -> str:
    """What to do next, in lines that can be typed."""
    localent, where = how_called(), db_words(db)
    lines = [f"{localent} {words.format(run=run_id[:4])}{where}" for words, _ in NEXT]
    width = max(map(len, lines))
    told = (f"  {line.ljust(width)}  # {about}" for line, (_, about) in zip(lines, NEXT, strict=True))
    return "\n".join(["\nNext:", *told])


def described(outcome: Outcome, db: str | Path) -> str:
    """One line on what an invocation did."""
    total = outcome.n_before + outcome.n_new
    if not (total or outcome.n_left):
        return f"This part of run {outcome.run_id} has no traces: there are more parts than attempts. It is in {db}."
    if not (outcome.n_new or outcome.n_left):
        return f"Run {outcome.run_id} has all {total} traces already: nothing to do. They are in {db}."
    before = f", {outcome.n_before} were there before" if outcome.n_before else ""
    return f"Run {outcome.run_id}: {outcome.n_new} new traces{before}. They are in {db}."


def unfinished(outcome: Outcome, unit: str, time: Time) -> str:
    """One line on what there was no time for."""
    from localent.runs.progress import unfinished

    return unfinished(outcome.n_done, outcome.n_done + outcome.n_left, unit, time)
