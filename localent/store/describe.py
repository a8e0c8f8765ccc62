"""What every table, view and column means, read from the schema's own comments: one home for both."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from localent.store.db import Database

UNITS = ("nats squared", "nats", "bits", "bytes", "tokens", "seconds", "probability", "UTC", "JSON")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table or view."""

    relation: str
    column: str
    type: str  # SQLite's; "" for a computed column of a view
    unit: str  # "" where it has none
    about: str


def relations(db: Database) -> list[dict[str, object]]:
    """Tables and views: name, kind, number of columns, what one row is."""
    sql = """select name, type as kind, sql from sqlite_master where type in ('table', 'view')
      and name not like 'sqlite_%' order by type, name"""
    return [
        dict(name=row["name"], kind=row["kind"], columns=len(db._schema[row["name"]]), one_row=head(row["sql"]))
        for row in db._all(sql)
    ]


def columns(db: Database, relation: str | None = None) -> list[Column]:
    """Every column, or those of one relation. A view's column says what the table's column of its name says."""
    sql = "select name, sql from sqlite_master where type in ('table', 'view') and name not like 'sqlite_%'"
    texts = {row["name"]: row["sql"] for row in db._all(sql + " order by type, name")}
    known = {name: comments(text) for name, text in texts.items()}
    wanted = [name for name in texts if relation in (None, name)]
    return [column for name in wanted for column in _columns(db, name, texts[name], known)]


def _columns(db: Database, name: str, text: str, known: dict[str, dict[str, str]]) -> Iterator[Column]:
    for column, (kind, _) in db._schema[name].items():
        named = NAMES.get(column, "")
        about = known[name].get(column) or RULES.get(column, "")
        about = about or (text.startswith("CREATE VIEW") and named) or _from_view(text, column, known) or named
        yield Column(name, column, kind.lower(), unit_of(about), about)


def comments(sql: str) -> dict[str, str]:
    """Column -> the comment behind it, in the text of a table; columns that a migration added have theirs in /* */."""
    made = re.finditer(r"^ {2}(\w+) [^\n]*?-- (.*)$", sql, re.MULTILINE)
    added = re.finditer(r", (\w+) \w+ /\* (.*?) \*/", sql)
    return {m[1]: m[2].strip() for m in (*made, *added)}


def _from_view(sql: str, column: str, known: dict[str, dict[str, str]]) -> str:
    """The comment of the table's column that a view takes over, by alias or under the same name."""
    source = re.search(rf"(\w+)\.(\w+) as {column}\b", sql)
    name = source[2] if source else column
    if source and source[1] in ("first", "half", "last", "b"):
        return known["probes"].get(name, "")
    if re.search(rf"\bb\.{name}\b", sql) and name in known["probes"]:
        return known["probes"][name]
    order = ("traces", "probes", "problems", "models", "runs", "steps", "sessions", "tokens")
    return next((known[table][name] for table in order if known[table].get(name)), "")


RULES = {  # columns that views compute
    "answer_entropy_first": "nats: of the answer distribution before the first step; null: not probed",
    "answer_entropy_half": "nats: after the last prefix that is at most half of the steps; null: not probed",
    "answer_entropy_last": "nats: after the last step; null: not probed",
    "p_true_first": "probability of the true answer before the first step",
    "p_true_half": "probability of the true answer half-way",
    "p_true_last": "probability of the true answer after the last step",
    "true_answer": "the true answer, normalised",
    "model": "the model's name",
    "leader_true": "1: the most likely answer is the true one",
    "problem_steps": "difficulty, where the data set knows it",
    "step_mean_entropy": "nats, over the tokens of the step that the prefix ends with",
    "step_max_entropy": "nats, over the tokens of the step that the prefix ends with",
    "step_mean_surprisal": "nats, over the tokens of the step that the prefix ends with",
    "step_text": "the step that the prefix ends with",
    "n_problems": "problems with a trace",
    "accuracy": "share of right traces",
    "extraction_failure_rate": "share of traces in which no answer was found",
    "truncation_rate": "share of traces that ran into the token limit",
    "mean_tokens": "tokens a trace",
    "mean_steps": "reasoning steps a trace",
    "mean_entropy_right": "nats: mean token entropy, mean of right traces",
    "mean_entropy_wrong": "nats: mean token entropy, mean of wrong traces",
    "answer_entropy_half_right": "nats: mean of right traces",
    "answer_entropy_half_wrong": "nats: mean of wrong traces",
}
NAMES = {  # columns whose name says all, so that the schema has no comment
    "run_id": "the run; content hash of model, task and settings",
    "trace_id": "the trace",
    "task": "the set of problems",
    "problem_id": "the problem; content hash of it",
    "model_sha256": "the model file's sha256",
    "token_id": "in the model's vocabulary",
    "arch": "architecture, as GGUF spells it",
    "n_params": "weights",
    "estimator": '"number" | "choice"',
    "k": "reasoning steps in the prefix",
    "question": "its text",
    "text": "as the model wrote it",
    "temperature": "of sampling; 0: the likeliest token",
    "top_p": "sampled from the likeliest tokens that hold this probability",
    "top_k": "sampled from so many of the likeliest tokens; 0: all",
    "seed": "of sampling",
    "threads": "CPU threads",
    "gpu_layers": "layers on the GPU",
    "host": "the machine's name",
    "n_vocab": "tokens in the vocabulary",
    "session_id": "one invocation",
    "correct": "1: graded right; 0: wrong",
    "tokenizer_sha256": "of the vocabulary and the tokenizer's settings",
    "comparison_id": "the comparison",
    "candidate_sha256": "the candidate's file",
    "ppl_candidate": "perplexity of the candidate",
    "accuracy_candidate": "share of right traces of the candidate",
    "wrong_to_right": "traces wrong in the reference and right in the candidate",
    "claim": "what is claimed, in words",
    "low": "lower end of the 95 % interval",
    "high": "upper end of the 95 % interval",
    "unit": "the unit of this row's number",
    "note": "what else is to be known",
    "same_top": "1: both find the same token most likely",
    "started": "UTC, ISO 8601",
    "n_traces": "traces",
    "name": "the name it was first used under",
}


def head(sql: str) -> str:
    """What one row is: the first comment of the text."""
    found = re.search(r"--\s*(.*)", sql)
    return found[1].strip() if found else ""


def unit_of(about: str) -> str:
    """The unit that a comment states."""
    return next((unit for unit in UNITS if re.match(rf"{unit}\b", about)), "")
