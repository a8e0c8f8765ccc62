"""Printing of tables, records, sentences and summaries, for people or for machines."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from localent.analysis.summary import Summary
    from localent.report.science import Table


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence], form: str | None, *, max_width: int | None = 60
) -> None:
    """Print rows as they come: an aligned table unless form is "csv", "json" (one object a line) or "md".

    The table fits the terminal; "wide": all of it, however wide.
    """
    from localent.report import table

    if form in ("csv", "json"):
        watched = sys.stdout.isatty()
        for line in {"csv": table.csv_lines, "json": table.json_lines}[form](columns, rows):
            click.echo(table.harmless(line) if watched else line, color=True)  # True: a file gets what is stored
    elif form in ("md", "wide"):
        _print_lines(columns, rows, max_width, markdown=form == "md")
    else:
        coming = iter(rows)
        held = [table.brief(row, max_width) for row in itertools.islice(coming, table.HELD)]
        if (more := next(coming, None)) is None:
            _print_fitted(columns, held, max_width)
        else:
            _print_lines(columns, itertools.chain(held, [more], coming), max_width)


def _print_lines(
    columns: Sequence[str], rows: Iterable[Sequence], max_width: int | None, *, markdown: bool = False
) -> None:
    """A table of any length, printed as its rows come."""
    from localent.report import table

    for line in table.table_lines(columns, rows, markdown=markdown, max_width=max_width):
        click.echo(line)


def _print_fitted(columns: Sequence[str], rows: Iterable[Sequence], max_width: int | None) -> None:
    """A table that fits the terminal, and below it what was left out."""
    from localent.report.fitting import fitted

    width = room()
    found = fitted(columns, rows, width, max_width)
    click.echo(found.text)
    left_out = []
    if found.undefined:
        left_out.append(f"{len(found.undefined)} rows are undefined: {', '.join(found.undefined)}{_way('.')}")
    if found.hidden:
        left_out.append(f"Not shown for lack of room: {', '.join(found.hidden)}{_way('.')}")
    for line in [line for sentence in left_out for line in textwrap.wrap(sentence, min(width or 100, 100))]:
        echo(line)


def _way(end: str) -> str:
    """The end of a sentence on what a table lacks: the option of this command that shows it."""
    context = click.get_current_context(silent=True)
    options = {option for param in context.command.params for option in param.opts} if context else set()
    way = next((option for option in ("--wide", "--json") if option in options), None)
    return f"; {way} shows all{end}" if way else end


def room() -> int | None:
    """The columns of the terminal, or those that COLUMNS tells; None where a file or a pipe takes the output."""
    if not sys.stdout.isatty() and not os.environ.get("COLUMNS"):
        return None
    return shutil.get_terminal_size((80, 24)).columns


def echo(text: object = "", *, err: bool = False) -> None:
    """Print text in which names from outside may stand: what could control a terminal is escaped."""
    from localent.report.table import harmless

    click.echo(harmless(str(text)), err=err)


def tell(*sentences: str) -> None:
    """Print sentences, each on lines of its own, as wide as the terminal."""
    from localent.report.terminal import paragraphs

    width = room()
    echo("\n".join(sentences if width is None else paragraphs(sentences, width)))


def told(sentence: str, facts: dict[str, Any], as_json: bool) -> None:
    """Print what a command did: in a sentence, or as one JSON object."""
    if as_json:
        from localent.report.table import json_text

        click.echo(json_text(facts))
    else:
        tell(sentence)


def print_records(records: Sequence[object], table: Callable[[Any], Table], form: str | None) -> None:
    """A short table for people, every field for --json and --csv."""
    from localent.report.science import full_table

    columns, rows = full_table(records) if form in ("csv", "json") else table(records)
    print_table(columns, rows, form)


def say(lines: Iterable[str], form: str | None) -> None:
    """Sentences below a table, wrapped; on stderr where the table is for machines."""
    from localent.report.terminal import paragraphs

    for line in ["", *paragraphs(list(lines), min(room() or 100, 100))]:
        echo(line, err=form in ("csv", "json"))


def say_above(lines: Iterable[str], form: str | None = None) -> None:
    """Sentences above a table, as `say` prints those below."""
    from localent.report.terminal import paragraphs

    for line in [*paragraphs(list(lines), min(room() or 100, 100)), ""]:
        echo(line, err=form in ("csv", "json"))


def summary_of(db: str | Path, run_id: str) -> Summary:
    """The summary of a stored run."""
    from localent.analysis import load
    from localent.analysis.judgement import judgement
    from localent.analysis.summary import summarise
    from localent.store import open_db

    with open_db(db, readonly=True) as store:
        run = load.run(store, run_id)
    seen = (
        run.probes.rolled if run.probes.own is None else run.probes.own
    )  # a kind without a grammar is only rolled out
    return summarise(run.traces, seen, judgement=judgement(run))


def show_summary(summary: Summary, echo: Callable[[str], object] = click.echo) -> None:
    """Print a summary for people."""
    from localent.report.chart import can_draw
    from localent.report.terminal import WIDTH, render

    echo(render(summary, unicode=can_draw(sys.stdout.encoding), width=min(room() or WIDTH, WIDTH)))


def dump_summary(summary: Summary) -> None:
    """Print a summary as JSON."""
    click.echo(json.dumps(asdict(summary), default=as_plain, allow_nan=False))


def as_plain(value: object) -> object:
    """A numpy array or scalar as JSON values; a missing number is null."""
    plain = value.tolist()  # type: ignore[attr-defined]
    return [None if item != item else item for item in plain] if isinstance(plain, list) else plain


def how_called() -> str:
    """The command that runs localent here: its name, or its path where the environment is not active."""
    if shutil.which("localent"):
        return "localent"
    beside = Path(sys.executable).parent
    if script := shutil.which("localent", path=str(beside)):
        return os.path.relpath(script)
    return f"{os.path.relpath(sys.executable)} -m localent"


def db_words(db: str | Path) -> str:
    """What names a database in a command line that is told: "" for the usual one."""
    from localent.cli.options import DEFAULT_DB

    return "" if str(db) == DEFAULT_DB else f" --db {shlex.quote(str(db))}"
