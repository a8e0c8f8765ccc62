"""Answers that are a number: "The answer is $1,000." gives 1000."""

from __future__ import annotations

from collections.abc import Sequence

from localent.errors import UsageError
from localent.records import Choice, Problem
from localent.tasks.beside import is_operand, stands_alone
from localent.tasks.kinds.cues import LINE, PARAGRAPH, Cue
from localent.tasks.kinds.grammar import Grammar
from localent.tasks.kinds.kind import STEPWISE, Clause, Gold, Kind, Worked
from localent.tasks.kinds.number_grammar import LN_NUMBERS, NumberGrammar
from localent.tasks.kinds.number_reading import COUNTER, FOLLOWS, calculates, number_in_words, stated_number
from localent.tasks.numbers import agree, find_numbers, normal, normalise_number
from localent.tasks.text import Found

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
        return stated_number(clause)

    def named(self, clause: Clause, choices: Sequence[Choice]) -> Found | None:
        return super().named(clause, choices) or number_in_words(clause)

    def heads_solution(self, clause: Clause, found: Found) -> bool:
        text, begin, end = clause
        first = next(find_numbers(text, begin, end, wide=True), None)
        counted = COUNTER.match(text, begin)  # "1. First, ..."
        plain = first and first.start() == begin and not counted and not calculates(text, first, end)
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


NUMBER = NumberKind()
