"""Read the answer out of a text, say how it was read or why not, and compare it with the true answer.

The first final answer statement counts, one that closes its line: what a model writes after it has answered changes
nothing, and another answer stated there is reported. Without one it is the last statement that can be read, else the
last number or option label of the text. Where a text thinks aloud, what follows the thought counts first. A statement
that gives no single answer ("10-20", "B or C"), without a better one, means no answer, not the nearest number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from localent.records import Choice, Extraction, Problem
from localent.tasks.kinds.kind import ABSENT, Kind
from localent.tasks.numbers import normalise_number
from localent.tasks.statements import BLANK, Statement, corrected, find_statements, has_marker, is_taken_back
from localent.tasks.text import Found, fold
from localent.tasks.thought import DEFAULT, ThoughtFormat

__all__ = ["answer_start", "extract", "grade", "is_answered", "normalise_number"]


UNREAD = {
    "none": "the answer statement gives no single {noun}",
    BLANK: "an answer statement without a readable {noun}",
    ABSENT: "the answer statement names no {noun} of the problem",
}


class Reading(NamedTuple):
    """An answer read out of a text."""

    found: Found | None  # the answer
    start: int | None  # where its statement starts
    later: str | None = None  # another answer that is stated after the final one


def extract(text: str, kind: Kind, choices: Sequence[Choice] = (), thought: ThoughtFormat = DEFAULT) -> Extraction:
    """The answer that `text` gives, how it was found, or why none was; or which other answer is stated after it."""
    found, _, later = _read(text, kind, choices, thought)
    if found is None:
        return Extraction(None, None, "none", _why_not(text, kind))
    raw = text[found.start : found.end]
    if found.value is None:
        return Extraction(None, raw, "none", UNREAD.get(found.method, UNREAD["none"]).format(noun=kind.noun))
    problem = f"{later} is stated after the final answer {found.value}" if later else None
    return Extraction(found.value, raw, found.method, problem)


def grade(extraction: Extraction, problem: Problem, kind: Kind) -> bool:
    """True if the extracted answer agrees with the true one (see Kind.agree). Where either is missing, it does not."""
    value, truth = extraction.value, problem.answer
    return value is not None and truth != "" and kind.agree(value, truth)


def answer_start(text: str, kind: Kind, choices: Sequence[Choice] = (), thought: ThoughtFormat = DEFAULT) -> int | None:
    """Character offset of the answer statement that `extract` used; None where it used none.

    Statements of the same value that follow each other directly ("The answer is 12. #### 12") count as one.
    """
    return _read(text, kind, choices, thought).start


def is_answered(text: str, kind: Kind, choices: Sequence[Choice] = (), thought: ThoughtFormat = DEFAULT) -> bool:
    """True if a final answer statement stands in the text, outside of a thought, and its line has ended."""
    if thought.is_open(text):
        return False
    begin, ended = thought.end(text), text[: text.rfind("\n") + 1]
    return any(s.is_final and s.start >= begin for s in find_statements(fold(ended), kind, choices))


def _read(text: str, kind: Kind, choices: Sequence[Choice], thought: ThoughtFormat) -> Reading:
    """The answer, from behind the last thought if something is there."""
    folded = fold(text)
    statements = list(find_statements(folded, kind, choices))
    for begin in dict.fromkeys((thought.end(text), 0)):
        read = _choose(folded, begin, [s for s in statements if s.start >= begin], kind, choices)
        if read.found is not None:
            return read
    return Reading(None, None)


def _choose(folded: str, begin: int, statements: list[Statement], kind: Kind, choices: Sequence[Choice]) -> Reading:
    given = [s for s in statements if not s.is_blank]
    at = next((i for i, s in enumerate(given) if s.is_final), None)
    readable = [s for s in given if s.found.value is not None]
    last = given[-1] if given and at is None else None
    if (at is not None and given[at].found.value is None) or (last and last.found.value is None):
        unread = given[-1 if at is None else at].found
        instead = corrected(folded, unread, kind, choices)
        return Reading(instead, instead.start) if instead else Reading(unread, None)
    if readable:
        return _stated(folded, readable, kind, choices)
    return _unstated(folded, begin, statements, kind, choices)


def _stated(folded: str, readable: list[Statement], kind: Kind, choices: Sequence[Choice]) -> Reading:
    """The first final statement, else the last, unless another takes its place."""
    at = next((i for i, s in enumerate(readable) if s.is_final), len(readable) - 1)
    later = next((i for i in range(at + 1, len(readable)) if is_taken_back(folded, readable[at], readable[i])), None)
    at = at if later is None else later
    chosen = readable[at].found
    instead = corrected(folded, chosen, kind, choices)
    if instead and instead.value != chosen.value:
        return Reading(instead, instead.start)
    others = (s.found.value for s in readable[at + 1 :] if s.found.value != chosen.value)
    return Reading(chosen, _start_of_last(folded, readable[: at + 1]), next(others, None))


def _unstated(folded: str, begin: int, blanks: list[Statement], kind: Kind, choices: Sequence[Choice]) -> Reading:
    """The last answer in the text. Where a statement names none, one before it is not meant."""
    if not blanks:
        return Reading(kind.last(folded, begin, choices), None)
    blank = blanks[-1].found
    if kind.settles:  # "not among the options, but the closest is (A)"
        return Reading(kind.last(folded, blank.start, choices) or blank, None)
    goes_on = folded[blank.end :].partition("\n")[2].strip()
    return Reading((kind.last(folded, blank.end, choices) if goes_on else None) or blank, None)


def _start_of_last(folded: str, statements: list[Statement]) -> int:
    """Index of the first in the last run of equal statements."""
    start, last = statements[-1][:2]
    for earlier_start, earlier, *_ in reversed(statements[:-1]):
        if earlier.value != last.value or re.search(r"\w", _between(folded, earlier.end, start)):
            break
        start = earlier_start
    return start


def _between(folded: str, end: int, start: int) -> str:
    """The text between two statements, without the unit of the first and the opening word of the second."""
    rest = re.sub(r"^[^.\n]{0,30}(?:[.\n]|$)", "", folded[end:start])
    return re.sub(r"\b(?:so|thus|hence|therefore)\b", "", rest, flags=re.IGNORECASE)


def _why_not(text: str, kind: Kind) -> str:
    if not text.strip():
        return "the text is empty"
    if has_marker(fold(text), kind):
        return f"an answer statement without a readable {kind.noun}, and no other {kind.noun} in the text"
    return f"no answer statement and no {kind.noun} in the text"
