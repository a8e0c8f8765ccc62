"""Clue problems, in which the information of every step is known: candidates, and clues that rule some of them out.

Two forms of one puzzle. Evidence ("clues"): the question names the candidates, and a clue arrives from outside before
each step. Computation ("puzzle"): all clues stand in the question, and a reader who applies one a step is the
reference. After k clues the answer is uniform over the candidates that they leave, exactly: what is told next is drawn
from what is left, without a look at the answer, so that every candidate that is left would have been told the same.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from problems import Problem, Remark

CLUES, PUZZLE = "clues", "puzzle"
FORMS = (CLUES, PUZZLE)
N_CANDIDATES = (8, 12)
N_STEPS = (3, 7)
SMALLEST, LARGEST = 10, 99
USELESS_SHARE = 0.3  # of the clues: repeated, or true of all that is left
HALVING_SHARE = 0.8  # of the others: about half is ruled out
HALF = 0.45, 0.7  # the largest share of candidates that such a clue can leave
OPEN_SHARE = 0.25  # of the problems may end with several candidates left
AFTERWARDS_SHARE = 0.25  # of the others get a useless clue once a single candidate is left
TRIES = 60

Told = Callable[[int], str]  # a candidate -> the clue that it would be given


@dataclass(frozen=True, slots=True)
class Course:
    """The clues in order, and the candidates that are left after k = 0, 1, ... of them."""

    answer: int
    clues: tuple[str, ...]  # "it is even"
    left: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class ClueProblem:
    """One course in one of the two forms, with what an ideal reader knows after each step."""

    form: str
    course: Course
    problem: Problem  # its steps are the lines that the model writes

    @property
    def held_out(self) -> bool:
        return self.problem.held_out

    @property
    def skeleton(self) -> str:
        return self.problem.skeleton

    @property
    def observations(self) -> tuple[str, ...]:
        """The lines that arrive before each step; none where all clues are in the question."""
        return tuple(f"Clue: {clue}." for clue in self.course.clues) if self.form == CLUES else ()

    @property
    def ideal_answers(self) -> list[list[str]]:
        """The answers that are still possible after k = 0, 1, ... steps, all equally likely."""
        return [list(map(str, left)) for left in self.course.left]

    @property
    def ideal_entropy(self) -> list[float]:
        """Entropy of the answer after each of them, nats. What it falls by at a step is that step's information."""
        return [math.log(len(left)) for left in self.course.left]


# ── what can be told ──────────────────────────────────────────────────────────────────────────────────────────────


def parity(rng: random.Random, left: tuple[int, ...]) -> Told:
    return lambda x: "it is even" if x % 2 == 0 else "it is odd"


def size(rng: random.Random, left: tuple[int, ...]) -> Told:
    bound = rng.choice(left)
    return lambda x: f"it is more than {bound}" if x > bound else f"it is at most {bound}"


def multiple(rng: random.Random, left: tuple[int, ...]) -> Told:
    n = rng.choice((3, 5))
    return lambda x: f"it is a multiple of {n}" if x % n == 0 else f"it is no multiple of {n}"


def digit(rng: random.Random, left: tuple[int, ...]) -> Told:
    mark = rng.choice(sorted(set("".join(map(str, left)))))
    return lambda x: f"it has a digit {mark}" if mark in str(x) else f"it has no digit {mark}"


def last_digit(rng: random.Random, left: tuple[int, ...]) -> Told:
    return lambda x: f"it ends in {x % 10}"


def first_digit(rng: random.Random, left: tuple[int, ...]) -> Told:
    return lambda x: f"it begins with {x // 10}"


ATTRIBUTES: tuple[Callable[[random.Random, tuple[int, ...]], Told], ...]
ATTRIBUTES = (parity, size, size, multiple, digit, digit, last_digit, first_digit)


def largest_share(told: Told, left: tuple[int, ...]) -> float:
    """The share of candidates that the most common clue leaves; 1: it says nothing."""
    return max(Counter(map(told, left)).values()) / len(left)


