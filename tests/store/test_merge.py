"""Merging: any cut of a run, merged in any order and as often as wanted, is the run."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from helpers.made import a_model, a_problem, a_run, a_trace, made
from helpers.runs import call
from helpers.stored import sql, tables

from localent.errors import LocalentError, UsageError
from localent.runs.shard import Shard
from localent.store import merge as merging
from localent.store import open_db
from localent.store.check import check
from localent.store.coverage import coverage, mixed_runs
from localent.store.merge import merge

N = 24


def traces():
    rng = np.random.default_rng(0)
    return [a_trace(i, 2 + i % 3, rng, 2) for i in range(N)]


def part(path, which, *, host="nowhere", run=None):
    """A database with some of the traces, as a part of a run makes it."""
    run = run or a_run(0, 2)
    with open_db(path) as store:
        store.add_model(a_model(0))
        store.add_task("sums", "number", source="made up")
        store.add_problems("sums", [a_problem(i) for i in range(N)])
        store.add_run(run)
        session = store.start_session(run.run_id, host=host)
        every = traces()
        for i in which:
            store.add_trace(run.run_id, every[i], session_id=session)
        store.end_session(session)
    return path


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Three parts, the second overlapping with both others, and the whole."""
    folder = tmp_path_factory.mktemp("parts")
    cuts = {"a": range(9), "b": range(6, 18), "c": range(15, N)}
    found = [part(folder / f"{name}.db", which, host=name) for name, which in cuts.items()]
    return found, part(folder / "whole.db", range(N))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_parts_in_any_order_are_the_whole(parts, order, tmp_path):
    files, whole = parts
    found = merge([files[i] for i in order], tmp_path / "all.db")
    assert tables(tmp_path / "all.db") == tables(whole)
    assert (sum(one.n_new for one in found), sum(one.n_there for one in found)) == (N, 6)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_variants_that_one_part_knows_are_known(parts, order, tmp_path):
    """One part was made before its problems had groups."""
    files = [Path(shutil.copy(file, tmp_path / f"{i}.db")) for i, file in enumerate(parts[0][:2])]
    sql(files[1], "update problems set variant_of = 'template'")
    merge([files[i] for i in order], tmp_path / "all.db")
    assert sql(tmp_path / "all.db", "select distinct variant_of from problems") == [("template",)]


def test_merging_again_changes_nothing(parts, tmp_path):
    files, _ = parts
    merge(files, tmp_path / "all.db")
    before = sql(tmp_path / "all.db", "select * from sessions"), tables(tmp_path / "all.db")
    found = merge(files[::-1], tmp_path / "all.db")
    assert (sql(tmp_path / "all.db", "select * from sessions"), tables(tmp_path / "all.db")) == before
    assert sum(one.n_new for one in found) == 0


def test_a_merge_that_was_stopped_goes_on(parts, tmp_path, monkeypatch):
    """Stopped after any batch, called again: the whole."""
    files, whole = parts
    monkeypatch.setattr(merging, "BATCH", 4)

    def stop(name, done, todo):
        if name == "b.db":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge(files, tmp_path / "all.db", report=stop)
    with open_db(tmp_path / "all.db") as store:
        assert 9 < coverage(store)[0].n_traces < N
    merge(files, tmp_path / "all.db")
    assert tables(tmp_path / "all.db") == tables(whole)


def test_every_machine_of_a_run_is_kept(parts, tmp_path):
    files, _ = parts
    merge(files, tmp_path / "all.db")
    with open_db(tmp_path / "all.db") as store:
        [one] = coverage(store)
    assert (one.hosts, one.n_problems, one.samples, one.n_missing) == (("a", "b", "c"), N, 1, 0)


def test_what_is_missing_is_counted(parts, tmp_path):
    files, _ = parts
    merge(files[:2], tmp_path / "some.db")
    with open_db(tmp_path / "some.db") as store:
        assert coverage(store)[0].n_missing == N - 18


