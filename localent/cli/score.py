"""localent score: the same measures on existing text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from localent.cli import complete
from localent.cli.arguments import Group, refuse_unused
from localent.cli.options import DATA, ProblemFile, data_options, db_option, format_options, minutes_option, n_option
from localent.cli.output import db_words, echo, print_records, say
from localent.cli.progress import Bar
from localent.cli.run import unfinished
from localent.cli.settings import (
    cache_options,
    effort_options,
    file_of_part,
    gpu_layers_option,
    lanes_option,
    lora_option,
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
    from localent.runs.passages import Passage
    from localent.runs.text import Text


# options that texts do not use, and those that only dialogues do
OF_GOLD = (*DATA, "n", "shots", "system", "cue", "max_fed", "paths", "shard")
OF_DIALOGUES = ("template_vars", "chat_template")


@dataclass(frozen=True, slots=True)
class Source:
    """The texts to read: files and runs, or with `gold` the worked solutions of a task."""

    names: tuple[str, ...]
    gold: bool
    data: ProblemFile
    n: int | None
    window: int  # tokens of a plain text
    keep: bool

    def passages(self, db: Path) -> list[Passage]:
        """The texts. Raises UsageError, with --gold as a way out, where there is none of that name."""
        from localent.errors import UsageError
        from localent.runs.passages import NoTextError, read_passages

        try:
            return read_passages(self.names, db)
        except NoTextError as error:
            raise UsageError(f"{error} --gold reads a task's worked solutions.") from None

    @property
    def task(self) -> str:
        """The task of --gold. Raises UsageError for several."""
        from localent.errors import UsageError

        if len(self.names) > 1:
            raise UsageError(f"--gold reads one task, got {len(self.names)}: name one at a time.")
        return self.names[0]


@click.command("score")
@click.argument("model", shell_complete=complete.models)
@lora_option
@Group(
    "source",
    Source,
    click.argument("names", nargs=-1, required=True, metavar="FILE|RUN...|TASK"),
    click.option("--gold", is_flag=True, help="Read the worked solutions of TASK, probing after each step."),
    data_options,
    n_option("Number of worked solutions: the first n. Default: all."),
    click.option("--window", type=int, default=512, show_default=True, help="Tokens of a plain text read at a time."),
    click.option("--keep", is_flag=True, help="Keep a row per token in the table text_tokens, for SQL and CSV."),
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
    """Take the same measures on existing texts: MODEL reads each FILE or RUN, or with --gold a task's worked solutions.

    FILE is plain text, or JSONL of conversations ({"messages": [...]} a line), which go through the model's own chat
    template and of which the assistant's tokens count. RUN is a run of the database, by any model: its traces are read
    as answers to their questions. Of several texts, the last row is their average, each counting the same.

    \b
    localent score abacus-sft notes.txt
    localent score model.gguf wiki.txt chats.jsonl --keep
    localent score abacus-sft demo-number --gold -n 50
    localent score model.gguf gsm8k --gold --data test.jsonl -n 100
    """
    if source.gold:
        refuse_unused("--gold", "window", "keep")
        score_gold(model, source, settings, time, file_of_part(db, settings), form)
    else:
        score_passages(model, source, settings, time, db, form)


def score_passages(model: str, source: Source, settings: Settings, time: Time, db: Path, form: str | None) -> None:
    """Read the texts, keep their tokens where that is asked for, and print a row for each."""
    from localent.report.science import text_table
    from localent.runs.passages import PLAIN, TRACES
    from localent.runs.text import macro, score_texts

    passages = source.passages(db)  # before the options are checked: a missing --gold is the likelier mistake
    plain = all(passage.form == PLAIN for passage in passages)
    refuse_unused("A plain text" if plain else "A text", *OF_GOLD, *(OF_DIALOGUES if plain else ()))
    if not source.keep and not any(passage.form == TRACES for passage in passages):
        refuse_unused("A text without --keep", "db")
    keep = db if source.keep else None
    with Bar() as bar:
        found = score_texts(
            model, passages, window=source.window, settings=settings, keep=keep, listener=bar.listener(time)
        )
    print_records([*found, macro(found)] if len(found) > 1 else found, text_table, form)
    say_kept(found, db, form)
    say_left(found, len(passages), time)


def say_kept(found: Sequence[Text], db: Path, form: str | None) -> None:
    """Where the tokens of the texts are, and a command that dumps them."""
    kept = [text for text in found if text.text_id is not None]
    if kept:
        ids = ", ".join(f"{text.name} as {text.text_id}" for text in kept)
        query = f"select * from text_tokens where text_id = '{kept[0].text_id}'"
        say([f"Kept {ids} in {db}: a row per token in text_tokens, a row per text in texts."], form)
        echo(f'localent sql --csv "{query}"{db_words(db)}', err=form in ("csv", "json"))


def say_left(found: Sequence[Text], n_texts: int, time: Time) -> None:
    """What there was no time for."""
    done, left = sum(text.n_windows for text in found), sum(text.n_left for text in found)
    if len(found) < n_texts:
        sentence = f"{n_texts - len(found)} of {n_texts} texts were not begun in {time.minutes:g} min."
        echo(sentence, err=True)
    if left:
        sentence = f"{done} of {done + left} windows read in {time.minutes:g} min: the figures are of these."
        echo(sentence, err=True)


def score_gold(model: str, source: Source, settings: Settings, time: Time, db: Path, form: str | None) -> None:
    """Read the worked solutions of a task that the database lacks, and print a summary of all of them."""
    from localent.analysis import load
    from localent.analysis.family import caveat
    from localent.analysis.gold import gold
    from localent.report.science import gold_table
    from localent.runs.gold import read_solutions
    from localent.store import open_db

    task = source.data.load(source.task)
    with Bar() as bar:
        outcome = read_solutions(model, task, db=db, n=source.n, settings=settings, listener=bar.listener(time))
    if outcome.n_left:
        echo(unfinished(outcome, "solution", time), err=True)
    if settings.shard and not outcome.n_done:
        echo(
            f"This part of run {outcome.run_id} has no worked solutions: there are more parts. It is in {db}.", err=True
        )
        return
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
