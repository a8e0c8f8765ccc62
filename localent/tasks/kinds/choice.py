"""Answers that are the label of an option: "The answer is (B)." gives B."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from localent.records import Choice, Problem
from localent.tasks.kinds import labels, settled
from localent.tasks.kinds.choice_grammar import ChoiceGrammar
from localent.tasks.kinds.cues import PARAGRAPH, Cue
from localent.tasks.kinds.gold_option import label_of
from localent.tasks.kinds.grammar import Grammar
from localent.tasks.kinds.kind import STEPWISE, Clause, Gold, Kind, Worked
from localent.tasks.text import Found

_WORKED = (
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


class ChoiceKind(Kind):
    """One of a problem's options, by its label."""

    name = "choice"
    takes_options = True
    noun = "option"
    settles = True
    instruction = STEPWISE + "the label of the right option."
    cues: tuple[Cue, ...] = (
        Cue("sentence", "The answer is"),
        Cue("parenthesis", "The answer is ("),
        Cue("option", "The correct option is", PARAGRAPH),
        Cue("option-parenthesis", "The correct option is (", PARAGRAPH),
        Cue("boxed", "The final answer is \\(\\boxed{", PARAGRAPH),
        Cue("label", "Answer:", PARAGRAPH),
        Cue("turn", "Which option is right? Reply with its label and nothing else.", turn=True),
    )
    worked = tuple(Worked(question, solution, answer, options) for question, options, solution, answer in _WORKED)

    def fits(self, answer: str, choices: Sequence[Choice]) -> bool:
        return bool(choices)

    def normalise(self, gold: Gold) -> str:
        """The label of the option that the data file means (see tasks.kinds.gold_option)."""
        return label_of(gold)

    def chance(self, problem: Problem) -> float:
        return 1 / len(problem.choices)

    def ln_others(self, problems: Sequence[Problem]) -> float:
        return math.log(max(len(problem.choices) for problem in problems) - 1)

    def stated(self, clause: Clause, choices: Sequence[Choice]) -> Found | None:
        return labels.stated(clause.text, clause.begin, clause.end, choices)

    def named(self, clause: Clause, choices: Sequence[Choice]) -> Found | None:
        return labels.named(clause.text, clause.begin, clause.end, choices)

    def heads_solution(self, clause: Clause, found: Found) -> bool:
        return found.method == "answer text" and re.search(r"\w", clause.text[clause.end :]) is not None

    def last(self, text: str, begin: int, choices: Sequence[Choice]) -> Found | None:
        return settled.last(text, begin, choices)

    def grammar(self, pieces: Sequence[bytes], choices: Sequence[Choice]) -> Grammar:
        return ChoiceGrammar(pieces, [c.label for c in choices])


CHOICE = ChoiceKind()
