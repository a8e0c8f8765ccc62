"""The records: a problem, its worked steps, and the split into training and held-out problems.

A problem is held out when the hash of its skeleton (which events in which order, with which numbers; for the
ordering puzzles also who) falls into a fixed bucket. Names, objects and phrasing are not part of a number
problem's skeleton, so a held-out sum never reaches training under another name, or as multiple choice.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

LABELS = "ABCDE"
HELD_OUT_PERCENT = 10
OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a // b if b else 0,
}


@dataclass(frozen=True, slots=True)
class Ref:
    """The value of an earlier step, by its index."""

    step: int


Operand = int | Ref


@dataclass(frozen=True, slots=True)
class Equation:
    """One step that computes: lead + "left op right = value" + tail. The value is derived, never stored."""

    lead: str
    left: Operand
    op: str
    right: Operand
    tail: str


@dataclass(frozen=True, slots=True)
class Remark:
    """One step that compares or concludes, in words."""

    text: str


Step = Equation | Remark


@dataclass(frozen=True, slots=True)
class Problem:
    """question: the stem, without options; answer: digits or an option label; choices: (label, text) pairs."""

    kind: str
    question: str
    answer: str
    steps: tuple[Step, ...]
    skeleton: str
    choices: tuple[tuple[str, str], ...] = ()

    @property
    def prompt(self) -> str:
        """The text of the question: the stem, then one line "A) text" per option."""
        return "\n".join([self.question, *(f"{label}) {text}" for label, text in self.choices)])

    @property
    def held_out(self) -> bool:
        return held_out(self.skeleton)


def held_out(skeleton: str) -> bool:
    """True if the skeleton's hash falls into the held-out bucket."""
    digest = hashlib.sha256(skeleton.encode()).digest()
    return int.from_bytes(digest[:4], "big") % 100 < HELD_OUT_PERCENT


def values(steps: tuple[Step, ...], slips: dict[int, int] | None = None) -> list[int]:
    """Value of each step (a remark counts 0). `slips` adds an error to a step; later steps inherit it."""
    found: list[int] = []
    for index, step in enumerate(steps):
        if isinstance(step, Remark):
            found.append(0)
            continue
        left, right = (found[x.step] if isinstance(x, Ref) else x for x in (step.left, step.right))
        found.append(max(0, OPERATIONS[step.op](left, right) + (slips or {}).get(index, 0)))
    return found


def equation_text(step: Equation, found: list[int], index: int) -> str:
    """ "3 * 4 = 12" of a step, given the values of all steps."""
    left, right = (found[x.step] if isinstance(x, Ref) else x for x in (step.left, step.right))
    return f"{left} {step.op} {right} = {found[index]}"


def lines(problem: Problem, slips: dict[int, int] | None = None) -> list[str]:
    """The worked steps as text, one line each, without newlines and without the answer line."""
    found = values(problem.steps, slips)
    return [
        step.text if isinstance(step, Remark) else f"{step.lead}{equation_text(step, found, i)}{step.tail}"
        for i, step in enumerate(problem.steps)
    ]


def solution(problem: Problem) -> str:
    """The clean worked solution: one step a line, then "The answer is X."."""
    return "\n".join([*lines(problem), f"The answer is {problem.answer}."])


def options(rng: random.Random, texts: list[str]) -> tuple[tuple[str, str], ...]:
    """(label, text) of every option, in random order, so that the true label is uniform."""
    return tuple(zip(LABELS, rng.sample(texts, len(texts)), strict=False))


class Splittable(Protocol):
    """An object that is either for training or held out."""

    @property
    def held_out(self) -> bool: ...


T = TypeVar("T", bound=Splittable)


def draw(make: Callable[[random.Random], T | None], rng: random.Random, held_out: bool) -> T:
    """The next result of `make` that is not None and on the wanted side of the split."""
    while True:
        made = make(rng)
        if made is not None and made.held_out == held_out:
            return made
