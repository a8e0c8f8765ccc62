"""Merging: any cut of a run, merged in any order and as often as wanted, is the run."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from helpers.made import a_model, a_problem, a_run, a_trace, made
from helpers.runs import call
from helpers.stored import sql, tables

from localent.errors import LocalentError, UsageError
from localent.store import merge as merging
from localent.store import open_db
from localent.store.merge import coverage, merge

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
