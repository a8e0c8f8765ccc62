"""Studies and comparisons cut up: merged, their parts are what one machine makes."""

from __future__ import annotations

import shutil

import pytest
from helpers import written
from helpers.runs import call, query
from helpers.stored import tables

from localent.store import open_db
from localent.store.coverage import coverage
from localent.store.merge import merge

HOW = ("--threads", 1, "--lanes", 3, "--max-tokens", 60, "--temperature", 1.0, "--gpu-layers", 0, "--cue", "sentence")
STUDY = ("study", "abacus-sft", "--task", "demo-number", "-n", 6, "--samples", 2, "--rolled", 3, *HOW, "--paths", 0)
COMPARE = ("--task", "demo-number", "-n", 6, "--samples", 2, *HOW, "--paths", 0)
DATA = ("models", "problems", "runs", "attempts", "traces", "tokens", "steps", "probes", "answers")


@pytest.fixture
def on_a_script(bundled):
    with written.model(bundled):
        yield


def said(*arguments):
    code, out, err = call(*arguments)
    assert code == 0, err
    return " ".join(out.split()), " ".join(err.split())


def rows(path):
    return {name: found for name, found in tables(path).items() if name in DATA}


def test_a_study_in_parts_is_the_study(on_a_script, tmp_path):
    """Attempts in three parts, merged; controls and rollouts in three parts of copies of that, merged again."""
    whole, parts, all_ = tmp_path / "whole.db", [tmp_path / f"{k}.db" for k in (1, 2, 3)], tmp_path / "joint.db"
    verdicts, _ = said(*STUDY, "--db", whole)
    for k, part in enumerate(parts, 1):
        out, err = said(*STUDY, "--shard", f"{k}/3", "--db", part)
        assert "Controls and rollouts need the traces of all parts" in out
        assert f"part {k}/3 has its" in err
        assert query(part, "select count(*) from verdicts") == [(0,)]
    merge(parts, all_)
    for k, part in enumerate(parts, 1):
        shutil.copy(all_, part)
        out, _ = said(*STUDY, "--shard", f"{k}/3", "--db", part)
        assert "With their controls and rollouts" in out
    found = merge(parts, all_)
    assert sum(one.n_grown for one in found) > 3
    assert rows(all_) == rows(whole)
    again, _ = said(*STUDY, "--db", all_)
    assert again == verdicts.replace("whole.db", "joint.db")
    assert tables(all_) == tables(whole)


def test_a_comparison_in_parts_is_the_comparison(random_model, tmp_path):
    """All models generate their parts; on the merged file nothing is generated again."""
    files = [random_model(name) for name in ("tiny-qwen2",)]
    other = shutil.copy(files[0], tmp_path / "other.gguf")
    with open(other, "r+b") as file:  # a last weight of another value: another model of the same vocabulary
        file.seek(-2, 2)
        file.write(b"\x00\x3c")
    how = (*("--task", "demo-number", "-n", 5, "--samples", 2, "--threads", 1, "--lanes", 3, "--max-tokens", 12),)
    command = ("compare", files[0], other, *how, "--cue", "sentence", "--gpu-layers", 0, "--max-fed", 4, "--paths", 0)
    whole, parts, all_ = tmp_path / "whole.db", [tmp_path / f"{k}.db" for k in (1, 2)], tmp_path / "joint.db"
    said(*command, "--db", whole)
    for k, part in enumerate(parts, 1):
        _, err = said(*command, "--shard", f"{k}/2", "--db", part)
        assert f"Part {k}/2 has its" in err
        assert query(part, "select count(*) from comparisons") == [(0,)]
    merge(parts, all_)
    assert rows(all_) == rows(whole)
    assert len(query(all_, "select distinct run_id from traces")) == 3  # reference, its noise floor, candidate
    before = query(all_, "select count(*) from sessions")
    said(*command, "--db", all_)
    assert query(all_, "select count(*) from sessions") == before
    figures = "select mean_kld, noise_kld, n_pairs, accuracy_candidate, same_top, run_id from comparisons"
    assert query(all_, figures) == query(whole, figures)
    with open_db(all_) as store:
        assert [one.n_missing for one in coverage(store)] == [0, 0, 0]


def test_a_part_of_a_comparison_is_not_printed(tmp_path):
    code, _, err = call("compare", "abacus-sft", "abacus-sft:Q8_0", *COMPARE, "--shard", "1/2", "--full")
    assert code == 2
    assert "does not use --full" in err
    code, _, err = call("compare", "abacus-sft", "abacus-sft:Q8_0", "--text", __file__, "--shard", "1/2")
    assert code == 2
    assert "does not use --shard" in err


def test_worked_solutions_in_parts_are_those_of_one_machine(on_a_script, tmp_path):
    base = ("score", "abacus-sft", "demo-number", "--gold", "-n", 7, "--threads", 1, "--gpu-layers", 0, "--cue")
    base = (*base, "sentence", "--paths", 0)
    whole, parts, all_ = tmp_path / "whole.db", [tmp_path / f"{k}.db" for k in (1, 2)], tmp_path / "joint.db"
    said(*base, "--db", whole)
    for k, part in enumerate(parts, 1):
        said(*base, "--shard", f"{k}/2", "--db", part)
    merge(parts, all_)
    assert tables(all_) == tables(whole)


def test_a_part_without_attempts_is_no_error(on_a_script, tmp_path):
    """One problem in four parts: three files say what they are a part of, and that they have nothing."""
    parts = [tmp_path / f"{k}.db" for k in (1, 2, 3, 4)]
    runs = [said("run", "abacus-sft", "demo-number", "-n", 1, *HOW, "--shard", f"{k}/4", "--db", part)
            for k, part in enumerate(parts, 1)]  # fmt: skip
    assert sum("has no traces: there are more parts than attempts" in err for _, err in runs) == 3
    golds = [said("score", "abacus-sft", "demo-number", "--gold", "-n", 1, "--threads", 1, "--cue", "sentence",
                  "--shard", f"{k}/4", "--db", part) for k, part in enumerate(parts, 1)]  # fmt: skip
    assert sum("has no worked solutions" in err for _, err in golds) == 3
    merge(parts, tmp_path / "all.db")
    with open_db(tmp_path / "all.db") as store:
        assert [(one.n_traces, one.n_missing) for one in coverage(store)] == [(1, 0), (1, 0)]


def test_a_pbs_job_array_is_asked_for_the_number_of_parts(tmp_path, monkeypatch):
    """PBS has a variable for the index and none for the count: every task would make the whole run."""
    monkeypatch.setenv("PBS_ARRAY_INDEX", "3")
    base = ("run", "abacus-sft", "demo-number", "-n", 1, *HOW, "--db", tmp_path / "a.db")
    code, _, err = call(*base)
    assert code == 2
    assert "--shard $PBS_ARRAY_INDEX/N" in " ".join(err.split())
    assert not (tmp_path / "a.db").exists()


def test_rollouts_of_a_run_in_parts_are_those_of_the_run(on_a_script, tmp_path):
    base = ("run", "abacus-sft", "demo-number", "-n", 4, *HOW, "--paths", 0, "--rollouts", 16)
    whole, parts, all_ = tmp_path / "whole.db", [tmp_path / f"{k}.db" for k in (1, 2)], tmp_path / "joint.db"
    said(*base, "--db", whole)
    for k, part in enumerate(parts, 1):
        said(*base, "--shard", f"{k}/2", "--db", part)
    merge(parts, all_)
    assert tables(all_) == tables(whole)
