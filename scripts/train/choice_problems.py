"""Multiple-choice problems: order chains, who has most, best rates, arrival times, sequences, sums with near misses.

Every family makes the true option and wrong ones that a slip would produce; the options are then shuffled, so the
true label is uniform. Mostly four options (A-D), sometimes three or five.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

from number_problems import SMALL, Sizes, factors, number_problem, some
from problems import Equation, Problem, Ref, Remark, Step, values, with_options
from words import DAYS, MACHINES, OBJECTS, ORDERS, PEOPLE


def n_options(rng: random.Random) -> int:
    return rng.choices((3, 4, 5), (12, 76, 12))[0]


def people(rng: random.Random, n: int) -> list[str]:
    return rng.sample([name for name, _ in PEOPLE], n)


def near_misses(rng: random.Random, true: int, n: int, first: list[int]) -> list[int]:
    """`n` different wrong numbers: those in `first` (what a forgotten step gives), then slips of one digit or ten."""
    slips = [true + d for d in (1, -1, 2, -2, 10, -10, 20, -20, 100, -100)]
    rng.shuffle(slips)
    keep = rng.sample(first, min(len(first), rng.randint(0, 2)))
    pool = list(dict.fromkeys(x for x in [*keep, *slips, *range(true + 3, true + 9)] if x >= 0 and x != true))
    return pool[:n]


def order_chain(rng: random.Random, sizes: Sizes = SMALL) -> Problem | None:
    """Who is the tallest (or second tallest, ...), from comparisons told in random order."""
    n = n_options(rng)
    ranked, (up, top, down, bottom) = people(rng, n), rng.choice(ORDERS)
    told = [
        f"{a} was {up} than {b}." if rng.random() < 0.5 else f"{b} was {down} than {a}." for a, b in pairwise(ranked)
    ]
    rng.shuffle(told)
    place = rng.randrange(n)
    names = [top, f"second {top}", f"third {top}", f"fourth {top}"]
    wanted = bottom if place == n - 1 else names[place]
    steps: list[Step] = [Remark(f"{a} was {up} than {b}.") for a, b in pairwise(ranked)]
    steps += [
        Remark(f"From {top} to {bottom} they were {', '.join(ranked)}."),
        Remark(f"So the {wanted} was {ranked[place]}."),
    ]
    problem = Problem(
        "choice",
        " ".join([*told, f"Who was the {wanted}?"]),
        "",
        tuple(steps),
        f"order {up} {place} {' '.join(ranked)}",
    )
    return with_options(problem, rng, ranked[place], [x for x in ranked if x != ranked[place]])


def holding(
    rng: random.Random, sizes: Sizes, who: str, things: str, before: tuple[str, Ref, int] | None
) -> tuple[str, Equation, int, str]:
    """One person's things: told text, equation, amount, skeleton. `before` is another one's (name, value, amount)."""
    if before and rng.random() < 0.45:
        n, more = some(rng, sizes, before[2] - 2), rng.random() < 0.5 or before[2] < 12
        word, op, amount = ("more", "+", before[2] + n) if more else ("fewer", "-", before[2] - n)
        return (
            f"{who} had {n} {things} {word} than {before[0]}.",
            Equation(f"{who} had ", before[1], op, n, f" {things}."),
            amount,
            f"{word}{n}",
        )
    if rng.random() < 0.6:
        k, n = rng.randint(2, 9), rng.randint(5, 60)
        return (
            f"{who} had {k} bags with {n} {things} each.",
            Equation(f"{who} had ", k, "*", n, f" {things}."),
            k * n,
            f"bags{k},{n}",
        )
    a, b = some(rng, sizes, 300), some(rng, sizes, 300)
    return (
        f"{who} had {a} {things} at home and {b} at school.",
        Equation(f"{who} had ", a, "+", b, f" {things}."),
        a + b,
        f"sum{a},{b}",
    )


def who_has_most(rng: random.Random, sizes: Sizes = SMALL) -> Problem | None:
    """Who has the most or the fewest things, each amount to be computed."""
    n, things = n_options(rng), rng.choice(OBJECTS)
    told, steps, amounts, marks, names = [], [], [], [], people(rng, n)
    for i, who in enumerate(names):
        text, equation, amount, mark = holding(
            rng, sizes, who, things, (names[i - 1], Ref(i - 1), amounts[-1]) if i else None
        )
        told.append(text), steps.append(equation), amounts.append(amount), marks.append(mark)
    if len(set(amounts)) < n or min(amounts) < 2:
        return None
    word, chosen = rng.choice((("most", max(amounts)), ("fewest", min(amounts))))
    who = names[amounts.index(chosen)]
    steps.append(Remark(f"The {word} {things} were {chosen}, those of {who}."))
    problem = Problem(
        "choice", " ".join([*told, f"Who had the {word} {things}?"]), "", tuple(steps), f"{word} {' '.join(marks)}"
    )
    return with_options(problem, rng, who, [x for x in names if x != who])


def best_rate(rng: random.Random, sizes: Sizes = SMALL) -> Problem | None:
    """Which machine makes most per hour, or which pack costs least apiece: divide, then compare."""
    n, per_hour, things = n_options(rng), rng.random() < 0.5, rng.choice(OBJECTS)
    rates = rng.sample(range(3, 40), n) if rng.random() < 0.5 else rng.sample(range(12, 12 + 3 * n), n)
    counts = [rng.randint(2, 12) for _ in rates]
    names = (
        [f"{rng.choice(MACHINES)} {x}" for x in rng.sample(range(1, 99), n)]
        if per_hour
        else [f"the pack of {c}" for c in counts]
    )
    if len(set(names)) < n:
        return None
    tell = "The {0} made {1} {3} in {2} hours." if per_hour else "For {0} {3} one shop asked {1} cents."
    told = [tell.format(name, r * c, c, things) for name, r, c in zip(names, rates, counts, strict=True)]
    tail = f" {things} an hour." if per_hour else " cents each."
    steps: list[Step] = [
        Equation(f"{name[0].upper()}{name[1:]}: ", r * c, "/", c, tail)
        for name, r, c in zip(names, rates, counts, strict=True)
    ]
    best = max(rates) if per_hour else min(rates)
    true = names[rates.index(best)]
    steps.append(Remark(f"The {'largest' if per_hour else 'smallest'} was {best}, so {true}."))
    asked = (
        f"Which of them made the most {things} an hour?"
        if per_hour
        else f"Which pack had the lowest price for each of the {things}?"
    )
    problem = Problem("choice", " ".join([*told, asked]), "", tuple(steps), f"rate {per_hour} {rates} {counts}")
    return with_options(problem, rng, true, [x for x in names if x != true])


def clock(minutes: int) -> str:
    return f"{minutes // 60 % 24}:{minutes % 60:02d}"


def arrival(rng: random.Random, sizes: Sizes = SMALL) -> Problem | None:
    """When a trip ends that starts at a time and takes some minutes (and a stop)."""
    hour, minute, trip, stop = (
        rng.randint(5, 15),
        rng.randint(0, 59),
        rng.randint(11, 120),
        rng.choice((0, 0, rng.randint(3, 45))),
    )
    end = hour * 60 + minute + trip + stop
    thing = rng.choice(("bus", "train", "boat", "tram", "truck"))
    told = f"A {thing} left at {clock(hour * 60 + minute)} and was on its way for {trip} minutes"
    told += f", with a stop of {stop} minutes more. When did it arrive?" if stop else ". When did it arrive?"
    steps: list[Step] = [Equation("The trip and the stop took ", trip, "+", stop, " minutes.")] if stop else []
    steps.append(
        Equation(f"Counted from {hour}:00, the arrival was at minute ", minute, "+", Ref(0) if stop else trip, ".")
    )
    for _ in range((minute + trip + stop) // 60):
        steps.append(Equation("Less one hour: ", Ref(len(steps) - 1), "-", 60, " minutes."))
    steps.append(Remark(f"So it arrived at {clock(end)}."))
    wrong = [end + d for d in rng.sample((-60, 60, 10, -10, 5, -5, 1, -1, 20, -20, *((-stop,) if stop > 1 else ())), 4)]
    wrong = list(dict.fromkeys(clock(w) for w in wrong if w != end))
    n = n_options(rng)
    problem = Problem("choice", told, "", tuple(steps), f"arrival {hour} {minute} {trip} {stop}")
    return with_options(problem, rng, clock(end), wrong[: n - 1]) if len(wrong) >= n - 1 else None


def sequence(rng: random.Random, sizes: Sizes = SMALL) -> Problem | None:
    """What comes next in an arithmetic sequence, or one that multiplies."""
    start, length = rng.randint(1, 90), rng.randint(4, 5)
    if rng.random() < 0.7:
        step, op = rng.randint(3, 48), rng.choice("+-")
        start += step * length if op == "-" else 0
        shown = [start + (step if op == "+" else -step) * i for i in range(length)]
    else:
        step, op, start = rng.randint(2, 4), "*", rng.randint(1, 9)
        shown = [start * step**i for i in range(length)]
    first = [
        Equation("From the first to the second: ", shown[1], "-", shown[0], "."),
        Equation("From the second to the third: ", shown[2], "-", shown[1], "."),
    ]
    if op == "-":
        first = [
            Equation("From the first to the second: ", shown[0], "-", shown[1], " less."),
            Equation("From the second to the third: ", shown[1], "-", shown[2], " less."),
        ]
    if op == "*":
        first = [
            Equation("From the first to the second: ", shown[1], "/", shown[0], " times."),
            Equation("From the second to the third: ", shown[2], "/", shown[1], " times."),
        ]
    steps: tuple[Step, ...] = (*first, Equation("The next one is ", shown[-1], op, Ref(1), "."))
    true = values(steps)[-1]
    wrong = near_misses(rng, true, n_options(rng) - 1, [true + step, abs(shown[-1] - step)])
    text = f"Which number comes next: {', '.join(map(str, shown))}?"
    return with_options(Problem("choice", text, "", steps, f"sequence {shown}"), rng, str(true), list(map(str, wrong)))


def weekday(rng: random.Random, sizes: Sizes = SMALL) -> Problem | None:
    """Which day of the week it is some days later."""
    start, days = rng.randrange(7), rng.randint(3, 45)
    weeks, rest = divmod(days, 7)
    end = DAYS[(start + rest) % 7]
    steps: tuple[Step, ...] = (
        Equation("The full weeks took ", weeks, "*", 7, " days."),
        Equation("Left over were ", days, "-", Ref(0), " days."),
        Remark(f"{rest} days after {DAYS[start]} comes {end}."),
    )
    text = rng.choice(
        (
            f"Today is {DAYS[start]}. Which day is it in {days} days?",
            f"A letter was sent on a {DAYS[start]} and arrived {days} days later. Which day was that?",
        )
    )
    wrong = rng.sample([d for d in DAYS if d != end], n_options(rng) - 1)
    return with_options(Problem("choice", text, "", steps, f"weekday {start} {days}"), rng, end, wrong)


def word_sum(rng: random.Random, sizes: Sizes = SMALL) -> Problem | None:
    """A number problem with options, among them values of its own earlier steps."""
    inner = number_problem(rng, rng.choice((1, 2, 2, 3, 3, 4)), sizes)
    if inner is None:
        return None
    true, between = int(inner.answer), values(inner.steps)[:-1]
    wrong = near_misses(rng, true, n_options(rng) - 1, between)
    problem = Problem("choice", inner.question, "", inner.steps, inner.skeleton)
    return with_options(problem, rng, inner.answer, list(map(str, wrong)))


def product(rng: random.Random, sizes: Sizes = SMALL) -> Problem | None:
    """A plain product or sum of products with options one slip away."""
    (a, b), c = factors(rng, sizes), some(rng, sizes)
    op, things = rng.choice("+-"), rng.choice(OBJECTS)
    if op == "-" and a * b <= c:
        return None
    steps: tuple[Step, ...] = (Equation("First, ", a, "*", b, "."), Equation("Then ", Ref(0), op, c, f" {things}."))
    true = values(steps)[-1]
    then = f"Another {c} came" if op == "+" else f"Gone were {c}"
    text = f"There were {a} rows of {b} {things}. {then}. How many {things} was that?"
    wrong = near_misses(rng, true, n_options(rng) - 1, [a * b, abs(a * b - c) if op == "+" else a * b + c])
    return with_options(
        Problem("choice", text, "", steps, f"packs:{a},{b} {'gain' if op == '+' else 'lose'}:{c}"),
        rng,
        str(true),
        list(map(str, wrong)),
    )


FAMILIES: dict[Callable[..., Problem | None], int] = {
    order_chain: 4,
    who_has_most: 4,
    best_rate: 3,
    arrival: 3,
    sequence: 2,
    weekday: 2,
    word_sum: 5,
    product: 2,
}


def choice_problem(rng: random.Random, sizes: Sizes = SMALL) -> Problem | None:
    """A problem of a family drawn by weight, or None where the draw did not fit (draw again)."""
    return rng.choices(tuple(FAMILIES), tuple(FAMILIES.values()))[0](rng, sizes)