@pytest.mark.parametrize(
    "change",
    [
        "update tokens set entropy = entropy + 1e-12 where trace_id = {} and token_index = 1",
        "delete from alternatives where trace_id = {} and token_index = 1",
        "update probes set p_true = p_true + 1e-12 where trace_id = {} and k = 0",
        "delete from answers where trace_id = {} and k = 0",
    ],
)
def test_a_trace_with_other_bits_is_reported_and_the_first_stays(parts, change, tmp_path):
    _, whole = parts
    shutil.copy(whole, tmp_path / "other.db")
    trace_id = sql(whole, "select min(trace_id) from traces")[0][0]
    sql(tmp_path / "other.db", change.format(trace_id))
    found = merge([whole, tmp_path / "other.db"], tmp_path / "all.db")
    [conflict] = found[1].conflicts
    assert (conflict.trace_id, conflict.path) == (trace_id, tmp_path / "other.db")
    assert found[1].n_there == N - 1
    assert tables(tmp_path / "all.db") == tables(whole)


def test_probes_that_one_file_has_beyond_another_are_brought(parts, tmp_path):
    """Controls and rollouts are added to stored traces: a later copy of the file has more of them."""
    _, whole = parts
    shutil.copy(whole, tmp_path / "early.db")
    for table in ("answers", "probes"):
        sql(tmp_path / "early.db", f"delete from {table} where k = 0")
    found = merge([tmp_path / "early.db", whole], tmp_path / "all.db")
    assert tables(tmp_path / "all.db") == tables(whole)
    assert (found[1].n_grown, found[1].conflicts) == (N, [])


def test_other_settings_are_refused_by_name_and_nothing_is_written(parts, tmp_path):
    files, _ = parts
    run = a_run(0, 2)
    other = type(run)("f" * 12, run.model_sha256, run.task, run.settings | {"lanes": 4}, run.build)
    stranger = part(tmp_path / "other.db", range(3), run=other)
    with pytest.raises(UsageError, match=r"differ in lanes \(8, 4\)"):
        merge([files[0], stranger], tmp_path / "all.db")
    assert not (tmp_path / "all.db").exists()
    merge([files[0], stranger], tmp_path / "all.db", apart=True)
    with open_db(tmp_path / "all.db") as store:
        assert sorted(one.n_traces for one in coverage(store)) == [3, 9]


@pytest.mark.parametrize(
    ("lacking", "change"),
    [
        ("problems", "update traces set problem_id = 'none' where problem_id like '%9'"),
        ("probes", "delete from probes where k = 0"),
        ("tokens", "delete from tokens where token_index = 1"),
    ],
)
def test_rows_without_what_they_refer_to_are_refused(parts, lacking, change, tmp_path):
    """A file that was changed while its foreign keys were off: of its traces none is brought in pieces."""
    files, whole = parts
    shutil.copy(files[1], tmp_path / "torn.db")
    with closing(sqlite3.connect(tmp_path / "torn.db")) as conn, conn:
        conn.execute(change)
    with pytest.raises(LocalentError, match=rf"torn\.db has \w+ without their {lacking}"):
        merge([files[0], tmp_path / "torn.db"], tmp_path / "all.db")
    merge(files, tmp_path / "all.db")
    assert tables(tmp_path / "all.db") == tables(whole)


def test_runs_that_one_file_holds_together_belong_together(tmp_path):
    made(tmp_path / "two.db", n_runs=2, n_problems=5)
    merge([tmp_path / "two.db"], tmp_path / "all.db")
    assert tables(tmp_path / "all.db") == tables(tmp_path / "two.db")


def test_a_problem_with_another_answer_is_refused(parts, tmp_path):
    files, _ = parts
    shutil.copy(files[1], tmp_path / "other.db")
    sql(tmp_path / "other.db", "update problems set answer = '99' where source_id = 'made-0001'")
    with pytest.raises(LocalentError, match="with another answer than the files before it"):
        merge([files[0], tmp_path / "other.db"], tmp_path / "all.db")


