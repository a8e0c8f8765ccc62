"""The meaning of every table, view and column, read from the comments in the schema."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache

from localent.store.db import Database
from localent.store.migrations import migrate

UNITS = ("nats squared", "nats", "bits", "bytes", "tokens", "seconds", "probability", "UTC", "JSON")


@dataclass(frozen=True, slots=True)
class Relation:
    """One table or view."""

    name: str
    kind: str  # "table" | "view"
    columns: int
    one_row: str  # the meaning of one row


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table or view."""

    relation: str
    column: str
    type: str  # SQLite's; "" for a computed column of a view
    unit: str  # "" where it has none
    about: str


def relations(db: Database) -> list[Relation]:
    """Tables first, then views, each by name."""
    return [Relation(name, kind, len(db.schema[name]), head(text)) for name, (kind, text) in _texts(db).items()]


def columns(db: Database, relation: str | None = None) -> list[Column]:
    """Every column, or those of one relation. A column that a view takes over means what it means in its table."""
    wanted = {name: text for name, (_, text) in _texts(db).items() if relation in (None, name)}
    return [column for name, text in wanted.items() for column in _columns(db, name, text)]


def _texts(db: Database) -> dict[str, tuple[str, str]]:
    """Relation -> (kind, SQL). Ours with their current comments: a file keeps those of the version that made it."""
    found = db.query("""select name, type as kind, sql from sqlite_master where type in ('table', 'view')
      and name not like 'sqlite_%' order by type, name""")
    texts = ours()
    return {row["name"]: (row["kind"], texts.get(row["name"]) or row["sql"]) for row in found}


@cache
def ours() -> dict[str, str]:
    """Our tables and views -> SQL with comments."""
    with closing(sqlite3.connect(":memory:")) as conn:
        migrate(conn)
        return dict(conn.execute("select name, sql from sqlite_master where type in ('table', 'view')"))


def _columns(db: Database, name: str, text: str) -> Iterator[Column]:
    known = comments(text)
    for column, (kind, _) in db.schema[name].items():
        about = known.get(column) or COMPUTED.get(name, {}).get(column) or _taken_over(text, column)
        yield Column(name, column, kind.lower(), unit_of(about), about)


def comments(sql: str) -> dict[str, str]:
    """Column -> the comment behind it, in the text of a table; a column that a migration added has it in /* */."""
    made = re.finditer(r"^ {2}(\w+) [^\n]*?-- ([^\n]*(?:\n {4,}-- [^\n]*)*)", sql, re.MULTILINE)
    added = re.finditer(r", (\w+) (?:integer|real|text)\b[^/]*/\* (.*?) \*/", sql)
    return {m[1]: re.sub(r"\s*\n\s*-- ", " ", m[2]).strip() for m in (*made, *added)}


def _taken_over(sql: str, column: str) -> str:
    """The comment of the table's column that a view shows, under its own name or another."""
    tables = {alias: table for table, alias in re.findall(r"(?:from|join) (\w+) (\w+)", sql)}
    source = re.search(rf"\b(\w+)\.(\w+) as {column}\b", sql) or re.search(rf"\b(\w+)\.({column})\b", sql)
    table = ours().get(tables.get(source[1], ""), "") if source else ""
    return comments(table).get(source[2], "") if source else ""


COMPUTED = {  # what views compute
    "trace_summary": {
        "answer_entropy_first": "nats: of the answer distribution before the first step; null: not probed",
        "answer_entropy_half": "nats: after the last prefix that is at most half of the steps; null: not probed",
        "answer_entropy_last": "nats: after the last step; null: not probed",
        "p_true_first": "probability of the true answer before the first step",
        "p_true_half": "probability of the true answer half-way",
        "p_true_last": "probability of the true answer after the last step",
    },
    "step_entropy": {
        "leader_true": "1: the true answer is known to be the most likely",
        "step_mean_entropy": "nats, over the tokens of the step that the prefix ends with; null: k is 0",
        "step_max_entropy": "nats, over the tokens of the step that the prefix ends with; null: k is 0",
        "step_mean_surprisal": "nats, over the tokens of the step that the prefix ends with; null: k is 0",
        "step_text": "the step that the prefix ends with; null: k is 0",
    },
    "ideal_steps": {
        "k": "steps; 0: before the first",
        "observation": "the line from outside that is read before this step; null: none",
        "ideal_entropy": "nats: of the answer, after k steps",
        "ideal_gain": "nats: the information in the k-th step, by which the entropy falls; null: k is 0",
        "n_answers": "answers that are possible after k steps; null: not known",
    },
    "step_importance": {
        "trace_id": "the trace",
        "first_k": "the first of the steps between the two prefixes; k is the last of them",
        "k": "the step, counted from 1: continuations from after it keep it, those from before first_k resample it",
        "n_before": "continuations from before first_k",
        "n_after": "continuations from after k",
        "shift": "how much less two continuations agree across the step than on one side of it: half the squared "
        "distance of the two answer distributions. 0: the step changes nothing; 1: one answer before, another after. "
        "Unbiased, so that it may be below 0",
        "shift_se": "standard error of shift",
        "p_true_before": "probability of the true answer among all continuations from before the step",
        "p_true_after": "probability of the true answer among all continuations from after it",
        "p_true_change": "p_true_after - p_true_before",
        "p_true_change_se": "standard error of p_true_change, one right and one wrong continuation added on each side",
        "step_text": "the step, the last one where there are several",
    },
    "run_summary": {
        "n_traces": "traces",
        "n_problems": "problems with a trace",
        "accuracy": "share of right traces",
        "extraction_failure_rate": "share of traces in which no answer was found",
        "truncation_rate": "share of traces that ran into the token limit",
        "n_tokens": "tokens generated",
        "n_probe_tokens": "tokens fed for the probes that were read along with the traces",
        "mean_tokens": "tokens per trace",
        "mean_steps": "reasoning steps per trace",
        "mean_entropy_right": "nats: mean token entropy, mean of right traces",
        "mean_entropy_wrong": "nats: mean token entropy, mean of wrong traces",
        "answer_entropy_half_right": "nats: mean of right traces",
        "answer_entropy_half_wrong": "nats: mean of wrong traces",
        "started": "UTC, ISO 8601: of the first session",
        "ended": "UTC, ISO 8601: of the last session",
        "seconds": "seconds of all sessions together",
    },
}


def head(sql: str) -> str:
    """The meaning of one row: the first comment of the text."""
    found = re.search(r"--\s*(.*)", sql)
    return found[1].strip() if found else ""


def unit_of(about: str) -> str:
    """The unit that a comment states."""
    return next((unit for unit in UNITS if re.match(rf"{unit}\b", about)), "")
