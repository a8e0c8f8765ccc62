"""The shipped problems: `python demo_problems.py OUT_DIR` writes demo-number.jsonl and demo-choice.jsonl, held out.

With --clues, demo-clues.jsonl (evidence) and demo-puzzle.jsonl (computation), of which the information of every step is
known: `localent run MODEL clues --data demo-clues.jsonl`.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

from choice_problems import FAMILIES
from clue_problems import FORMS, ClueProblem, clue_problem
from number_problems import MOST_STEPS, number_problem
from problems import Problem, draw, solution

N_PROBLEMS = 300
SEED = 2026


def number_problems(n: int, seed: int) -> list[Problem]:
    """`n` held-out number problems, 1 to 6 steps in turn, no question twice."""
    rng = random.Random(f"{seed}/number")
    return distinct(n, lambda i: draw(lambda r: number_problem(r, 1 + i % MOST_STEPS), rng, held_out=True))


def choice_problems(n: int, seed: int) -> list[Problem]:
    """`n` held-out choice problems, the families by their weight in turn, no question twice."""
    rng = random.Random(f"{seed}/choice")
    families = [family for family, weight in FAMILIES.items() for _ in range(weight)]
    return distinct(n, lambda i: draw(families[i % len(families)], rng, held_out=True))


def distinct(n: int, make) -> list:
    found: dict = {}
    while len(found) < n:
        problem = make(len(found))
        found.setdefault(problem.skeleton, problem)
    return list(found.values())


def row(problem: Problem, number: int) -> dict:
    """One problem as JSON: the stem in "question", options apart."""
    fields = {"id": f"{problem.kind}-{number:04d}", "question": problem.question}
    if problem.choices:
        fields["choices"] = [{"label": label, "text": text} for label, text in problem.choices]
    return {**fields, "answer": problem.answer, "n_steps": len(problem.steps), "solution": solution(problem)}


def clue_problems(n: int, seed: int, form: str) -> list[ClueProblem]:
    """`n` held-out clue problems of a form, no two with the same candidates and clues."""
    rng = random.Random(f"{seed}/{form}")
    return distinct(n, lambda _: draw(lambda r: clue_problem(r, form), rng, held_out=True))


def clue_row(made: ClueProblem, number: int) -> dict:
    """One clue problem as JSON, with the lines that arrive and what an ideal reader knows after each step."""
    told = {"observations": made.observations} if made.observations else {}
    ideal = {"ideal_entropy": made.ideal_entropy, "ideal_answers": made.ideal_answers}
    return row(made.problem, number) | told | ideal


def write(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--clues", action="store_true", help="the clue tasks, which no shipped model was trained on")
    parser.add_argument("-n", type=int, default=N_PROBLEMS, help="problems of each task")
    parser.add_argument("--seed", type=int, default=SEED)
    args = parser.parse_args()
    if args.clues:
        for form in FORMS:
            made = clue_problems(args.n, args.seed, form)
            write(args.out / f"demo-{form}.jsonl", [clue_row(p, i) for i, p in enumerate(made, start=1)])
        return
    for kind, make in (("number", number_problems), ("choice", choice_problems)):
        found = make(args.n, args.seed)
        write(args.out / f"demo-{kind}.jsonl", [row(p, i) for i, p in enumerate(found, start=1)])


if __name__ == "__main__":
    main()
