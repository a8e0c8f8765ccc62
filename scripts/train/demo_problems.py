"""The shipped problems: `python demo_problems.py OUT_DIR` writes demo-number.jsonl and demo-choice.jsonl, held out."""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

from choice_problems import FAMILIES
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


def distinct(n: int, make) -> list[Problem]:
    found: dict[str, Problem] = {}
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


def write(path: Path, problems: list[Problem]) -> None:
    path.write_text("".join(json.dumps(row(p, i)) + "\n" for i, p in enumerate(problems, start=1)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    write(out / "demo-number.jsonl", number_problems(N_PROBLEMS, SEED))
    write(out / "demo-choice.jsonl", choice_problems(N_PROBLEMS, SEED))


if __name__ == "__main__":
    main()
