"""localent merge: several databases into one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from localent.cli.group import note_databases
from localent.cli.options import PATH, format_options
from localent.cli.output import print_table, say
from localent.cli.progress import Bar

if TYPE_CHECKING:
    from localent.store.merge import Coverage, Merged

LISTED = 5  # conflicts told one by one


@click.command("merge")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=PATH, callback=note_databases)
@click.option(
    "-o", "--output", required=True, type=PATH, help="The database to merge into; made where it is not there."
)
@click.option("--apart", is_flag=True, help="Keep runs that differ in their settings as runs of their own.")
@format_options
def command(files: tuple[Path, ...], output: Path, apart: bool, form: str | None) -> None:
    """Merge databases: the parts of a run made with --shard, in any order, with any overlap, as often as you like.

    Prints how much of each run is there. A merge that was stopped goes on when it is called again. Traces that two
    files hold with other bits are reported, and the first one stays. Verdicts and calibrations
    are not merged: 'localent study' and 'localent calibrate' make them from the merged traces without running a model.

    \b
    localent run model.gguf gsm8k --shard 1/2 --db 1.db
    localent run model.gguf gsm8k --shard 2/2 --db 2.db
    localent merge 1.db 2.db -o all.db
    """
    from localent.store import open_db
    from localent.store.merge import coverage, merge

    with Bar() as bar:
        found = merge(files, output, apart=apart, report=lambda name, done, todo: bar.show(name, done, todo, "trace"))
    with open_db(output, readonly=True) as store:
        runs = coverage(store)
    names = ["run", "model", "task", "problems", "samples", "traces", "missing", "machines"]
    print_table(names, [_row(one) for one in runs], form)
    say([*sentences(found), f"Merged into {output}."], form)


def _row(one: Coverage) -> list[object]:
    counts = [one.n_problems, one.samples, one.n_traces, one.n_missing]
    return [one.run_id, one.model, one.task, *counts, len(one.hosts)]


def sentences(found: list[Merged]) -> list[str]:
    """Sentences on what was new, doubled or left out, and on what did not agree."""
    n_new, n_there = sum(one.n_new for one in found), sum(one.n_there for one in found)
    said = [f"{n_new:,} new traces from {len(found)} files."]
    said += [f"{n_there:,} were there already, the same to the last bit."] if n_there else []
    grown, verdicts = sum(one.n_grown for one in found), sum(one.n_verdicts for one in found)
    maps = sum(one.n_calibrations for one in found)
    said += [f"{grown:,} of them gained probes."] if grown else []
    said += [f"{verdicts} verdicts were left out: judge the merged traces with 'localent study'."] if verdicts else []
    said += [f"{maps} calibrations were left out: make them again with 'localent calibrate'."] if maps else []
    conflicts = [conflict for one in found for conflict in one.conflicts]
    for conflict in conflicts[:LISTED]:
        said.append(
            f"Trace {conflict.trace_id} of run {conflict.run_id} has other bits in {conflict.path}"
            f" ({', '.join(conflict.hosts)}) than before ({', '.join(conflict.kept_hosts)}): the first one stays."
        )
    return said + ([f"{len(conflicts) - LISTED} more traces differ."] if len(conflicts) > LISTED else [])
