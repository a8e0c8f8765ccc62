"""localent demo: a tour on the bundled models."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from localent.cli.arguments import Group, refuse_unused
from localent.cli.compare import everything
from localent.cli.drawing import style
from localent.cli.options import PATH, colour_option
from localent.cli.output import as_plain, db_words, how_called, show_summary, summary_of
from localent.cli.progress import Bar
from localent.cli.run import described

if TYPE_CHECKING:
    from localent.report.trace import Style
    from localent.runs import Listener
    from localent.store import Database
    from localent.study.demo import Tour

N_PROBLEMS, WIDTH = 300, 100
NEXT = """Next:
  {localent} show{db}
  {localent} report{db}
  {localent} sql "select k, avg(p_true) from step_entropy group by k"{db}
  {localent} study{db}
  {localent} run /path/to/your-model.gguf gsm8k --data test.jsonl -n 100"""
THEN = "Next: {localent} report{db}  # or: {localent} demo --full"
Echo = Callable[[str], object]


def listening(bar: Bar) -> Listener:
    """Report progress and status to a bar."""
    from localent.runs import Listener

    return Listener(bar, bar.say)


# --- in full --------------------------------------------------------------------------------------------------------


def main_job(tour: Tour, echo: Echo, bar: Bar) -> dict:
    """Part 1: one model on its problems."""
    from localent.report.demo import MAIN

    begin("1. The main job: a tiny model reasons, and its uncertainty is watched", MAIN, echo)
    outcome = tour.main_job(listening(bar))
    bar.hide()
    click.echo(described(outcome, tour.db), err=True)
    summary = summary_of(tour.db, outcome.run_id)
    show_summary(summary, echo)
    return asdict(summary)


def stages(tour: Tour, echo: Echo, bar: Bar) -> dict:
    """Part 2: the same problems at every stage of training."""
    from localent.report import demo as report

    begin("2. What training changes: the stages of one model, on the same held-out problems", report.STAGES, echo)
    judged = tour.stages(listening(bar))
    bar.hide()
    show_table(report.gain_table(judged.subjects), report.GAIN, echo)
    show_table(report.outcome_table(judged), report.OUTCOME, echo)
    say(report.stage_sentences(judged), echo)
    verdicts = [{"task": task} | asdict(verdict) for task, verdict in judged.verdicts]
    return {"stages": report.stage_records(judged), "verdicts": verdicts, "notes": judged.notes}


def quants(tour: Tour, echo: Echo, bar: Bar) -> dict:
    """Part 3: quants beside the model they were made from."""
    from localent.report import demo as report

    begin("3. What quantization changes: quants of that model, made here, beside it", report.QUANTED, echo)
    found = tour.quants(listening(bar))
    bar.hide()
    show_table(report.quant_table(found), report.QUANTS, echo)
    show_table(report.prefix_table(found), report.PREFIXES, echo)
    say(report.quant_sentences(found), echo)
    return everything(found)


# --- in twenty lines ------------------------------------------------------------------------------------------------


def short_main_job(tour: Tour, how: Style, bar: Bar) -> list[str]:
    """Part 1: a trace, a chart, and what both uncertainties tell."""
    from localent.report import tour as report
    from localent.store import open_db, traces

    outcome = tour.main_job(listening(bar))
    bar.say("judging")
    summary = summary_of(tour.db, outcome.run_id)
    with open_db(tour.db, readonly=True) as store:
        seen = [traces.seen(store, trace_id) for trace_id in typical_of(store, outcome.run_id)]
    shown = report.shortest(seen, how)
    return [*report.heading(summary, how), *shown, "", *report.chart(summary, how), *report.uncertainty(summary, how)]


def short_stages(tour: Tour, how: Style, bar: Bar) -> list[str]:
    """Part 2: what training changes."""
    from localent.report.tour import training
    from localent.study.demo import TASK

    return training(tour.stages(listening(bar)), TASK, how)


def short_quants(tour: Tour, how: Style, bar: Bar) -> list[str]:
    """Part 3: what quantization changes."""
    from localent.report import tour as report

    return report.quants(tour.quants(listening(bar)), how)


def typical_of(store: Database, run_id: str) -> list[int]:
    """The most typical traces of a run, a few of them."""
    from localent.analysis import load
    from localent.analysis.typical import typical

    own = load.probes(store, run_id).own
    return [] if own is None else typical(own)[:N_TYPICAL]


N_TYPICAL = 12  # traces of which the one that needs the fewest lines is shown
PARTS = {"main": main_job, "stages": stages, "quants": quants}
SHORT = {"main": short_main_job, "stages": short_stages, "quants": short_quants}
TOLD = {"main": "a tiny model reasons", "stages": "what training changes", "quants": "what quantization changes"}


def _tour(n: int, threads: int | None, db: Path) -> Tour:
    from localent.study.demo import Tour

    return Tour(db=db, n=n, threads=threads)


@click.command("demo")
@Group(
    "tour",
    _tour,
    click.option(
        "-n", type=int, default=N_PROBLEMS, show_default=True, help="Number of problems; parts 2 and 3 take fewer."
    ),
    click.option("--threads", type=int, help="Default: the physical cores. Use 1 on a busy machine."),
    click.option("--db", default="localent-demo.db", show_default=True, type=PATH, help="SQLite file."),
)
@click.option("--part", "parts", type=click.Choice(list(PARTS)), multiple=True, help="May be repeated. Default: all.")
@click.option("--full", is_flag=True, help="Print every table of the three parts, and how to read it.")
@click.option("--json", "json_", is_flag=True, help="Print everything as one JSON object.")
@Group("how", style, colour_option)
def command(tour: Tour, parts: Sequence[str], full: bool, json_: bool, how: Style) -> None:
    """Tour the bundled models: the main job, the effect of training, and the effect of quantization.

    Takes some minutes on two cores, or seconds from a finished database. A stopped demo continues where it was. The
    trace shown is one whose answer entropies take the course of the mean of right traces.

    \b
    localent demo
    localent demo --full
    localent demo --part quants
    """
    wanted = [name for name in PARTS if name in (parts or PARTS)]
    if full or json_:
        refuse_unused("--json" if json_ else "--full", "color", *(("full",) if json_ else ()))
        in_full(tour, wanted, json_=json_)
    else:
        in_short(tour, wanted, how)


def in_full(tour: Tour, wanted: Sequence[str], *, json_: bool) -> None:
    """Everything, as text or as one JSON object."""
    from localent.analysis.family import MECHANISM
    from localent.report.table import json_text

    echo = (lambda text: None) if json_ else click.echo
    found = {}
    for name in wanted:
        with Bar(prefix=place_of(name)) as bar:
            found[name] = PARTS[name](tour, echo, bar)
    if json_:
        click.echo(json_text(found, default=as_plain))
    else:
        say([MECHANISM], echo)
        echo(NEXT.format(db=db_words(tour.db), localent=how_called()))


def in_short(tour: Tour, wanted: Sequence[str], how: Style) -> None:
    """Some twenty lines, each part as soon as it is there."""
    for name in wanted:
        with Bar(prefix=place_of(name)) as bar:
            if not sys.stderr.isatty():
                click.echo(f"{place_of(name)}: {TOLD[name]}", err=True)
            lines = SHORT[name](tour, how, bar)
        click.echo("\n".join(lines), color=how.colour)
    click.echo(THEN.format(db=db_words(tour.db), localent=how_called()))


def place_of(name: str) -> str:
    """ "1 of 3"."""
    return f"{list(PARTS).index(name) + 1} of {len(PARTS)}"


def begin(title: str, sentences: Sequence[str], echo: Echo) -> None:
    echo(f"\n{title}\n{'=' * len(title)}")
    say(sentences, echo)


def show_table(table: tuple[Sequence[str], Sequence[Sequence]], how_to_read: Sequence[str], echo: Echo) -> None:
    from localent.report.table import table as aligned

    echo(aligned(*table, max_width=None) + "\n")
    say(how_to_read, echo)


def say(sentences: Sequence[str], echo: Echo) -> None:
    from localent.report.terminal import paragraphs

    echo("\n".join(paragraphs(sentences, WIDTH)) + "\n")
