"""Traces with lines from outside: when they arrive, what they count for, and that a run repeats to the last bit."""

from __future__ import annotations

import json
import math
import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.bayesian import Reader, entropy
from helpers.runs import call, content, query

from localent import runs, tasks
from localent.engine import scripted
from localent.runs import Settings
from localent.runs.extend import Wanted, add_probes
from localent.runs.gold import read_solutions
from localent.runs.shard import Shard
from localent.store import open_db
from localent.store.merge import merge

from demo_problems import clue_problems, clue_row  # isort: skip - beside the helper

SETTINGS = Settings(lanes=4, threads=1, max_tokens=300, max_fed=64, epsilon=0.0, probes=None, cue="sentence")


@pytest.fixture(scope="module")
def clues(tmp_path_factory):
    """The file of a small evidence task."""
    return written(tmp_path_factory.mktemp("clues") / "clues.jsonl", "clues", 6)


def written(path, form, n):
    path.write_text("".join(json.dumps(clue_row(p, i)) + "\n" for i, p in enumerate(clue_problems(n, 11, form), 1)))
    return path


@contextmanager
def opened(folder, bundled, reader=Reader()):  # noqa: B008 - frozen
    """Context: a file that this reader computes; its template is the bundled model's."""
    path = folder / "reader.gguf"
    if not path.exists():
        path.symlink_to(bundled)
    with scripted.at(path.resolve(), reader.model()), scripted.at(path, reader.model()):
        yield str(path)


@pytest.fixture
def model(bundled, tmp_path):
    return lambda *reader: opened(tmp_path, bundled, *reader)


@pytest.fixture(scope="module")
def ran(bundled, clues, tmp_path_factory):
    """A run of the exactly Bayesian reader: its database and task."""
    folder, task = tmp_path_factory.mktemp("ran"), tasks.load("clues", clues)
    with opened(folder, bundled) as path:
        runs.run(path, task, db=folder / "a.db", settings=SETTINGS)
    return folder / "a.db", task


def traces(db):
    with open_db(db, readonly=True) as store:
        return [store.trace(row["trace_id"]) for row in store.query("select trace_id from traces order by trace_id")]


def test_every_line_arrives_before_its_step_and_is_marked(ran):
    db, task = ran
    problems = {p.problem_id: p for p in task.problems}
    for trace in traces(db):
        problem = problems[trace.problem_id]
        given = b"".join(token.text for token in trace.tokens if token.given).decode()
        assert given == "".join(f"{line}\n" for line in problem.observations)
        steps = [step for step in trace.steps if step.kind == "reasoning"]
        assert [step.text.splitlines()[0] for step in steps] == list(problem.observations)
        assert "".join(step.text for step in trace.steps) == trace.text
        said = [step.text.splitlines()[1] for step in steps]
        assert [*said, trace.steps[-1].text] == [*problem.solution.splitlines()[:-1], trace.steps[-1].text]
        assert trace.steps[-1].text.startswith("The answer is")


def test_they_are_no_part_of_entropy_length_and_likelihood(ran):
    db, _ = ran
    for trace, row in zip(traces(db), stored(db), strict=True):
        own = [token for token in trace.tokens if not token.given]
        assert (row["n_tokens"], row["n_given"]) == (len(own), len(trace.tokens) - len(own))
        assert row["n_given"] > 0
        assert row["mean_entropy"] == pytest.approx(math.fsum(t.entropy for t in own) / len(own), abs=1e-12)
        assert row["log_prob"] == pytest.approx(-math.fsum(t.surprisal for t in own), abs=1e-9)
    given = query(db, "select count(*), min(surprisal) from tokens where given")
    assert given[0][0] == sum(row["n_given"] for row in stored(db))
    assert given[0][1] > 100  # the reader never writes a clue itself: their surprisal would swamp every mean


def stored(db):
    with open_db(db, readonly=True) as store:
        return store.query("select * from traces order by trace_id")


def test_the_probes_of_a_bayesian_reader_are_the_ideal(ran):
    """After k clues the answer entropy is ln of the number of candidates left, to the last bits."""
    db, task = ran
    problems = {p.problem_id: p for p in task.problems}
    for trace in traces(db):
        ideal = problems[trace.problem_id].ideal_entropy
        assert [probe.entropy for probe in trace.own_probes] == pytest.approx(ideal, abs=1e-9)
        assert [probe.log_p_true for probe in trace.own_probes] == pytest.approx([-h for h in ideal], abs=1e-9)
        assert all(probe.residual == 0 and probe.invalid < 1e-12 for probe in trace.own_probes)


@pytest.mark.parametrize("lanes", [3])
def test_lanes_shards_and_stopping_change_no_bit(model, clues, tmp_path, ran, lanes):
    whole, task = ran
    settings = replace(SETTINGS, lanes=lanes)
    with model() as path:
        for k in (1, 2):
            runs.run(path, task.first(3), db=tmp_path / f"{k}.db", settings=replace(settings, shard=Shard(k, 2)))
            runs.run(path, task, db=tmp_path / f"{k}.db", settings=replace(settings, shard=Shard(k, 2)))
    merge([tmp_path / "1.db", tmp_path / "2.db"], tmp_path / "joined.db")
    assert bits(tmp_path / "joined.db") == bits(whole)


def bits(db):
    """Everything of the traces but the ids, which name the lanes."""
    found = content(db, ("tokens", "steps", "probes", "answers"))
    return {table: sorted((row[1:] for row in rows), key=repr) for table, rows in found.items()}


