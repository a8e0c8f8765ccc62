"""Answers that are an expression in LaTeX: "\\boxed{\\frac{1}{2}}". Equal ones count as one, by Math-Verify.

Math-Verify (https://github.com/huggingface/Math-Verify) parses both and compares them symbolically. It is an extra of
localent, imported only where two different spellings are compared. There is no exact grammar of expressions: answer
distributions come from rollouts, merged by equivalence.
"""

from __future__ import annotations

import logging
import math
import re
import threading
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

from localent.errors import LocalentError, UsageError
from localent.records import Choice, Problem
from localent.tasks.kinds.kind import STEPWISE, Clause, Gold, Kind, Worked
from localent.tasks.text import Found

EXTRA = "Answers of the kind expression are compared by Math-Verify: pip install 'localent[math]'."
TIMEOUT_S = 60  # of one comparison, which takes milliseconds: only a runaway one, on any machine, comes so far
LONGEST = 300  # characters; a longer one is prose or a runaway model
WORDS = 12  # of a clause without math; more are a sentence
MATH = re.compile(r"(?<!\\)\$\$?(?P<a>(?:\\.|[^$\\])+)\$\$?|\\\((?P<b>.+?)\\\)|\\\[(?P<c>.+?)\\\]")
OPENED = re.compile(r"(?:\$\$?|\\\(|\\\[)[\s*_]*$")  # math that begins right before a clause
SPACING = re.compile(r"\\[,!;: ]|\\left(?![a-z])|\\right(?![a-z])|[\s~]+|\\displaystyle")
FRACTION = re.compile(r"\\[dt]frac(?![a-z])")

_WORKED = (
    ("Solve $2x + 3 = 11$ for $x$.", "Subtract 3 from both sides: $2x = 8$.\nDivide by 2: $x = 4$.", "$4$"),
    (
        "Simplify $\\frac{6}{8} + \\frac{1}{2}$.",
        "$\\frac{6}{8} = \\frac{3}{4}$ and $\\frac{1}{2} = \\frac{2}{4}$.\nTheir sum is $\\frac{5}{4}$.",
        "$\\frac{5}{4}$",
    ),
    (
        "What is the area of a circle with diameter 6?",
        "The radius is half of the diameter, so it is 3.\nThe area is $\\pi \\cdot 3^2 = 9\\pi$.",
        "$9\\pi$",
    ),
    (
        "Find the length of the diagonal of a square with side 5.",
        "By the theorem of Pythagoras its square is $5^2 + 5^2 = 50$.\n$\\sqrt{50} = 5\\sqrt{2}$.",
        "$5\\sqrt{2}$",
    ),
    (
        "Factor $x^2 - 9$.",
        "It is a difference of two squares, $x^2 - 3^2$.\nSo it is the product of $x - 3$ and $x + 3$.",
        "$(x - 3)(x + 3)$",
    ),
    (
        "For which $x$ is $x^2 < 4$?",
        "$x^2 = 4$ at $x = -2$ and at $x = 2$.\nBetween them the square is smaller.",
        "$(-2, 2)$",
    ),
)


class ExpressionKind(Kind):
    """An expression, equation, interval, tuple or set in LaTeX."""

    name = "expression"
    noun = "expression"
    exact = False
    reads_lists = False  # [0, 1] is an interval
    instruction = STEPWISE + "the answer in \\boxed{}."
    worked = tuple(Worked(question, solution, answer) for question, solution, answer in _WORKED)

    def fits(self, answer: str, choices: Sequence[Choice]) -> bool:
        """Never: a number is an expression, too, so the user asks for this kind."""
        return False

    def normalise(self, gold: Gold) -> str:
        """The true answer as its file spells it, without its marks. Raises LocalentError without Math-Verify."""
        if find_spec("math_verify") is None:
            raise LocalentError(EXTRA)
        value = plain(gold.answer)
        if not value:
            raise UsageError(f"{gold.place} has an empty answer: fill it in or remove the row.")
        return value

    def chance(self, problem: Problem) -> float:
        return 0.0

    def ln_others(self, problems: Sequence[Problem]) -> float:
        return math.inf

    def agree(self, value: str, gold: str) -> bool:
        return equivalent(gold, value)

    def merged(self, values: Sequence[str | None], gold: str) -> list[str | None]:
        """With one spelling for all that are equivalent: the true answer's, else the one that came first."""
        first: dict[str, str] = {}
        for value in filter(None, values):
            known = [gold, *first.values()] if gold else [*first.values()]
            first[value] = next((other for other in known if equivalent(other, value)), value)
        return [None if value is None else first[value] for value in values]

    def stated(self, clause: Clause, choices: Sequence[Choice]) -> Found | None:
        """The last math of the clause, else the clause where it is short."""
        text, begin, end = clause
        opened = OPENED.search(text, max(0, begin - 8), begin)
        begin = opened.start() if opened else begin
        found = list(MATH.finditer(text, begin, end))
        whole = text[begin:end]
        stated = next(filter(None, found[-1].groups())) if found else whole if len(whole.split()) <= WORDS else ""
        value = plain(stated)
        return Found(value if len(value) <= LONGEST else None, begin, end, "answer statement") if value else None

    def heads_solution(self, clause: Clause, found: Found) -> bool:
        return False

    def last(self, text: str, begin: int, choices: Sequence[Choice]) -> Found | None:
        return None


def plain(text: str) -> str:
    """An expression without the marks around it, spaces, and sizes of brackets and fractions."""
    inner = text.strip().strip("*").strip().rstrip(".").strip()
    whole = MATH.fullmatch(inner)
    inner = next(filter(None, whole.groups())) if whole else inner.strip("$")
    return FRACTION.sub(r"\\frac", SPACING.sub("", inner)).rstrip(".")


@cache
def equivalent(gold: str, value: str) -> bool:
    """True if two expressions are the same, spelled alike or not. Raises LocalentError without Math-Verify.

    Math-Verify counts two as different, with a warning, that take longer to compare than TIMEOUT_S.
    """
    if gold == value:
        return True
    verify, parsed = _library().verify, [list(_parsed(one)) for one in (gold, value)]
    return all(parsed) and bool(verify(*parsed, timeout_seconds=_limit()))


@cache
def _parsed(value: str) -> tuple[Any, ...]:
    return tuple(_library().parse(f"${value}$", parsing_timeout=_limit()))


def _limit() -> int | None:
    """Seconds of a comparison; None outside of the main thread, where no signal can end it."""
    return TIMEOUT_S if threading.current_thread() is threading.main_thread() else None


@cache
def _library() -> Any:
    try:
        import math_verify
    except ImportError:
        raise LocalentError(EXTRA) from None
    logging.getLogger("math_verify.parser").setLevel(logging.ERROR)  # it tells of every text without math
    return math_verify


EXPRESSION = ExpressionKind()
