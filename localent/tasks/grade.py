"""Read the answer out of a text, say how it was read or why not, and compare it with the true answer.

The last answer statement that can be read counts, else the last number or option label of the text. Where a text
thinks aloud, what follows the thought counts first. A statement that gives no single answer ("10-20", "B or C"),
without a better one, means no answer, not the nearest number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from localent.records import Choice, Extraction, Problem
from localent.tasks.kinds.kind import Kind
from localent.tasks.numbers import normalise_number
from localent.tasks.statements import find_statements, has_marker
from localent.tasks.text import Found, fold
from localent.tasks.thought import DEFAULT, ThoughtFormat

__all__ = ["answer_start", "extract", "grade", "normalise_number"]


def extract(text: str, kind: Kind, choices: Sequence[Choice] = (), thought: ThoughtFormat = DEFAULT) -> Extraction:
    """The answer that `text` gives, how it was found, or why none was."""
    found, _ = _read(text, kind, choices, thought)
    if found is None:
        return Extraction(None, None, "none", _why_not(text, kind))
    raw = text[found.start : found.end]
    problem = None if found.value else f"the answer statement gives no single {kind.noun}"
    return Extraction(found.value, raw, found.method, problem)


def grade(extraction: Extraction, problem: Problem) -> bool:
    """True if the extracted answer is the true one. A missing answer is wrong."""
    return extraction.value is not None and extraction.value == problem.answer


def answer_start(text: str, kind: Kind, choices: Sequence[Choice] = (), thought: ThoughtFormat = DEFAULT) -> int | None:
    """Character offset of the answer statement that `extract` used; None where it used none.

    Statements of the same value that follow each other directly ("The answer is 12. #### 12") count as one.
    """
    return _read(text, kind, choices, thought)[1]


def _read(text: str, kind: Kind, choices: Sequence[Choice], thought: ThoughtFormat) -> tuple[Found | None, int | None]:
    """(the answer, where its statement starts), from behind the last thought if something is there."""
    folded = fold(text)
    statements = list(find_statements(folded, kind, choices))
    for begin in dict.fromkeys((thought.end(text), 0)):
        found = _choose(folded, begin, [s for s in statements if s[0] >= begin], kind, choices)
        if found[0] is not None:
            return found
    return None, None


def _choose(
    folded: str, begin: int, statements: list[tuple[int, Found]], kind: Kind, choices: Sequence[Choice]
) -> tuple[Found | None, int | None]:
    readable = [s for s in statements if s[1].value is not None]
    if readable:
        return readable[-1][1], _start_of_last(folded, readable)
    if statements:
        return statements[-1][1], None
    return kind.last(folded, begin, choices), None


def _start_of_last(folded: str, statements: list[tuple[int, Found]]) -> int:
    """Index of the first in the last run of equal statements."""
    start, last = statements[-1]
    for earlier_start, earlier in reversed(statements[:-1]):
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
