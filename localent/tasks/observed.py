"""What the data of a problem may hold beside its answer: lines that arrive while a model reasons, and an ideal reader.

An observation is a line that comes from outside, as a clue or a tool's output does: the k-th is fed before the k-th
step. An ideal reader's answer entropy after k = 0, 1, ... steps may be given, or the answers that are possible then,
all equally likely. What the entropy falls by at a step is the information that there is to gain.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from localent.errors import UsageError
from localent.records import Problem
from localent.tasks.columns import Columns, value_of

TOLERANCE = 1e-6  # nats, between an entropy that is given and the one that follows from the answers

Normal = Callable[[str], str]  # an answer as the data write it -> as grading compares it


@dataclass(frozen=True, slots=True)
class Ideal:
    """What an ideal reader knows after k = 0, 1, ... steps; empty where the data do not say."""

    entropy: tuple[float, ...] = ()  # nats
    answers: tuple[tuple[str, ...], ...] = ()  # those possible, all equally likely


def observations_of(row: Mapping[str, Any], columns: Columns, place: str) -> tuple[str, ...]:
    """The lines that arrive before each step. Raises UsageError for what is not a list of lines."""
    lines = _list(row, columns.observations, place)
    for line in lines:
        if not isinstance(line, str) or not line.strip() or len(line.strip().splitlines()) > 1:
            raise UsageError(
                f"{place} has the observation {_shown(line)} in {columns.observations!r}: each must be a line of text."
            )
    return tuple(line.strip() for line in lines)


def ideal_of(row: Mapping[str, Any], columns: Columns, place: str, truth: str, normal: Normal) -> Ideal:
    """The ideal reader of a row. Raises UsageError where the columns contradict each other or the true answer."""
    entropy = tuple(map(_entropy(columns, place), _list(row, columns.ideal_entropy, place)))
    answers = tuple(_answers(_list(row, columns.ideal_answers, place), columns, place, normal))
    if any(truth not in some for some in answers):
        raise UsageError(f"{place} rules its true answer {truth!r} out in {columns.ideal_answers!r}: fix the row.")
    known = tuple(math.log(len(some)) for some in answers)
    if entropy and answers and not _agree(entropy, known):
        raise UsageError(
            f"{place} has another entropy in {columns.ideal_entropy!r} than the equally likely answers in"
            f" {columns.ideal_answers!r} have (ln of their number): leave one of the columns out."
        )
    return Ideal(entropy or known, answers)


def check(problem: Problem, columns: Columns, place: str) -> Problem:
    """The problem. Raises UsageError where its observations, ideal and solution have different numbers of steps."""
    n, ideal = len(problem.observations), problem.ideal_entropy
    if n and ideal and len(ideal) != n + 1:
        raise UsageError(
            f"{place} has {n} observations and {len(ideal)} entropies in {columns.ideal_entropy!r}: expected {n + 1},"
            " one before the first and one after each."
        )
    if n and problem.solution and len(problem.solution.splitlines()) < n:
        raise UsageError(
            f"{place} has {n} observations and fewer lines of solution: each is read before a line of its own, which"
            " does not repeat it."
        )
    return problem


def woven(problem: Problem) -> list[tuple[str, bool]]:
    """The worked solution in parts, each with True if it comes from outside: every observation before its line."""
    solution = (problem.solution or "").strip()
    if not problem.observations:
        return [(solution, False)]
    lines = solution.splitlines(keepends=True)
    parts: list[tuple[str, bool]] = []
    for told, line in zip_longest(problem.observations, lines):
        parts += [(f"{told}\n", True)] * (told is not None) + [(line or "", False)]
    return parts


def worked(problem: Problem) -> str:
    """The worked solution as a model would see it happen."""
    return "".join(text for text, _ in woven(problem))


def own(texts: Sequence[str], given: Sequence[bool]) -> str:
    """The text of tokens with what is given blanked out, so that nothing in it counts as said by the model.

    Offsets and line breaks stay.
    """
    if not any(given):
        return "".join(texts)
    return "".join(
        "".join(char if char == "\n" else " " for char in text) if outside else text
        for text, outside in zip(texts, given, strict=True)
    )


# ── cells ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _list(row: Mapping[str, Any], column: str, place: str) -> list[Any]:
    """The list in a cell, in a CSV file written as JSON; empty where there is none."""
    held = value_of(row, column)
    if isinstance(held, str) and held.strip():
        try:
            held = json.loads(held)
        except ValueError:
            held = held.strip()
    if held in (None, "", []):
        return []
    if not isinstance(held, list):
        raise UsageError(
            f"{place} has {_shown(held)} in {column!r}: write a JSON list, or give the column another name."
        )
    return held


def _entropy(columns: Columns, place: str) -> Callable[[Any], float]:
    def read(held: Any) -> float:
        if isinstance(held, bool) or not isinstance(held, int | float) or not 0 <= held < math.inf:
            raise UsageError(f"{place} has {_shown(held)} in {columns.ideal_entropy!r}: each is a number of nats.")
        return float(held)

    return read


def _answers(held: Sequence[Any], columns: Columns, place: str, normal: Normal) -> Iterator[tuple[str, ...]]:
    for some in held:
        texts = some if isinstance(some, list) else []
        if not texts or not all(isinstance(text, str | int | float) for text in texts):
            raise UsageError(f"{place} has {_shown(some)} in {columns.ideal_answers!r}: each is a list of answers.")
        yield tuple(dict.fromkeys(normal(str(text)) for text in texts))


def _agree(given: Sequence[float], known: Sequence[float]) -> bool:
    return len(given) == len(known) and all(abs(a - b) <= TOLERANCE for a, b in zip(given, known, strict=True))


def _shown(held: Any) -> str:
    return json.dumps(held, default=str)[:40]
