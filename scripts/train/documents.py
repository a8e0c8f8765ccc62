"""Training documents: problems rendered as text pieces, each piece trained on or only read.

Styles: plain ("Question: ...\\nSolution:\\n...", pretraining) and chat (ChatML, fine-tuning). A share of all documents
answers early: the solution is cut at a random step boundary (also before the first step) and "The answer is X."
follows at once. There the cue itself is only read, never trained on, so that a model learns what it would answer
now without learning to stop thinking.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from choice_problems import (
    best_rate,
    choice_problem,
    held,
    near_misses,
    ordering,
    posed,
    sequence,
    who_has_most,
    word_sum,
)
from clue_problems import FORMS, PUZZLE, ClueProblem, clue_problem
from number_problems import LARGEST, MOST_STEPS, number_problem
from problems import LABELS, Equation, Problem, draw, equation_text, lines, options, values
from words import PEOPLE

CUE = "The answer is"
END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
BETWEEN = "\n\n"  # between the problems of one document, also the separator for few-shot prompts
EARLY_SHARE = 0.25
QUESTION_SHARE = (
    0.1  # of pretraining questions count in the loss; the numbers and names in them are random, so noise to the loss
)
WRONG_SHARE = 0.15
CHOICE_SHARE = 0.4
CLUE_SHARE = 0.25  # of the documents of every stage, where the recipe has clue problems
CLUE_EARLY_SHARE = 0.33
PUZZLE_SHARE = 0.3  # of the problems that are reinforced, where the recipe has them
DOUBT_SHARE = 0.4  # of the thoughts have a slip, corrected at once
AGAIN_SHARE = 0.3  # of the thoughts go through all steps again
DOUBT, AGAIN = "Wait, that is wrong.\n", "Let me check that again.\n"


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of a document; `trained` says whether its tokens count in the loss."""

    text: str
    trained: bool


def any_problem(rng: random.Random, most_steps: int = MOST_STEPS) -> Problem:
    """A choice or number problem."""
    if rng.random() < CHOICE_SHARE:
        return draw(choice_problem, rng, held_out=False)
    return any_number_problem(rng, most_steps)


def any_number_problem(rng: random.Random, most_steps: int = MOST_STEPS) -> Problem:
    """A number problem, 1 to `most_steps` steps equally often."""
    n_steps = rng.randint(1, most_steps)
    return draw(lambda r: number_problem(r, n_steps), rng, held_out=False)


def plain_prompt(problem: Problem) -> str:
    """The solution follows after a space, which belongs to its first token."""
    return f"Question: {problem.prompt}\nSolution:"


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
    """The answer that follows from the slip: the last value, or any label for a choice."""
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


def continued(pieces: list[Piece]) -> list[Piece]:
    """The pieces of a solution that goes on in the line of its prompt."""
    at = next(i for i, piece in enumerate(pieces) if piece.text)
    return [replace(p, text=f" {p.text}") if i == at else p for i, p in enumerate(pieces)]


def pretrain_document(rng: random.Random, most_steps: int = MOST_STEPS) -> list[Piece]:
    """One to three problems with noisy solutions, no chat template; some questions are trained on too."""
    pieces: list[Piece] = []
    for _ in range(rng.choices((1, 2, 3), (80, 12, 8))[0]):
        problem = any_problem(rng, most_steps)
        pieces += [
            Piece(plain_prompt(problem), rng.random() < QUESTION_SHARE),
            *continued(noisy_solution(problem, rng)),
            Piece(BETWEEN, True),
        ]
    return [*pieces[:-1], Piece(END_OF_TEXT, True)]


def worksheet(rng: random.Random) -> list[Piece]:
    """Bare equations of four problems, one per line; only the values are trained on, since the rest is random."""
    problems = [any_number_problem(rng) for _ in range(4)]
    sums = [line for p in problems for line in terse(p, {})]
    halves = [line.split("=") for line in rng.sample(sums, len(sums))]
    pieces = [(Piece(f"{left}=", False), Piece(f"{value}\n", True)) for left, value in halves]
    return [*(piece for pair in pieces for piece in pair), Piece(END_OF_TEXT, True)]


def comparisons(rng: random.Random) -> list[Piece]:
    """The amounts of a who-has-most problem without its story; only who is in front and the answer are trained on."""
    problem = draw(rng.choice((who_has_most, best_rate)), rng, held_out=False)
    *sums, last = lines(problem)
    pieces = [Piece(problem.question.rpartition(". ")[2] + "\n", False)]
    for line in sums:
        amount, _, said = line.rpartition(",")
        pieces += [Piece(f"{amount},", False), Piece(f"{said}\n", True)]
    return [*pieces, Piece(f"{last}\n{CUE} {problem.answer}.", True)]


