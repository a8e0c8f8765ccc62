"""localent signals: how well each signal separates wrong traces from right ones."""

from __future__ import annotations

from pathlib import Path

import click

from localent.cli import complete
from localent.cli.options import db_option, format_options
from localent.cli.output import echo, print_records, print_table, say, say_above, tell

SIGNALS_NOTES = (
    "AUROC: probability that a wrong trace scores above a right one; 0.5 is chance. [ ]: 95 % interval, clustered by"
    " problem.",
    "within length: AUROC over pairs of traces of equally many steps and like numbers of tokens. within question: over"
    " pairs of one question. PRR: 1 is an oracle, 0 is chance. ECE, Brier: for signals that state a probability; in"
    " brackets the ECE that so few traces would show if every probability were true.",
    "Readings, after Holm's rule. beyond length and question: it separates with each held fixed. question"
    " open: too few questions have right and wrong traces, or the signal is of the other samples. explained by: with"
    " that held fixed nothing is shown, and less than the whole. undecided beyond: neither is shown. inside the noise:"
    " right and wrong differ by less than the standard error of one estimate. too few: right or wrong traces of fewer"
    " than ten problems.",
)


ALL_ALIKE = (
    "All traces are {alike}, so nothing can tell right from wrong: extend the run with a larger -n, or take {other}"
    " problems."
)


@click.command("signals")
@click.argument("run_id", metavar="RUN", shell_complete=complete.runs)
@db_option
@format_options
@click.option("--finished-only", is_flag=True, help="Leave out traces that ran into the token limit.")
@click.option("--at", type=click.FloatRange(0, 1), default=1.0, help="Use only this share of each trace.")
def command(run_id: str, db: Path, form: str | None, finished_only: bool, at: float) -> None:
    """Rank the signals that separate wrong traces from right ones, compared with length and difficulty.

    RUN is a run's id, or its beginning ('localent runs' lists them). Baselines, on whole traces, come first.

    \b
    localent signals 3f2a --db localent-demo.db
    localent signals 3f2a --at 0.5
    """
    from localent.analysis import load
    from localent.analysis import signals as analysis
    from localent.report.science import ideal_sentences, ideal_table, signals_table
    from localent.store import open_db
    from localent.tasks.hesitation import WORDS

    with open_db(db, readonly=True) as store:
        found = analysis.signals(load.run(store, run_id), finished_only=finished_only, at=at)
    which = "finished traces" if finished_only else "traces"
    counts = f"{found.n_traces:,} {which} of {found.n_problems:,} problems, {found.n_wrong:,} wrong"
    counts += "" if at == 1 else f"; signals of their first {at:.0%}"
    say_above([f"Run {found.run_id}: {counts}."], form)
    if found.n_traces and found.n_wrong in (0, found.n_traces) and form not in ("csv", "json"):
        alike, other = ("wrong", "easier") if found.n_wrong else ("right", "harder")
        tell(ALL_ALIKE.format(alike=alike, other=other))
        return
    print_records(found.rows, signals_table, form)
    if found.beside and form not in ("csv", "json"):
        echo()
        print_table(*ideal_table([(found.run_id, found.beside)]), form)
        say(ideal_sentences(found.beside), form)
    lacking = dict.fromkeys(f"{row.missing}: {row.auroc.n_missing} traces" for row in found.rows if row.missing)
    missing = [f"Missing values are left out, never imputed: {'; '.join(lacking)}."] if lacking else []
    say([*SIGNALS_NOTES, f"Hesitation words: {', '.join(WORDS)}.", *missing, *found.notes], form)
