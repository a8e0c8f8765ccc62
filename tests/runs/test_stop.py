"""Runs whose traces a rule stops: the same by any lanes, shards and interruptions; what was promised comes about."""

import json
from dataclasses import replace

import pytest
from helpers import written
from helpers.runs import call, content, query

from localent import runs, tasks
from localent.errors import UsageError
from localent.runs import Settings
from localent.runs.settings import settings_of
from localent.runs.shard import Shard
from localent.store import open_db

SETTINGS = Settings(
    threads=1, lanes=3, max_tokens=60, temperature=1.0, gpu_layers=0, cue="sentence", probes=None, paths=0
)
ASKED = ("--max-tokens", 60, "--temperature", 1.0, "--gpu-layers", 0, "--cue", "sentence", "--paths", 0)
OPTIONS = ("--threads", 1, "--lanes", 3, *ASKED)
N = 10
STOP = "certain_leader:0.8"
TASK = tasks.load("demo-number").first(N)


@pytest.fixture(autouse=True)
def on_a_script(bundled):
    with written.model(bundled):
        yield


def made(path, *, stop=STOP, samples=1, task=TASK, **options):
    settings = replace(SETTINGS, stop=stop, **options)
    return runs.run("abacus-sft", task, db=path, samples=samples, settings=settings).run_id


def rows(path, run_id):
    return query(
        path,
        f"select problem_id, sample, finish, answer, correct, n_tokens, text from traces"
        f" where run_id = '{run_id}' order by 1, 2",
    )


def test_a_stopped_trace_is_the_beginning_of_the_whole_one(tmp_path):
    path = tmp_path / "a.db"
    stopped, whole = rows(path, made(path)), rows(path, made(path, stop=None))
    assert {row[2] for row in stopped} == {"early"}
    for (_, _, _, answer, _right, n, text), (*_, usual) in zip(stopped, whole, strict=True):
        begun, _, said = text.rpartition("\n")
        assert usual.startswith(begun + "\n")
        assert begun.count("\n") == 2  # p is 0.9 after three steps
        assert said == f"The answer is {answer}"
        assert n == 3 + 1 + 1 + len(answer)
    assert 0 < sum(row[4] for row in stopped) < len(stopped)


def test_interruptions_lanes_and_shards_change_no_bit(tmp_path):
    whole, pieces, parts = (tmp_path / f"{name}.db" for name in ("whole", "pieces", "parts"))
    run_id = made(whole, samples=2)
    made(pieces, task=TASK.first(7))
    made(pieces, samples=2)
    for index in (1, 2):
        made(parts, samples=2, shard=Shard(index, 2))
    assert content(whole) == content(pieces) == content(parts)
    other = tmp_path / "other.db"
    made(other, samples=2, lanes=5)
    assert rows(other, query(other, "select run_id from runs")[0][0]) == rows(whole, run_id)


def test_the_rule_is_part_of_the_identity_and_is_read_back(tmp_path):
    path = tmp_path / "a.db"
    ids = {made(path, task=TASK.first(2), stop=stop) for stop in (STOP, "certain_leader:0.9", "cusum:0.5", None)}
    assert len(ids) == 4
    with open_db(path) as db:
        stops = {settings_of(db.run(run_id)).stop for run_id in ids}
    assert stops == {STOP, "certain_leader:0.9", "cusum:0.5", None}


def test_an_id_without_a_rule_is_that_of_before(tmp_path):
    path = tmp_path / "a.db"
    run_id = made(path, task=TASK.first(1), stop=None)
    (settings,) = query(path, f"select settings from runs where run_id = '{run_id}'")[0]
    assert not {"stop", "stop_from"} & json.loads(settings).keys()


def test_settings_that_do_not_fit_are_refused():
    for options, said in (
        (dict(stop="x:1"), "No rule 'x'"),
        (dict(stop=STOP, probes=5), "asks for the answer after every step"),
        (dict(stop=STOP, probe=False), "asks for the answer after every step"),
        (dict(stop_from="3f2a"), "no effect without --stop"),
    ):
        with pytest.raises(UsageError, match=said):
            replace(SETTINGS, **options)


# --- the command line -----------------------------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path):
    """(path, id) of a run that is probed after every step."""
    path = tmp_path / "runs.db"
    code, _, err = call("run", "abacus-sft", "demo-number", "-n", N, *OPTIONS, "--probes", "all", "--db", path)
    assert code == 0, err
    return path, query(path, "select run_id from runs")[0][0]


def test_what_replay_promises_comes_about_on_the_same_traces(source):
    """The stopped run has the same seed: on the reported half it saves what replay said, on all it is told beside."""
    path, run_id = source
    code, out, err = call(
        "run",
        "abacus-sft",
        "demo-number",
        "-n",
        N,
        *OPTIONS,
        "--stop",
        "certain_leader",
        "--stop-from",
        run_id[:5],
        "--db",
        path,
    )
    assert code == 0, err
    text = " ".join(out.split())
    assert "Replay promises of certain leader, p 0." in text
    assert f"over 5 problems of run {run_id}" in text
    assert f"{N} of {N} traces were stopped" in text
    assert f"Beside the whole traces of them in run {run_id}" in text
    ((settings,),) = query(path, f"select settings from runs where run_id <> '{run_id}'")
    stop, origin = (json.loads(settings)[name] for name in ("stop", "stop_from"))
    assert stop.startswith("certain_leader:0.")
    assert origin == run_id
    check_promise(path, run_id, stop)