def option_lookups(rng: random.Random) -> list[Piece]:
    """Options, some sums, then each label again, in random order; only the text of a label is trained on."""
    names = [name for name, _ in PEOPLE]
    n, numbers = rng.randint(3, 5), range(1, LARGEST + 1)
    choices = options(rng, rng.sample(names, n) if rng.random() < 0.3 else [str(x) for x in rng.sample(numbers, n)])
    between = terse(any_number_problem(rng), {})[: rng.randint(0, 4)]
    read = [*(f"{label}) {text}" for label, text in choices), *between]
    pieces = [Piece("".join(f"{line}\n" for line in read), False)]
    for label, text in rng.sample(choices, n):
        pieces += [Piece(f"{label})", False), Piece(f" {text}\n", True)]
    return pieces


def sums_of(problem: Problem) -> str:
    """The equations of a problem, one line each."""
    worked_lines = zip(problem.steps, lines(problem), strict=True)
    return "".join(f"{line}\n" for step, line in worked_lines if isinstance(step, Equation))


def shuffled_checks(rng: random.Random) -> list[Piece]:
    """A problem and its sums, then all options checked in random order; the labels are not trained on."""
    if rng.random() < 0.3:
        story = draw(ordering, rng, held_out=False)
        problem, reasons = posed(story, rng), story.reasons
    else:
        problem, reasons = draw(rng.choice((sequence, word_sum)), rng, held_out=False), {}
    pieces = [Piece(chat_prompt(problem) + sums_of(problem), False)]
    every = held(problem.choices, problem.answer, reasons)
    for line in rng.sample(every, len(every)):
        pieces += [Piece(line[:2], False), Piece(f"{line[2:]}\n", True)]
    return pieces


def equalities(rng: random.Random, near: bool = True) -> list[Piece]:
    """Sums, then numbers compared with the result, half of them equal to it; only verdicts are trained on.

    near: the others are near misses, and the problem comes first; else any numbers, after the sums alone.
    """
    problem = draw(rng.choice((sequence, word_sum)), rng, held_out=False)
    result = values(tuple(s for s in problem.steps if isinstance(s, Equation)))[-1]
    others = near_misses(rng, result, 6, []) if near else [x for x in range(1, LARGEST + 1) if x != result]
    pieces = [Piece((chat_prompt(problem) if near else "") + sums_of(problem), False)]
    for _ in range(14):
        number = result if rng.random() < 0.5 else rng.choice(others)
        verdict = "yes" if number == result else "no"
        pieces += [Piece(f"{rng.choice(LABELS)}) {number}:", False), Piece(f" {verdict}", True), Piece(".\n", False)]
    return pieces


def order_lookups(rng: random.Random) -> list[Piece]:
    """The story of an ordering, then its people in random order; only what the story says of them is trained on."""
    story = draw(ordering, rng, held_out=False)
    pieces = [Piece(f"{story.told} {story.asked}\n", False)]
    for name in rng.choices(tuple(story.reasons), k=8):
        pieces += [Piece(f"{name}:", False), Piece(f" {story.reasons[name]}\n", True)]
    return pieces


# --- clue problems ---------------------------------------------------------------------------------------------------


def clue_body(made: ClueProblem, rng: random.Random, early: bool) -> list[Piece]:
    """The steps of a clue problem, each clue that arrives read before its step; `early`: cut after some, and answered.

    What is answered then is the true answer, so that over many documents it is uniform over what is left.
    """
    written = lines(made.problem)
    n = rng.randint(0, len(written)) if early else len(written)
    pieces: list[Piece] = []
    for k, line in enumerate(written[:n]):
        pieces += [Piece(f"{told}\n", False) for told in made.observations[k : k + 1]] + [Piece(f"{line}\n", True)]
    return [*pieces, Piece(CUE, not early), Piece(f" {made.problem.answer}.", True)]


def any_puzzle(rng: random.Random) -> Problem:
    """A clue problem with all clues in its question."""
    return draw(lambda r: clue_problem(r, PUZZLE), rng, held_out=False).problem


def any_clues(rng: random.Random) -> ClueProblem:
    """A clue problem in either form."""
    form = rng.choice(FORMS)
    return draw(lambda r: clue_problem(r, form), rng, held_out=False)


def clue_document(rng: random.Random, chat: bool) -> list[Piece]:
    """A clue problem, in the chat template or plain; a third of them answer early."""
    made, early = any_clues(rng), rng.random() < CLUE_EARLY_SHARE
    if chat:
        body = clue_body(made, rng, early)
        return [Piece(chat_prompt(made.problem), False), *body, Piece(TURN_END, True)]
    return [
        Piece(plain_prompt(made.problem), False),
        *continued(clue_body(made, rng, early)),
        Piece(END_OF_TEXT, True),
    ]


