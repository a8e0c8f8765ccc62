"""Answers without an exact grammar: made, graded and rolled out, never probed, and every command says so."""

import json
import logging
import sqlite3
from dataclasses import replace

import pytest
from helpers.runs import SETTINGS, call, query

from localent import tasks
from localent.analysis import load
from localent.analysis.summary import summarise
from localent.errors import UsageError
from localent.report import terminal
from localent.runs import extend, gold
from localent.runs.extend import Wanted
from localent.runs.run import run
from localent.store import open_db
from localent.study.study import Design, study
from localent.tracing import places


@pytest.fixture
def words(tmp_path):
    """A user's own file of short answers."""
    path = tmp_path / "words.jsonl"
    rows = [
        {"question": f"Which is word {i}?", "answer": ["one", "uno"], "solution": "So.\nThe answer is one."}
        for i in "ab"
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return tasks.load("words", path, tasks.Columns(kind="text"))


SHORT = replace(SETTINGS, max_tokens=12, max_fed=8)


def test_a_run_is_not_probed_says_so_and_takes_rollouts(random_model, words, tmp_path, caplog):
    model, db = str(random_model("tiny-qwen2")), tmp_path / "runs.db"
    with caplog.at_level(logging.WARNING, "localent"):
        made = run(model, words, db=db, settings=SHORT)
    assert "answers of the kind text, which no grammar enumerates: they are not probed, only rolled out" in caplog.text
    assert query(db, "select count(*) from traces") == [(2,)]
    assert query(db, "select count(*) from probes") == [(0,)]
    assert query(db, "select kind from tasks") == [("text",)]
    assert extend.add_probes(model, words, made.run_id, db=db, wanted=Wanted(m=16)).n_new == 2
    rolled = query(db, "select n_rollouts, k from probes")
    assert {n for n, _ in rolled} == {16}
    assert len(rolled) <= 2 * places.DEFAULT
    assert run(model, words, db=db, settings=SHORT).n_new == 0  # as without probes: the same run goes on


def test_token_f1_stands_beside_accuracy(random_model, words, tmp_path):
    """The mean overlap of words with the accepted answers, by hand from the stored answers."""
    db = tmp_path / "runs.db"
    made = run(str(random_model("tiny-qwen2")), words, db=db, settings=SHORT)
    with sqlite3.connect(db) as conn:
        first, second = (trace_id for (trace_id,) in conn.execute("select trace_id from traces order by trace_id"))
        conn.execute("update traces set answer = 'one more', correct = 0 where trace_id = ?", (first,))
        conn.execute("update traces set answer = 'uno', correct = 1 where trace_id = ?", (second,))
    with open_db(db) as store:
        summary = summarise(load.traces(store, made.run_id), None)
    assert summary.token_f1.value == pytest.approx((2 / 3 + 1) / 2)
    assert "token F1" in terminal.render(summary)


def test_settings_of_probes_are_refused_by_name(random_model, words, tmp_path):
    model = str(random_model("tiny-qwen2"))
    with pytest.raises(UsageError, match=r"only rolled out\. --cue, --paths has no effect: leave it out"):
        run(model, words, db=tmp_path / "x.db", settings=replace(SETTINGS, max_fed=8, cue="label", paths=3))


def test_what_needs_probes_refuses_before_anything_is_run(random_model, words, tmp_path):
    model, db = str(random_model("tiny-qwen2")), tmp_path / "x.db"
    with pytest.raises(UsageError, match=r"only rolled out\. A study reads probes: take a task of another kind"):
        study([model], [words], Design(settings=SHORT), db=db)
    with pytest.raises(UsageError, match=r"only rolled out\. --gold reads probes"):
        gold.read_solutions(model, words, db=db, settings=SHORT)
    assert not db.exists()


def test_the_command_line_rolls_out(random_model, tmp_path):
    model, db, path = random_model("tiny-qwen2"), tmp_path / "runs.db", tmp_path / "words.jsonl"
    path.write_text('{"question": "Which?", "answer": "one"}')
    how = ("--data", path, "--kind", "text", "--max-tokens", 8, "--lanes", 2, "--threads", 1, "--gpu-layers", 0)
    code, out, told = call("run", model, "words", *how, "--db", db, "--rollouts", 16)
    assert code == 0, told
    assert query(db, "select distinct n_rollouts from probes") == [(16,)]
    assert "1 of them rolled out" in out
    code, _, told = call("run", model, "words", *how, "--db", db, "--rollouts", 3)
    assert (code, "--rollouts takes 16 or more" in told) == (2, True)
