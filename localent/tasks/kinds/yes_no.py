"""Answers that are yes or no: "The answer is yes." gives yes. True counts as yes, false as no."""

from __future__ import annotations

import re
from collections.abc import Sequence

from localent.errors import UsageError
from localent.records import Choice, Problem
from localent.tasks.kinds.cues import PARAGRAPH, Cue
from localent.tasks.kinds.grammar import Grammar
from localent.tasks.kinds.kind import STEPWISE, Clause, Gold, Kind, Worked
from localent.tasks.kinds.word_grammar import WordGrammar
from localent.tasks.text import Found

VALUES = {"yes": "yes", "no": "no", "true": "yes", "false": "no"}
OPENING = r"[\s*_\"'`(\[{$]*+(?:\\(?:boxed|text)\s*\{)*+[*_\"']*+"  # gives nothing back, or it would be quadratic
WORD = re.compile(rf"{OPENING}(?P<word>yes|no|true|false)\b", re.IGNORECASE)
OTHER = re.compile(r"[*_\"')\]}]*\s*(?:/|,?\s*or\b)\s*[\"'(]*(?:yes|no|true|false)\b", re.IGNORECASE)
ALONE = re.compile(r"[*_\"')\]}]*\s*(?:[.,;:!\u2013\u2014-]|$)")

_WORKED = (
    (
        "Can a square have four different angles?",
        "A square has four right angles.\nRight angles are all alike.",
        "no",
    ),
    (
        "Would a sealed bottle full of water be likely to crack in a freezer?",
        "Water takes more room when it freezes.\nIn a full and sealed bottle there is no more room, so it presses.",
        "yes",
    ),
    (
        "Anna is taller than Ben, and Ben is taller than Carl. Is Carl taller than Anna?",
        "Anna is taller than Ben, and Ben is taller than Carl.\nSo Anna is taller than Carl.",
        "no",
    ),
    (
        "Does a train that leaves at 9:40 and needs 35 minutes arrive before 10:20?",
        "9:40 and 20 minutes are 10:00.\nThe other 15 minutes make it 10:15, which is before 10:20.",
        "yes",
    ),
    (
        "Is 51 a prime number?",
        "5 + 1 = 6 is a multiple of 3, so 51 is, too.\n51 = 3 * 17.",
        "no",
    ),
    (
        "Could one see the stars from the dark side of an airless moon?",
        "Air scatters the light of the Sun, which is what outshines stars.\nThere is neither air nor sunlight.",
        "yes",
    ),
    (
        "All birds in this garden are robins. Is the sparrow on the roof of the next house a bird of this garden?",
        "Birds in this garden are robins, and a sparrow is not a robin.",
        "no",
    ),
    (
        "Do three boxes of 12 eggs hold enough for 30 people with one egg each?",
        "Three boxes hold 3 * 12 = 36 eggs.\n30 people need 30 eggs, and 36 is more.",
        "yes",
    ),
)


class YesNoKind(Kind):
    """Yes or no."""

    name = "yes/no"
    noun = "yes or no"
    instruction = STEPWISE + "yes or no."
    cues: tuple[Cue, ...] = (
        Cue("sentence", "The answer is"),
        Cue("boxed", "The final answer is \\(\\boxed{", PARAGRAPH),
        Cue("label", "Answer:", PARAGRAPH),
        Cue("bold", "**Final answer:**", PARAGRAPH),
        Cue("turn", "Is it yes or no? Reply with one word.", turn=True),
    )
    worked = tuple(Worked(question, solution, answer) for question, solution, answer in _WORKED)

    def fits(self, answer: str, choices: Sequence[Choice]) -> bool:
        return not choices and answer.casefold() in VALUES

    def normalise(self, gold: Gold) -> str:
        value = VALUES.get(gold.answer.casefold())
        if value is None:
            raise UsageError(f"{gold.place} has the answer {gold.answer[:40]!r}, which is neither yes nor no.")
        return value

    def chance(self, problem: Problem) -> float:
        return 0.5

    def ln_others(self, problems: Sequence[Problem]) -> float:
        return 0.0

    def stated(self, clause: Clause, choices: Sequence[Choice]) -> Found | None:
        """The word that the clause begins with; none in "yes or no", and none further on ("that no one came")."""
        text, begin, end = clause
        word = WORD.match(text, begin, end)
        if word and not OTHER.match(text, word.end(), end):
            return _found(word, "answer statement")
        return Found(None, begin, end, "none") if text[begin:end].strip() else None

    def heads_solution(self, clause: Clause, found: Found) -> bool:
        return False

    def last(self, text: str, begin: int, choices: Sequence[Choice]) -> Found | None:
        """The word that the text or its last line begins with, where both do not differ."""
        starts = (begin, text.rstrip().rfind("\n") + 1)
        words = [word for at in starts if at >= begin and (word := WORD.match(text, at)) and _is_alone(text, word)]
        return _found(words[-1], "first word") if len({VALUES[w["word"].lower()] for w in words}) == 1 else None

    def grammar(self, pieces: Sequence[bytes], choices: Sequence[Choice]) -> Grammar:
        return WordGrammar(self.name, pieces, VALUES)


def _is_alone(text: str, word: re.Match[str]) -> bool:
    """True for "Yes." and "No, because ...", not for "No one came"."""
    line_end = text.find("\n", word.end())
    return ALONE.match(text[: line_end if line_end >= 0 else len(text)], word.end()) is not None


def _found(word: re.Match[str], method: str) -> Found:
    return Found(VALUES[word["word"].lower()], word.start("word"), word.end("word"), method)


YES_NO = YesNoKind()
