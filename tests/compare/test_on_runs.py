"""Stored runs beside each other: what is the same to the last bit, where traces part, what flips."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from helpers.made import a_model, a_problem, a_run, a_trace

from localent.cli import main
from localent.compare import are_runs, compare_runs
from localent.errors import UsageError
from localent.records import Extraction, Run
from localent.report import runs_beside
from localent.store import open_db

N, STEPS = 12, 3


def traces():
    rng = np.random.default_rng(0)
    return [a_trace(i, STEPS, rng) for i in range(N)]


def written(path, runs, task="sums"):
    """A database with these runs: run -> its traces."""
    with open_db(path) as store:
        store.add_model(a_model(0))
        store.add_task(task, "number", source="made up")
        store.add_problems(task, [a_problem(i) for i in range(N)])
        for run, its in runs:
            store.add_run(run)
            for trace in its:
                store.add_trace(run.run_id, trace)
    return path


def run_of(letter, task="sums", **settings):
    base = a_run(0, 0)
    return Run(letter * 12, base.model_sha256, task, base.settings | settings, base.build)


def with_token(trace, at, **changes):
    tokens = list(trace.tokens)
    tokens[at] = replace(tokens[at], **changes)
    return replace(trace, tokens=tuple(tokens), text=b"".join(t.text for t in tokens).decode())


@pytest.fixture
def db(tmp_path):
    """Run a; b, its copy; c, in which three traces changed in known ways, and one is missing."""
    same, changed = traces(), traces()
    changed[1] = with_token(changed[1], 5, surprisal=changed[1].tokens[5].surprisal + 0.25)
    changed[2] = with_token(changed[2], 7, token_id=changed[2].tokens[7].token_id + 1, text=b" 99")
    wrong = Extraction("99", None, "answer statement", None)
    changed[4] = replace(with_token(changed[4], 20, text=b"?"), correct=False, extraction=wrong)
    runs = [(run_of("a", threads=1), same), (run_of("b", threads=2), same), (run_of("c", threads=2), changed[:-1])]
    return written(tmp_path / "x.db", runs)


def test_a_run_that_repeats_to_the_last_bit_is_said_to(db):
    found = compare_runs(["a", "b"], db)
    (one,) = found.candidates
    assert (one.n_same_bits, one.n_same_tokens, len(one.pairs)) == (N, N, N)
    assert one.differs == ("threads 1, 2",)
    assert one.largest_answer_move == 0
    said = runs_beside.sentences(found)
    assert said[-1] == f"Bit-identical: all {N} traces have the same tokens, measures and answer distributions."
    assert not any("Not bit" in sentence for sentence in said)


def test_changes_are_found_where_they_were_made(db):
    (one,) = compare_runs(["a", "c"], db).candidates
    pairs, whole = {p.problem: p for p in one.pairs}, traces()
    assert one.n_alone == (1, 0)
    assert (len(pairs), one.n_same_bits, one.n_same_tokens) == (N - 1, N - 4, N - 3)
    moved, parted, flipped = (pairs[f"made-{i:04}"] for i in (1, 2, 4))
    assert (moved.first_differing, moved.same_bits) == (None, False)
    assert moved.largest_move == pytest.approx(0.25)
    assert (parted.first_differing, parted.there[1]) == (7, " 99")
    assert parted.entropy_there == whole[2].tokens[7].entropy
    assert (flipped.first_differing, flipped.right, flipped.answer[1]) == (20, (True, False), "99")
    assert (one.free.right_to_wrong, one.free.wrong_to_right) == (1, 0)
    assert one.free.first_divergence == np.median([7, 20])
    assert one.path is not None
    prefixes = sum(p.n_tokens <= (7 if i == 2 else 20 if i == 4 else 1e9)
                   for i, t in enumerate(whole[:-1]) for p in t.own_probes)  # fmt: skip
    assert one.path.n == prefixes
    said = " ".join(runs_beside.sentences(compare_runs(["a", "c"], db)))
    assert f"Not bit-identical: {N - 4} of {N - 1} traces are the same to the last bit." in said
    assert "1 lost, 0 won" in said
    assert "1 traces are in the reference only" in said


def test_runs_that_cannot_be_compared_get_a_sentence(db, tmp_path):
    with pytest.raises(UsageError, match="named twice"):
        compare_runs(["a", "a"], db)
    with pytest.raises(UsageError, match="No run 'zz'"):
        compare_runs(["a", "zz"], db)
    other = replace(a_trace(0, STEPS, np.random.default_rng(1)), problem_id=f"{5:016x}")
    written(db, [(run_of("d"), [other]), (run_of("e"), traces()[:2])])
    with pytest.raises(UsageError, match="no attempt in common"):
        compare_runs(["d", "e"], db)
    written(db, [(run_of("f", task="others"), [])], task="others")
    with pytest.raises(UsageError, match="of others: name runs of one task"):
        compare_runs(["a", "f"], db)
    assert are_runs(["a", "b"], db)
    assert not are_runs(["a", "model.gguf"], db)
    assert not are_runs(["a", "b"], tmp_path / "none.db")


def test_runs_on_the_command_line(db):
    def call(*words):
        return CliRunner().invoke(main, ["compare", "a", "b", "c", "--db", str(db), *words])

    shown = call()
    assert shown.exit_code == 0, shown.output
    assert "Bit-identical: all 12 traces" in " ".join(shown.output.split())
    assert "Traces of which one is right and the other wrong:" in shown.output
    rows = list(csv.DictReader(io.StringIO(call("--csv").stdout)))
    assert len(rows) == N + N - 1
    assert [row["problem"] for row in rows if row["right"] != row["right_reference"]] == ["made-0004"]
    assert len(json.loads(call("--json").stdout)["candidates"]) == 2
    refused = call("--no-noise")
    assert refused.exit_code == 2
    assert "A comparison of runs does not use --no-noise" in refused.output or "--noise" in refused.output
    assert call("--card").exit_code == 2
