"""A run as a log of Inspect: what the log says is what the rows say, and Inspect's own reader opens it."""

from __future__ import annotations

import json
import math

import pytest
from helpers.made import a_choice, a_model, a_run, a_trace, made
from helpers.runs import call, query
from numpy.random import default_rng

from localent.store import open_db

RUN = "00123456789a"


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    path = tmp_path_factory.mktemp("inspect") / "runs.db"
    made(path, n_runs=2, n_problems=12, alternatives=2)
    return path


@pytest.fixture(scope="module")
def log_file(db, tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    code, out, err = call("export", "0012", "--to", "inspect", "-o", folder, "--db", db, "--json")
    assert code == 0, err
    assert json.loads(out)["rows"] == 12
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def log(log_file):
    return json.loads(log_file.read_text("utf-8"), parse_constant=pytest.fail)


def text_of(sample):
    return sample["output"]["choices"][0]["message"]["content"]


def test_each_trace_is_a_sample_with_its_own_problem_text_and_outcome(db, log):
    rows = query(db, f"select trace_id, text, correct, answer from traces where run_id = '{RUN}'")
    told = {(s["metadata"]["trace_id"], text_of(s), s["scores"]["correct"]["value"] == "C") for s in log["samples"]}
    assert told == {(trace, text, bool(right)) for trace, text, right, _ in rows}
    assert sorted(s["id"] for s in log["samples"]) == [f"made-{i:04}" for i in range(12)]
    assert {s["epoch"] for s in log["samples"]} == {1}


def test_tokens_are_log_probabilities_that_add_up_to_the_trace(db, log):
    total = dict(query(db, f"select trace_id, log_prob from traces where run_id = '{RUN}'"))
    for sample in log["samples"]:
        tokens = sample["output"]["choices"][0]["logprobs"]["content"]
        assert math.isclose(sum(t["logprob"] for t in tokens), total[sample["metadata"]["trace_id"]], rel_tol=1e-9)
        assert "".join(t["token"] for t in tokens) == text_of(sample)
        assert all(len(t["top_logprobs"]) == 2 for t in tokens)


def test_the_means_are_those_of_the_summary(db, log):
    accuracy, n_tokens = query(db, f"select avg(correct), sum(n_tokens) from traces where run_id = '{RUN}'")[0]
    told = {score["name"]: next(iter(score["metrics"].values()))["value"] for score in log["results"]["scores"]}
    assert told["correct"] == accuracy
    (half,) = query(db, f"select avg(answer_entropy_half) from trace_summary where run_id = '{RUN}'")[0]
    assert told["answer_entropy_half"] == half
    assert [usage["output_tokens"] for usage in log["stats"]["model_usage"].values()] == [n_tokens]


def test_options_are_told_as_texts(tmp_path):
    with open_db(tmp_path / "choice.db") as store:
        store.add_model(a_model(0))
        store.add_task("letters", "choice", source="made up")
        store.add_problems("letters", [a_choice()])
        run = a_run(0, 0)
        store.add_run(type(run)(run.run_id, run.model_sha256, "letters", run.settings, run.build))
        session = store.start_session(run.run_id, host="nowhere")
        trace = a_trace(0, 2, default_rng(0))
        kept = {name: getattr(trace, name) for name in trace.__slots__} | {"problem_id": "c" * 16}
        store.add_trace(run.run_id, type(trace)(**kept), session_id=session)
        store.end_session(session)
    assert call("export", RUN, "--to", "inspect", "-o", tmp_path / "logs", "--db", tmp_path / "choice.db")[0] == 0
    (path,) = (tmp_path / "logs").iterdir()
    (sample,) = json.loads(path.read_text())["samples"]
    assert (sample["choices"], sample["target"]) == (["this", "that"], "B")


def test_a_table_cannot_be_chosen(db, tmp_path):
    code, _, err = call("export", "0012", "--to", "inspect", "--table", "tokens", "-o", tmp_path, "--db", db)
    assert (code, "leave --table out" in err) == (2, True)
    assert not list(tmp_path.iterdir())


def test_a_public_log_names_no_machine(db, tmp_path):
    assert call("export", "0012", "--to", "inspect", "--public", "-o", tmp_path, "--db", db)[0] == 0
    (path,) = tmp_path.iterdir()
    assert "nowhere" not in path.read_text()


def test_inspects_own_reader_opens_it(log_file):
    reader = pytest.importorskip("inspect_ai.log", reason="inspect_ai is not installed: pip install inspect-ai")
    found = reader.read_eval_log(str(log_file))
    assert (found.status, found.eval.task, len(found.samples)) == ("success", "sums", 12)
    assert found.samples[0].output.completion == found.samples[0].messages[1].content
    assert [info.task for info in reader.list_eval_logs(str(log_file.parent))] == ["sums"]
