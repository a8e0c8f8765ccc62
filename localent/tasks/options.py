"""The options of a row in every layout, and in an order of their own where one is asked for."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from localent.errors import UsageError
from localent.records import Choice
from localent.tasks.columns import INDEX, Columns, cell, value_of

LABELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
IN_QUESTION = re.compile(r"\n\s*Options:[ \t]*\n(?=\s*\(A\)[ \t])")
LETTERED = re.compile(r"^\s*\((?P<label>[A-Z])\)[ \t]+(?P<text>.*(?:\n(?!\s*\([A-Z]\)[ \t]).*)*)", re.MULTILINE)
LONGEST_LABEL = 2  # characters of a key that is a label


def choices_of(row: Mapping[str, Any], columns: Columns, place: str) -> tuple[Choice, ...]:
    """The options of a row, as its file orders them; () where it has none. Raises UsageError for broken ones."""
    question = value_of(row, columns.question)
    if columns.choices == columns.question:
        choices = parted(str(question), place)[1]
    elif columns.choice_columns:
        choices = tuple(_in_columns(row, columns.choice_columns, place))
    else:
        held = question.get("choices") if isinstance(question, Mapping) else value_of(row, columns.choices)
        choices = tuple(options_in(held, place))
    labels = [c.label for c in choices]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise UsageError(f"{place} has two options labelled {twice!r}: give every option a label of its own.")
    if len(choices) == 1 or any(not c.label for c in choices):
        raise UsageError(f"{place} needs at least two options, each with a label: fix or remove the row.")
    return choices


def parted(text: str, place: str) -> tuple[str, tuple[Choice, ...]]:
    """A question that ends in its options, as BIG-Bench Hard writes them ("Options:", then "(A) ..."), and these.

    Raises UsageError for a text without options.
    """
    start = IN_QUESTION.search(text)
    if start is None:
        raise UsageError(
            f"{place} has no line 'Options:' with (A), (B), ... after it: name the options with --choices."
        )
    options = tuple(_choice(found["label"], found["text"]) for found in LETTERED.finditer(text, start.end()))
    return text[: start.start()].strip(), options


def _in_columns(row: Mapping[str, Any], names: Sequence[str], place: str) -> list[Choice]:
    """One option a column, labelled by its name where all names are labels; an empty cell is no option."""
    texts = {name: cell(row, name, place) for name in names}
    held = [name for name, text in texts.items() if text not in (None, "")]
    labels = held if all(len(name) <= LONGEST_LABEL for name in names) else LABELS
    return [_choice(label, texts[name]) for label, name in zip(labels, held, strict=False)]


def options_in(held: Any, place: str) -> list[Choice]:
    """Options of every layout that one cell may have.

    [{"label", "text"}], {"label": [...], "text": [...]}, {"A": "...", "B": "..."}, {"...": 1, "...": 0} (1: the true
    one), ["...", "..."], and in CSV any of these as JSON, or "a | b".
    """
    if isinstance(held, str) and held.strip():
        held = _unpacked(held.strip(), place)
    if held in (None, "", [], {}) or (isinstance(held, str) and not held.strip()):
        return []
    match held:
        case {"text": [*texts], "label": [*labels]} if len(texts) == len(labels):
            return [_choice(label, text) for label, text in zip(labels, texts, strict=True)]
        case [*entries] if all(isinstance(e, Mapping) and {"label", "text"} <= set(e) for e in entries):
            return [_choice(e["label"], e["text"]) for e in entries]
    if isinstance(held, dict) and _are_labelled(held):
        return [_choice(label, text) for label, text in held.items()]
    match list(held) if isinstance(held, dict) and is_one_hot(list(held.values())) else held:
        case [*texts] if all(isinstance(text, str | int | float) for text in texts) and len(texts) <= len(LABELS):
            return [_choice(label, text) for label, text in zip(LABELS, texts, strict=False)]
    raise UsageError(f'{place} has options in an unknown layout: expected [{{"label": "A", "text": "..."}}, ...].')


def is_one_hot(held: Any) -> bool:
    """True for a list of zeros and a single 1, which names the true option."""
    marks = held if isinstance(held, list) else []
    return len(marks) > 1 and all(m in (0, 1) and isinstance(m, int) for m in marks) and sum(marks) == 1


def shuffled(choices: Sequence[Choice], seed: int, question: str) -> dict[str, Choice]:
    """The options in an order of their own, labelled A, B, C, ...: by the label that each had."""
    keys = [hashlib.sha256(f"{seed}:{i}:{question}".encode("utf-8", "replace")).digest() for i in range(len(choices))]
    mixed = sorted(zip(keys, choices, strict=True))
    return {choice.label: Choice(label, choice.text) for label, (_, choice) in zip(LABELS, mixed, strict=False)}


def with_index(rows: Sequence[Mapping[str, Any]], columns: Columns, file: str) -> Columns:
    """The columns with an index told apart by the whole file: an index of 0 counts from 0, one of n from 1.

    Raises UsageError where no answer, or answers of both kinds, tell it.
    """
    if columns.answer_is != INDEX:
        return columns
    found = {str(value_of(row, columns.answer)).strip().removesuffix(".0"): row for row in rows}
    from_0 = "0" in found
    from_1 = any(answer == str(len(choices_of(row, columns, file))) for answer, row in found.items())
    if from_0 == from_1:
        raise UsageError(
            f"{file} has answers that {'count from 0 and from 1' if from_0 else 'may count from 0 or from 1'}: say"
            " --answer-is index0 (the first option is 0) or --answer-is index1 (the first is 1)."
        )
    return replace(columns, answer_is="index0" if from_0 else "index1")


def _are_labelled(entries: Mapping[Any, Any]) -> bool:
    """True for {"A": "...", "B": "..."}."""
    short = all(isinstance(key, str) and 0 < len(key) <= LONGEST_LABEL for key in entries)
    return short and all(isinstance(text, str) for text in entries.values())


def _choice(label: Any, text: Any) -> Choice:
    return Choice(str(label).strip(), str(text).strip())


def _unpacked(held: str, place: str) -> Any:
    if held[0] not in "[{":
        return [part.strip() for part in held.split("|")]
    try:
        return json.loads(held)
    except ValueError:
        return _of_python(held, place)


def _of_python(held: str, place: str) -> Any:
    """A list as pandas writes it into a CSV file: ['first', 'second']."""
    try:
        return ast.literal_eval(held)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise UsageError(f'{place} has broken JSON as options: write ["first", "second"] or first | second.') from None
