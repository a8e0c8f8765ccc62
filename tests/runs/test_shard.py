"""Parts of a run: each attempt belongs to one, and together they are the run."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from helpers.runs import call
from helpers.stored import tables

from localent import tasks
from localent.errors import UsageError
from localent.runs import Settings, run
from localent.runs.shard import Shard, of_array_job, parse
from localent.store import open_db
from localent.store.coverage import coverage
from localent.store.merge import merge


def slurm(**values):
    """The environment of a task of a SLURM job array."""
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


def test_every_attempt_belongs_to_one_part_and_parts_are_about_equal():
    shards = [Shard(i, 5) for i in range(1, 6)]
    attempts = [(f"{i:016x}", sample) for i in range(500) for sample in range(4)]
    of = [[shard.index for shard in shards if shard.has(*attempt)] for attempt in attempts]
    assert all(len(found) == 1 for found in of)
    sizes = Counter(found[0] for found in of).values()
    assert max(sizes) - min(sizes) < 6 * (2000 * 0.2 * 0.8) ** 0.5


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "3", "3/", "/4", "a/b", "-1/4", "1/4/2", ""])
def test_a_part_that_does_not_exist_is_refused(text):
    with pytest.raises(UsageError, match="shard"):
        parse(text)


def test_a_slurm_job_array_says_which_part_it_is():
    assert of_array_job(slurm(ID=7, COUNT=4, MIN=1, STEP=2)) == Shard(4, 4)
    assert of_array_job(slurm(ID=2, COUNT=3, MIN=0)) == Shard(3, 3)
    assert of_array_job(slurm(ID=1, COUNT=1)) is None
    assert of_array_job({}) is None


def test_the_merged_parts_are_the_run_to_the_last_bit(bundled, tmp_path):
    """Two samples of seven problems in three parts, one of them made twice over, against the run in one piece."""
    task, settings = tasks.load("demo-number").first(7), Settings(lanes=3, threads=1, max_tokens=80, gpu_layers=0)
    parts = []
    for name, shard in (("a", Shard(1, 3)), ("b", Shard(2, 3)), ("c", Shard(3, 3)), ("again", Shard(2, 3))):
        parts.append(tmp_path / f"{name}.db")
        run(str(bundled), task, db=parts[-1], samples=2, settings=replace(settings, shard=shard))
    run(str(bundled), task, db=tmp_path / "whole.db", samples=2, settings=settings)
    found = merge(parts, tmp_path / "all.db")
    assert tables(tmp_path / "all.db") == tables(tmp_path / "whole.db")
    assert [one.conflicts for one in found] == [[]] * 4
    assert found[3].n_new == 0 < found[3].n_there
    with open_db(tmp_path / "all.db") as store:
        assert [one.n_missing for one in coverage(store)] == [0]


def test_a_part_goes_into_a_file_of_its_own_unless_one_is_named(bundled, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "2")
    monkeypatch.setenv("SLURM_ARRAY_TASK_MIN", "1")
    base = ("run", bundled, "demo-number", "-n", 3, "--threads", 1, "--max-tokens", 30, "--no-probe")
    code, _, err = call(*base)
    assert code == 0
    assert err.count("this is shard 2/2") == 1
    assert (tmp_path / "localent-2-of-2.db").exists()
    assert call(*base, "--shard", "1/2", "--db", "mine.db")[0] == 0
    with open_db("mine.db") as one, open_db("localent-2-of-2.db") as other:
        assert sum(store.runs()[0]["n_traces"] for store in (one, other)) == 3
        assert one.runs()[0]["run_id"] == other.runs()[0]["run_id"]
