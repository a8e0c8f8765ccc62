"""Worked examples for models without a chat template, written for this project; no public set contains them."""

from __future__ import annotations

from localent.records import Problem
from localent.tasks.problems import Columns, problem_of

_NUMBER = (
    (
        "A baker fills 6 trays with 15 rolls each. He drops 8 rolls on the way to the shop and sells half of the "
        "others before noon. How many rolls are left to sell after noon?",
        "6 trays hold 6 * 15 = 90 rolls.\nAfter the fall there are 90 - 8 = 82 rolls.\n"
        "Before noon he sells 82 / 2 = 41 rolls.\nSo 82 - 41 = 41 rolls are left.",
        41,
    ),
    (
        "Petra pays $3.50 for a sandwich and $1.25 for a juice. She buys both on each of 4 days. How much does she "
        "spend?",
        "One day costs $3.50 + $1.25 = $4.75.\nFour days cost 4 * $4.75 = $19.",
        19,
    ),
    (
        "A tank holds 240 liters. It is filled to 35% and then 60 liters are added. How many liters still fit in?",
        "35% of 240 liters are 0.35 * 240 = 84 liters.\nWith the addition there are 84 + 60 = 144 liters.\n"
        "So 240 - 144 = 96 liters still fit in.",
        96,
    ),
    (
        "Milan is three times as old as his sister. In 5 years they will be 34 together. How old is the sister now?",
        "In 5 years each is 5 years older, so now they are 34 - 10 = 24 together.\n"
        "Milan counts as 3 sisters, so 24 years are 4 times the age of the sister.\nShe is 24 / 4 = 6.",
        6,
    ),
    (
        "A train covers 180 kilometers in 2 hours and a bus the same way in 3 hours. How many kilometers per hour is "
        "the train faster?",
        "The train makes 180 / 2 = 90 kilometers per hour.\nThe bus makes 180 / 3 = 60 kilometers per hour.\n"
        "The train is 90 - 60 = 30 kilometers per hour faster.",
        30,
    ),
    (
        "A theater has 32 rows of 25 seats. On Friday 615 seats were taken, on Saturday 90 more. How many seats stayed "
        "empty on Saturday?",
        "The theater has 32 * 25 = 800 seats.\nOn Saturday 615 + 90 = 705 seats were taken.\n"
        "So 800 - 705 = 95 seats stayed empty.",
        95,
    ),
    (
        "Ada reads 12 pages on Monday and every day twice as many as the day before. How many pages has she read by "
        "the end of Wednesday?",
        "On Tuesday she reads 2 * 12 = 24 pages.\nOn Wednesday she reads 2 * 24 = 48 pages.\n"
        "Together these are 12 + 24 + 48 = 84 pages.",
        84,
    ),
    (
        "Seven friends share the cost of a boat. The boat costs $390 and the fuel $65. How many dollars does each pay?",
        "The boat and the fuel cost $390 + $65 = $455.\nEach friend pays $455 / 7 = $65.",
        65,
    ),
)

_CHOICE = (
    (
        "Why does a metal spoon in hot soup soon feel hot at its handle?",
        (
            "Metal makes heat of its own.",
            "Heat travels through metal easily.",
            "The handle is far from the soup.",
            "Steam cools it.",
        ),
        "The handle itself is not in the soup, so the heat must have moved along the spoon.\n"
        "Heat moves through a solid by conduction, and metals conduct well.",
        "B",
    ),
    (
        "Which of these would best show that a plant needs light?",
        (
            "Watering one plant and leaving another dry.",
            "Growing two kinds of plants in one pot.",
            "Growing two alike plants, one in the dark and one in the light.",
            "Measuring one plant each day.",
        ),
        "A fair test changes only what is asked about, here the light.\n"
        "So two plants that are alike in everything else must be compared.",
        "C",
    ),
    (
        "What do frogs, snakes and hawks in a meadow have in common?",
        ("They eat other animals.", "They have feathers.", "They lay eggs in water.", "They make their own food."),
        "Only hawks have feathers, and only frogs of the three lay eggs in water.\nNo animal makes its own food.\n"
        "Frogs eat insects, snakes eat frogs and mice, and hawks eat snakes and mice.",
        "A",
    ),
    (
        "A puddle is gone after a sunny day without rain. What happened to most of the water?",
        ("It turned into soil.", "It froze.", "It became a new substance.", "It evaporated into the air."),
        "The sun warmed the water, so it did not freeze.\n"
        "Warm liquid water turns into vapor without becoming another substance.",
        "D",
    ),
    (
        "Which change shortens the time that a ball needs to roll down a ramp?",
        ("A rougher ramp.", "A steeper ramp.", "A longer ramp.", "A flatter ramp."),
        "A rougher ramp slows the ball by friction, and a longer one is a longer way.\n"
        "A flatter ramp gives a smaller push along the way, a steeper one a larger push.",
        "B",
    ),
    (
        "Why do we see different parts of the Moon lit during a month?",
        (
            "Clouds cover a part of it.",
            "The shadow of the Earth covers a part of it.",
            "The Moon gives more or less light.",
            "We see its sunlit half from changing directions.",
        ),
        "The Moon gives no light of its own; the Sun always lights one half of it.\n"
        "The Moon moves around the Earth, so the angle at which we look at that half changes.",
        "D",
    ),
    (
        "Which of these is a chemical change?",
        ("Paper burning.", "Ice melting.", "Glass breaking.", "Sugar being ground."),
        "Melting, breaking and grinding change the form but not the substance.\n"
        "Burning paper turns into ash and gases, which are other substances.",
        "A",
    ),
    (
        "What helps a cactus most to live in a desert?",
        ("Large thin leaves.", "Bright flowers.", "A stem that stores water.", "Roots that float."),
        "In a desert water is what is missing.\n"
        "Large leaves would lose water, and flowers and floating roots do not save any.\n"
        "A thick stem keeps water from one rain to the next.",
        "C",
    ),
)


def _example(index: int, question: str, solution: str, answer: str, choices: tuple[str, ...] = ()) -> Problem:
    row = {
        "question": question,
        "answer": answer,
        "solution": f"{solution}\nThe answer is {answer}.",
        "choices": [*choices],
    }
    return problem_of(row, Columns(), "the built-in examples", f"example {index}")


EXAMPLES: dict[str, tuple[Problem, ...]] = {
    "number": tuple(_example(i, q, s, str(a)) for i, (q, s, a) in enumerate(_NUMBER, start=1)),
    "choice": tuple(_example(i, q, s, a, c) for i, (q, c, s, a) in enumerate(_CHOICE, start=1)),
}
