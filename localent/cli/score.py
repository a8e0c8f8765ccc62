"""localent score: the same measures on existing text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from localent.cli import complete
from localent.cli.arguments import Group, refuse_unused
from localent.cli.options import DATA, ProblemFile, data_options, db_option, format_options, minutes_option, n_option
from localent.cli.output import echo, print_records, say
from localent.cli.progress import Bar
from localent.cli.run import unfinished
from localent.cli.settings import (
    cache_options,
    effort_options,
    file_of_part,
    gpu_layers_option,
    lanes_option,
    settings_options,
    shard_option,
    shots_option,
    template_options,
    threads_option,
)

if TYPE_CHECKING:
    from localent.analysis.gold import Gold
    from localent.runs import Settings
    from localent.runs.clock import Time


# options that a plain text does not use
OF_GOLD = (*DATA, "n", "shots", "system", "template_vars", "chat_template", "cue", "max_fed", "paths", "shard", "db")


@dataclass(frozen=True, slots=True)
class Source:
    """The text to read: a file, or with `gold` the worked solutions of a task."""

    name: str
    gold: bool
    data: ProblemFile
    n: int | None
    window: int  # tokens of a plain text

    def text(self) -> str:
        """The text of the file. Raises UsageError, with --gold as a way out, where there is none."""
        from localent.errors import UsageError

        path = Path(self.name)
        if not path.is_file():
            raise UsageError(f"No file '{path}': name a text file, or add --gold to read a task's worked solutions.")
        return path.read_text(encoding="utf-8", errors="replace")


@click.command("score")
@click.argument("model", shell_complete=complete.models)
@Group(
    "source",
    Source,
    click.argument("name", metavar="FILE|TASK"),
    click.option("--gold", is_flag=True, help="Read the worked solutions of TASK, probing after each step."),
    data_options,
    n_option("Number of worked solutions: the first n. Default: all."),
    click.option("--window", type=int, default=512, show_default=True, help="Tokens of a plain text read at a time."),
)
@settings_options(
    shots_option(),
    template_options,
    effort_options(),
    lanes_option("Texts at a time.", default=8),
    threads_option,
    gpu_layers_option,
    cache_options,
    shard_option,
)
@minutes_option("The same command again goes on; of a plain text, what was read counts.")
@db_option
@format_options
def command(model: str, source: Source, settings: Settings, time: Time, db: Path, form: str | None) -> None:
    """Take the same measures on existing text: MODEL reads FILE, or with --gold the worked solutions of TASK.

    \b
    localent score abacus-sft notes.txt
    localent score abacus-sft demo-number --gold -n 50
    localent score model.gguf gsm8k --gold --data test.jsonl -n 100
    """
    from localent.report.science import text_table
    from localent.runs.text import score_text

    if source.gold:
        refuse_unused("--gold", "window")
        score_gold(model, source, settings, time, file_of_part(db, settings), form)
        return
    text = source.text()  # before the options are checked: a missing --gold is the likelier mistake
    refuse_unused("A plain text", *OF_GOLD)
    with Bar() as bar:
        found = score_text(model, text, window=source.window, settings=settings, listener=bar.listener(time))
    print_records([found], text_table, form)
    if found.n_left:
        n = found.n_windows + found.n_left
        sentence = f"{found.n_windows} of {n} windows read in {time.minutes:g} min: the figures are of these."
        echo(sentence, err=True)


def score_gold(model: str, source: Source, settings: Settings, time: Time, db: Path, form: str | None) -> None:
    """Read the worked solutions of a task that the database lacks, and print a summary of all of them."""
    from localent.analysis import load
    from localent.analysis.family import caveat
    from localent.analysis.gold import gold
    from localent.report.science import gold_table
    from localent.runs.gold import read_solutions
    from localent.store import open_db

    task = source.data.load(source.name)
    with Bar() as bar:
        outcome = read_solutions(model, task, db=db, n=source.n, settings=settings, listener=bar.listener(time))
    if outcome.n_left:
        echo(unfinished(outcome, "solution", time), err=True)
    with open_db(db, readonly=True) as store:
        found = gold(load.solutions(store, outcome.run_id))
    print_records(found.steps, gold_table, form)
    say([*gold_sentences(found, db), *caveat([model])], form)


def gold_sentences(found: Gold, db: Path) -> list[str]:
    """A summary of the worked solutions."""
    from localent.analysis.curves import FLOORED
    from localent.analysis.information import RECALIBRATED
    from localent.report.numbers import short

    return [
        f"{found.n_traces:,} worked solutions, {found.n_tokens:,} tokens: surprisal {short(found.surprisal)} and"
        f" entropy {short(found.entropy)} nats a token.",
        f"ln p(true answer) rises by {short(found.log_prob)} nats per whole solution (slope), confidence and"
        f" information together; {short(found.share_positive)} of the steps make it likelier.",
        f"Information about the true answer rises by {short(found.gain)} nats per whole solution. {RECALIBRATED}"
        if found.gain.value is not None
        else f"How much of that is information is not known: {found.gain.reason}.",
        FLOORED,
        *found.variants,
        "The authors of these texts knew the answer: nothing here was sampled from the model.",
        f"Run {found.run_id}, stored in {db}.",
    ]