def useless(rng: random.Random, left: tuple[int, ...], before: list[Told]) -> Told | None:
    """A clue that every candidate left would be given: one from before, or a new one; None where none was found."""
    if before and rng.random() < 0.5:
        return rng.choice(before)
    return fitting(rng, left, lambda share: share == 1)


def telling(rng: random.Random, left: tuple[int, ...]) -> Told | None:
    """A clue that rules something out, mostly about half."""
    halves = fitting(rng, left, lambda share: HALF[0] <= share <= HALF[1]) if rng.random() < HALVING_SHARE else None
    return halves or fitting(rng, left, lambda share: share < 1)


def fitting(rng: random.Random, left: tuple[int, ...], fits: Callable[[float], bool]) -> Told | None:
    for _ in range(TRIES):
        told = rng.choice(ATTRIBUTES)(rng, left)
        if fits(largest_share(told, left)):
            return told
    return None


# ── a course of clues ─────────────────────────────────────────────────────────────────────────────────────────────


def candidates_of(rng: random.Random) -> tuple[int, ...]:
    """Distinct numbers of two digits, in random order."""
    return tuple(rng.sample(range(SMALLEST, LARGEST + 1), rng.randint(*N_CANDIDATES)))


def course(rng: random.Random, candidates: tuple[int, ...], answer: int) -> Course | None:
    """The clues to one answer; None where they do not end in time.

    Every draw depends on what is left alone: two answers with the same clues so far get the same next draw.
    """
    n_least, may_stay_open = rng.randint(N_STEPS[0], N_STEPS[1] - 2), rng.random() < OPEN_SHARE
    left, clues, before = [candidates], list[str](), list[Told]()
    while not ended(rng, left, n_least, may_stay_open):
        if len(clues) == N_STEPS[1]:
            return None
        now = left[-1]
        wanted = useless if len(now) == 1 or rng.random() < USELESS_SHARE else None
        told = useless(rng, now, before) if wanted else telling(rng, now)
        if told is None:
            return None
        before.append(told)
        clues.append(told(answer))
        left.append(tuple(x for x in now if told(x) == told(answer)))
    return Course(answer, tuple(clues), tuple(left))


def ended(rng: random.Random, left: list[tuple[int, ...]], n_least: int, may_stay_open: bool) -> bool:
    """True if no more clues follow: one candidate is left, or enough has been told of a problem that stays open."""
    if len(left[-1]) > 1:
        return may_stay_open and len(left) > n_least
    return len(left) > N_STEPS[0] and rng.random() >= AFTERWARDS_SHARE


# ── texts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))


def sentence(clue: str) -> str:
    return f"{clue[0].upper()}{clue[1:]}."


def question(rng: random.Random, form: str, found: Course) -> str:
    """The candidates, and for a puzzle all of the clues."""
    opening = rng.choice(("One of these numbers is hidden: ", "The hidden number is one of ", "Find the number among "))
    asked = rng.choice(("Which number is it?", "What is the hidden number?"))
    told = [sentence(clue) for clue in found.clues] if form == PUZZLE else ["Clues will follow."]
    return " ".join([f"{opening}{listed(found.left[0])}.", *told, asked])


def steps(form: str, found: Course) -> tuple[Remark, ...]:
    """The lines that a model writes: what is left, after the clue itself where that stands in the question."""
    lefts = [f"{listed(left)} {'is' if len(left) == 1 else 'are'} left." for left in found.left[1:]]
    if form == PUZZLE:
        lefts = [f"{sentence(clue)[:-1]}: {left}" for clue, left in zip(found.clues, lefts, strict=True)]
    return tuple(map(Remark, lefts))


def clue_problem(rng: random.Random, form: str) -> ClueProblem | None:
    """A problem, or None where the draw did not fit (draw again).

    The skeleton that the split goes by does not name the answer: else the split would tell something about it.
    """
    candidates = candidates_of(rng)
    answer = rng.choice(candidates)
    found = course(rng, candidates, answer)
    if found is None:
        return None
    skeleton = f"clue {','.join(map(str, sorted(candidates)))} {'; '.join(found.clues)}"
    asked = question(rng, form, found)
    return ClueProblem(form, found, Problem(form, asked, str(answer), steps(form, found), skeleton))
