"""The true option of a multiple-choice row: named by its label, its text, or its index from 0 or 1.

Options ["4", "2", "1", "0"] with the answer 1 may mean three of them. Stop rather than guess: where the readings
name different options, the row is refused until the user says which is meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from localent.errors import UsageError
from localent.records import Choice
from localent.tasks.kinds.kind import Gold

Reading = Callable[[str, Sequence[Choice]], list[Choice]]

WORDS = {"label": "by its label", "text": "by its text", "index0": "counted from 0", "index1": "counted from 1"}
LONGEST_INDEX = 3  # digits
BRACKETED = re.compile(r"^\((\w{1,2})\)$")


def label_of(gold: Gold) -> str:
    """The label of the true option. Raises UsageError where there is none, or more than one reading."""
    return _as_told(gold, gold.answer_is) if gold.answer_is else _unambiguous(gold)


def _unambiguous(gold: Gold) -> str:
    """An index alone names no option: it could be counted from 0 or from 1."""
    readings = _readings(gold)
    named = {how: label for how, label in readings.items() if how in ("label", "text")}
    if len(set(readings.values())) > 1:
        raise UsageError(
            f"{gold.place} has the answer {gold.answer[:40]!r}, which is {_told(gold, readings)}: say which is meant "
            "with --answer-is label, text, index0 or index1."
        )
    if not named:
        raise UsageError(
            f"{gold.place} has the answer {gold.answer[:40]!r}, which is not an option label: expected one of "
            f"{_labels(gold)}{_or_index(readings)}."
        )
    return next(iter(named.values()))


def _readings(gold: Gold) -> dict[str, str]:
    """Reading of the answer -> the label that it names. An answer that is a label is not read as an index, too."""
    found = {how: read(gold.answer, gold.choices) for how, read in READINGS.items()}
    if found["label"]:
        found = {how: found[how] for how in ("label", "text")}
    return {how: options[0].label for how, options in found.items() if len(options) == 1}


def _as_told(gold: Gold, answer_is: str) -> str:
    """The label under the one reading that the user names, ignoring case."""
    found = READINGS[answer_is](gold.answer, gold.choices)
    if not found and answer_is in ("label", "text"):
        lowered = [Choice(c.label.casefold(), _folded(c.text)) for c in gold.choices]
        same = READINGS[answer_is](_folded(gold.answer), lowered)
        found = [c for c, low in zip(gold.choices, lowered, strict=True) if low in same]
    if len(found) != 1:
        many = "several options" if found else "no option"
        raise UsageError(
            f"{gold.place} has the answer {gold.answer[:40]!r}, which names {many} {WORDS[answer_is]} (there are "
            f"{_labels(gold)}): fix the row, or choose another --answer-is."
        )
    return found[0].label


def _by_label(answer: str, choices: Sequence[Choice]) -> list[Choice]:
    exact = [c for c in choices if c.label == answer]
    return exact or [c for c in choices if _plain(c.label) == _plain(BRACKETED.sub(r"\1", answer))]


def _by_text(answer: str, choices: Sequence[Choice]) -> list[Choice]:
    exact = [c for c in choices if c.text == answer and answer]
    return exact or [c for c in choices if _plain(c.text) == _plain(answer) and answer]


def _by_index(first: int) -> Reading:
    def read(answer: str, choices: Sequence[Choice]) -> list[Choice]:
        plain = _plain(answer)
        is_index = plain.isascii() and plain.isdigit() and len(plain) <= LONGEST_INDEX
        at = int(plain) - first if is_index else -1
        return [choices[at]] if 0 <= at < len(choices) else []

    return read


READINGS: dict[str, Reading] = {
    "label": _by_label,
    "text": _by_text,
    "index0": _by_index(0),
    "index1": _by_index(1),
}


def _plain(text: str) -> str:
    """A whole number without its zero decimals ("1.0" -> "1", as spreadsheets write it); other text as it is."""
    return re.sub(r"^(\d+)\.0+$", r"\1", text)


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def _labels(gold: Gold) -> str:
    return ", ".join(c.label for c in gold.choices)


def _told(gold: Gold, readings: dict[str, str]) -> str:
    """ "option C ('1') by its text, option B ('2') counted from 0 or ...": each reading once."""
    texts = {c.label: c.text for c in gold.choices}
    ways: dict[str, list[str]] = {}
    for how, label in readings.items():
        ways.setdefault(label, []).append(WORDS[how])
    return " or ".join(f"option {label} ({texts[label][:40]!r}) {' and '.join(how)}" for label, how in ways.items())


def _or_index(readings: dict[str, str]) -> str:
    """The way out for a file that counts its options."""
    return f", or an index with --answer-is {' or '.join(readings)}" if readings else ""
