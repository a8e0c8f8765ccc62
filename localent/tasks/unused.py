"""Columns of a user's file that its questions may need and nobody named: stories and passages, options.

A file that is read without them loads well and means something else: a HellaSwag row becomes a number to guess, a SVAMP
row a question without its story. So the file is refused until the user says what the column is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from localent.errors import UsageError
from localent.tasks.columns import Columns, value_of
from localent.tasks.options import IN_QUESTION, is_one_hot

LOOKED_AT = 50  # rows
WORDS = 5  # fewer are no story, unless its column is called one
STORY = re.compile(r"story|passage|context|body|premise|paragraph|background|article|narrative|support", re.IGNORECASE)
LONGEST = 20  # options
ASIDE = re.compile(  # names of texts that are about a problem, not a part of it
    r"solution|explanation|rationale|reason|cot|hint|comment|note|source|url|link|id|category|topic|subject|canary|original"
    r"|formula|equation|response|output|completion|prediction|model|fact\d*|answer|gold|target|title|type|level|tag|meta",
    re.IGNORECASE,
)
NUMBERED = re.compile(r"(?P<stem>.*?)[ _-]?(?P<mark>\d{1,2}|[A-Za-z])")


def check_unused(rows: Sequence[Mapping[str, Any]], columns: Columns, file: str) -> None:
    """Raise UsageError where an unused column holds the options, or text that may belong to the question."""
    some = rows[:LOOKED_AT]
    if not some:
        return
    if columns.kind is None and not any(_has_options(row, columns) for row in some):
        if all(IN_QUESTION.search(str(value_of(row, columns.question))) for row in some):
            raise UsageError(
                f"{file} has options in its questions, after a line 'Options:': add --choices"
                f" {_quoted(columns.question)}, or --kind to say what is asked for."
            )
        for choices in _option_columns(some, columns):
            _refuse_options(rows, columns, choices, file)
    if columns.context is None and (texts := list(_text_columns(some, columns))):
        raise UsageError(
            f"{file} has text in {' and '.join(map(repr, texts))} beside {columns.question!r}: add --context"
            f" {_quoted(texts[0])} if it comes before the question, or --context none to leave it out."
        )


def _has_options(row: Mapping[str, Any], columns: Columns) -> bool:
    question = value_of(row, columns.question)
    inside = isinstance(question, Mapping) and "choices" in question
    return inside or bool(columns.choice_columns) or bool(value_of(row, columns.choices))


# ── options ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _refuse_options(rows: Sequence[Mapping[str, Any]], columns: Columns, choices: str, file: str) -> None:
    """Raise UsageError where the answers can be meant for these options."""
    answers = [value_of(row, columns.answer) for row in rows]
    n = min(_n_options(row, choices) for row in rows[:LOOKED_AT])
    if all(_may_name_option(answer, n) for answer in answers):
        lowest = min((int(float(a)) for a in answers if _is_index(a, n)), default=None)
        told = {0: " --answer-is index0", None: ""}.get(lowest, " --answer-is index0 or index1")
        raise UsageError(
            f"{file} has options in {choices!r}, and answers that may name one of them: add --choices"
            f" {_quoted(choices)}{told}; or --kind number, if numbers are asked for."
        )


def _may_name_option(answer: Any, n: int) -> bool:
    label = isinstance(answer, str) and re.fullmatch(r"\(?[A-Za-z]\)?", answer.strip())
    text = isinstance(answer, str) and not re.search(r"\d", answer)
    return bool(label) or text or _is_index(answer, n) or is_one_hot(answer)


def _is_index(answer: Any, n: int) -> bool:
    if isinstance(answer, bool) or not isinstance(answer, int | float | str):
        return False
    return re.fullmatch(r"\d{1,3}(?:\.0+)?", str(answer).strip()) is not None and float(answer) <= n


def _n_options(row: Mapping[str, Any], choices: str) -> int:
    names = choices.split(",")
    return len(names) if len(names) > 1 else len(_listed(value_of(row, choices)) or ())


def _option_columns(rows: Sequence[Mapping[str, Any]], columns: Columns) -> Iterator[str]:
    """The columns that --choices would name: a column of lists, or several numbered columns of texts."""
    unused = [name for name in rows[0] if name not in columns.used and not name.startswith("_")]
    for name in unused:
        if all(_listed(row.get(name)) for row in rows):
            yield (
                name if not isinstance(rows[0][name], Mapping) or "choices" not in rows[0][name] else f"{name}.choices"
            )
    groups: dict[str, list[str]] = {}
    for name in unused:
        match = NUMBERED.fullmatch(name)
        if match and all(isinstance(row.get(name), str | int | float) for row in rows):
            groups.setdefault(f"{match['stem'].lower()} {match['mark'].isdigit()}", []).append(name)
    for names in groups.values():
        if 2 <= len(names) <= LONGEST and _are_counted([NUMBERED.fullmatch(name)["mark"] for name in names]):  # type: ignore[index]
            yield ",".join(names)


def _are_counted(marks: Sequence[str]) -> bool:
    """True for A, B, C or 0, 1, 2 or 1, 2, 3."""
    counted = [int(m) if m.isdigit() else ord(m.lower()) - ord("a") for m in marks]
    return sorted(counted) in (list(range(len(marks))), list(range(1, len(marks) + 1)))


def _listed(held: Any) -> Sequence[Any] | None:
    """The options in one cell; None where it holds none."""
    if isinstance(held, Mapping):
        inner = held.get("choices", held.get("text"))
        held = inner if inner is not None else list(held.values()) if set(map(len, held)) == {1} else list(held)
        held = held if isinstance(held, list) else None
    texts = isinstance(held, list) and all(isinstance(text, str | Mapping) for text in held)
    return held if texts and 2 <= len(held) <= LONGEST else None


# ── texts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _text_columns(rows: Sequence[Mapping[str, Any]], columns: Columns) -> Iterator[str]:
    for name in rows[0]:
        aside = any(ASIDE.fullmatch(part) for part in re.split(r"[\W_]+|(?<=[a-z])(?=[A-Z])", name))
        if name not in columns.used and not aside:
            least = 1 if STORY.search(name) else WORDS
            stories = sum(_is_story(row.get(name), value_of(row, columns.question), least) for row in rows)
            if 2 * stories >= len(rows):
                yield name


def _is_story(held: Any, question: Any, least: int) -> bool:
    """True for a text of so many words that the question does not contain."""
    return isinstance(held, str) and len(held.split()) >= least and held.strip() not in str(question)


def _quoted(name: str) -> str:
    return f'"{name}"' if " " in name else name
