"""Answers that are a number: "The answer is $1,000." gives 1000."""

from __future__ import annotations

import re
from collections.abc import Sequence

from localent.errors import UsageError
from localent.records import Choice, Problem
from localent.tasks.kinds.cues import LINE, PARAGRAPH, Cue
from localent.tasks.kinds.grammar import Grammar
from localent.tasks.kinds.kind import Clause, Gold, Kind, Worked
from localent.tasks.kinds.number_grammar import LN_NUMBERS, NumberGrammar
from localent.tasks.numbers import agree, find_numbers, normal, normalise_number
from localent.tasks.text import Found

COUNTER = re.compile(
    r"^(?:[^\S\n]|[*_#>])*+(?:step\s+)?\d+[.):](?=\s|\*|$)|\bstep\s+\d+\b", re.IGNORECASE | re.MULTILINE
)
OPERATOR = re.compile(
    r"\s*(?:[a-z]+\s+){0,2}(?:[-+*/\u00d7÷·]|x(?=\s*\d)|\\times|\\cdot|\\div)\s*[$(]?\s?\d", re.IGNORECASE
)
PERCENT_OF = re.compile(r"\s*(?:%|percent)\s+of\s+[$€£]?\s?\d", re.IGNORECASE)
EQUALS = re.compile(r"\s*(?:[a-z]+\s+){0,2}=", re.IGNORECASE)
NOT_BEFORE = re.compile(r"\bnot\s+[*_$€£(\"']*$", re.IGNORECASE)
BETWEEN_BEFORE = re.compile(r"\bbetween\s+[*_$€£(\"']*$", re.IGNORECASE)
AND = re.compile(r"\s*(?:[a-z]+\s+){0,2}and\s+[$€£]?\s?\d", re.IGNORECASE)
ALTERNATIVE = re.compile(r"\s*(?:or|to|-)\s*[$€£]?\s?\d", re.IGNORECASE)

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
    instruction = 'Reason step by step, one step per line. On the last line, write "The answer is" and then the number.'
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
                "choose from."
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
        first = _first_stated(clause)
        if first:
            return Found(normal(first), first.start(), first.end(), "answer statement")
        return Found(None, begin, end, "none") if re.search(r"\d", text[begin:end]) else None

    def heads_solution(self, clause: Clause, found: Found) -> bool:
        text, begin, end = clause
        first = next(find_numbers(text, begin, end, wide=True), None)
        plain = first and first.start() == begin and not _calculates(text, first, end)
        return not plain and next(find_numbers(text, end), None) is not None

    def last(self, text: str, begin: int, choices: Sequence[Choice]) -> Found | None:
        """The last number that is neither a list counter ("3. Then ...", "Step 3:") nor an ordinal."""
        counters = {m.end() for m in COUNTER.finditer(text, begin)}
        numbers = (m for m in find_numbers(text, begin) if not m["ordinal"])
        found = [m for m in numbers if not counters & {m.end(), m.end() + 1}]
        return Found(normal(found[-1]), found[-1].start(), found[-1].end(), "last number") if found else None

    def grammar(self, pieces: Sequence[bytes], choices: Sequence[Choice]) -> Grammar:
        return NumberGrammar(pieces)


def _first_stated(clause: Clause) -> re.Match[str] | None:
    text, begin, end = clause
    numbers = list(find_numbers(text, begin, end, wide=True))
    if numbers and _calculates(text, numbers[0], end):
        equals = text.rfind("=", numbers[0].end(), end)
        return next((m for m in numbers if m.start() > equals >= 0), None)
    return numbers[0] if numbers and not _is_no_answer(clause, numbers[0]) else None


def _calculates(text: str, number: re.Match[str], end: int) -> bool:
    """True if the number opens a calculation: "3 + 4", "20% of 50", "x = 7"."""
    return any(sign.match(text, number.end(), end) for sign in (OPERATOR, PERCENT_OF, EQUALS))


def _is_no_answer(clause: Clause, number: re.Match[str]) -> bool:
    """True if the number is one of several ("12 or 13", "between 10 and 20") or ruled out ("not 5")."""
    text, begin, end = clause
    before = text[begin : number.start()]
    between = BETWEEN_BEFORE.search(before) and AND.match(text, number.end(), end)
    return bool(between or ALTERNATIVE.match(text, number.end(), end) or NOT_BEFORE.search(before))


NUMBER = NumberKind()
