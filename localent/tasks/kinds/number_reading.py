"""Reading the number that a clause states: its first, or the result of its calculation; in digits or in words.

What a model writes after "The answer is" and what a probe finds there are read by the same rule, `stated_number`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from localent.tasks.beside import begins_tuple, stands_alone
from localent.tasks.kinds.kind import Clause
from localent.tasks.number_words import Worded, find_words
from localent.tasks.numbers import agree, find_numbers, normal, spell
from localent.tasks.text import Found

COUNTER = re.compile(
    r"^(?:[^\S\n]|[*_#>])*+(?:step\s+)?\d+[.):](?=\s|\*|$)|\bstep\s+\d+\b", re.IGNORECASE | re.MULTILINE
)
_UNIT = r"\s*(?:\\?%|\\text\w*\s?\{[^{}\n]{0,20}\}|(?:[a-z][a-z'.-]{0,20}\s+){0,2})\s*"
_MONEY = r"(?:\\?[$€£])?\s?"
OPERATOR = re.compile(
    rf"{_UNIT}(?:[-+*/\u00d7÷·]|x(?=\s*\d)|\\times|\\cdot|\\div|(?:times|plus|minus|divided\ by|multiplied\ by)\s)"
    rf"\s*[(]?{_MONEY}[(]?\s?-?\d",
    re.IGNORECASE,
)
PERCENT_OF = re.compile(rf"\s*(?:\\?%|percent)\s+of\s+{_MONEY}\d", re.IGNORECASE)
EQUALS = re.compile(r"\s*(?:[a-z]+\s+){0,2}(?:=|≈|\\approx)", re.IGNORECASE)
SO_MUCH = re.compile(  # words that lead from a calculation to its result
    r"(?:[,;:]\s*|\s)(?:(?:which|that|this|and\s+that)\s+)?(?:is|are|equals?|gives|makes|comes\s+to|or|so|i\.e\.,?|→|->)"
    rf"\s+(?:equal\s+to\s+|about\s+|a\s+total\s+of\s+)?{_MONEY}(?=-?\.?\d)",
    re.IGNORECASE,
)
NOT_BEFORE = re.compile(r"\bnot\s+[*_$€£(\"']*$", re.IGNORECASE)
BETWEEN_BEFORE = re.compile(r"\bbetween\s+[*_$€£(\"']*$", re.IGNORECASE)
AND = re.compile(rf"\s*(?:[a-z]+\s+){{0,2}}and\s+{_MONEY}\d", re.IGNORECASE)
ALTERNATIVE = re.compile(
    rf"{_UNIT}(?:or|to|-|–)\}}?\s*(?:about\s+|approximately\s+)?{_MONEY}(?=[\d\\.{{])", re.IGNORECASE
)
_NO_UNIT = (
    r"(?!(?:because|since|as|which|that|so|after|when|if|where|is|are|was|were|than|for|from|in|on|at|by|with|of|per|more|"
    r"less|times|but|while|who|have|has|had|out)\b)"
)
_COUNTED = rf"(?:\s+|-)(?:{_NO_UNIT}[a-z][a-z'.-]{{0,20}}\s*){{1,3}}?"
QUANTITIES = re.compile(  # "5 apples and 3 pears", "3 apples, 2 pears"
    rf"{_COUNTED}(?:,\s*(?:and\s+)?|and\s+){_MONEY}\d[\d,.]*+\s+{_NO_UNIT}[a-z]", re.IGNORECASE
)
_TIME = r"(?:hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?|s|days?|weeks?|months?|years?)"
_SIZE = r"(?:feet|foot|ft|inch(?:es)?|in|yards?|miles?|meters?|cm|km|pounds?|lbs?|ounces?|oz|kg|grams?|dollars?|cents?)"
COMPOUND = re.compile(  # "3 hours 30 minutes", "5 ft 10 in", "2h 5m"
    rf"\s*(?:{_TIME}\.?,?\s*(?:and\s+)?\d+(?:\.\d+)?\s*{_TIME}|{_SIZE}\.?,?\s*(?:and\s+)?\d+(?:\.\d+)?\s*{_SIZE})\b"
    r"|\s?'\s?\d+\s?\"",
    re.IGNORECASE,
)
TIMES_BEFORE = re.compile(r"[a-z]\s+(?:times|plus|minus|multiplied\s+by|divided\s+by)\s+$", re.IGNORECASE)
FOLLOWS = 2000  # characters after a heading in which a solution has its first number
AND_PART = re.compile(
    r"\s+and\s+(?:(?P<word>a|an|one|three)[\s-]+(?P<part>half|quarter|third)s?\b|(?P<top>\d)/(?P<bottom>\d))"
)
SECOND_NAME = re.compile(r"[^=\n]{0,20}(?:,|;|\band\b|\bor\b)\s*\$?\\?[a-z]\w{0,2}\s*=", re.IGNORECASE)
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
    text, begin, end = clause
    digits = re.search(r"\d", text[begin:end])
    return _first_stated(clause) or _in_words(clause) or (Found(None, begin, end, "none") if digits else None)


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
    return None if _is_no_answer(clause, numbers) else _with_part(clause, first)


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


def _is_no_answer(clause: Clause, numbers: Sequence[re.Match[str]]) -> bool:
    """True if the first number is one of several ("12 or 13", "5 apples and 3 pears") or ruled out ("not 5")."""
    text, begin, end = clause
    number = numbers[0]
    before = text[begin : number.start()]
    between = BETWEEN_BEFORE.search(before) and AND.match(text, number.end(), end)
    if between or NOT_BEFORE.search(before):
        return True
    if AND_PART.match(text, number.end(), end):
        return False
    if ALTERNATIVE.match(text, number.end(), end):
        return len(numbers) < 2 or not _is_same(numbers[0], numbers[1])
    several = any(p.match(text, number.end(), end) for p in (QUANTITIES, COMPOUND, AND))
    return several or (begins_tuple(text, number, end) and _is_list(text, number, end))


def _is_same(one: re.Match[str], other: re.Match[str]) -> bool:
    """True if two numbers joined by "or" are the same: "0.6 or 3/5"."""
    values = normal(one), normal(other)
    return values[0] is not None and values[1] is not None and agree(values[0], values[1])


def _is_list(text: str, number: re.Match[str], end: int) -> bool:
    """True if numbers alone follow: "3, 4", "(3, 4)", not "12, 3 of them red"."""
    return (
        re.fullmatch(r"(?:[\s,;.)\]}$*_\d/\\-]|and\b|or\b|\\[a-z]+|∞|[a-z](?![a-z])|[{(])*", text[number.end() : end])
        is not None
    )


def _opens_in_words(clause: Clause, before: int) -> bool:
    """True if the clause begins with a number in words, ahead of its first number in digits."""
    first = next(find_words(clause.text, clause.begin, min(clause.end, before)), None)
    return first is not None and _leads(clause, first)


def _leads(clause: Clause, found: Worded) -> bool:
    text, begin, end = clause
    opening = LEAD.match(text, begin, end)
    return opening is not None and opening.end() >= found.start and not NOT_ALONE.match(text, found.end, end)


def _in_words(clause: Clause) -> Found | None:
    """The number in words that opens the clause, or the only one in it: "eighteen", "that both have eighteen"."""
    text, begin, end = clause
    words = list(find_words(text, begin, end))
    if not words:
        return None
    first, lone = words[0], len(words) == 1 and text[words[0].start : words[0].end].lower() != "one"
    digits = re.search(r"\d", text[begin:end])
    if NOT_BEFORE.search(text[begin : first.start]) or re.match(r"\s*(?:or|to)\s", text[first.end : end]):
        return Found(None, begin, end, "none")
    if not _leads(clause, first) and not (lone and not digits and not NOT_ALONE.match(text, first.end, end)):
        return None
    return Found(spell(first.value), first.start, first.end, "answer statement")
