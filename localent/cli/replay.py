"""localent replay: abstaining, voting and stopping early, replayed on a stored run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from localent.cli import complete
from localent.cli.options import DEFAULT_DB, db_option, format_options
from localent.cli.output import echo, print_records, print_table, say, say_above

if TYPE_CHECKING:
    from localent.analysis.replay import Replay

REPLAY_NOTES = (
    "change: accuracy minus that of whole traces (stop), of the majority vote (vote), of answering all (abstain)."
    " [ ]: 95 % interval, paired by problem. Tokens saved: relative to what that baseline generates.",
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
        found = replay(load.run(store, run_id), policy=policy, seed=seed)
        stop = store.run(run_id).settings.get("stop")
    machine = form in ("csv", "json")
    chosen, reported = found.n_chosen_on, found.n_reported_on
    say_above([f"Run {found.run_id}: chosen on {chosen} problems, reported on {reported}."], form)
    print_records(found.outcomes, replay_table, form)
    if not machine and policy in ("all", "abstain"):
        echo()
        print_table(*risk_coverage_table(found.risk_coverage, COVERAGES), form)
    say([*REPLAY_NOTES, *found.notes, *[STOPPED.format(stop=stop)] * bool(stop)], form)
    sentence, line = acting(found, db)
    if sentence:
        say([sentence], form)
    if line:
        echo(f"  {line}", err=machine)  # in one piece, so that it can be copied


def acting(found: Replay, db: Path) -> tuple[str, str]:
    """The best of the rules that can stop a model while it writes: a sentence, and the line that acts by it."""
    from localent.report.numbers import short

    best = next((row for row in found.outcomes if row.stop), None)
    if best is None:
        return "", ""
    where = "" if str(db) == DEFAULT_DB else f" --db {shlex.quote(str(db))}"
    line = f"localent run MODEL TASK --stop {best.stop} --stop-from {found.run_id}{where}"
    saved = best.tokens_saved_net.value or 0.0
    tokens = f"saves {saved:.0%} of the tokens" if saved > 0 else f"takes {-saved:.0%} more tokens than whole traces"
    costs = f"Here it {tokens}, probes included, and changes accuracy by {short(best.change)}"
    return f"Of the rules that can stop a model while it writes, '{best.policy}' comes first. {costs}:", line
