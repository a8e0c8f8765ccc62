"""localent demo: a tour on the bundled models."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from localent.cli.compare import everything
from localent.cli.options import PATH
from localent.cli.output import as_plain, show_summary, summary_of
from localent.cli.progress import Bar
from localent.cli.run import described

if TYPE_CHECKING:
    from localent.runs import Listener
    from localent.study.demo import Tour

N_PROBLEMS, WIDTH = 300, 100
NEXT = """Next:
  {localent} show --db {db}
  {localent} report --db {db}
  {localent} sql "select k, avg(p_true) from step_entropy group by k" --db {db}
  {localent} study --db {db}
  {localent} run /path/to/your-model.gguf gsm8k --data test.jsonl -n 100"""
Echo = Callable[[str], object]


def listening(bar: Bar) -> Listener:
    """Report progress and status to a bar."""
    from localent.runs import Listener

    return Listener(bar, bar.say)


def how_called() -> str:
    """The command that runs localent here: its name, or its path where the environment is not active."""
    if shutil.which("localent"):
        return "localent"
    beside = Path(sys.executable).parent
    if script := shutil.which("localent", path=str(beside)):
        return os.path.relpath(script)
    return f"{os.path.relpath(sys.executable)} -m localent"


def main_job(tour: Tour, echo: Echo) -> dict:
    """Part 1: one model on its problems."""
    from localent.report.demo import MAIN

    begin("1. The main job: a tiny model reasons, and its uncertainty is watched", MAIN, echo)
    with Bar() as bar:
        outcome = tour.main_job(listening(bar))
    click.echo(described(outcome, tour.db), err=True)
    summary = summary_of(tour.db, outcome.run_id)
    show_summary(summary, echo)
    return asdict(summary)


def stages(tour: Tour, echo: Echo) -> dict:
    """Part 2: the same problems at every stage of training."""
    from localent.report import demo as report

    begin("2. What training changes: the stages of one model, on the same held-out problems", report.STAGES, echo)
    with Bar() as bar:
        judged = tour.stages(listening(bar))
    show_table(report.gain_table(judged.subjects), report.GAIN, echo)
    show_table(report.outcome_table(judged), report.OUTCOME, echo)
    say(report.stage_sentences(judged), echo)
    verdicts = [{"task": task} | asdict(verdict) for task, verdict in judged.verdicts]
    return {"stages": report.stage_records(judged), "verdicts": verdicts, "notes": judged.notes}


def quants(tour: Tour, echo: Echo) -> dict:
    """Part 3: quants beside the model they were made from."""
    from localent.report import demo as report

    begin("3. What quantization changes: quants of that model, made here, beside it", report.QUANTED, echo)
    with Bar() as bar:
        found = tour.quants(listening(bar))
    show_table(report.quant_table(found), report.QUANTS, echo)
    show_table(report.prefix_table(found), report.PREFIXES, echo)
    say(report.quant_sentences(found), echo)
    return everything(found)


PARTS = {"main": main_job, "stages": stages, "quants": quants}


@click.command("demo")
@click.option(
    "-n", type=int, default=N_PROBLEMS, show_default=True, help="Number of problems; parts 2 and 3 take fewer."
)
@click.option("--part", "parts", type=click.Choice(list(PARTS)), multiple=True, help="May be repeated. Default: all.")
@click.option("--threads", type=int, help="Default: the physical cores. Use 1 on a busy machine.")
@click.option("--db", default="localent-demo.db", show_default=True, type=PATH, help="SQLite file.")
@click.option("--json", "json_", is_flag=True, help="Print everything as one JSON object.")
def command(n: int, parts: Sequence[str], threads: int | None, db: Path, json_: bool) -> None:
    """Tour the bundled models: the main job, the effect of training, and the effect of quantization.

    Takes some minutes on two cores, or seconds from a finished database. A stopped demo continues where it was.

    \b
    localent demo
    localent demo --part quants
    """
    from localent.analysis.family import MECHANISM
    from localent.study.demo import Tour

    tour, echo = Tour(db=db, n=n, threads=threads), (lambda text: None) if json_ else click.echo
    found = {name: part(tour, echo) for name, part in PARTS.items() if name in (parts or PARTS)}
    if json_:
        click.echo(json.dumps(found, ensure_ascii=False, default=as_plain, allow_nan=False))
    else:
        say([MECHANISM], echo)
        echo(NEXT.format(db=db, localent=how_called()))


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
