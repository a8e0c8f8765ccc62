"""Reading the number that a clause states: its first, or the result of its calculation; in digits or in words.

What a model writes after "The answer is" and what a probe finds there are read by the same rule, `stated_number`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from localent.tasks.beside import stands_alone
from localent.tasks.kinds.kind import Clause
from localent.tasks.kinds.several import AND_PART, MONEY, is_in_box, is_one_of_several, within_box
from localent.tasks.number_words import Worded, find_words
from localent.tasks.numbers import find_numbers, normal, spell
from localent.tasks.text import Found

COUNTER = re.compile(
    r"^(?:[^\S\n]|[*_#>])*+(?:step\s+)?\d+[.):](?=\s|\*|$)|\bstep\s+\d+\b", re.IGNORECASE | re.MULTILINE
)
_UNIT = r"\s*(?:\\?%|\\text\w*\s?\{[^{}\n]{0,20}\}|(?:[a-z][a-z'.-]{0,20}\s+){0,2})\s*"
OPERATOR = re.compile(
    rf"{_UNIT}(?:[-+*/\u00d7÷·]|x(?=\s*\d)|\\times|\\cdot|\\div|(?:times|plus|minus|divided\ by|multiplied\ by)\s)"
    rf"\s*[(]?{MONEY}[(]?\s?-?\d",
    re.IGNORECASE,
)
PERCENT_OF = re.compile(rf"\s*(?:\\?%|percent)\s+of\s+{MONEY}\d", re.IGNORECASE)
EQUALS = re.compile(r"\s*(?:[a-z]+\s+){0,2}(?:=|≈|\\approx)", re.IGNORECASE)
SO_MUCH = re.compile(  # words that lead from a calculation to its result
    r"(?:[,;:]\s*|\s)(?:(?:which|that|this|and\s+that)\s+)?(?:is|are|equals?|gives|makes|comes\s+to|or|so|i\.e\.,?|→|->)"
    rf"\s+(?:equal\s+to\s+|about\s+|a\s+total\s+of\s+)?{MONEY}(?=-?\.?\d)",
    re.IGNORECASE,
)
TIMES_BEFORE = re.compile(r"[a-z]\s+(?:times|plus|minus|multiplied\s+by|divided\s+by)\s+$", re.IGNORECASE)
AFTER_BOX = re.compile(r"\}[\s$}]{0,4}(?:\\[)\]])?\s?(?:=|≈|\\approx)[^\S\n]*")
FOLLOWS = 2000  # characters after a heading in which a solution has its first number
SECOND_NAME = re.compile(r"[^=\n]{0,20}(?:,|;|\band\b|\bor\b)[\s}]*\$?\\?[a-z]\w{0,2}\s*=", re.IGNORECASE)
UNKNOWN = re.compile(  # "2x + 3", but "2 x 3" and "5 m"
    r"\d\s?(?!x\s*\d)[b-fi-kn-rt-zXYZ](?![a-zA-Z])|(?<![a-zA-Z\\])[b-zB-Z]\s?[-+*/^]|[-+*/]\s?[b-zB-Z](?![a-zA-Z])"
)
LEAD = re.compile(
    r"(?:[\s*_$(\"']|\b(?:that|the|there|they|she|he|it|we|a|total|of|is|are|was|were|has|have|had|about|only|exactly|just|"
    r"approximately|around|clearly|therefore)\b)*",
    re.IGNORECASE,
)
NOT_ALONE = re.compile(r"\s+(?:of|times|way|more|less|third|step)\b|\s*-\s*[a-z]", re.IGNORECASE)  # "one of them"


def stated_number(clause: Clause) -> Found | None:
    """The number that a clause states; value None where it gives several or none that can be read; None without any."""
    clause = within_box(clause)
    text, begin, end = clause
    found = _first_stated(clause) or _said_after_box(clause) or number_in_words(clause)
    digits = re.search(r"\d", text[begin:end])
    return found or (Found(None, begin, end, "none") if digits else None)


def _said_after_box(clause: Clause) -> Found | None:
    """The result that follows a box with a calculation: "\\boxed{3 + 4} = 7"; what nobody worked out is no answer."""
    text, begin, end = clause
    first = next(find_numbers(text, begin, end, wide=True), None)
    said = AFTER_BOX.match(text, end) if is_in_box(text, begin) else None
    if not said or not first or not OPERATOR.match(text, first.end(), end):
        return None
    line_end = text.find("\n", said.end())
    return _first_stated(Clause(text, said.end(), line_end if line_end >= 0 else len(text)))


def _first_stated(clause: Clause) -> Found | None:
    text, begin, end = clause
    numbers = list(find_numbers(text, begin, end, wide=True))
    if not numbers or _opens_in_words(clause, numbers[0].start()):
        return None
    first = numbers[0]
    if SECOND_NAME.match(text, first.end(), end):
        return None
    worded = TIMES_BEFORE.search(text, max(begin, first.start() - 20), first.start())
    if worded or not stands_alone(text, first) or calculates(text, first, end):
        result = _result(clause, numbers)
        return _found(result) if result and stands_alone(text, result) else None
    return None if is_one_of_several(clause, numbers) else _with_part(clause, first)


def _found(number: re.Match[str]) -> Found:
    value = normal(number)
    return Found(value, number.start(), number.end(), "none" if value is None else "answer statement")


def _with_part(clause: Clause, number: re.Match[str]) -> Found:
    """A number and what "and a half" adds to it."""
    part = AND_PART.match(clause.text, number.end(), clause.end)
    words = part and f"{number[0]}{part[0]}" if number[0].isdigit() else None
    if not part or not words:
        return _found(number)
    over = int(part["top"] or {"three": 3}.get(part["word"], 1))
    under = int(part["bottom"] or {"half": 2, "third": 3, "quarter": 4}[part["part"]])
    return Found(spell(int(number[0]) + Fraction(over, under)), number.start(), part.end(), "answer statement")


def _result(clause: Clause, numbers: Sequence[re.Match[str]]) -> re.Match[str] | None:
    """The result of a calculation: what the last "=" gives, or the plain side of "12 = 3 * 4", or "which is 12"."""
    text, begin, end = clause
    equals = [m.start() for m in re.finditer("=", text[:end]) if m.start() >= begin]
    if not equals:
        shown = list(SO_MUCH.finditer(text, numbers[0].end(), end))
        return next((m for m in numbers if shown and m.start() >= shown[-1].end() - 2), None)
    sides = [next((m for m in numbers if m.start() > at), None) for at in equals]
    last = sides[-1]
    if last is None or UNKNOWN.search(text, begin, equals[-1]) or SECOND_NAME.match(text, last.end(), end):
        return None
    plain = [m for m in sides if m and not OPERATOR.match(text, m.end(), end)]
    is_first = EQUALS.match(text, numbers[0].end(), end) and stands_alone(text, numbers[0])
    return plain[-1] if plain else numbers[0] if is_first else None


def calculates(text: str, number: re.Match[str], end: int) -> bool:
    """True if the number opens a calculation: "3 + 4", "20% of 50", "12 = 3 * 4"."""
    return any(sign.match(text, number.end(), end) for sign in (OPERATOR, PERCENT_OF, EQUALS))


def _opens_in_words(clause: Clause, before: int) -> bool:
    """True if the clause begins with a number in words, ahead of its first number in digits."""
    first = next(find_words(clause.text, clause.begin, min(clause.end, before)), None)
    return first is not None and _leads(clause, first)


def _leads(clause: Clause, found: Worded) -> bool:
    text, begin, end = clause
    opening = LEAD.match(text, begin, end)
    return opening is not None and opening.end() >= found.start and not _is_of_many(clause, found)


def _is_of_many(clause: Clause, found: Worded) -> bool:
    """True in "one of them", "three times 4", but not in "one third of them"."""
    return found.value.denominator == 1 and NOT_ALONE.match(clause.text, found.end, clause.end) is not None


def number_in_words(clause: Clause) -> Found | None:
    """The number in words that opens the clause, or the only one in it: "eighteen", "that both have eighteen"."""
    text, begin, end = clause
    words = list(find_words(text, begin, end))
    if not words:
        return None
    first, lone = words[0], len(words) == 1 and text[words[0].start : words[0].end].lower() != "one"
    digits = re.search(r"\d", text[begin:end])
    if not _leads(clause, first) and not (lone and not digits and not _is_of_many(clause, first)):
        return None
    counted = [word for word in words if word is first or text[word.start : word.end].lower() != "one"]
    found = _first_stated(_in_digits(clause, counted))
    if found is None:
        return Found(None, begin, end, "none")
    return found._replace(start=_before_digits(found.start, counted), end=_before_digits(found.end, counted))


def _in_digits(clause: Clause, words: Sequence[Worded]) -> Clause:
    """The clause with digits in place of words, so that both are read by one rule: "five or six" is "5 or 6"."""
    parts, at = [], 0
    for word in words:
        parts += [clause.text[at : word.start], spell(word.value)]
        at = word.end
    written = "".join(parts)
    return Clause(written + clause.text[at : clause.end], clause.begin, len(written) + clause.end - at)


def _before_digits(place: int, words: Sequence[Worded]) -> int:
    """The place in a text of one in its form with digits; within a number its end."""
    for word in words:
        if place <= word.start:
            break
        place = max(word.end, place + word.end - word.start - len(spell(word.value)))
    return place
