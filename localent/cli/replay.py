"""localent replay: abstaining, voting and stopping early, replayed on a stored run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from localent.cli import complete
from localent.cli.options import db_option, format_options
from localent.cli.output import db_words, echo, print_records, print_table, say, say_above

if TYPE_CHECKING:
    from localent.analysis.recorded import Recorded

REPLAY_NOTES = (
    "change: accuracy minus that of whole traces (stop), of the majority vote (vote), of answering all (abstain)."
    " [ ]: 95 % interval, paired by problem. Tokens saved: relative to what that baseline generates. Net of probes:"
    " with what was fed to know the signal counted as spent; a rule that acts pays for every probe up to its stop.",
)
STOPPED = "A rule ({stop}) ended traces of this run while they were written: whole traces are what it left of them."


@click.command("replay")
@click.argument("run_id", metavar="RUN", shell_complete=complete.runs)
@click.option("--policy", default="all", show_default=True, help="all, stop, vote, abstain, or one policy by name.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the split of the problems into halves.")
@db_option
@format_options
def command(run_id: str, policy: str, seed: int, db: Path, form: str | None) -> None:
    """Replay a stored RUN: the gain from abstaining, voting or stopping early. No model is needed.

    Settings are chosen on one half of the problems and reported on the other.

    A rule that stops traces early can act while a model writes: see 'localent run --stop'.

    \b
    localent replay 3f2a --db localent-demo.db
    localent replay 3f2a --policy stop
    """
    from localent.analysis import load
    from localent.analysis.replay import COVERAGES, replay
    from localent.report.science import replay_table, risk_coverage_table
    from localent.store import open_db

    with open_db(db, readonly=True) as store:
        run = load.run(store, run_id)
        found = replay(run, policy=policy, seed=seed)
        stop = store.run(run_id).settings.get("stop")
    machine = form in ("csv", "json")
    chosen, reported = found.n_chosen_on, found.n_reported_on
    say_above([f"Run {found.run_id}: chosen on {chosen} problems, reported on {reported}."], form)
    print_records(found.outcomes, replay_table, form)
    if not machine and policy in ("all", "abstain"):
        echo()
        print_table(*risk_coverage_table(found.risk_coverage, COVERAGES), form)
    say([*REPLAY_NOTES, *found.notes, *[STOPPED.format(stop=stop)] * bool(stop)], form)
    if best := next((row.stop for row in found.outcomes if row.stop), None):
        say([f"Of the rules that can stop a model while it writes, this one comes first. {promise(run, best)}"], form)
        echo(f"  {acting(best, found.run_id, db)}", err=machine)  # in one piece, so that it can be copied


def promise(run: Recorded, stop: str) -> str:
    """What a stop saves and costs on the run, as `run --stop` will say it."""
    from localent import stopping
    from localent.analysis.acting import promised
    from localent.report import acting

    return acting.promise(promised(run, stopping.parse(stop)))


def acting(stop: str, run_id: str, db: Path) -> str:
    """The line that makes a run act by a stop."""
    return f"localent run MODEL TASK --stop {stop} --stop-from {run_id}{db_words(db)}"
