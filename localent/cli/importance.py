"""localent importance: the steps that decide the answer, by resampling them."""

from __future__ import annotations

from pathlib import Path

import click

from localent.cli import complete
from localent.cli.options import db_option, format_options
from localent.cli.output import print_records, say
from localent.errors import UsageError


@click.command("importance")
@click.argument("run_id", metavar="RUN", shell_complete=complete.runs)
@click.option(
    "--by", type=click.Choice(["p_true", "shift"]), default="p_true", show_default=True, help="What to rank by."
)
@click.option("-n", type=click.IntRange(1), default=20, show_default=True, help="Steps to show; --csv and --json: all.")
@db_option
@format_options
def command(run_id: str, by: str, n: int, db: Path, form: str | None) -> None:
    """Rank the steps of a stored RUN by what changes when they are resampled. No model is needed.

    Rollouts that start before a step resample it, those that start after it keep it: the difference between their
    answers is what the step contributes. Make them with 'localent run --rollouts 32 --every-step'; the view
    step_importance has all steps.

    \b
    localent importance 3f2a --db runs.db
    localent importance 3f2a --by shift --csv > steps.csv
    """
    from localent.report import importance as report
    from localent.store import open_db, traces

    with open_db(db, readonly=True) as store:
        steps = traces.importance_of_run(store, run_id)
        run_id = store.run(run_id).run_id
    if not steps:
        raise UsageError(
            f"Run {run_id} has no rollouts before and after a step: make them with 'localent run MODEL TASK --rollouts"
            " 32 --every-step'."
        )
    ranked = report.ranked(steps, by)
    print_records(ranked if form in ("csv", "json") else ranked[:n], report.table, form)
    say(report.sentences(steps), form)