def of_machine(run, **build):
    """The same run on another machine: another id, and two threads more."""
    settings = run.settings | {"threads": 4}
    run_id = hashlib.sha256(repr(build).encode()).hexdigest()[:12]
    return type(run)(run_id, run.model_sha256, run.task, settings, run.build | build)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_runs_of_other_machines_are_joined_on_request_and_marked(order, tmp_path):
    """Three laptops with three processors: one run whatever the order, each trace with its machine and build."""
    runs = [of_machine(a_run(0, 2), processor=name) for name in ("Ryzen", "Xeon", "Apple")]
    files = [part(tmp_path / f"{i}.db", range(8 * i, 8 * i + 8), host=f"host{i}", run=runs[i]) for i in range(3)]
    with pytest.raises(UsageError, match=r"differ in processor \(.*--mixed"):
        merge(files, tmp_path / "all.db")
    merge([files[i] for i in order], tmp_path / "all.db", mixed=True)
    merge(files, tmp_path / "all.db", mixed=True)  # again, in another order
    with open_db(tmp_path / "all.db") as store:
        [one] = coverage(store)
        assert (one.run_id, one.n_traces, one.n_missing) == (min(run.run_id for run in runs), N, 0)
        assert one.is_mixed
        assert mixed_runs(store) == {one.run_id: 3}
        assert sorted((maker.host, maker.n_traces) for maker in one.makers) == [(f"host{i}", 8) for i in range(3)]
        made = "select host, coalesce(json_extract(made_as, '$.build.processor'), 'its own'), sample, problem_id"
        made += " from origins join sessions using (session_id) join traces using (trace_id)"
        of = {row["problem_id"]: row["host"] for row in store.query(made)}
        assert of == {f"{i:016x}": f"host{i // 8}" for i in range(N)}
        in_order = "select trace_id from traces order by sample, problem_id"
        kept = [store.trace(trace_id) for (trace_id,) in store.conn.execute(in_order)]
    assert kept == traces()
    assert check(tmp_path / "all.db") == []
    out = call("merge", *files, "-o", tmp_path / "all.db", "--mixed")[1]
    assert "is mixed, its traces were made by 3 builds" in " ".join(out.split())
    assert "mixed: 3 builds" in call("runs", "--db", tmp_path / "all.db")[1]


def test_a_mixed_run_keeps_the_first_of_two_traces_of_one_attempt(tmp_path):
    runs = [of_machine(a_run(0, 2), processor=name) for name in ("Ryzen", "Xeon")]
    files = [part(tmp_path / f"{i}.db", range(6), host=f"host{i}", run=runs[i]) for i in range(2)]
    sql(files[1], "update tokens set entropy = entropy + 1e-12 where token_index = 1")
    first, second = merge(files, tmp_path / "all.db", mixed=True)
    assert (first.n_new, second.n_new, second.n_conflicts) == (6, 0, 6)
    assert {(one.hosts, one.kept_hosts) for one in second.conflicts} == {(("host1",), ("host0",))}


def test_other_settings_are_not_joined(parts, tmp_path):
    run = a_run(0, 2)
    other = type(run)("f" * 12, run.model_sha256, run.task, run.settings | {"prompt": "other"}, run.build)
    stranger = part(tmp_path / "other.db", range(3), run=other)
    with pytest.raises(UsageError, match="differ in prompt") as refused:
        merge([parts[0][0], stranger], tmp_path / "all.db", mixed=True)
    assert "--mixed" not in str(refused.value)


def test_what_was_merged_before_is_looked_at_too(parts, tmp_path):
    """One file after the other is checked as both at once are; what was kept apart once stays so."""
    run = a_run(0, 2)
    other = type(run)("f" * 12, run.model_sha256, run.task, run.settings | {"lanes": 4}, run.build)
    stranger = part(tmp_path / "other.db", range(3), run=other)
    merge(parts[0][:1], tmp_path / "all.db")
    with pytest.raises(UsageError, match="differ in lanes"):
        merge([stranger], tmp_path / "all.db")
    merge([stranger], tmp_path / "all.db", apart=True)
    merge([stranger], tmp_path / "all.db")
    with open_db(tmp_path / "all.db") as store:
        assert sorted(one.n_traces for one in coverage(store)) == [3, 9]


