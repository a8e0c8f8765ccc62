"""Word problems with a number as answer: a story of 1 to 6 computed steps, with irrelevant facts mixed in.

A story holds one running quantity (things or dollars). An event adds a sentence to the question and one or two
equations to the solution. All text is in the past tense, so that "She" and "They" take the same verb forms.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from problems import OPERATIONS, Equation, Operand, Problem, Ref, values
from words import BOXES, COLORS, DAYS, GOODS, HELPERS, OBJECTS, PARTS, PEOPLE, PLACES, TIMES

MOST_STEPS = 6
LARGEST = 199  # the largest value of a step: larger sums would take a tiny model most of its training


@dataclass(slots=True)
class Story:
    """A story under construction. `now` is the running quantity: a given number or the value of a step."""

    rng: random.Random
    who: str
    pronoun: str
    things: str
    now: Operand = 0
    amount: int = 0
    money: bool = False
    setup: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    steps: list[Equation] = field(default_factory=list)
    skeleton: list[str] = field(default_factory=list)

    @property
    def unit(self) -> str:
        return "dollars" if self.money else self.things

    def say(self, *variants: str) -> None:
        self.facts.append(self.rng.choice(variants))

    def compute(self, left: Operand, op: str, right: Operand, leads: tuple[str, ...], tail: str) -> Ref:
        """Append one equation; returns a reference to its value."""
        self.steps.append(Equation(self.rng.choice(leads), left, op, right, tail))
        return Ref(len(self.steps) - 1)

    def move(self, op: str, right: Operand, size: int, leads: tuple[str, ...], tail: str) -> None:
        """Let the running quantity become `now op right`; `size` is the value of `right`."""
        self.now = self.compute(self.now, op, right, leads, tail)
        self.amount = OPERATIONS[op](self.amount, size)

    def mark(self, name: str, *numbers: int) -> None:
        self.skeleton.append(f"{name}:{','.join(map(str, numbers))}")


def some(rng: random.Random, top: int = 99) -> int:
    """A term of a sum, of one or two digits equally often: some steps change the quantity a little, some a lot."""
    low, high = rng.choice(((2, 9), (10, 60)))
    return rng.randint(min(low, top), max(2, min(high, top)))


def factors(rng: random.Random) -> tuple[int, int]:
    """(how many, of how much)."""
    (a, b), (c, d) = rng.choices((((2, 9), (2, 9)), ((2, 5), (10, 30))), (80, 20))[0]
    return rng.randint(a, b), rng.randint(c, d)


# Beginnings. Each sets the running quantity and returns True if the story may go on.


def begin_plain(s: Story) -> bool:
    n = some(s.rng)
    s.now = s.amount = n
    s.mark("plain", n)
    s.say(
        f"{s.who} had {n} {s.things}.",
        f"At {place(s)}, {s.who} started the day with {n} {s.things}.",
        f"{s.who} owned {n} {s.things}.",
        f"There were {n} {s.things} in the room of {s.who}.",
    )
    return True


def begin_packs(s: Story) -> bool:
    k, n = factors(s.rng)
    box = s.rng.choice(BOXES)
    s.mark("packs", k, n)
    s.say(
        f"{s.who} had {k} {box} with {n} {s.things} in each.",
        f"{s.who} filled {k} {box} with {n} {s.things} each.",
        f"There were {n} {s.things} in each of the {k} {box} that {s.who} owned.",
    )
    s.now = s.compute(
        k, "*", n, (f"The {k} {box} held ", f"With {n} {s.things} each, {k} {box} held "), f" {s.things}."
    )
    s.amount = k * n
    return s.amount <= LARGEST


def begin_colors(s: Story) -> bool:
    a, b = some(s.rng), some(s.rng)
    one, two = s.rng.sample(COLORS, 2)
    s.mark("colors", a, b)
    s.say(
        f"{s.who} had {a} {one} {s.things} and {b} {two} {s.things}.",
        f"{s.who} collected {a} {one} and {b} {two} {s.things}.",
    )
    s.now = s.compute(a, "+", b, (f"In all, {s.who} had ", f"The {one} and {two} {s.things} were "), f" {s.things}.")
    s.amount = a + b
    return True


def begin_days(s: Story) -> bool:
    n, k = some(s.rng), s.rng.choice(tuple(TIMES))
    day, next_day = s.rng.choice(tuple(pairwise(DAYS)))
    s.mark("days", n, k)
    s.say(
        f"{s.who} found {n} {s.things} on {day} and {TIMES[k]} as many on {next_day}.",
        f"On {day}, {s.who} made {n} {s.things}. On {next_day} it was {TIMES[k]} as many.",
    )
    more = s.compute(n, "*", k, (f"On {next_day} there were ", f"{next_day} brought "), f" {s.things}.")
    s.now = s.compute(n, "+", more, ("Both days gave ", "Together the two days gave "), f" {s.things}.")
    s.amount = n + n * k
    return s.amount <= LARGEST


def begin_wage(s: Story) -> bool:
    k, n = factors(s.rng)
    s.money = True
    s.mark("wage", k, n)
    s.say(
        f"{s.who} worked {k} hours for {n} dollars an hour.",
        f"{s.who} was paid {n} dollars an hour and worked {k} hours.",
        f"For each of {k} hours at {place(s)}, {s.who} got {n} dollars.",
    )
    s.now = s.compute(k, "*", n, (f"{k} hours of work paid ", f"{s.who} earned "), " dollars.")
    s.amount = k * n
    return s.amount <= LARGEST


def begin_savings(s: Story) -> bool:
    n = some(s.rng)
    s.money, s.now, s.amount = True, n, n
    s.mark("savings", n)
    s.say(f"{s.who} had saved {n} dollars.", f"There were {n} dollars in the purse of {s.who}.")
    return True


# Events. Each changes the running quantity and returns True if the story may go on.


def gain(s: Story) -> bool:
    n, helper = some(s.rng), s.rng.choice(HELPERS)
    s.mark("gain", n)
    if s.money:
        s.say(
            f"A {helper} added {n} dollars.",
            f"{s.pronoun} earned another {n} dollars.",
            f"{s.pronoun} got {n} dollars back from a {helper}.",
        )
    else:
        s.say(
            f"A {helper} gave {n} more.",
            f"{s.pronoun} bought {n} more {s.things}.",
            f"{s.pronoun} found another {n} {s.things}.",
        )
    s.move("+", n, n, ("That made ", f"With {n} more there were "), f" {s.unit}.")
    return True


def lose(s: Story) -> bool:
    n = some(s.rng, s.amount - 2)
    s.mark("lose", n)
    if s.money:
        s.say(
            f"{s.pronoun} spent {n} dollars on {s.rng.choice(GOODS)}.",
            f"{s.pronoun} paid {n} dollars for {s.rng.choice(GOODS)}.",
        )
    else:
        s.say(
            f"{s.pronoun} gave {n} of them to a {s.rng.choice(HELPERS)}.",
            f"{s.pronoun} lost {n} {s.things}.",
            f"{n} of the {s.things} broke.",
        )
    s.move("-", n, n, ("That left ", f"Without the {n} there were "), f" {s.unit}.")
    return s.amount > 1


def packs(s: Story) -> bool:
    k, n = factors(s.rng)
    s.mark("morepacks", k, n)
    if s.money:
        s.say(
            f"For {k} weeks {s.pronoun.lower()} saved {n} dollars each week.",
            f"{s.pronoun} worked {k} more days for {n} dollars a day.",
        )
        leads, tail = (f"The {k} times {n} dollars came to ", "The extra money was "), " dollars."
    else:
        box = s.rng.choice(BOXES)
        s.say(
            f"{s.pronoun} bought {k} {box} of {n} {s.things} each.",
            f"Then {k} {box} arrived, each with {n} {s.things}.",
        )
        leads, tail = (f"The {k} new {box} held ", f"The {box} brought "), f" {s.things}."
    more = s.compute(k, "*", n, leads, tail)
    s.move("+", more, k * n, ("Added up, that was ", "Together that made "), f" {s.unit}.")
    return True


def purchase(s: Story) -> bool:
    k, n = factors(s.rng)
    s.mark("purchase", k, n)
    if s.money:
        s.say(
            f"{s.pronoun} bought {k} lunches for {n} dollars each.",
            f"{s.pronoun} then paid {n} dollars for each of {k} chairs.",
        )
        leads, tail = ("The purchase cost ", f"The {k} things cost "), " dollars."
    else:
        s.say(f"{s.pronoun} gave {n} {s.things} to each of {k} friends.", f"{k} children took {n} {s.things} each.")
        leads, tail = ("Given away were ", f"The {k} others took "), f" {s.things}."
    less = s.compute(k, "*", n, leads, tail)
    s.move("-", less, k * n, ("What remained was ", "That left "), f" {s.unit}.")
    return s.amount > 1


def grow(s: Story) -> bool:
    k = s.rng.choice(tuple(TIMES))
    s.mark("grow", k)
    s.say(
        f"A month later {s.pronoun.lower()} had {TIMES[k]} as many {s.unit}.",
        f"By the summer the number of {s.unit} had become {TIMES[k]} as large.",
    )
    s.move("*", k, k, ("Later there were ", f"Then it was {TIMES[k]} as many, "), f" {s.unit}.")
    return True


def share(s: Story) -> bool:
    fits = [k for k in range(2, 10) if s.amount % k == 0]
    if not fits:
        return False
    k = s.rng.choice(fits)
    s.mark("share", k)
    if s.money:
        s.say(
            f"The money was split evenly among {k} people, {s.who} being one of them.",
            f"{s.pronoun} kept one of {k} equal shares.",
        )
    else:
        box = s.rng.choice(BOXES)
        s.say(
            f"{s.pronoun} sorted them into {k} equal {box} and kept just one of these.",
            f"{s.pronoun} divided them evenly among {k} {box} and took only one home.",
        )
    s.move("/", k, k, ("One share was ", f"Split in {k}, each part was "), f" {s.unit}.")
    return s.amount > 1


def part(s: Story) -> bool:
    fits = [k for k in PARTS if s.amount % k == 0]
    if not fits:
        return False
    k = s.rng.choice(fits)
    s.mark("part", k)
    s.say(
        f"{s.pronoun} gave {PARTS[k]} of the {s.unit} away.",
        f"Then {PARTS[k]} of the {s.unit} went to a {s.rng.choice(HELPERS)}.",
    )
    gone = s.compute(s.now, "/", k, (f"Gone was {PARTS[k]}, ", f"The part of {PARTS[k]} was "), f" {s.unit}.")
    s.move("-", gone, s.amount // k, ("That left ", "What remained was "), f" {s.unit}.")
    return s.amount > 1


def join(s: Story) -> bool:
    n, other = some(s.rng), s.rng.choice([p for p, _ in PEOPLE if p != s.who])
    s.mark("join", n)
    s.say(
        f"{other} had {n} more {s.unit} than that, and they put everything together.",
        f"{other} came with {n} {s.unit} more than this, so they joined what they had.",
    )
    theirs = s.compute(s.now, "+", n, (f"{other} had ", f"{other} came with "), f" {s.unit}.")
    size = s.amount + n
    s.move("+", theirs, size, ("Together they had ", "Joined, that made "), f" {s.unit}.")
    s.pronoun = "They"
    return True


def sell(s: Story) -> bool:
    price = s.rng.randint(2, 9)
    if s.money:
        return False
    s.mark("sell", price)
    s.setup.append(
        s.rng.choice(
            (
                f"At {place(s)}, {s.things} sold for {price} dollars each.",
                f"The price of {s.things} was {price} dollars apiece.",
            )
        )
    )
    s.say(f"{s.pronoun} sold all of them.", f"Everything was sold at that price for {s.things}.")
    s.money = True
    s.move("*", price, price, (f"At {price} dollars each, the sale brought ", "The sale brought "), " dollars.")
    return True


def spend_all(s: Story) -> bool:
    fits = [k for k in range(2, 10) if s.amount % k == 0]
    if not s.money or not fits:
        return False
    price, things = s.rng.choice(fits), s.rng.choice([t for t in OBJECTS if t != s.things])
    s.mark("spend", price)
    s.setup.append(f"The price of {things} was {price} dollars apiece.")
    s.say(f"{s.pronoun} spent all the money on {things}.", f"All the money then went into {things}.")
    s.money, s.things = False, things
    s.move("/", price, price, (f"At {price} dollars each, the money bought ", "The money bought "), f" {things}.")
    return s.amount > 1


BEGINNINGS: dict[Callable[[Story], bool], tuple[int, int]] = {  # steps it takes, weight
    begin_plain: (0, 4),
    begin_packs: (1, 2),
    begin_colors: (1, 2),
    begin_days: (2, 2),
    begin_wage: (1, 2),
    begin_savings: (0, 2),
}
EVENTS: dict[Callable[[Story], bool], tuple[int, int]] = {
    gain: (1, 7),
    lose: (1, 7),
    packs: (2, 3),
    purchase: (2, 3),
    grow: (1, 3),
    share: (1, 5),
    part: (2, 4),
    join: (2, 2),
    sell: (1, 3),
    spend_all: (1, 3),
}


def place(s: Story) -> str:
    return s.rng.choice(PLACES)


def distractor(s: Story) -> str:
    """An irrelevant fact with a number."""
    other, n = s.rng.choice([p for p, _ in PEOPLE if p != s.who]), some(s.rng)
    things = s.rng.choice([t for t in OBJECTS if t != s.things])
    return s.rng.choice(
        (
            f"{other} had {n} {things}.",
            f"A {s.rng.choice(HELPERS)} was {s.rng.randint(20, 90)} years old.",
            f"The way to {place(s)} took {n} minutes.",
            f"{other} lived at number {n}.",
            f"It was day {s.rng.randint(2, 30)} of the month.",
            f"At {place(s)}, {n} people stood in a line.",
            f"{other} paid {n} dollars for {things}.",
        )
    )


def question(s: Story) -> str:
    if s.money:
        return s.rng.choice(
            (
                "How many dollars were there in the end?",
                f"How much money was left for {s.who} in the end?",
                "How many dollars did that make?",
            )
        )
    return s.rng.choice(
        (
            f"How many {s.things} were there in the end?",
            f"How many {s.things} did {s.who} have in the end?",
            f"What was the final number of {s.things}?",
        )
    )


def pick(rng: random.Random, options: dict, room: int) -> Callable[[Story], bool]:
    """An option by weight among those that take at most `room` steps."""
    fits = [(f, weight) for f, (cost, weight) in options.items() if cost <= room]
    return rng.choices([f for f, _ in fits], [w for _, w in fits])[0]


def tell(rng: random.Random, n_steps: int) -> Story | None:
    """A story of exactly `n_steps` equations, or None if the draw failed."""
    who, pronoun = rng.choice(PEOPLE)
    s = Story(rng, who, pronoun, rng.choice(OBJECTS))
    fine = pick(rng, BEGINNINGS, n_steps)(s)
    while fine and len(s.steps) < n_steps:
        fine = pick(rng, EVENTS, n_steps - len(s.steps))(s)
        fine = fine and s.amount <= LARGEST and all(v <= LARGEST for v in values(tuple(s.steps)))
    return s if fine else None


def number_problem(rng: random.Random, n_steps: int) -> Problem | None:
    """A word problem of `n_steps` steps, or None where the draw did not fit (draw again)."""
    s = tell(rng, n_steps)
    if s is None:
        return None
    for _ in range(rng.choices((0, 1, 2), (50, 35, 15))[0]):
        s.facts.insert(rng.randint(0, len(s.facts) - 1), distractor(s))
    text = " ".join([*s.setup, *s.facts, question(s)])
    return Problem("number", text, str(s.amount), tuple(s.steps), " ".join(s.skeleton))
