"""Content hashes: what makes a problem the same problem in any file, and a file the same data."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence

from localent.records import Choice, Problem

NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def problem_id(question: str, answer: str, choices: Sequence[Choice] = (), observations: Sequence[str] = ()) -> str:
    """16 hex digits of the sha256 over question, answer, options and observations.

    Raises UnicodeEncodeError for a surrogate.
    """
    told = [list(observations)] if observations else []  # others keep the id that they had
    content = json.dumps([question, answer, [[c.label, c.text] for c in choices], *told], ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def data_id(problems: Iterable[Problem]) -> str:
    """16 hex digits of the sha256 over the sorted ids of problems: another order is no other data."""
    ids = sorted(problem.problem_id for problem in problems)
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]


def variant_id(text: str) -> str:
    """16 hex digits, equal for texts that differ in numbers, blanks, case and their last full stop alone."""
    masked = " ".join(NUMBER.sub("0", text).casefold().split()).rstrip(" .,")
    return hashlib.sha256(masked.encode("utf-8", "surrogatepass")).hexdigest()[:16]
