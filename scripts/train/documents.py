"""Training documents: problems rendered as text pieces, each piece trained on or only read.

Styles: plain ("Question: ...\\nSolution:\\n...", pretraining) and chat (ChatML, fine-tuning). A share of all documents
answers early: the solution is cut at a random step boundary (also before the first step) and "The answer is X."
follows at once. There the cue itself is only read, never trained on, so that a model learns what it would answer
now without learning to stop thinking.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from choice_problems import choice_problem
from number_problems import MIDDLE, MOST_STEPS, NARROW, SMALL, WIDE, Sizes, number_problem
from problems import Equation, Problem, draw, equation_text, lines, values

CUE = "The answer is"
END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
BETWEEN = "\n\n"  # between the problems of one document, also the separator for few-shot prompts
EARLY_SHARE = 0.18
QUESTION_SHARE = (
    0.25  # of pretraining questions count in the loss; their drawn numbers and names are mostly noise to it
)
WRONG_SHARE = 0.15
WORKSHEETS_FROM = 57  # first chunk of pretraining with worksheets: copying comes first, arithmetic after it
WORKSHEET_SHARE = 0.6
FINETUNE_PARTS = (  # up to which chunk, number sizes, share of worksheets, share of look-ups
    (30, MIDDLE, 0.6, 0.0),
    (54, MIDDLE, 0.0, 0.0),
    (75, NARROW, 0.3, 0.0),
    (100, NARROW, 0.0, 0.0),
    (137, NARROW, 0.2, 0.3),
    (154, SMALL, 0.1, 0.15),
    (1_000_000, SMALL, 0.0, 0.0),
)
CHOICE_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of a document; `trained` says whether its tokens count in the loss."""

    text: str
    trained: bool


def any_problem(rng: random.Random, sizes: Sizes, most_steps: int = MOST_STEPS) -> Problem:
    """A choice or number problem, number problems with 1 to `most_steps` steps alike often."""
    if rng.random() < CHOICE_SHARE:
        return draw(lambda r: choice_problem(r, sizes), rng, held_out=False)
    return any_number_problem(rng, sizes, most_steps)


def any_number_problem(rng: random.Random, sizes: Sizes, most_steps: int = MOST_STEPS) -> Problem:
    """A number problem, 1 to `most_steps` steps alike often."""
    n_steps = rng.randint(1, most_steps)
    return draw(lambda r: number_problem(r, n_steps, sizes), rng, held_out=False)


def plain_prompt(problem: Problem) -> str:
    return f"Question: {problem.prompt}\nSolution:\n"


def chat_prompt(problem: Problem) -> str:
    return f"{TURN_START}user\n{problem.prompt}{TURN_END}\n{TURN_START}assistant\n"


def worked(steps: list[str], answer: str, rng: random.Random, early: bool = False) -> list[Piece]:
    """The solution as pieces; if `early`, cut at a random step boundary and answered there."""
    kept = steps[: rng.randint(0, max(0, len(steps) - 1))] if early else steps
    read = "".join(f"{line}\n" for line in kept)
    return [Piece(read, True), Piece(CUE, not early), Piece(f" {answer}.", True)]


def terse(problem: Problem, slips: dict[int, int]) -> list[str]:
    """Only the equations, one a line; remarks stay as they are."""
    found = values(problem.steps, slips)
    return [equation_text(s, found, i) if isinstance(s, Equation) else s.text for i, s in enumerate(problem.steps)]


def chatty(text: list[str], rng: random.Random) -> list[str]:
    """Each step with an opening word before it."""
    openings = ("So: ", "Then: ", "Now, ", "Next: ", "We see: ", "I think: ")
    return [f"{rng.choice(openings)}{line}" for line in text]


def slip(problem: Problem, rng: random.Random) -> dict[int, int]:
    """An error in one random equation."""
    spots = [i for i, s in enumerate(problem.steps) if isinstance(s, Equation)]
    return {rng.choice(spots): rng.choice((1, -1, 2, 10, -10, 100))} if spots else {}


def wrong_answer(problem: Problem, slips: dict[int, int], rng: random.Random) -> str:
    """What the slip leads to: the last value, or any label for a choice."""
    if problem.choices:
        return rng.choice(problem.choices)[0]
    return str(values(problem.steps, slips)[-1])