def early_clue_document(rng: random.Random) -> list[Piece]:
    """A clue problem in the chat template that answers early; reinforcement mixes these in."""
    made = any_clues(rng)
    return [Piece(chat_prompt(made.problem), False), *clue_body(made, rng, early=True), Piece(TURN_END, True)]


# --- thinking aloud --------------------------------------------------------------------------------------------------


def thought(problem: Problem, rng: random.Random) -> list[Piece]:
    """The steps as a thought, a piece a line: some slip and are corrected at once, some are gone through again.

    A slip is only read; that it is noticed is trained.
    """
    right, pieces = lines(problem), list[Piece]()
    wrong = lines(problem, slip(problem, rng)) if rng.random() < DOUBT_SHARE else right
    for now, other in zip(right, wrong, strict=True):
        if other != now and not any(piece.text == DOUBT for piece in pieces):
            pieces += [Piece(f"{other}\n", False), Piece(DOUBT, True)]
        pieces.append(Piece(f"{now}\n", True))
    again = rng.random() < AGAIN_SHARE
    return pieces + ([Piece(AGAIN, True), *(Piece(f"{line}\n", True) for line in right)] if again else [])


def thinking_document(rng: random.Random) -> list[Piece]:
    """A problem that is thought about inside <think>, then answered; a share is cut off in the thought."""
    problem = any_problem(rng)
    pieces, early = thought(problem, rng), rng.random() < EARLY_SHARE
    kept = pieces[: rng.randint(0, len(pieces) - 1)] if early else pieces
    return [
        Piece(chat_prompt(problem), False),
        Piece("<think>\n", True),
        *kept,
        Piece("</think>\n\n", not early),
        Piece(CUE, not early),
        Piece(f" {problem.answer}.", True),
        Piece(TURN_END, True),
    ]


@dataclass(frozen=True, slots=True)
class Mix:
    """The documents of a stage: shares of worksheets, of drills, their kinds equally often, and of clue problems.

    The rest are problems, or thoughts about them.
    """

    worksheets: float = 0.0
    drills: float = 0.0
    kinds: tuple[Callable[[random.Random], list[Piece]], ...] = ()
    clues: float = 0.0
    thinks: bool = False


any_equalities = partial(equalities, near=False)
MIXES = {
    "pretrain": Mix(worksheets=0.25),
    "finetune": Mix(worksheets=0.1),
    "compare": Mix(drills=0.4, kinds=(comparisons, shuffled_checks)),
    "recall": Mix(drills=0.65, kinds=(option_lookups, order_lookups, shuffled_checks, any_equalities, any_equalities)),
    "settle": Mix(
        drills=0.4, kinds=(comparisons, shuffled_checks, equalities, equalities, option_lookups, order_lookups)
    ),
    "weigh": Mix(drills=0.5, kinds=(comparisons,)),
}
SHIPPED, CLUED = "shipped", "clues"  # what made the shipped models; the same with clue problems and a thinking stage
RECIPES = {
    SHIPPED: MIXES,
    CLUED: {
        **{stage: replace(mix, clues=CLUE_SHARE) for stage, mix in MIXES.items()},
        "think": Mix(clues=CLUE_SHARE / 2, thinks=True),
    },
}


def chat_document(rng: random.Random, early: bool) -> list[Piece]:
    """One problem with its clean solution in the chat template; only the solution is trained on."""
    problem = any_problem(rng)
    return [
        Piece(chat_prompt(problem), False),
        *worked(lines(problem), problem.answer, rng, early),
        Piece(TURN_END, True),
    ]


def finetune_document(rng: random.Random) -> list[Piece]:
    """A chat document; a share of them answers early."""
    return chat_document(rng, early=rng.random() < EARLY_SHARE)


def early_document(rng: random.Random) -> list[Piece]:
    """A chat document that answers early; the last stage mixes these in."""
    return chat_document(rng, early=True)


def document(stage: str, index: int, rng: random.Random, recipe: str = SHIPPED) -> list[Piece]:
    """The next document of chunk `index` of a stage.

    Worksheets and drills are mixed in: they teach in a few tokens what stories teach in many. Pretraining begins with
    short problems: 2 steps at most, then 4, then all.
    """
    mix, lot = RECIPES[recipe][stage], rng.random()
    if lot < mix.worksheets:
        return worksheet(rng)
    if lot < mix.worksheets + mix.drills:
        return rng.choice(mix.kinds)(rng)
    if lot >= 1 - mix.clues:
        return clue_document(rng, chat=stage != "pretrain")
    if mix.thinks:
        return thinking_document(rng)
    if stage != "pretrain":
        return finetune_document(rng)
    return pretrain_document(rng, min(MOST_STEPS, 2 + 2 * (index // 10)))
