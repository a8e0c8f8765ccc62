"""A folder of Parquet files asked by DuckDB: the ready queries say what they say of a database."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing

import pytest
from helpers.made import made
from helpers.runs import call

from localent.store import select
from localent.store.saved_queries import QUERIES

duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed: pip install 'localent[lake]'")
pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'localent[parquet]'")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Two databases whose traces have the same ids, and a lake of both; the first alone in another lake."""
    folder = tmp_path_factory.mktemp("lake")
    made(folder / "a.db", n_runs=2, n_problems=5)
    made(folder / "b.db", n_runs=3, n_problems=6)
    with closing(sqlite3.connect(folder / "b.db")) as conn, conn:
        for table in ("runs", "traces", "sessions"):
            conn.execute(f"update {table} set run_id = 'b' || run_id")
    for name, lake in (("a", "one"), ("a", "both"), ("b", "both")):
        code, _, err = call("export", "--all", "--to", "parquet", "-o", folder / lake, "--db", folder / f"{name}.db")
        assert code == 0, err
    return folder


def asked(query, *where, code=0):
    found, out, err = call("sql", query, *where, "--json")
    assert found == code, err
    return [json.loads(line) for line in out.splitlines()] if code == 0 else err


def comparable(rows):
    """Without the ids of traces, lists in any order, numbers to six digits; rows in any order among equals."""

    def plain(name, value):
        if name.endswith(("trace_id", "_trace")):
            return str(value).rpartition("/")[2]
        if name == "answers":
            return sorted(str(value).split(","))
        return f"{value:.6g}" if isinstance(value, float) else str(value)

    return sorted([sorted((name, str(plain(name, value))) for name, value in row.items()) for row in rows])


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_a_ready_query_finds_the_same_in_a_lake_as_in_a_database(places, query):
    in_db = asked(query.name, "--db", places / "a.db")
    in_lake = asked(query.name, "--lake", places / "one")
    if len(in_db) == 20:  # the limit cuts among equals
        assert len(in_lake) == 20
    else:
        assert comparable(in_lake) == comparable(in_db)


def test_traces_of_several_databases_are_told_apart(places):
    sql = "select count(*) as n, count(distinct trace_id) as ids, sum(n_tokens) as tokens from traces"
    (found,) = asked(sql, "--lake", places / "both")
    sums = [asked(sql, "--db", places / f"{name}.db")[0] for name in "ab"]
    assert found == {name: sum(one[name] for one in sums) if name != "ids" else found["n"] for name in found}
    assert len(asked("select run_id from runs", "--lake", places / "both")) == 5
    joined, alone = "from tokens k join traces t on t.trace_id = k.trace_id", "from tokens"
    counts = [asked(f"select count(*) as n {which}", "--lake", places / "both") for which in (joined, alone)]
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("create table x (y int)", "Only one SELECT"),
        ("select 1; select 2", "Only one SELECT"),
        ("copy traces to '/tmp/never.csv'", "Only one SELECT"),
        ("select * from read_csv('/etc/passwd')", "Cannot access file"),
        ("select * from nothing", "nothing does not exist"),
        ("selec 1", "syntax error"),
    ],
)
def test_what_does_not_read_the_lake_is_refused(places, sql, says):
    err = (
        asked(f"{sql} ", "--lake", places / "one", code=2)
        if sql != "selec"
        else asked("selec 1", "--lake", places / "one", code=2)
    )
    assert says in " ".join(err.split())


def test_a_query_ends_in_time(places):
    slow = "select count(*) from range(1000000) a, range(1000000) b where hash(a.range, b.range) = 1"
    err = asked(slow, "--lake", places / "one", "--timeout", "0.3", code=2)
    assert "Stopped after 0.3 s" in err


def test_a_damaged_or_missing_file_is_a_sentence(places, tmp_path):
    for name, damage in (("damaged", lambda path: path.write_bytes(b"PAR1")), ("missing", lambda path: path.unlink())):
        lake = shutil.copytree(places / "one", tmp_path / name)
        for path in (lake / "tokens").iterdir():
            damage(path)
        err = asked("select 1", "--lake", lake, code=2)
        assert "localent: DuckDB: " in err
        assert "Traceback" not in err


def test_a_folder_without_runs_is_refused_with_how_to_make_one(tmp_path):
    assert "localent export --all --to parquet" in " ".join(asked("select 1", "--lake", tmp_path, code=1).split())


def test_limits_and_options(places):
    assert len(asked("select * from tokens", "--lake", places / "one", "--limit", "7")) == 7
    assert "--lake does not use --db" in asked("select 1", "--lake", places / "one", "--db", places / "a.db", code=2)


def test_select_in_a_database_is_as_before(places):
    columns, rows = select(places / "a.db", "select 1 as one")
    assert (columns, list(rows)) == (["one"], [(1,)])