def check_promise(path, run_id, stop):
    """What `promised` says of the half is what the stopped run did there, recounted from its rows."""
    from localent.analysis import load
    from localent.analysis.acting import promised
    from localent.analysis.replay import half
    from localent.stopping import parse

    with open_db(path) as db:
        promise = promised(load.run(db, run_id), parse(stop))
        other = next(r for (r,) in query(path, "select run_id from runs") if r != run_id)
        whole, stopped = load.run(db, run_id), load.run(db, other)
    among = ~half(whole.traces.problems)
    used, usual = stopped.probes.own.n_tokens.max(1)[among].sum(), whole.traces.n_tokens[among].sum()
    assert promise.gains.saved.value == pytest.approx(1 - used / usual)
    change = (~stopped.traces.wrong[among]).mean() - (~whole.traces.wrong[among]).mean()
    assert promise.gains.change.value == pytest.approx(change)
    fed = (stopped.probes.own.n_fed[among]).sum()
    assert promise.gains.saved_net.value == pytest.approx(1 - (used + fed) / usual)


def test_replay_prints_the_line_that_acts(source):
    path, run_id = source
    code, out, _ = call("replay", run_id, "--policy", "certain_leader", "--db", path)
    assert code == 0
    (line,) = [line for line in out.splitlines() if line.startswith("  localent run")]
    promise = " ".join(out.split()).partition("this one comes first. ")[2].partition(" localent run")[0]
    assert promise.startswith("Replay promises of certain leader")
    words = line.replace("MODEL TASK", "abacus-sft demo-number").split()[1:]
    code, out, err = call(*words, "-n", 4, *OPTIONS)
    assert code == 0, err
    assert promise in " ".join(out.split())  # both commands say the same
    assert "4 of 4 traces were stopped" in " ".join(out.split())


def test_a_setting_of_ones_own_needs_no_run(tmp_path):
    path = tmp_path / "b.db"
    code, out, err = call("run", "abacus-sft", "demo-number", "-n", 2, *OPTIONS, "--stop", STOP, "--db", path)
    assert code == 0, err
    assert "add --stop-from RUN" in " ".join(out.split())


def test_refusals_name_the_way_out(source):
    path, _ = source
    for options, said in (
        (("--stop", "certain_leader"), "has no setting"),
        (("--stop-from", "3f"), "A run without --stop does not use --stop-from"),
        (("--stop", STOP, "--probes", 3), "does not use --probes"),
        (("--stop", "nonsense", "--stop-from", query(path, "select run_id from runs")[0][0]), "No rule 'nonsense'"),
    ):
        code, _, err = call("run", "abacus-sft", "demo-number", "-n", 2, *OPTIONS, *options, "--db", path)
        assert code == 2, err
        assert said in err


def test_a_question_is_stopped_too(source):
    path, run_id = source
    code, out, err = call(
        "ask", "abacus-sft", TASK.problems[0].question, "--stop", STOP, "--stop-from", run_id, *ASKED, "--db", path
    )
    assert code == 0, err
    text = " ".join(out.split())
    assert "stopped early by a rule" in text
    assert "Stopped after 3 steps at p 0.9 (certain leader, p 0.8)." in text
    assert "Replay promises" in text


# --- votes ----------------------------------------------------------------------------------------------------------


def test_samples_of_one_question_vote(tmp_path):
    """The script gives the true answer in every sample of four problems of five."""
    question, answer = TASK.problems[0].question, TASK.problems[0].answer
    code, out, err = call("ask", "abacus-sft", question, "--samples", 4, "--answer", answer, *ASKED)
    assert code == 0, err
    assert "wins by majority vote: " in out
    assert "of 4 samples" in out
    code, out, err = call(
        "ask", "abacus-sft", question, "--samples", 4, "--vote", "weighted_vote:length", "--json", *ASKED
    )
    found = json.loads(out)
    assert code == 0, err
    assert len(found["ballots"]) == 4
    assert sum(ballot["weight"] for ballot in found["ballots"]) == pytest.approx(1)


def test_a_vote_is_told_with_its_record_on_a_stored_run(tmp_path):
    path = tmp_path / "runs.db"
    words = ("run", "abacus-sft", "demo-number", "-n", 6, "--samples", 3, *OPTIONS, "--db", path)
    assert call(*words)[0] == 0
    ((run_id,),) = query(path, "select run_id from runs")
    asked = ("ask", "abacus-sft", TASK.problems[0].question, "--samples", 3, *ASKED)
    code, out, err = call(*asked, "--vote", "best_of_n:length", "--vote-from", run_id, "--db", path)
    assert code == 0, err
    assert f"On 3 problems of run {run_id}" in " ".join(out.split())


def test_votes_that_say_nothing_are_refused(tmp_path):
    question = TASK.problems[0].question
    for options, said in (
        (("--vote", "majority_vote"), "One sample does not use --vote"),
        (("--samples", 3, "--temperature", 0), "At temperature 0 all samples are the same"),
        (("--samples", 3, "--vote", "deepconf"), "needs a threshold"),
        (("--samples", 3, "--db", tmp_path / "x.db"), "does not use --db"),
        (("--samples", 3, "--calibrated", "3f"), "does not use --calibrated"),
        (("--samples", 0), "--samples must be at least 1"),
    ):
        code, _, err = call("ask", "abacus-sft", question, *ASKED, *options)
        assert code == 2, err
        assert said in err
