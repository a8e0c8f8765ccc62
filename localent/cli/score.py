"""localent score: the same measures on text that exists."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from localent.cli.options import (
    DATA,
    data_options,
    db_option,
    format_options,
    gpu_layers_option,
    prompt_options,
    refuse_unused,
)
from localent.cli.output import print_records, say
from localent.cli.progress import Bar

if TYPE_CHECKING:
    from localent.runs import Settings
    from localent.tasks import Task


OF_GOLD = (*DATA, "n", "shots", "system", "template_vars", "max_fed", "db")  # what a plain text has no use for


@click.command("score")
@click.argument("model")
@click.argument("source", metavar="FILE|TASK")
@click.option("--gold", is_flag=True, help="Read the worked solutions of TASK, asking for the answer after each step.")
@data_options
@click.option("-n", type=int, help="How many worked solutions: the first n. Default: all.")
@click.option("--shots", type=int, help="Worked examples in the prompt.")
@prompt_options
@click.option("--max-fed", type=int, default=24, show_default=True, help="Probes stop after so many tokens.")
@click.option("--window", type=int, default=512, show_default=True, help="Tokens of a plain text read at a time.")
@click.option("--lanes", type=int, default=8, show_default=True, help="Texts at a time.")
@click.option("--threads", type=int, help="Default: the physical cores this process may use.")
@gpu_layers_option
@db_option
@format_options
def command(model, source, gold, data, n, window, db, form, **chosen) -> None:
    """The same measures on text that exists: MODEL reads FILE, or with --gold the worked solutions of TASK.

    \b
    localent score abacus-sft notes.txt
    localent score abacus-sft demo-number --gold -n 50
    localent score model.gguf gsm8k --gold --data test.jsonl -n 100
    """
    from localent.report.science import text_table
    from localent.runs import Settings
    from localent.runs.text import score_text

    settings = Settings(**chosen)
    if gold:
        refuse_unused("--gold", "window")
        _score_gold(model, data.load(source), db, n, settings, form)
    else:
        text = read_text(source)  # first: who forgot --gold is told of that
        refuse_unused("A plain text", *OF_GOLD)
        print_records([score_text(model, text, window=window, settings=settings)], text_table, form)


def _score_gold(model: str, task: Task, db: Path, n: int | None, settings: Settings, form: str | None) -> None:
    """Read the worked solutions of a task that are not yet in the database, and print what all of them say."""
    from localent.analysis import load
    from localent.analysis.family import caveat
    from localent.analysis.gold import gold
    from localent.report.science import gold_table
    from localent.runs import Listener
    from localent.runs.gold import read_solutions
    from localent.store import open_db

    with Bar() as bar:
        outcome = read_solutions(model, task, db=db, n=n, settings=settings, listener=Listener(bar, bar.say))
    with open_db(db, readonly=True) as store:
        found = gold(load.solutions(store, outcome.run_id))
    print_records(found.steps, gold_table, form)
    say([*gold_sentences(found, db), *caveat([model])], form)


def read_text(source: str) -> str:
    """The text of a file; says what to do where there is none."""
    from localent.errors import UsageError

    path = Path(source)
    if not path.is_file():
        raise UsageError(f"No file '{source}': name a text file, or add --gold to read a task's worked solutions.")
    return path.read_text(encoding="utf-8", errors="replace")


def gold_sentences(found, db: Path) -> list[str]:
    """What the worked solutions come to."""
    from localent.analysis.curves import FLOORED
    from localent.report.numbers import short

    return [
        f"{found.n_traces:,} worked solutions, {found.n_tokens:,} tokens: surprisal {short(found.surprisal)} and"
        f" entropy {short(found.entropy)} nats a token.",
        f"Information about the true answer rises by {short(found.gain)} nats per whole solution (slope);"
        f" {short(found.share_positive)} of the steps make it likelier.",
        FLOORED,
        "Who wrote these texts knew the answer: nothing here was sampled from the model.",
        f"Run {found.run_id}, kept in {db}.",
    ]
