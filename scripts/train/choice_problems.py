"""Multiple-choice problems: who comes first, who has most, best rates, sequences, sums with near misses, ranges.

Every family makes the true option and wrong ones that a slip would produce; the label of the true one is uniformly
distributed. Mostly four options (A-D), sometimes three or five. The steps go through the options one by one
("B) 22: yes."): each rules an option out or makes it the leader, so that the answer becomes clearer step by step.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from number_problems import LARGEST, factors, number_problem, some
from problems import LABELS, Equation, Problem, Remark, Step, held_out, options, values
from words import OBJECTS, ORDERS, PEOPLE

RANGES = {
    0: "less than 12",
    12: "12 to 27",
    28: "28 to 55",
    56: "56 or more",
}  # lower bound -> text; all equally frequent


def n_options(rng: random.Random) -> int:
    return rng.choices((3, 4, 5), (12, 76, 12))[0]


def people(rng: random.Random, n: int) -> list[str]:
    return rng.sample([name for name, _ in PEOPLE], n)


def near_misses(rng: random.Random, true: int, n: int, first: list[int]) -> list[int]:
    """`n` different wrong numbers: those in `first` (what a forgotten step gives), then slips of one digit or ten."""
    slips = [true + d for d in (1, -1, 2, -2, 10, -10, 20, -20)]
    rng.shuffle(slips)
    keep = rng.sample(first, min(len(first), rng.randint(0, 2)))
    pool = list(dict.fromkeys(x for x in [*keep, *slips, *range(true + 3, true + 9)] if x >= 0 and x != true))
    return pool[:n]


def held(choices: tuple[tuple[str, str], ...], answer: str, reasons: dict[str, str]) -> list[str]:
    """Every option checked, one line each. reasons: option text -> why it is or is not the answer."""
    lines: list[str] = []
    for label, text in choices:
        why = f"{reasons[text]}, " if text in reasons else ""
        lines.append(f"{label}) {text}: {why}{'yes' if label == answer else 'no'}.")
    return lines


def checked(choices: tuple[tuple[str, str], ...], answer: str, reasons: dict[str, str]) -> list[Step]:
    """One step per option, up to the right one."""
    lines = held(choices, answer, reasons)
    return [Remark(line) for line in lines[: LABELS.index(answer) + 1]]


@dataclass(frozen=True, slots=True)
class Ordering:
    """told: text of the story; first: the right answer; reasons: name -> the comparison that this person loses."""

    told: str
    asked: str
    first: str
    reasons: dict[str, str]
    skeleton: str

    @property
    def held_out(self) -> bool:
        return held_out(self.skeleton)


def ordering(rng: random.Random) -> Ordering:
    """Who is the tallest (or the shortest, ...): everyone else loses one comparison."""
    ranked, (up, top, down, bottom) = people(rng, n_options(rng)), rng.choice(ORDERS)
    if rng.random() < 0.5:
        up, top, down = down, bottom, up
    pairs = [(rng.choice(ranked[:i]), ranked[i]) for i in range(1, len(ranked))]
    rng.shuffle(pairs)
    told = [f"{a} was {up} than {b}." for a, b in pairs]
    lost = {b: a for a, b in pairs}
    reasons = {name: f"{down} than {lost.get(name, 'none')}" for name in ranked}
    skeleton = f"order {up} {' '.join(f'{a}>{b}' for a, b in pairs)}"
    return Ordering(" ".join(told), f"Who was the {top}?", ranked[0], reasons, skeleton)


def first_in_order(rng: random.Random) -> Problem | None:
    """Who is first in an ordering."""
    return posed(ordering(rng), rng)


def posed(story: Ordering, rng: random.Random) -> Problem:
    """An ordering as multiple choice: the options are gone through until one loses no comparison."""
    choices = options(rng, list(story.reasons))
    answer = next(label for label, text in choices if text == story.first)
    steps = tuple(checked(choices, answer, story.reasons))
    return Problem("choice", f"{story.told} {story.asked}", answer, steps, story.skeleton, choices)


def verdict(amounts: list[int], largest: bool) -> list[str]:
    """For each amount in turn: in front or behind, so far."""
    better = max if largest else min
    return ["in front" if better(amounts[: i + 1]) == x else "behind" for i, x in enumerate(amounts)]


def compared(
    told: list[str], sums: list[tuple[str, Equation]], asked: str, largest: bool, skeleton: str
) -> Problem | None:
    """Compute an amount for each person, keep who is in front, conclude. sums: (person, equation)."""
    names = [name for name, _ in sums]
    amounts = values(tuple(equation for _, equation in sums))
    if len(set(amounts)) < len(amounts) or not all(2 <= x <= LARGEST for x in amounts):
        return None
    steps: list[Step] = [
        replace(equation, lead=f"{label}) {name}: ", tail=f", {said}.")
        for label, (name, equation), said in zip(LABELS, sums, verdict(amounts, largest), strict=False)
    ]
    best = amounts.index((max if largest else min)(amounts))
    steps.append(Remark(f"In front at the end: {LABELS[best]}) {names[best]}."))
    choices = tuple(zip(LABELS, names, strict=False))  # in the order told; the amounts make the true label uniform
    return Problem("choice", " ".join([*told, asked]), LABELS[best], tuple(steps), skeleton, choices)


def holding(rng: random.Random, who: str, things: str) -> tuple[str, Equation, str]:
    """One person's things: told text, equation, skeleton."""
    if rng.random() < 0.4:
        k, n = factors(rng)
        return f"{who} had {k} bags with {n} {things} each.", Equation("", k, "*", n, ""), f"bags{k},{n}"
    a, b = some(rng), some(rng)
    if rng.random() < 0.5 and a > b:
        return f"{who} had {a} {things} and lost {b}.", Equation("", a, "-", b, ""), f"less{a},{b}"
    return f"{who} had {a} {things} at home and {b} at school.", Equation("", a, "+", b, ""), f"sum{a},{b}"


