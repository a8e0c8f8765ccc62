"""From a row to a Problem: the columns, the options, the true answer in the form that grading compares."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from localent.errors import UsageError
from localent.records import Choice, Problem
from localent.tasks import kinds, observed
from localent.tasks.columns import NO_CONTEXT, Columns, cell, is_of_csv, value_of
from localent.tasks.identity import problem_id, variant_id
from localent.tasks.kinds import Gold, Kind
from localent.tasks.options import choices_of, is_one_hot, parted, shuffled

CALCULATOR = re.compile(r"<<[^<>]*>>")  # GSM8K: "48/2 = <<48/2=24>>24"
SURROGATE = "has invalid Unicode (a lone surrogate): fix or remove the row."
STEP_DIGITS = 9  # more cannot be a number of steps, and SQLite holds 18 digits only


def problem_of(row: Mapping[str, Any], columns: Columns, file: str, where: str) -> Problem:
    """The problem in one row of `file`, found at `where` ("line 57"). Raises UsageError for a row that holds none."""
    place = f"{file}, {where}"
    question, choices = _question(row, columns, place), choices_of(row, columns, place)
    answer, solution = _answer(row, columns, choices, place)
    normal = listed = _normal(columns, choices, place)
    if columns.shuffle is not None:
        mixed = _mixed(choices, columns.shuffle, question, place)
        normal = lambda text: mixed[listed(text)].label  # noqa: E731 - an option by its new label
        choices, answer = tuple(sorted(mixed.values(), key=lambda c: c.label)), mixed[answer].label
        solution = None  # it may speak of the options by the labels that they had
    given, told = value_of(row, columns.id), observed.observations_of(row, columns, place)
    ideal = observed.ideal_of(row, columns, place, answer, normal)
    problem = Problem(
        problem_id=_id(question, answer, choices, told, place),
        source_id=where.split()[-1] if given in (None, "") else str(given),
        question=question,
        answer=answer,
        choices=choices,
        solution=solution,
        n_steps=_n_steps(value_of(row, columns.n_steps), solution, "####" in str(value_of(row, columns.answer)), place),
        observations=told,
        ideal_entropy=ideal.entropy,
        ideal_answers=ideal.answers,
        variant_of=_variant_of(row, columns, place),
    )
    return observed.check(problem, columns, place)


def _normal(columns: Columns, choices: tuple[Choice, ...], place: str) -> observed.Normal:
    """An answer as the row writes it -> in the form that grading compares."""

    def normal(text: str) -> str:
        gold = Gold(text.strip(), choices, place, columns.answer_is)
        return _kind(columns, gold).gold_of([gold])

    return normal


def _variant_of(row: Mapping[str, Any], columns: Columns, place: str) -> str | None:
    """What the problem is a variant of; None where no column says so, or its cell is empty."""
    if columns.group is not None:
        return _valid(_text(row, columns.group, place), place) or None
    text = _text(row, columns.group_text, place) if columns.group_text else ""
    return variant_id(text) if text else None


def _text(row: Mapping[str, Any], column: str, place: str) -> str:
    """What a cell shows; "" for an empty one."""
    held = cell(row, column, place)
    return "" if held is None else str(held).strip()


def _valid(text: str, place: str) -> str:
    """The text. Raises UsageError for one that no file can hold."""
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise UsageError(f"{place} {SURROGATE}")
    return text


def _mixed(choices: Sequence[Choice], seed: int, question: str, place: str) -> dict[str, Choice]:
    if not choices:
        raise UsageError(f"{place} has no options, so --shuffle-options has no effect: leave it out.")
    return shuffled(choices, seed, question)


def _id(question: str, answer: str, choices: Sequence[Choice], told: Sequence[str], place: str) -> str:
    try:
        return problem_id(question, answer, choices, told)
    except UnicodeEncodeError:
        raise UsageError(f"{place} {SURROGATE}") from None


def _question(row: Mapping[str, Any], columns: Columns, place: str) -> str:
    held = cell(row, columns.question, place)
    text = held.get("stem") if isinstance(held, Mapping) else held  # ARC: {"stem": ..., "choices": [...]}
    if not isinstance(text, str) or not text.strip():
        raise UsageError(f"{place} has no question text in column {columns.question!r}: fill it in or remove the row.")
    if columns.choices == columns.question:
        text = parted(text, place)[0]
    context = _context(row, columns, place)
    return f"{context} {text.strip()}".strip()


def _context(row: Mapping[str, Any], columns: Columns, place: str) -> str:
    """The text that comes before the question."""
    if columns.context in (None, NO_CONTEXT):
        return ""
    context = str(cell(row, str(columns.context), place) or "").strip()
    if context and context[-1] not in ".!?,;:":
        context += "."  # SVAMP leaves the full stop out in a third of its stories
    return context


def _answer(
    row: Mapping[str, Any], columns: Columns, choices: tuple[Choice, ...], place: str
) -> tuple[str, str | None]:
    """(true answer, worked solution). An answer "steps #### 18" holds both."""
    held = cell(row, columns.answer, place)
    if choices and is_one_hot(list(held.values()) if isinstance(held, Mapping) else held):
        return _marked(held, choices, place), None
    accepted = list(_accepted(held, columns, choices, place))
    solution = str(value_of(row, columns.solution) or "").strip() or None
    if "####" in accepted[0]:
        worked, accepted[0] = accepted[0].rsplit("####", 1)
        solution = CALCULATOR.sub("", worked).strip() + f"\nThe answer is {accepted[0].strip()}."
    golds = [Gold(answer.strip(), choices, place, columns.answer_is) for answer in accepted]
    return _kind(columns, golds[0]).gold_of(golds), solution


def _kind(columns: Columns, gold: Gold) -> Kind:
    """The kind that was asked for, else the one that the answer shows."""
    if columns.kind is None:
        return kinds.of_answer(gold.answer, gold.choices)
    kind = kinds.named(columns.kind)
    if kind.takes_options != bool(gold.choices):
        fault = "has no options to choose from" if kind.takes_options else "has options"
        raise UsageError(f"{gold.place} {fault}, which the kind {kind.name} does not fit: choose another --kind.")
    return kind


def _marked(held: Any, choices: Sequence[Choice], place: str) -> str:
    """The label of the option that has the 1 in a list of zeros."""
    marks = list(held.values()) if isinstance(held, Mapping) else held
    if len(marks) != len(choices):
        raise UsageError(f"{place} has {len(marks)} marks for {len(choices)} options: fix or remove the row.")
    return choices[marks.index(1)].label


def _accepted(held: Any, columns: Columns, choices: Sequence[Choice], place: str) -> Iterator[str]:
    """The answers that a cell names as right, as texts: one, or each of a list."""
    if isinstance(held, str) and is_of_csv(place) and held.strip()[:1] == "[" and _reads_lists(columns):
        held = _list_in(held)
    for one in held if isinstance(held, list) and held else [held]:
        if isinstance(one, bool) and not choices:
            yield "yes" if one else "no"
        elif isinstance(one, bool) or not isinstance(one, str | int | float):
            raise UsageError(f"{place} has the answer {_shown(held)}: {_way_out(one, columns.answer)}.")
        else:
            yield str(one).strip()


def _reads_lists(columns: Columns) -> bool:
    return columns.kind is None or kinds.named(columns.kind).reads_lists


def _list_in(text: str) -> Any:
    """The list that a cell of a CSV file holds as JSON; any other text as it is."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _shown(held: Any) -> str:
    return json.dumps(held, default=str)[:40]


def _way_out(held: Any, column: str) -> str:
    if isinstance(held, Mapping) and held:
        return f"name a column inside it, such as --answer {column}.{next(iter(held))}"
    return "give a number, or a text in quotes"


def _n_steps(held: Any, solution: str | None, gsm8k: bool, place: str) -> int | None:
    """The difficulty that the data set states; GSM8K states it as lines before the answer."""
    if isinstance(held, int | str) and str(held).isascii() and str(held).isdigit():
        if len(str(held)) > STEP_DIGITS:
            raise UsageError(f"{place} counts {str(held)[:20]}... steps: give a number of steps, or none.")
        return int(held)
    return len([line for line in (solution or "").splitlines() if line.strip()]) - 1 if gsm8k else None
