"""What leaves the database: files that say the same as the rows, frames for notebooks, HTML of a trace."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing

import pytest
from helpers.made import HOSTILE, made
from helpers.runs import call

import localent
from localent.store import describe
from localent.store.export import COMPUTED, SOURCES, export


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "runs.db"
    made(path, n_runs=2, n_problems=12, alternatives=2)
    return path


def test_csv_has_every_row_of_the_run_and_of_no_other(db, tmp_path):
    code, out, _ = call("export", "0012", "--to", "csv", "-o", tmp_path, "--db", db, "--json")
    assert code == 0
    counts = {line["file"].rpartition("/")[2]: line["rows"] for line in map(json.loads, out.splitlines())}
    assert set(counts) == {f"{name}.csv" for name in SOURCES}
    with localent.open_db(db, readonly=True) as store:
        tokens = store.tokens("0012")
    assert counts["tokens.csv"] == len(tokens["entropy"])
    assert counts["traces.csv"] == counts["problems.csv"] == 12
    assert counts["alternatives.csv"] == 2 * counts["tokens.csv"]
    with (tmp_path / "tokens.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(float(row["entropy"]) for row in rows) == sorted(tokens["entropy"])
    assert any(HOSTILE in row["text"] for row in rows)


def test_json_lines_keep_types_and_nulls(db, tmp_path):
    call("export", "0012", "--to", "jsonl", "-o", tmp_path, "--db", db, "--table", "tokens", "--table", "texts")
    rows = [json.loads(line) for line in (tmp_path / "tokens.jsonl").read_text().splitlines()]
    assert (type(rows[0]["entropy"]), type(rows[0]["rank"]), rows[0]["topk_bias"]) == (float, int, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["texts.jsonl", "tokens.jsonl"]


def test_parquet_carries_units(db, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: pip install 'localent[parquet]'")
    call("export", "0012", "--to", "parquet", "-o", tmp_path, "--db", db)
    table = parquet.read_table(tmp_path / "tokens.parquet")
    assert table.schema.field("varentropy").metadata[b"unit"] == b"nats squared"
    assert str(table.schema.field("entropy").type) == "double"
    with localent.open_db(db, readonly=True) as store:
        assert sorted(table["entropy"].to_pylist()) == sorted(store.tokens("0012")["entropy"])
    probes = parquet.read_table(tmp_path / "probes.parquet")
    assert str(probes.schema.field("leader_true").type) == "int64"
    assert str(probes.schema.field("step_text").type) == "string"  # null in the first row, text in the second


def test_parquet_of_no_row_has_its_columns(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: pip install 'localent[parquet]'")
    made(tmp_path / "runs.db", n_problems=1)
    call("export", "0012", "--to", "parquet", "-o", tmp_path, "--db", tmp_path / "runs.db", "--table", "alternatives")
    table = parquet.read_table(tmp_path / "alternatives.parquet")
    assert (table.num_rows, "prob" in table.column_names) == (0, True)


def test_duckdb_and_pandas_read_what_was_written(db, tmp_path):
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'localent[parquet]'")
    call("export", "0012", "--to", "parquet", "-o", tmp_path, "--db", db)
    with duckdb.connect() as conn:
        sql = f"select count(*), sum(n_tokens) from '{tmp_path}/traces.parquet'"
        assert conn.execute(sql).fetchone()[0] == 12


@pytest.fixture(scope="module")
def lake(db, tmp_path_factory):
    """Two runs of one database and one of another, in one folder; the first written twice."""
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'localent[parquet]'")
    folder = tmp_path_factory.mktemp("lake")
    made(folder / "more.db", n_runs=3, n_problems=5)
    for source in (db, db, folder / "more.db"):
        code, _, err = call("export", "--all", "--to", "parquet", "-o", folder / "lake", "--db", source)
        assert code == 0, err
    return folder / "lake"


def test_a_manifest_names_every_file_and_its_content(lake):
    manifest = json.loads((lake / "manifest.json").read_text("utf-8"))
    assert len(manifest["runs"]) == 3
    listed = {one["path"]: one for run in manifest["runs"].values() for one in run["files"].values()}
    assert set(listed) == {path.relative_to(lake).as_posix() for path in lake.glob("*/*")}
    for name, one in listed.items():
        content = (lake / name).read_bytes()
        assert (one["bytes"], one["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())


SUM = "select run_id, count(*), sum(entropy), sum(rank) from {} group by run_id order by run_id"


@pytest.mark.parametrize("reader", ["pandas", "polars", "duckdb"])
def test_tables_of_all_runs_are_read_as_one(lake, db, reader):
    """With ids of runs that look like numbers, and columns that have values in one run and none in another."""
    library, path = pytest.importorskip(reader, reason=f"{reader} is not installed"), lake / "tokens"
    if reader == "duckdb":
        found = library.sql(SUM.format(f"'{path}/*.parquet'")).fetchall()
    elif reader == "polars":
        frame = library.read_parquet(f"{path}/*.parquet")
        found = library.SQLContext(frame=frame).execute(SUM.format("frame"), eager=True).rows()
    else:
        by_run = library.read_parquet(path).groupby("run_id")
        found = [(k, len(of), of["entropy"].sum(), of["rank"].sum()) for k, of in by_run]
    with closing(sqlite3.connect(lake.parent / "more.db")) as conn:
        joined = "(select run_id, tokens.* from tokens join traces using (trace_id))"
        expected = conn.execute(SUM.format(joined)).fetchall()
    assert [row[:2] + row[3:] for row in found] == [row[:2] + row[3:] for row in expected]
    assert [row[2] for row in found] == pytest.approx([row[2] for row in expected])


def test_every_table_is_read_over_all_runs(lake):
    """One schema in all files of a table, whatever values a run has."""
    parquet = pytest.importorskip("pyarrow.parquet")
    for folder in SOURCES:
        files = (lake / folder).glob("*.parquet")
        schemas = {parquet.read_schema(path).remove_metadata().to_string() for path in files}
        assert len(schemas) == 1
        assert "run_id: string" in schemas.pop()


def test_every_computed_column_has_a_type(db):
    with localent.open_db(db, readonly=True) as store:
        relations = {relation for relation, _ in SOURCES.values()}
        untyped = {c.column for name in relations for c in describe.columns(store, name) if not c.type}
    assert untyped == set(COMPUTED)


def test_all_runs_are_refused_in_one_sentence(db, tmp_path):
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "manifest.json").write_text("[]")
    for given, words in [
        ((), "Name a run"),
        (("--all",), "add --to parquet"),
        (("0012", "--all", "--to", "parquet"), "does not use"),
        (("--all", "--to", "parquet", "-o", tmp_path / "lake"), "is not a manifest"),
    ]:
        code, _, err = call("export", *given, "--db", db)
        assert code != 0
        assert words in " ".join(err.split())


def test_export_refuses_in_one_sentence(db, tmp_path):
    code, _, err = call("export", "0012", "--table", "tokenz", "--db", db, "-o", tmp_path)
    assert (code, "No table 'tokenz'" in err) == (2, True)
    (tmp_path / "file").write_text("")
    code, _, err = call("export", "0012", "--db", db, "-o", tmp_path / "file")
    assert (code, "Cannot write to" in err) == (1, True)


# --- notebooks ----------------------------------------------------------------------------------------------------


def test_frames_without_pandas_are_arrays(db):
    with localent.open_db(db, readonly=True) as store:
        tokens = store.tokens_frame("0012", pandas=False)
        probes = store.probes_frame("0012", ["k", "log_p_true", "leader"], pandas=False)
    assert tokens["entropy"].dtype == float
    assert tokens["rank"].dtype == int
    assert tokens["text"].dtype == object
    assert list(probes) == ["k", "log_p_true", "leader"]


def test_a_missing_number_is_nan_and_a_missing_text_is_none():
    from localent.store.frames import array

    assert math.isnan(array([1.0, None])[1])
    assert array(["a", None])[1] is None
    assert array([]).shape == (0,)
    assert array([None, None])[0] is None


def test_frames_are_pandas_where_there_is_pandas(db):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    with localent.open_db(db, readonly=True) as store:
        for table in ("traces", "tokens", "steps", "probes", "answers"):
            found = getattr(store, f"{table}_frame")("0012")
            assert isinstance(found, pandas.DataFrame)
            assert len(found) > 0


def test_a_notebook_shows_a_trace_escaped(db):
    with localent.open_db(db, readonly=True) as store:
        ids = store.traces("0012", ["trace_id"])["trace_id"]
        html = store.trace(ids[3])._repr_html_()
    assert HOSTILE not in html
    assert "&lt;script&gt;" in html
    assert "answer entropy" in html
    assert "background:#" in html


def test_a_trace_loads_its_view_when_a_notebook_asks_and_not_before(db):
    code = """
        import sys
        from localent.store import open_db
        with open_db(sys.argv[1], readonly=True) as store:
            trace = store.trace(store.traces("0012", ["trace_id"])["trace_id"][3])
        print([name for name in sys.modules if name.startswith("localent.report")])
        print("answer entropy" in trace._repr_html_())
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(db)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\nTrue\n"