def who_has_most(rng: random.Random) -> Problem | None:
    """Who has the most or the fewest things, each amount to be computed."""
    names, things, largest = people(rng, n_options(rng)), rng.choice(OBJECTS), rng.random() < 0.5
    told, sums, marks = [], [], []
    for who in names:
        text, equation, mark = holding(rng, who, things)
        told.append(text), sums.append((who, equation)), marks.append(mark)
    word = "most" if largest else "fewest"
    return compared(told, sums, f"Who had the {word} {things}?", largest, f"{word} {' '.join(marks)}")


def best_rate(rng: random.Random) -> Problem | None:
    """Who makes most per hour, or who pays least apiece: divide, then compare."""
    names, things, per_hour = people(rng, n_options(rng)), rng.choice(OBJECTS), rng.random() < 0.5
    pairs = [(rng.randint(2, 9), rng.randint(2, 20)) for _ in names]  # count, rate
    tell = "{0} made {1} {3} in {2} hours." if per_hour else "{0} paid {1} dollars for {2} {3}."
    told = [tell.format(name, r * c, c, things) for name, (c, r) in zip(names, pairs, strict=True)]
    sums = [(name, Equation("", r * c, "/", c, "")) for name, (c, r) in zip(names, pairs, strict=True)]
    asked = f"Who made the most {things} an hour?" if per_hour else f"Who paid least for each of the {things}?"
    return compared(told, sums, asked, per_hour, f"rate {per_hour} {pairs}")


def concluded(problem: Problem, rng: random.Random, wrong: list[int]) -> Problem:
    """A problem whose last equation gives the answer, as multiple choice: the options are checked against it."""
    true = values(problem.steps)[-1]
    choices = options(rng, [str(true), *map(str, wrong)])
    answer = next(label for label, text in choices if text == str(true))
    steps = (*problem.steps, *checked(choices, answer, {}))
    return replace(problem, kind="choice", answer=answer, steps=steps, choices=choices)


def sequence(rng: random.Random) -> Problem | None:
    """The next number of an arithmetic sequence."""
    step, length, op = rng.randint(2, 20), rng.randint(3, 4), rng.choice("+-")
    start = rng.randint(1, 60) + (step * length if op == "-" else 0)
    shown = [start + (step if op == "+" else -step) * i for i in range(length)]
    if max(shown) + step > LARGEST:
        return None
    low, high = sorted(shown[-2:])
    steps = (
        Equation("The difference is ", high, "-", low, "."),
        Equation("The next one is ", shown[-1], op, step, "."),
    )
    text = f"Which number comes next: {', '.join(map(str, shown))}?"
    true = values(steps)[-1]
    wrong = near_misses(rng, true, n_options(rng) - 1, [true + step, abs(shown[-1] - step)])
    return concluded(Problem("choice", text, "", steps, f"sequence {shown}"), rng, wrong)


def word_sum(rng: random.Random) -> Problem | None:
    """A number problem with options, among them values of its own earlier steps."""
    inner = number_problem(rng, rng.choice((1, 2, 2, 3, 3, 4)))
    if inner is None:
        return None
    true, between = int(inner.answer), values(inner.steps)[:-1]
    return concluded(inner, rng, near_misses(rng, true, n_options(rng) - 1, between))


def in_range(rng: random.Random) -> Problem | None:
    """The range that contains the result of a short number problem; the options are always the same."""
    inner = number_problem(rng, rng.choice((1, 1, 2, 3)))
    if inner is None:
        return None
    value = int(inner.answer)
    answer = LABELS[sum(value >= least for least in RANGES) - 1]
    choices = tuple(zip(LABELS, RANGES.values(), strict=False))
    steps = (*inner.steps, Remark(f"{value} lies in {answer}) {dict(choices)[answer]}."))
    return replace(inner, kind="choice", answer=answer, steps=steps, choices=choices)


FAMILIES: dict[Callable[[random.Random], Problem | None], int] = {
    first_in_order: 2,
    who_has_most: 4,
    best_rate: 3,
    sequence: 2,
    word_sum: 3,
    in_range: 6,
}


def choice_problem(rng: random.Random) -> Problem | None:
    """A problem of a family drawn by weight, or None where the draw did not fit (draw again)."""
    return rng.choices(tuple(FAMILIES), tuple(FAMILIES.values()))[0](rng)
