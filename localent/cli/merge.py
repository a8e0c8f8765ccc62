"""localent merge: several databases into one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from localent.cli.group import note_databases
from localent.cli.options import PATH, format_options
from localent.cli.output import print_table, say
from localent.cli.progress import Bar

if TYPE_CHECKING:
    from localent.store.coverage import Coverage
    from localent.store.merge import Conflict, Merged

LISTED = 5  # conflicts, parts and attempts told one by one


@click.command("merge")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=PATH, callback=note_databases)
@click.option(
    "-o", "--output", required=True, type=PATH, help="The database to merge into; made where it is not there."
)
@click.option("--apart", is_flag=True, help="Keep runs that differ in their settings as runs of their own.")
@click.option(
    "--mixed",
    is_flag=True,
    help="Join runs that differ in the machine alone (processor, versions, threads, GPU) to one, marked as mixed.",
)
@format_options
def command(files: tuple[Path, ...], output: Path, apart: bool, mixed: bool, form: str | None) -> None:
    """Merge databases: the parts of a run made with --shard, in any order, with any overlap, as often as you like.

    Prints how much of each run is there and what is missing. A merge that was stopped goes on when it is called again.
    Traces that two files hold with other bits are reported, and the first one stays. Verdicts and calibrations
    are not merged: 'localent study' and 'localent calibrate' make them from the merged traces without running a model.

    \b
    localent run model.gguf gsm8k --shard 1/2 --db 1.db
    localent run model.gguf gsm8k --shard 2/2 --db 2.db
    localent merge 1.db 2.db -o all.db
    """
    from localent.store import open_db
    from localent.store.coverage import coverage
    from localent.store.merge import merge

    with Bar() as bar:
        found = merge(
            files,
            output,
            apart=apart,
            mixed=mixed,
            report=lambda name, done, todo: bar.show(name, done, todo, "trace"),
        )
    with open_db(output, readonly=True) as store:
        runs = coverage(store)
    names = ["run", "model", "task", "problems", "samples", "traces", "missing", "machines", "builds"]
    print_table(names, [_row(one) for one in runs], form)
    about = [sentence for one in runs for sentence in about_run(one)]
    say([*sentences(found), *about, f"Merged into {output}."], form)


def _row(one: Coverage) -> list[object]:
    counts = [one.n_problems, one.samples, one.n_traces, one.n_missing]
    return [one.run_id, one.model, one.task, *counts, len(one.hosts), max(1, len(one.builds))]


def sentences(found: Sequence[Merged]) -> list[str]:
    """Sentences on what was new, doubled or left out, and on what did not agree."""
    n_new, n_there = sum(one.n_new for one in found), sum(one.n_there for one in found)
    said = [f"{n_new:,} new traces from {len(found)} files."]
    if n_there:
        doubled = _listed([f"{one.path.name} {one.n_there:,}" for one in found if one.n_there])
        said.append(f"{n_there:,} were there already, the same to the last bit: {doubled}.")
    grown, verdicts = sum(one.n_grown for one in found), sum(one.n_verdicts for one in found)
    maps, comparisons = sum(one.n_calibrations for one in found), sum(one.n_comparisons for one in found)
    said += [f"{grown:,} of them gained probes."] if grown else []
    said += [f"{verdicts} verdicts were left out: judge the merged traces with 'localent study'."] if verdicts else []
    said += [f"{maps} calibrations were left out: make them again with 'localent calibrate'."] if maps else []
    said += [f"{comparisons} comparisons of runs that were joined were left out."] if comparisons else []
    skewed = list(dict.fromkeys(host for one in found for host in one.skewed))
    said += [f"The clock of {host} is ahead or went back: only the times of its sessions are off." for host in skewed]
    return said + _conflicts([conflict for one in found for conflict in one.conflicts], _n_conflicts(found))


def _n_conflicts(found: Sequence[Merged]) -> int:
    return sum(one.n_conflicts for one in found)


def _conflicts(conflicts: Sequence[Conflict], n: int) -> list[str]:
    said = [
        f"Trace {conflict.trace_id} of run {conflict.run_id} has other bits in {conflict.path}"
        f" ({', '.join(conflict.hosts)}) than before ({', '.join(conflict.kept_hosts)}): the first one stays."
        for conflict in conflicts[:LISTED]
    ]
    return said + ([f"{n - LISTED} more traces differ."] if n > LISTED else [])


# ── each run ──────────────────────────────────────────────────────────────────────────────────────────────────────


def about_run(one: Coverage) -> Iterator[str]:
    """Sentences on what a run lacks, and on the machines of a mixed one."""
    from localent.store.coverage import described

    if one.missing:
        n = one.n_missing + one.n_traces
        where = f" Parts: {_listed(_parts(one))}." if one.shards else ""
        names = _listed([f"{problem} sample {sample}" for problem, sample in one.missing])
        yield f"Run {one.run_id} lacks {one.n_missing:,} of {n:,} traces.{where} Problems: {names}."
    if one.is_mixed:
        made = [
            f"{maker.host}{f' ({about})' if (about := described(maker.build)) else ''} {maker.n_traces:,}"
            for maker in one.makers
        ]
        yield (
            f"Run {one.run_id} is mixed, its traces were made by {len(one.builds)} builds: {'; '.join(made)}."
            " None of these machines repeats all of it to the last bit."
        )


def _parts(one: Coverage) -> list[str]:
    """The parts that lack traces, if the run was cut up in one way: "3/16 lacks 20"."""
    from localent.runs.shard import Shard, parse

    cuts = {parse(text).of for text in one.shards}
    if len(cuts) > 1:
        return [f"cut up in {len(cuts)} ways"]
    (of,) = cuts
    lacking = Counter(k for k in range(1, of + 1) for attempt in one.missing if Shard(k, of).has(*attempt))
    return [f"{Shard(k, of)} lacks {n:,}" for k, n in sorted(lacking.items())]


def _listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more:,} more" if more > 0 else "")