# --- Datasette ----------------------------------------------------------------------------------------------------


def test_datasette_is_told_titles_units_facets_and_queries(db):
    code, out, _ = call("serve", "--metadata", "--db", db)
    assert code == 0
    known = json.loads(out)["databases"]["runs"]
    assert known["tables"]["tokens"]["columns"]["varentropy"] == "nats squared"
    assert "correct" in known["tables"]["trace_summary"]["facets"]
    assert known["queries"]["confident-mistakes"]["sql"].startswith("select")


def test_without_datasette_serve_says_what_to_do(db, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    code, _, err = call("serve", "--db", db)
    assert (code, "pip install 'localent[serve]'" in err) == (1, True)


@pytest.mark.filterwarnings("ignore")
def test_datasette_shows_tables_and_runs_every_ready_made_query(db):
    app = pytest.importorskip("datasette.app", reason="datasette is not installed: pip install 'localent[serve]'")
    import asyncio

    from localent.store.datasette import metadata
    from localent.store.saved_queries import QUERIES

    with localent.open_db(db, readonly=True) as store:
        known = metadata(store)

    async def visit():
        client = app.Datasette([str(db)], metadata=known).client
        pages = ["/runs", "/runs/trace_summary", "/runs/tokens", *(f"/runs/{query.name}" for query in QUERIES)]
        return [(page, (await client.get(page)).status_code) for page in pages]

    assert {status for _, status in asyncio.run(visit())} == {200}


def test_line_breaks_of_any_kind_come_back_from_csv(tmp_path):
    made(tmp_path / "runs.db", n_problems=1)
    with closing(sqlite3.connect(tmp_path / "runs.db")) as conn, conn:
        conn.execute("update problems set question = 'a' || char(13) || 'b', solution = 'c' || char(10) || 'd'")
    with localent.open_db(tmp_path / "runs.db", readonly=True) as db:
        (written,) = export(db, "0012", tmp_path, "csv", tables=["problems"])
    with written.path.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["question"], row["solution"]) == ("a\rb", "c\nd")


