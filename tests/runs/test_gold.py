"""Worked solutions that a model reads: stored as runs, and information that adds up along their steps."""

import json
from dataclasses import replace

import numpy as np
import pytest
from helpers.runs import query

from localent import tasks
from localent.analysis import load
from localent.analysis.gold import gold
from localent.errors import UsageError
from localent.runs import Settings
from localent.runs.gold import read_solutions
from localent.store import open_db

SETTINGS = Settings(lanes=2, threads=1, max_fed=4)


@pytest.fixture
def model(random_model):
    return str(random_model("tiny-qwen2"))


@pytest.fixture
def worked(tmp_path):
    """Problems with worked solutions of one to three steps."""
    path = tmp_path / "worked.jsonl"
    steps = ["First 2 + 1 = 3.", "Then 3 + 4 = 7.", "So 7 + 1 = 8."]
    rows = [
        {
            "question": f"Sum {i}?",
            "answer": 3 + i,
            "solution": "\n".join([*steps[: 1 + i % 3], f"The answer is {3 + i}."]),
        }
        for i in range(6)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def read(model, task, *, db, **options):
    """Read the worked solutions and summarize them, as `localent score --gold` does."""
    outcome = read_solutions(model, task, db=db, **options)
    with open_db(db, readonly=True) as store:
        return gold(load.solutions(store, outcome.run_id))


def test_worked_solutions_are_traces_of_their_own_task_read_once(model, worked, tmp_path):
    db, task = tmp_path / "runs.db", tasks.load("made", worked)
    first = read(model, task, db=db, settings=SETTINGS)
    assert query(db, "select distinct task, finish, correct from traces") == [("made (gold)", "given", 1)]
    texts = {text.strip() for (text,) in query(db, "select text from traces")}
    assert texts == {p.solution.strip() for p in task.problems}
    before = query(db, "select * from probes order by trace_id, k")
    second = read(model, task, db=db, settings=SETTINGS)
    assert (second.run_id, second.n_traces) == (first.run_id, 6)
    assert query(db, "select * from probes order by trace_id, k") == before


def test_log_probabilities_of_the_steps_add_up_and_six_problems_recalibrate_nothing(model, worked, tmp_path):
    db = tmp_path / "runs.db"
    found = read(model, tasks.load("made", worked), db=db, settings=SETTINGS)
    with open_db(db) as store:
        p = load.probes(store, found.run_id).own
    total = sum(s.log_prob.value * s.log_prob.n for s in found.steps)
    assert total == pytest.approx(np.nansum(p.at_end(p.gain)))
    assert (found.gain.value, found.gain.reason) == (None, "6 problems are too few to recalibrate; 20 are needed")
    assert {s.information.value for s in found.steps} == {None}
    assert [s.n for s in found.steps] == [6, 4, 2]


def test_more_solutions_are_the_same_run(model, worked, tmp_path):
    db, task = tmp_path / "runs.db", tasks.load("made", worked)
    some = read(model, task, db=db, n=2, settings=SETTINGS)
    all_ = read(model, task, db=db, settings=SETTINGS)
    assert (some.run_id, some.n_traces, all_.n_traces) == (all_.run_id, 2, 6)


def test_a_solution_that_does_not_fit_is_named(model, tmp_path):
    path = tmp_path / "long.jsonl"
    path.write_text(json.dumps({"question": "1?", "answer": 1, "solution": "one " * 3000, "id": "long-one"}))
    with pytest.raises(UsageError, match=r"Problem long-one and its solution need \d+ tokens"):
        read(model, tasks.load("made", path), db=tmp_path / "x.db", settings=SETTINGS)


def test_human_solutions_tell_a_trained_model_of_the_answer_and_an_untrained_one_nothing(bundled, untrained, tmp_path):
    """Where SIA is said to come from: the same worked solutions, read before and after maximum likelihood."""
    task, settings = tasks.load("demo-number"), Settings(lanes=8, threads=1, max_fed=8)
    options = dict(db=tmp_path / "runs.db", n=20, settings=settings)
    trained, random = (read(str(path), task, **options) for path in (bundled, untrained))
    assert trained.surprisal.high < random.surprisal.low
    assert min(trained.log_prob.low, trained.gain.low) > 0.5
    assert max(abs(random.log_prob.value), abs(random.gain.value)) < 0.5


def test_the_human_solutions_of_gsm8k_are_read_by_the_bundled_model(bundled, shared, tmp_path):
    """Among them the longest question and the longest solution, which together would not fit the model's context."""
    whole = tasks.load("gsm8k", shared / "gsm8k" / "test.jsonl")
    by_question, by_solution = (
        sorted(whole.problems, key=key) for key in (lambda p: len(p.question), lambda p: len(p.solution))
    )
    task = replace(whole, problems=(by_question[-1], by_solution[-1], *whole.problems[:10]))
    found = read(str(bundled), task, db=tmp_path / "runs.db", settings=replace(SETTINGS, lanes=4))
    assert found.n_traces == len(set(task.problems))
    assert found.surprisal.low > found.entropy.high > 0  # it never saw such texts, and does not know that it did not
    assert query(tmp_path / "runs.db", "select min(correct) from traces") == [(1,)]
    n_lines = [len(p.solution.split("\n")) for p in set(task.problems)]
    assert found.steps[0].n >= 0.9 * len(n_lines)
    assert found.log_prob.known


def test_a_task_without_worked_solutions_is_refused(model, tmp_path):
    path = tmp_path / "bare.jsonl"
    path.write_text(json.dumps({"question": "1 + 1?", "answer": 2}))
    with pytest.raises(UsageError, match="has no worked solutions"):
        read(model, tasks.load("bare", path), db=tmp_path / "x.db", settings=SETTINGS)
