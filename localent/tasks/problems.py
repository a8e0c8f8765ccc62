"""From a row to a Problem: the columns, the options, the true answer in the form that grading compares."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from localent.errors import UsageError
from localent.records import Choice, Problem
from localent.tasks import kinds
from localent.tasks.identity import problem_id
from localent.tasks.kinds import ANSWER_IS, Gold

CALCULATOR = re.compile(r"<<[^<>]*>>")  # GSM8K: "48/2 = <<48/2=24>>24"
STEP_DIGITS = 9  # more cannot be a number of steps, and SQLite holds 18 digits only
LABELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Columns:
    """The meaning of the columns of a data file, and the way it names the true option.

    id, solution, choices, context and n_steps may be absent from the file.
    """

    question: str = "question"
    answer: str = "answer"
    choices: str = "choices"
    id: str = "id"
    solution: str = "solution"
    context: str | None = None  # text that comes before the question
    n_steps: str = "n_steps"
    answer_is: str | None = None  # what names the true option: one of ANSWER_IS; None: the file is unambiguous

    def __post_init__(self) -> None:
        if self.answer_is not in (None, *ANSWER_IS):
            raise UsageError(f"The answer is one of {', '.join(ANSWER_IS)}, got {self.answer_is!r}.")


def problem_of(row: Mapping[str, Any], columns: Columns, file: str, where: str) -> Problem:
    """The problem in one row of `file`, found at `where` ("line 57"). Raises UsageError for a row that holds none."""
    place = f"{file}, {where}"
    question, choices = _question(row, columns, place), _choices(row, columns, place)
    answer, solution = _answer(row, columns, choices, place)
    return Problem(
        problem_id=_id(question, answer, choices, place),
        source_id=where.split()[-1] if row.get(columns.id) in (None, "") else str(row[columns.id]),
        question=question,
        answer=answer,
        choices=choices,
        solution=solution,
        n_steps=_n_steps(row.get(columns.n_steps), solution, "####" in str(row[columns.answer]), place),
    )


def _id(question: str, answer: str, choices: Sequence[Choice], place: str) -> str:
    try:
        return problem_id(question, answer, choices)
    except UnicodeEncodeError:
        raise UsageError(f"{place} has invalid Unicode (a lone surrogate): fix or remove the row.") from None


def _cell(row: Mapping[str, Any], column: str, place: str) -> Any:
    if column not in row:
        there = ", ".join(map(repr, row)) or "none"
        raise UsageError(f"{place} has no column {column!r} (it has {there}): name yours with the column options.")
    return row[column]


def _question(row: Mapping[str, Any], columns: Columns, place: str) -> str:
    cell = _cell(row, columns.question, place)
    text = cell.get("stem") if isinstance(cell, Mapping) else cell  # ARC: {"stem": ..., "choices": [...]}
    if not isinstance(text, str) or not text.strip():
        raise UsageError(f"{place} has no question text in column {columns.question!r}: fill it in or remove the row.")
    context = str(row.get(columns.context) or "").strip() if columns.context else ""
    if context and context[-1] not in ".!?,;:":
        context += "."  # SVAMP leaves the full stop out in a third of its stories
    return f"{context} {text.strip()}".strip()


def _choices(row: Mapping[str, Any], columns: Columns, place: str) -> tuple[Choice, ...]:
    question = row.get(columns.question)
    cell = question.get("choices") if isinstance(question, Mapping) else row.get(columns.choices)
    choices = tuple(_options(cell, place))
    labels = [c.label for c in choices]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise UsageError(f"{place} has two options labelled {twice!r}: give every option a label of its own.")
    if len(choices) == 1 or any(not c.label for c in choices):
        raise UsageError(f"{place} needs at least two options, each with a label: fix or remove the row.")
    return choices


def _options(cell: Any, place: str) -> list[Choice]:
    """Options of every layout: [{"label", "text"}], {"label": [...], "text": [...]}, ["..."], or "a | b" in CSV."""
    if isinstance(cell, str) and cell.strip():
        cell = _unpacked(cell.strip(), place)
    if cell in (None, "", []) or (isinstance(cell, str) and not cell.strip()):
        return []
    match cell:
        case {"text": [*texts], "label": [*labels]} if len(texts) == len(labels):
            return [_choice(label, text) for label, text in zip(labels, texts, strict=True)]
        case [*entries] if all(isinstance(e, Mapping) and {"label", "text"} <= set(e) for e in entries):
            return [_choice(e["label"], e["text"]) for e in entries]
        case [*texts] if all(isinstance(text, str | int | float) for text in texts) and len(texts) <= len(LABELS):
            return [_choice(label, text) for label, text in zip(LABELS, texts, strict=False)]
    raise UsageError(f'{place} has options in an unknown layout: expected [{{"label": "A", "text": "..."}}, ...].')


def _choice(label: Any, text: Any) -> Choice:
    return Choice(str(label).strip(), str(text).strip())


def _unpacked(cell: str, place: str) -> Any:
    if cell[0] not in "[{":
        return [part.strip() for part in cell.split("|")]
    try:
        return json.loads(cell)
    except ValueError:
        raise UsageError(f'{place} has broken JSON as options: write ["first", "second"] or first | second.') from None


def _answer(
    row: Mapping[str, Any], columns: Columns, choices: tuple[Choice, ...], place: str
) -> tuple[str, str | None]:
    """(true answer, worked solution). An answer "steps #### 18" holds both."""
    cell = _cell(row, columns.answer, place)
    if isinstance(cell, bool) or not isinstance(cell, str | int | float):
        raise UsageError(f"{place} has the answer {json.dumps(cell)[:40]}: give a number, or a text in quotes.")
    answer = str(cell).strip()
    solution = str(row.get(columns.solution) or "").strip() or None
    if "####" in answer:
        worked, answer = answer.rsplit("####", 1)
        solution = CALCULATOR.sub("", worked).strip() + f"\nThe answer is {answer.strip()}."
    gold = Gold(answer.strip(), choices, place, columns.answer_is)
    return kinds.of_answer(gold.answer, choices).normalise(gold), solution


def _n_steps(cell: Any, solution: str | None, gsm8k: bool, place: str) -> int | None:
    """The difficulty that the data set states; GSM8K states it as lines before the answer."""
    if isinstance(cell, int | str) and str(cell).isascii() and str(cell).isdigit():
        if len(str(cell)) > STEP_DIGITS:
            raise UsageError(f"{place} counts {str(cell)[:20]}... steps: give a number of steps, or none.")
        return int(cell)
    return len([line for line in (solution or "").splitlines() if line.strip()]) - 1 if gsm8k else None