@pytest.mark.parametrize("reader", ["pandas", "polars", "duckdb"])
def test_parquet_says_the_same_to_every_reader(db, tmp_path, reader):
    """Numbers to the last bit, texts with any character, and nulls where the database has them."""
    pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: pip install 'localent[parquet]'")
    library = pytest.importorskip(reader, reason=f"{reader} is not installed")
    call("export", "0012", "--to", "parquet", "-o", tmp_path, "--db", db)
    if reader == "duckdb":
        rows = library.sql(f"select text, entropy, topk_bias from '{tmp_path}/tokens.parquet'").fetchall()
    else:
        frame = library.read_parquet(tmp_path / "tokens.parquet")[["text", "entropy", "topk_bias"]]
        rows = list(frame.itertuples(index=False, name=None)) if reader == "pandas" else frame.rows()
    missing = [row[2] for row in rows]
    assert all(value is None or value != value for value in missing)
    with localent.open_db(db, readonly=True) as store:
        stored = store.tokens("0012")
    assert sorted(row[:2] for row in rows) == sorted(zip(stored["text"], stored["entropy"], strict=True))


def test_csv_tells_of_texts_that_a_spreadsheet_would_compute(db, tmp_path):
    """Written as they are, and counted; a negative number is none."""
    copy = tmp_path / "copy.db"
    copy.write_bytes(db.read_bytes())
    with closing(sqlite3.connect(copy)) as conn, conn:
        conn.execute("update traces set answer = '=1+1' where run_id = '00123456789a'")
    command = ("export", "0012", "-o", tmp_path / "out", "--db", copy, "--table", "traces")
    code, out, err = call(*command, "--to", "csv", "--json")
    assert (code, len(out.splitlines())) == (0, 1)
    assert "would compute: 12 in traces.csv." in " ".join(err.split())
    assert "=1+1" in (tmp_path / "out" / "traces.csv").read_text()
    _, out, err = call(*command, "--to", "jsonl")
    assert "compute" not in out + err


@pytest.mark.parametrize("column", ["started", "task"])
def test_a_log_is_written_into_its_folder_whatever_a_database_holds(db, tmp_path, column):
    """The file's name is made of texts that somebody else may have written."""
    path = tmp_path / "foreign.db"
    path.write_bytes(db.read_bytes())
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("pragma foreign_keys = off")
        if column == "started":
            conn.execute("update sessions set started = '../../evil'")
        else:
            conn.execute("update tasks set task = '../../evil'")
            conn.execute("update problems set task = '../../evil'")
            conn.execute("update runs set task = '../../evil'")
    (tmp_path / "a" / "b").mkdir(parents=True)
    code, _, err = call("export", "0012", "--to", "inspect", "-o", tmp_path / "a" / "b", "--db", path)
    assert code == 0, err
    assert len(list((tmp_path / "a" / "b").iterdir())) == 1


@pytest.mark.parametrize("named", ["../../evil", "x' as run_id, 'y"])
def test_a_run_of_any_name_is_written_into_its_folder(tmp_path, monkeypatch, named):
    """The id of a run names files and stands in every row, also where somebody else chose it."""
    parquet = pytest.importorskip("pyarrow.parquet")
    path, folder = tmp_path / "foreign.db", tmp_path / "a" / "b"
    made(path, n_runs=1, n_problems=2)
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("pragma foreign_keys = off")
        for table in ("runs", "traces", "sessions"):
            conn.execute(f"update {table} set run_id = ?", (named,))
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    for command in (("--all", "--to", "parquet", "-o", "lake"), (named, "--to", "csv")):
        code, _, err = call("export", *command, "--db", path)
        assert code == 0, err
    assert [one.name for one in tmp_path.iterdir() if one.name != "a" and not one.name.startswith("foreign")] == []
    assert [one.name for one in folder.parent.iterdir()] == ["b"]
    (tokens,) = (folder / "lake" / "tokens").iterdir()
    assert set(parquet.read_table(tokens)["run_id"].to_pylist()) == {named}