def test_other_lines_make_another_run(model, clues, tmp_path):
    rows = [json.loads(line) for line in clues.read_text().splitlines()]
    rows[0]["observations"][0] = "Clue: it is a number."
    (tmp_path / "other.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with model() as path:
        ids = {
            runs.run(path, tasks.load("clues", data).first(1), db=tmp_path / "b.db", settings=SETTINGS).run_id
            for data in (clues, tmp_path / "other.jsonl")
        }
    assert len(ids) == 2


def test_max_tokens_counts_what_the_model_writes(model, clues, tmp_path):
    task = tasks.load("clues", clues)
    with model() as path:
        runs.run(path, task, db=tmp_path / "b.db", settings=replace(SETTINGS, max_tokens=12))
    rows = stored(tmp_path / "b.db")
    assert {(row["n_tokens"], row["finish"]) for row in rows} == {(12, "length")}
    assert all(row["n_given"] > 0 for row in rows)


def test_rollouts_get_the_lines_that_are_still_to_come(model, ran, tmp_path):
    """From any prefix the Bayesian reader goes on to an answer that fits all clues."""
    whole, task = ran
    db = Path(shutil.copy(whole, tmp_path / "rolled.db"))
    with model() as path:
        (run_id,) = {row["run_id"] for row in stored(db)}
        add_probes(path, task, run_id, db=db, wanted=Wanted(m=16, n_rolled=2))
    last = {p.problem_id: set(p.ideal_answers[-1]) for p in task.problems}
    rolled = [(t, probe) for t in traces(db) for probe in t.probes if probe.n_rollouts]
    assert len({t.problem_id for t, _ in rolled}) == 2
    for trace, probe in rolled:
        assert probe.invalid == 0
        assert {answer.value for answer in probe.answers} <= last[trace.problem_id]


def test_worked_solutions_are_read_with_their_lines(model, clues, tmp_path):
    task = tasks.load("clues", clues)
    with model() as path:
        read_solutions(path, task, db=tmp_path / "g.db", n=3, settings=replace(SETTINGS, lanes=2))
    problems = {p.problem_id: p for p in task.problems}
    for trace in traces(tmp_path / "g.db"):
        problem = problems[trace.problem_id]
        assert trace.text == tasks.worked(problem)
        assert [probe.entropy for probe in trace.own_probes] == pytest.approx(problem.ideal_entropy, abs=1e-9)
        assert b"".join(t.text for t in trace.tokens if t.given).decode().count("Clue: ") == len(problem.observations)


def test_show_marks_them_and_the_page_has_them(ran, tmp_path):
    db, _ = ran
    trace = next(t for t in traces(db) if t.probes)
    row = next(row for row in stored(db) if row["problem_id"] == trace.problem_id)
    _, shown, _ = call("show", row["trace_id"], "--db", db)
    assert shown.count("\n> Clue: ") == len([t for t in trace.steps if t.kind == "reasoning"])
    assert "> from outside" in shown
    assert f"{row['n_tokens']} tokens and {row['n_given']} given" in shown
    code, out, _ = call("show", row["trace_id"], "--db", db, "--json")
    assert sum(token["given"] for token in json.loads(out)["trace"]["tokens"]) == row["n_given"]
    code, _, _ = call("report", "--db", db, "-o", tmp_path / "page.html")
    assert code == 0


def test_a_line_that_states_an_answer_is_not_the_models(model, tmp_path):
    """Neither does it end the trace, nor is it read as its answer."""
    path = tmp_path / "mine.jsonl"
    row = {"question": "The hidden number is one of 12, 15, 18. Which number is it?", "answer": "18"}
    path.write_text(json.dumps(row | {"observations": ["The answer is 12.", "Clue: it is more than 15."]}) + "\n")
    with model() as file:
        runs.run(file, tasks.load("mine", path), db=tmp_path / "b.db", settings=replace(SETTINGS, probe=False))
    (trace,) = traces(tmp_path / "b.db")
    assert trace.text.startswith("The answer is 12.\n")
    assert trace.extraction.value != "12" or trace.text.endswith("The answer is 12.")


def test_where_they_cannot_arrive_they_are_refused(model, clues, tmp_path):
    with model() as path:
        code, _, error = call("run", path, "clues", "--data", clues, "--think-budget", 20, "--db", tmp_path / "b.db")
    assert code == 2
    assert "has observations, which --think-budget would cut off" in error


# ── the other knobs, at the probe ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "reader",
    [
        Reader(temperature=0.5),
        Reader(overconfidence=3.0),
        Reader(delay=1),
        Reader(remembers=1),
        Reader(ignores=0.5),
        Reader(temperature=0.3, overconfidence=1.0, delay=1),
    ],
    ids=repr,
)
def test_what_is_planted_is_what_is_read(model, clues, tmp_path, reader):
    task = tasks.load("clues", clues).first(3)
    with model(reader) as path:
        runs.run(path, task, db=tmp_path / "b.db", settings=SETTINGS)
    problems = {p.problem_id: p for p in task.problems}
    for trace in traces(tmp_path / "b.db"):
        problem = problems[trace.problem_id]
        told = [line.removeprefix("Clue: ").removesuffix(".") for line in problem.observations]
        candidates = [int(text) for text in problem.ideal_answers[0]]
        for k, probe in enumerate(trace.own_probes):
            believed = reader.believes(candidates, told[:k])
            assert probe.entropy == pytest.approx(entropy(believed), abs=1e-9)
            assert probe.p_true == pytest.approx(believed[candidates.index(int(problem.answer))], abs=1e-9)
