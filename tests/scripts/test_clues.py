"""The clue problems: the posterior that is stored beside each is the exact one."""

import json
import math
import random
from dataclasses import asdict
from itertools import pairwise

import pytest
from helpers.bayesian import holds  # reads a clue's words by rules of its own

from localent import tasks
from localent.records import Problem
from localent.store import open_db

from clue_problems import CLUES, FORMS, N_STEPS, candidates_of, clue_problem, course  # isort: skip - beside the helper
from demo_problems import clue_problems, clue_row  # isort: skip


def some(form, n=60, seed=5):
    return clue_problems(n, seed, form)


@pytest.mark.parametrize("seed", range(40))
def test_every_candidate_that_is_left_would_have_been_told_the_same(seed):
    """Bayes by brute force: with the same draws, another answer gets the same clues if and only if it is still left."""
    candidates = candidates_of(random.Random(f"candidates {seed}"))
    courses = {a: course(random.Random(seed), candidates, a) for a in candidates}
    for answer, found in courses.items():
        if found is None:
            continue
        for k, left in enumerate(found.left):
            alike = {a for a, one in courses.items() if one is not None and one.clues[:k] == found.clues[:k]}
            cut_short = {a for a, one in courses.items() if one is None}  # drawn again, whoever had been told so
            assert alike - cut_short == set(left) - cut_short
            assert answer in left


@pytest.mark.parametrize("form", FORMS)
def test_what_is_left_is_what_fits_the_clues(form):
    for made in some(form):
        found = made.course
        for k, left in enumerate(found.left):
            assert left == tuple(x for x in found.left[0] if all(holds(clue, x) for clue in found.clues[:k]))


@pytest.mark.parametrize("form", FORMS)
def test_clues_tell_nothing_or_half_or_all_and_come_in_courses_of_several(form):
    courses = [made.course for made in some(form, 120)]
    gains = [math.log(len(a) / len(b)) for c in courses for a, b in pairwise(c.left)]
    assert 0.2 < sum(gain == 0 for gain in gains) / len(gains) < 0.5
    assert sum(0.35 < gain < 0.85 for gain in gains) / len(gains) > 0.2
    assert 0.05 < sum(len(c.left[-1]) > 1 for c in courses) / len(courses) < 0.3
    assert all(N_STEPS[0] <= len(c.clues) <= N_STEPS[1] and 8 <= len(c.left[0]) <= 12 for c in courses)
    assert sum(len(a) > len(b) == 1 for c in courses for a, b in pairwise(c.left)) > 60


def test_the_split_does_not_depend_on_the_answer():
    """Two answers with the same candidates and clues are on the same side."""
    sides = {}
    for seed in range(400):
        made = clue_problem(random.Random(seed), CLUES)
        if made is not None:
            sides.setdefault(made.skeleton, set()).add(made.held_out)
    assert all(len(side) == 1 for side in sides.values())
    assert {True, False} == {next(iter(side)) for side in sides.values()}


def test_the_same_seed_makes_the_same_problems_and_another_makes_others():
    assert [asdict(p) for p in some(CLUES, 8)] == [asdict(p) for p in some(CLUES, 8)]
    assert {p.skeleton for p in some(CLUES, 8)} & {p.skeleton for p in some(CLUES, 8, 6)} == set()


@pytest.fixture(params=FORMS)
def loaded(request, tmp_path):
    path = tmp_path / "clues.jsonl"
    made = some(request.param, 40)
    path.write_text("".join(json.dumps(clue_row(p, i)) + "\n" for i, p in enumerate(made, start=1)))
    return made, tasks.load(request.param, path)


def test_they_are_read_with_what_an_ideal_reader_knows(loaded):
    made, task = loaded
    assert task.kind is tasks.NUMBER
    for one, problem in zip(made, task.problems, strict=True):
        assert problem.ideal_entropy == pytest.approx([math.log(len(left)) for left in one.course.left])
        assert problem.ideal_answers == tuple(tuple(map(str, left)) for left in one.course.left)
        assert problem.observations == one.observations
        assert len(problem.observations) == (len(one.course.clues) if one.form == CLUES else 0)


def test_no_line_but_the_last_states_an_answer(loaded):
    for problem in loaded[1].problems:
        text = tasks.worked(problem) + "\n"
        lines = text.splitlines(keepends=True)
        assert not any(tasks.is_answered("".join(lines[:k]), tasks.NUMBER) for k in range(len(lines)))
        assert tasks.extract(text, tasks.NUMBER).value == problem.answer


def test_the_store_keeps_them_and_lists_the_information_of_each_step(loaded, tmp_path):
    made, task = loaded
    with open_db(tmp_path / "a.db") as db:
        db.add_task(task.name, "number")
        db.add_problems(task.name, task.problems)
        db.add_problems(task.name, task.problems)
        assert tuple(db.problems(task.name)) == task.problems
        rows = db.query("select * from ideal_steps where problem_id = ? order by k", task.problems[0].problem_id)
    left = [len(some) for some in made[0].course.left]
    assert [row["k"] for row in rows] == list(range(len(left)))
    assert [row["n_answers"] for row in rows] == left
    gains = [None, *(math.log(a / b) for a, b in pairwise(left))]
    assert [row["ideal_gain"] for row in rows] == [gain if gain is None else pytest.approx(gain) for gain in gains]
    told = [None, *(made[0].observations or [None] * (len(left) - 1))]
    assert [row["observation"] for row in rows] == told


def test_a_problem_without_any_has_null_columns_and_no_steps(tmp_path):
    with open_db(tmp_path / "a.db") as db:
        db.add_task("sums", "number")
        db.add_problems("sums", [Problem("00", "1", "2 + 2?", "4")])
        assert db.query("select observations, ideal_entropy, ideal_answers from problems") == [
            {"observations": None, "ideal_entropy": None, "ideal_answers": None}
        ]
        assert db.query("select * from ideal_steps") == []


def test_no_bundled_task_is_one_of_them():
    """They are offered once there is a model that was trained on them."""
    assert not any(form in name for name in tasks.BUNDLED for form in FORMS)
