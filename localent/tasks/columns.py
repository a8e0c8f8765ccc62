"""The meaning of the columns of a data file, and the values that a row has under them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localent.errors import UsageError
from localent.tasks.kinds import ANSWER_IS, KINDS

CHOICES = "choices"  # the column of the options, where there is one of this name
NO_CONTEXT = "none"  # in place of a column: the file's other texts are no part of its questions
INDEX = "index"  # an index, whose first is 0 or 1 as the whole file shows


@dataclass(frozen=True, slots=True)
class Columns:
    """The meaning of the columns of a data file, the way it names the true option, and the kind of its answers.

    A column inside another is written with a dot: "answers.text". Options in several columns are written with commas:
    "A,B,C,D", and by the name of the question where they stand in it, after a line "Options:". id, solution, choices
    and n_steps may be absent from the file.
    """

    question: str = "question"
    answer: str = "answer"
    choices: str = CHOICES
    id: str = "id"
    solution: str = "solution"
    context: str | None = None  # text that comes before the question; NO_CONTEXT: there is none
    n_steps: str = "n_steps"
    observations: str = "observations"
    ideal_entropy: str = "ideal_entropy"
    ideal_answers: str = "ideal_answers"
    group: str | None = None  # the same in problems that are variants of one another
    group_text: str | None = None  # a text that is the same in them, numbers aside
    answer_is: str | None = None  # what names the true option: one of ANSWER_IS; None: the file is unambiguous
    kind: str | None = None  # of the answers, by name; None: as the answers show
    shuffle: int | None = None  # seed of the order in which options are given; None: as in the file
    header: tuple[str, ...] = ()  # names for a CSV file that has no header
    answers_file: str | None = None  # beside the file, one answer a line; "{stem}": the file's name without its ending

    def __post_init__(self) -> None:
        if self.answer_is not in (None, *ANSWER_IS):
            raise UsageError(f"The answer is one of {', '.join(ANSWER_IS)}, got {self.answer_is!r}.")
        if self.kind not in (None, *KINDS):
            raise UsageError(f"The kind is one of {', '.join(KINDS)}, got {self.kind!r}.")
        if self.group and self.group_text:
            raise UsageError("A group is named by its value or by its text: leave out --group or --group-text.")

    @property
    def used(self) -> set[str]:
        """The columns that are read, those that hold others included."""
        named = {self.question, self.answer, self.id, self.solution, self.n_steps, self.context or ""}
        named |= {self.choices, *self.choice_columns, self.observations, self.ideal_entropy, self.ideal_answers}
        named |= {self.group or "", self.group_text or ""}
        return named | {name.split(".")[0] for name in named}

    @property
    def choice_columns(self) -> list[str]:
        """The columns that hold one option each; none where one column holds all of them."""
        names = [name.strip() for name in self.choices.split(",")]
        return names if len(names) > 1 else []


def value_of(row: Mapping[str, Any], column: str) -> Any:
    """The value in a column, or in one inside another; None where there is none."""
    if column in row or "." not in column:
        return row.get(column)
    outer, _, inner = column.partition(".")
    held = row.get(outer)
    return value_of(held, inner) if isinstance(held, Mapping) else None


def has(row: Mapping[str, Any], column: str) -> bool:
    """True if the row has this column, or one inside another."""
    outer, _, inner = column.partition(".")
    held = row.get(outer)
    return column in row or (bool(inner) and isinstance(held, Mapping) and has(held, inner))


def is_of_csv(place: str) -> bool:
    """True for a place in a CSV file: "mine.csv, line 57"."""
    return place.split(", ")[0].lower().endswith((".csv", ".tsv"))


def cell(row: Mapping[str, Any], column: str, place: str) -> Any:
    """The value in a column. Raises UsageError for a row without it."""
    if not has(row, column):
        there = ", ".join(map(repr, row)) or "none"
        bare = ", or all of them with --columns if the file has no header" if is_of_csv(place) else ""
        raise UsageError(
            f"{place} has no column {column!r} (it has {there[:300]}): name yours with the column options{bare}."
        )
    return value_of(row, column)


def fits(row: Mapping[str, Any], columns: Columns) -> bool:
    """True if a row has every column that must be there."""
    return all(has(row, column) for column in needed(columns))


def needed(columns: Columns) -> list[str]:
    context = [] if columns.context in (None, NO_CONTEXT) else [str(columns.context)]
    named = [] if columns.choices == CHOICES else columns.choice_columns or [columns.choices]
    groups = [name for name in (columns.group, columns.group_text) if name]
    return [columns.question, columns.answer, *context, *named, *groups]


def unfit(row: Mapping[str, Any], columns: Columns, file: str) -> UsageError:
    """The error of a row of a public set in another layout than the one that is known."""
    missing = ", ".join(repr(column) for column in needed(columns) if not has(row, column))
    there = ", ".join(map(repr, row))[:300]
    return UsageError(
        f"{file} has no column {missing} (it has {there}): fetch the set in its public layout, or give the task another"
        " name and name its columns with --question, --answer, --choices and --context."
    )