def test_an_older_file_is_brought_up_to_date_on_the_way(tmp_path):
    """It does not say what was asked for, nor who made which trace."""
    with closing(sqlite3.connect(tmp_path / "old.db")) as conn:
        conn.executescript((Path(__file__).parent / "version_6.sql").read_text("utf-8"))
    [found] = merge([tmp_path / "old.db"], tmp_path / "all.db")
    assert found.n_new == sql(tmp_path / "all.db", "select count(*) from traces")[0][0] > 0
    assert tables(tmp_path / "all.db") == tables(tmp_path / "old.db") | {"verdicts": []}
    with open_db(tmp_path / "all.db") as store:
        assert all(one.n_problems == len(store.problems(one.task)) > 0 for one in coverage(store))
        assert {maker.n_traces for one in coverage(store) for maker in one.makers} <= {0}


def test_missing_attempts_are_named_by_part_and_problem(tmp_path):
    """Three of four parts, one of them stopped early: what lacks is told."""
    asked = [f"{i:016x}" for i in range(N)]
    run, cut = a_run(0, 2), [Shard(k, 4) for k in (1, 2, 3)]
    files = []
    for shard in cut:
        mine = [i for i in range(N) if shard.has(f"{i:016x}", 0)]
        files.append(part(tmp_path / f"{shard.index}.db", mine[: len(mine) - (shard.index == 2)]))
        with open_db(files[-1]) as store:
            store.ask(run.run_id, asked, 2)
            store.start_session(run.run_id, host="x", shard=str(shard))
    code, out, _ = call("merge", *files, "-o", tmp_path / "all.db")
    out = " ".join(out.split())
    assert code == 0
    lacking = {k: sum(Shard(k, 4).has(name, sample) for name in asked for sample in (0, 1)) for k in (1, 2, 3, 4)}
    for k in (1, 2, 3):
        lacking[k] -= sum(Shard(k, 4).has(name, 0) for name in asked) - (k == 2)
    n = sum(lacking.values())
    assert f"lacks {n} of {2 * N} traces. Parts: " in out
    assert ", ".join(f"{k}/4 lacks {lacking[k]}" for k in (1, 2, 3, 4)) in out
    assert "0000000000000000 sample 1" in out


def test_a_clock_that_is_ahead_or_goes_back_is_told_and_changes_nothing(parts, tmp_path):
    files, whole = parts
    ahead, back = (Path(shutil.copy(file, tmp_path / file.name)) for file in files[:2])
    sql(ahead, "update sessions set started = '2099-01-01T00:00:00.000000Z', ended = '2099-01-01T00:00:09.000000Z'")
    sql(back, "update sessions set ended = '2001-01-01T00:00:00.000000Z'")
    found = merge([ahead, back, files[2]], tmp_path / "all.db")
    assert [one.skewed for one in found] == [("a",), ("b",), ()]
    assert tables(tmp_path / "all.db") == tables(whole)


def test_a_clock_that_is_set_back_counts_no_negative_time(tmp_path):
    path = part(tmp_path / "a.db", [])
    with open_db(path) as store:
        session = store.start_session(a_run(0, 2).run_id)
        sql(path, "update sessions set started = '2099-01-01T00:00:00.000000Z'")
        store.end_session(session)
    assert check(path) == []


MERGE = """
import sys
from pathlib import Path
from localent.runs.shard import Shard
from localent.store import merge as merging
merging.BATCH = 3
print("ready", flush=True)
merging.merge([Path(one) for one in sys.argv[2:]], Path(sys.argv[1]))
"""


@contextmanager
def merging_process(*paths):
    command = [sys.executable, "-c", MERGE, *map(str, paths)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_merge_that_is_killed_again_and_again_comes_to_its_end(parts, tmp_path):
    files, whole = parts
    for k in range(4):
        with merging_process(tmp_path / "all.db", *files) as process:
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.01 + 0.02 * k)
            process.kill()
    merge(files, tmp_path / "all.db")
    assert tables(tmp_path / "all.db") == tables(whole)
    sessions = sql(tmp_path / "all.db", "select host, n_traces from sessions order by 1")
    assert sessions == [("a", 9), ("b", 12), ("c", 9)]


