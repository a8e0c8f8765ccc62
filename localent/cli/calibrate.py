"""localent calibrate: a signal of a stored run turned into a probability of being right."""

from __future__ import annotations

from pathlib import Path

import click

from localent.cli import complete
from localent.cli.options import db_option
from localent.cli.output import print_table, say, say_above


@click.command("calibrate")
@click.argument("run_id", metavar="RUN", shell_complete=complete.runs)
@click.option(
    "--signal", help="A signal by its name or key ('localent signals'). Default: the one of the best Brier score."
)
@click.option(
    "--method",
    type=click.Choice(["auto", "isotonic", "platt"]),
    default="auto",
    show_default=True,
    help="The form of the map. auto: that of the better Brier score.",
)
@db_option
@click.option("--json", "json_", is_flag=True, help="Print everything as JSON.")
def command(run_id: str, signal: str | None, method: str, db: Path, json_: bool) -> None:
    """Turn a signal of a stored RUN into the probability of being right, and store the map. No model is needed.

    Every figure is of problems that neither the map nor the choice of the signal has seen. Where no signal is better
    than the share of right traces by a standard error, that share is stated for every trace. 'localent ask --calibrated
    RUN' then says how likely an answer to a question of your own is right. A run has one map: a later one replaces it.

    \b
    localent calibrate 3f2a --db localent-demo.db
    localent calibrate 3f2a --signal answer_entropy_end --method platt
    """
    from localent.analysis import load
    from localent.analysis.calibration import calibrate
    from localent.report import calibration as report
    from localent.report.table import json_text
    from localent.store import open_db

    with open_db(db, create=False) as store:
        found = calibrate(load.run(store, run_id), signal=signal, method=None if method == "auto" else method)
        store.add_calibration(**found.row())
    if json_:
        click.echo(json_text(report.everything(found)))
        return
    say_above(report.heading(found).split("\n"))
    print_table(*report.judged_table(found), None)
    click.echo()
    print_table(*report.bins_table(found), None)
    say(report.sentences(found), None)