def noisy_solution(problem: Problem, rng: random.Random) -> list[Piece]:
    """A pretraining solution: several styles, some wrong, some that answer early or without any step."""
    if rng.random() < EARLY_SHARE:
        return worked(lines(problem), problem.answer, rng, early=True)
    slips = slip(problem, rng) if rng.random() < WRONG_SHARE else {}
    answer = wrong_answer(problem, slips, rng) if slips else problem.answer
    style = rng.random()
    if style < 0.08:  # no work shown at all
        return worked([], answer, rng)
    text = terse(problem, slips) if style < 0.35 else lines(problem, slips)
    return worked(chatty(text, rng) if style > 0.8 else text, answer, rng)


def pretrain_document(rng: random.Random, most_steps: int = MOST_STEPS) -> list[Piece]:
    """One to three problems with noisy solutions, no chat template; some questions are trained on too."""
    pieces: list[Piece] = []
    for _ in range(rng.choices((1, 2, 3), (80, 12, 8))[0]):
        problem = any_problem(rng, WIDE, most_steps)
        pieces += [
            Piece(plain_prompt(problem), rng.random() < QUESTION_SHARE),
            *noisy_solution(problem, rng),
            Piece(BETWEEN, True),
        ]
    return [*pieces[:-1], Piece(END_OF_TEXT, True)]


def worksheet(rng: random.Random, sizes: Sizes) -> list[Piece]:
    """Bare equations, each of another problem, one a line; only the values count, the rest is drawn at random."""
    problems = [draw(lambda r: number_problem(r, 4, sizes), rng, held_out=False) for _ in range(12)]
    sums = [rng.choice(terse(p, {})) for p in problems]
    halves = [line.split("=") for line in sums]
    pieces = [(Piece(f"{left}=", False), Piece(f"{value}\n", True)) for left, value in halves]
    return [*(piece for pair in pieces for piece in pair), Piece(END_OF_TEXT, True)]


def look_up(rng: random.Random, sizes: Sizes) -> list[Piece]:
    """The options of a choice problem, then each option's text followed by its label; only the labels count."""
    problem = draw(lambda r: choice_problem(r, sizes), rng, held_out=False)
    pieces = [Piece("\n".join(f"{label}) {text}" for label, text in problem.choices) + "\n", False)]
    for label, text in rng.sample(problem.choices, len(problem.choices)):
        said = rng.choice(
            ("So it was", "That made", "So the one wanted was", "After that comes", "The most were those of")
        )
        pieces += [Piece(f"{said} {text}.\n{CUE}", False), Piece(f" {label}.\n", True)]
    return [*pieces, Piece(END_OF_TEXT, True)]


def chat_document(rng: random.Random, sizes: Sizes, early: bool) -> list[Piece]:
    """One problem with its clean solution in the chat template; only the solution is trained on."""
    problem = any_problem(rng, sizes)
    return [
        Piece(chat_prompt(problem), False),
        *worked(lines(problem), problem.answer, rng, early),
        Piece(TURN_END, True),
    ]


def finetune_document(rng: random.Random, sizes: Sizes = SMALL) -> list[Piece]:
    """A chat document; a share of them answers early."""
    return chat_document(rng, sizes, early=rng.random() < EARLY_SHARE)


def early_document(rng: random.Random) -> list[Piece]:
    """A chat document that answers early; the last stage mixes these in."""
    return chat_document(rng, SMALL, early=True)


def document(stage: str, index: int, rng: random.Random) -> list[Piece]:
    """The next document of chunk `index` of a stage.

    Pretraining begins with short problems (2 steps at most, then 4, then all) and ends with many worksheets.
    Fine-tuning has some worksheets until near its end, and smaller and smaller numbers.
    """
    if stage == "pretrain":
        if index >= WORKSHEETS_FROM and rng.random() < WORKSHEET_SHARE:
            return worksheet(rng, WIDE)
        return pretrain_document(rng, min(MOST_STEPS, 2 + 2 * (index // 10)))
    sizes, sums, look_ups = next(part[1:] for part in FINETUNE_PARTS if index < part[0])
    dice = rng.random()
    if dice < sums:
        return worksheet(rng, sizes)
    return look_up(rng, sizes) if dice < sums + look_ups else finetune_document(rng, sizes)
