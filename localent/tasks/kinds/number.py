"""Answers that are a number: "The answer is $1,000." gives 1000."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from localent.errors import UsageError
from localent.records import Choice, Problem
from localent.tasks.beside import begins_tuple, is_operand, stands_alone
from localent.tasks.kinds.cues import LINE, PARAGRAPH, Cue
from localent.tasks.kinds.grammar import Grammar
from localent.tasks.kinds.kind import STEPWISE, Clause, Gold, Kind, Worked
from localent.tasks.kinds.number_grammar import LN_NUMBERS, NumberGrammar
from localent.tasks.number_words import Worded, find_words
from localent.tasks.numbers import agree, find_numbers, normal, normalise_number, spell
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

_WORKED = (
    (
        "A baker fills 6 trays with 15 rolls each. He drops 8 rolls on the way to the shop and sells half of the "
        "others before noon. How many rolls are left to sell after noon?",
        "6 trays hold 6 * 15 = 90 rolls.\nAfter the fall there are 90 - 8 = 82 rolls.\n"
        "Before noon he sells 82 / 2 = 41 rolls.\nSo 82 - 41 = 41 rolls are left.",
        "41",
    ),
    (
        "Petra pays $3.50 for a sandwich and $1.25 for a juice. She buys both on each of 4 days. How much does she "
        "spend?",
        "One day costs $3.50 + $1.25 = $4.75.\nFour days cost 4 * $4.75 = $19.",
        "19",
    ),
    (
        "A tank holds 240 liters. It is filled to 35% and then 60 liters are added. How many liters still fit in?",
        "35% of 240 liters are 0.35 * 240 = 84 liters.\nWith the addition there are 84 + 60 = 144 liters.\n"
        "So 240 - 144 = 96 liters still fit in.",
        "96",
    ),
    (
        "Milan is three times as old as his sister. In 5 years they will be 34 together. How old is the sister now?",
        "In 5 years each is 5 years older, so now they are 34 - 10 = 24 together.\n"
        "Milan counts as 3 sisters, so 24 years are 4 times the age of the sister.\nShe is 24 / 4 = 6.",
        "6",
    ),
    (
        "A train covers 180 kilometers in 2 hours and a bus the same way in 3 hours. How many kilometers per hour is "
        "the train faster?",
        "The train makes 180 / 2 = 90 kilometers per hour.\nThe bus makes 180 / 3 = 60 kilometers per hour.\n"
        "The train is 90 - 60 = 30 kilometers per hour faster.",
        "30",
    ),
    (
        "A theater has 32 rows of 25 seats. On Friday 615 seats were taken, on Saturday 90 more. How many seats stayed "
        "empty on Saturday?",
        "The theater has 32 * 25 = 800 seats.\nOn Saturday 615 + 90 = 705 seats were taken.\n"
        "So 800 - 705 = 95 seats stayed empty.",
        "95",
    ),
    (
        "Ada reads 12 pages on Monday and every day twice as many as the day before. How many pages has she read by "
        "the end of Wednesday?",
        "On Tuesday she reads 2 * 12 = 24 pages.\nOn Wednesday she reads 2 * 24 = 48 pages.\n"
        "Together these are 12 + 24 + 48 = 84 pages.",
        "84",
    ),
    (
        "Seven friends share the cost of a boat. The boat costs $390 and the fuel $65. How many dollars does each pay?",
        "The boat and the fuel cost $390 + $65 = $455.\nEach friend pays $455 / 7 = $65.",
        "65",
    ),
)


class NumberKind(Kind):
    """Any number, as text or in digits. It takes every problem that no other kind claims."""

    name = "number"
    noun = "number"
    instruction = STEPWISE + "the number."
    cues: tuple[Cue, ...] = (
        Cue("sentence", "The answer is"),
        Cue("boxed", "The final answer is \\(\\boxed{", PARAGRAPH),
        Cue("hashes", "#### ", LINE),
        Cue("label", "Answer:", PARAGRAPH),
        Cue("bold", "**Final answer:**", PARAGRAPH),
        Cue("turn", "What is the final answer? Reply with one number and nothing else.", turn=True),
    )
    worked = tuple(Worked(question, solution, answer) for question, solution, answer in _WORKED)

    def fits(self, answer: str, choices: Sequence[Choice]) -> bool:
        return not choices

    def normalise(self, gold: Gold) -> str:
        if gold.answer_is:
            raise UsageError(
                f"{gold.place} has no options, so --answer-is {gold.answer_is} has no effect: leave it out."
            )
        value = normalise_number(gold.answer)
        if value is None:
            raise UsageError(
                f"{gold.place} has the answer {gold.answer[:40]!r}, which is not one number: give one, or options to "
                "choose from, or add --kind text or expression."
            )
        return value

    def chance(self, problem: Problem) -> float:
        return 0.0

    def ln_others(self, problems: Sequence[Problem]) -> float:
        return LN_NUMBERS

    def agree(self, value: str, gold: str) -> bool:
        """Equality, with a tolerance where one of them is a long decimal (see tasks.numbers.agree)."""
        return agree(value, gold)

    def stated(self, clause: Clause, choices: Sequence[Choice]) -> Found | None:
        """The first number of the clause, or the result of its calculation; none in "10-20", "3:30", "12 or 13"."""
        text, begin, end = clause
        found = _first_stated(clause)
        digits = re.search(r"\d", text[begin:end])
        return found or _in_words(clause) or (Found(None, begin, end, "none") if digits else None)

    def heads_solution(self, clause: Clause, found: Found) -> bool:
        text, begin, end = clause
        first = next(find_numbers(text, begin, end, wide=True), None)
        counted = COUNTER.match(text, begin)  # "1. First, ..."
        plain = first and first.start() == begin and not counted and not _calculates(text, first, end)
        return not plain and next(find_numbers(text, end, end + FOLLOWS), None) is not None

    def last(self, text: str, begin: int, choices: Sequence[Choice]) -> Found | None:
        """The last number that is neither a list counter ("3. Then ...", "Step 3:") nor an ordinal.

        None where it is only a part of an expression ("9\\pi"): an earlier number is not the answer.
        """
        counters = {m.end() for m in COUNTER.finditer(text, begin)}
        numbers = (m for m in reversed(list(find_numbers(text, begin))) if not m["ordinal"])
        counted = (m for m in numbers if not counters & {m.end(), m.end() + 1})
        value, last = next(((value, m) for m in counted if (value := normal(m)) is not None), (None, None))
        if last is None or not stands_alone(text, last) or is_operand(text, last):
            return None
        return Found(value, last.start(), last.end(), "last number")

    def grammar(self, pieces: Sequence[bytes], choices: Sequence[Choice]) -> Grammar:
        return NumberGrammar(pieces)


def _first_stated(clause: Clause) -> Found | None:
    text, begin, end = clause
    numbers = list(find_numbers(text, begin, end, wide=True))
    if not numbers or _opens_in_words(clause, numbers[0].start()):
        return None
    first = numbers[0]
    if SECOND_NAME.match(text, first.end(), end):
        return None
    worded = TIMES_BEFORE.search(text, max(begin, first.start() - 20), first.start())
    if worded or not stands_alone(text, first) or _calculates(text, first, end):
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


def _calculates(text: str, number: re.Match[str], end: int) -> bool:
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


NUMBER = NumberKind()
