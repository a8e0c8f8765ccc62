"""Short answers in words: "The answer is the Eiffel Tower." gives "eiffel tower". A problem may accept several.

Normalised exact match and token F1 as in SQuAD (Rajpurkar et al. 2016): lower case, without punctuation, articles and
extra blanks. Where that leaves nothing ("(A)", "] )") the answer keeps what it would lose. Words have no exact grammar:
answer distributions come from rollouts, merged by this form.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Sequence

from localent.errors import UsageError
from localent.records import Choice, Problem
from localent.tasks.kinds.kind import STEPWISE, Clause, Gold, Kind, Worked
from localent.tasks.text import Found

BETWEEN = " | "  # joins the answers that a problem accepts; no normalised answer contains it
PUNCTUATION = str.maketrans("", "", string.punctuation)
ARTICLES = re.compile(r"\b(?:a|an|the)\b")
LONGEST = 12  # words of a text that is an answer as a whole
WIDEST = 200  # characters of these
MARKUP = re.compile(r"^[\s*_\"'`$]+|[\s*_\"'`$.!]+$|\\(?:text|boxed|mathrm)\s*(?=\{)")

_WORKED = (
    (
        "Which planet is the second from the Sun?",
        "The first planet from the Sun is Mercury.\nThe next one is Venus.",
        "Venus",
    ),
    (
        "Lena has a cat and a parrot. The one that can fly is called Kiko. What animal is Kiko?",
        "Cats cannot fly, and parrots can.\nSo Kiko is the parrot.",
        "parrot",
    ),
    (
        "What do bees make from nectar?",
        "Bees carry nectar into the hive.\nThere they dry it until it is honey.",
        "honey",
    ),
    (
        "Today is Thursday. Which day is the day after tomorrow?",
        "Tomorrow is Friday.\nThe day after it is Saturday.",
        "Saturday",
    ),
    (
        "Which of the words pear, river and stone comes first in a dictionary?",
        "The first letters are p, r and s.\np comes before r and s.",
        "pear",
    ),
    (
        "What is the opposite of the direction in which the Sun rises?",
        "The Sun rises in the east.\nThe opposite of east is west.",
        "west",
    ),
)


class TextKind(Kind):
    """A few words, one of those that the problem accepts."""

    name = "text"
    noun = "answer"
    exact = False
    instruction = STEPWISE + "the answer in a few words."
    worked = tuple(Worked(question, solution, answer) for question, solution, answer in _WORKED)

    def fits(self, answer: str, choices: Sequence[Choice]) -> bool:
        """Never: any text is a text, so the user asks for this kind."""
        return False

    def normalise(self, gold: Gold) -> str:
        value = normalised(gold.answer)
        if not value:
            raise UsageError(f"{gold.place} has an empty answer: fill it in or remove the row.")
        return value

    def gold_of(self, golds: Sequence[Gold]) -> str:
        return BETWEEN.join(dict.fromkeys(map(self.normalise, golds)))

    def chance(self, problem: Problem) -> float:
        return 0.0

    def ln_others(self, problems: Sequence[Problem]) -> float:
        return math.inf

    def agree(self, value: str, gold: str) -> bool:
        return value == gold or value in accepted(gold)

    def overlap(self, value: str | None, gold: str) -> float | None:
        """Token F1."""
        return token_f1(value, gold)

    def stated(self, clause: Clause, choices: Sequence[Choice]) -> Found | None:
        text, begin, end = clause
        value = normalised(text[begin:end])
        return Found(value, begin, end, "answer statement") if value else None

    def heads_solution(self, clause: Clause, found: Found) -> bool:
        return False

    def last(self, text: str, begin: int, choices: Sequence[Choice]) -> Found | None:
        """The whole text where it is a few words in one line."""
        whole = text[begin:].strip()
        short = len(whole) <= WIDEST and "\n" not in whole and len(whole.split()) <= LONGEST
        value = normalised(whole) if short else ""
        return (
            Found(value, text.index(whole, begin), begin + len(text[begin:].rstrip()), "whole text") if value else None
        )


def normalised(text: str) -> str:
    """An answer as it is compared; "" for one without any character that counts."""
    plain = MARKUP.sub("", text.replace("\n", " ")).casefold()
    words = plain.translate(PUNCTUATION)
    return _joined(ARTICLES.sub(" ", words)) or _joined(words) or _joined(plain)


def _joined(text: str) -> str:
    return " ".join(text.split())


def accepted(answer: str) -> list[str]:
    """The normalised answers that a true answer stands for."""
    return answer.split(BETWEEN)


def token_f1(value: str | None, answer: str) -> float:
    """Overlap of the words of a normalised answer with the nearest accepted one, from 0 to 1; 0 for no answer.

    2 P R / (P + R), with P and R the shares of shared words among those of either. Source: Rajpurkar et al. (2016).
    """
    if value is None:
        return 0.0
    return 1.0 if value == answer else max(_overlap(value.split(), gold.split()) for gold in accepted(answer))


def _overlap(words: Sequence[str], gold: Sequence[str]) -> float:
    shared = (Counter(words) & Counter(gold)).total()
    return 2 * shared / (len(words) + len(gold)) if shared else 0.0


TEXT = TextKind()