def test_two_merges_into_one_file_at_once_are_one(parts, tmp_path):
    files, whole = parts
    open_db(tmp_path / "all.db").close()
    with merging_process(tmp_path / "all.db", *files) as one, merging_process(tmp_path / "all.db", *files[::-1]) as two:
        errors = [process.communicate(timeout=120)[1] for process in (one, two)]
        assert [process.returncode for process in (one, two)] == [0, 0], errors
    assert tables(tmp_path / "all.db") == tables(whole)


def test_a_file_cut_off_anywhere_brings_whole_traces_or_none(parts, tmp_path):
    files, whole = parts
    content, told = files[1].read_bytes(), set()
    every = {row[0]: row for row in sql(whole, "select * from traces")}
    for share in (0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 0.999):
        cut, target = tmp_path / "cut.db", tmp_path / f"{share}.db"
        cut.write_bytes(content[: int(len(content) * share)])
        with contextlib.suppress(LocalentError, UsageError):
            merge([files[0], cut], target)
            told.add(share)
        if target.exists():
            merge(files, target)
            assert tables(target) == tables(whole)
            assert {row[0]: row for row in sql(target, "select * from traces")} == every
    assert not told


def test_bad_files_are_refused_in_a_sentence(parts, tmp_path):
    files, _ = parts
    cut = tmp_path / "cut.db"
    cut.write_bytes(files[1].read_bytes()[:30_000])
    (tmp_path / "none.db").write_text("not a database, but long enough to be looked at as one" * 10)
    for given, words in [
        ([files[0], files[0]], "is named twice"),
        ([tmp_path / "all.db"], "read and written"),
        ([tmp_path / "missing.db"], "No database"),
        ([tmp_path / "none.db"], "not an SQLite database"),
        ([files[0], cut], "is damaged"),
    ]:
        code, _, err = call("merge", *given, "-o", tmp_path / "all.db")
        assert code != 0
        assert words in err
        assert "Traceback" not in err
    merge(files, tmp_path / "all.db")
    with closing(sqlite3.connect(tmp_path / "all.db")) as conn:
        assert conn.execute("select count(*) from traces").fetchone()[0] == N


def test_the_command_tells_what_is_there_and_what_is_missing(parts, tmp_path):
    files, _ = parts
    code, out, _ = call("merge", *files[:2], "-o", tmp_path / "all.db")
    assert code == 0
    assert "18 new traces from 2 files. 3 were there already" in " ".join(out.split())
    code, out, _ = call("merge", *files, "-o", tmp_path / "all.db", "--json")
    assert '"missing": 0' in out


def test_texts_that_were_kept_come_along_once(tmp_path):
    """With their tokens; a text that both files have stays as it is."""
    token = a_trace(0, 1, np.random.default_rng(0)).tokens[0]
    row = {"model_sha256": a_model(0).sha256, "form": "plain", "n_tokens": 1, "n_windows": 1, "n_left": 0}
    row |= dict.fromkeys(("surprisal", "perplexity", "entropy", "varentropy", "top1"), 1.0)
    row |= {"settings": {}, "build": {}}
    for name, ids in {"a.db": ("one", "two"), "b.db": ("two", "three")}.items():
        with open_db(tmp_path / name) as store:
            store.add_model(a_model(0))
            for text_id in ids:
                words = [(0, [(7, b"x", False, None), (8, b"y", False, token)])]
                store.add_text(row | {"text_id": text_id, "name": f"{text_id}.txt"}, words)
    merge([tmp_path / "a.db", tmp_path / "b.db"], tmp_path / "all.db")
    assert [name for (name,) in sql(tmp_path / "all.db", "select name from texts order by name")] == [
        "one.txt",
        "three.txt",
        "two.txt",
    ]
    assert sql(tmp_path / "all.db", "select count(*), count(surprisal) from text_tokens") == [(6, 3)]
