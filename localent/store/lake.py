"""A lake: a folder of Parquet files that `export --all` wrote, asked in SQL by DuckDB as a database is by SQLite.

Ids of traces are unique within a database, a lake holds several: here they are RUN/ID.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localent.errors import LocalentError, UsageError
from localent.store import manifest
from localent.store.export import SOURCES
from localent.store.read_only import too_late

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

EXTRA = "Asking a folder of Parquet files needs DuckDB: pip install 'localent[lake]'."
NO_RUNS = "{} holds no runs: make it with 'localent export --all --to parquet -o FOLDER'."
VIEWS = {"traces": "texts", "trace_summary": "traces", "step_entropy": "probes"}  # where the folder has another name
MEMORY, CHUNK = "1GB", 1000  # of DuckDB; rows fetched at a time


def select(
    folder: Path, sql: str, *, limit: int | None = None, timeout_s: float | None = None
) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """Run one reading statement: its column names, and its rows as they are asked for.

    The tables and views are those of a database, without sessions, cards and what else is not exported. Raises
    UsageError for a statement that fails, writes, reads other files, or takes longer than timeout_s, and where DuckDB
    is missing; LocalentError for a folder that holds no lake.
    """
    with told():
        connection = opened(folder)
    with in_time(connection, timeout_s):
        _check(connection, sql)
        found = connection.execute(sql)
    return [column[0] for column in found.description or ()], _rows(found, limit, timeout_s)


def opened(folder: Path) -> DuckDBPyConnection:
    """A connection that sees the tables of a lake, and no other file."""
    import duckdb

    runs = (manifest.read(folder) or {}).get("runs")
    if not runs:
        raise LocalentError(NO_RUNS.format(folder))
    connection = duckdb.connect(config={"memory_limit": MEMORY})
    for name, where in (dict(zip(SOURCES, SOURCES, strict=True)) | VIEWS).items():
        connection.execute(f"create view {name} as {_view(connection, name, folder / where)}")
    _name_runs(connection, runs)
    connection.execute(f"set allowed_directories = [{_quoted(str(folder.resolve()))}]")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    return connection


def _view(connection: DuckDBPyConnection, name: str, where: Path) -> str:
    files = f"read_parquet({_quoted(f'{where.resolve()}/*.parquet')})"
    if name == "problems":
        return f"select distinct on (task, problem_id) * exclude (run_id) from {files}"
    columns = [row[0] for row in connection.execute(f"describe select * from {files}").fetchall()]
    named = "replace (run_id || '/' || trace_id as trace_id)" if "trace_id" in columns else ""
    return f"select * {named} from {files}"


def _name_runs(connection: DuckDBPyConnection, runs: dict[str, Any]) -> None:
    """The tables runs and models, as far as the manifest tells them."""
    connection.execute("create table runs (run_id text, model_sha256 text, task text)")
    connection.execute("create table models (sha256 text primary key, name text, quant text)")
    for run_id, run in runs.items():
        name, _, quant = run["model"].rpartition(" ")
        connection.execute("insert into runs values (?, ?, ?)", [run_id, run["model_sha256"], run["task"]])
        connection.execute("insert or ignore into models values (?, ?, ?)", [run["model_sha256"], name, quant])


def _check(connection: DuckDBPyConnection, sql: str) -> None:
    """Raise UsageError unless it is one statement that reads."""
    import duckdb

    kinds = [statement.type for statement in connection.extract_statements(sql)]
    if kinds not in ([duckdb.StatementType.SELECT], [duckdb.StatementType.EXPLAIN]):
        raise UsageError("Only one SELECT statement is accepted; begin with 'select', 'with' or 'explain'.")


def _rows(found: DuckDBPyConnection, limit: int | None, timeout_s: float | None) -> Iterator[tuple[Any, ...]]:
    left = limit
    while left != 0:
        with in_time(found, timeout_s):
            some = found.fetchmany(CHUNK if left is None else min(left, CHUNK))
        if not some:
            break
        yield from some
        left = None if left is None else left - len(some)


@contextmanager
def in_time(connection: DuckDBPyConnection, timeout_s: float | None) -> Iterator[None]:
    """Context: DuckDB is interrupted when the time is up, and its errors are sentences."""
    timer = threading.Timer(timeout_s, connection.interrupt) if timeout_s is not None else None
    if timer:
        timer.start()
    try:
        with told(timeout_s):
            yield
    finally:
        if timer:
            timer.cancel()


@contextmanager
def told(timeout_s: float | None = None) -> Iterator[None]:
    """Context: what DuckDB raises becomes a sentence."""
    try:
        import duckdb
    except ImportError:
        raise UsageError(EXTRA) from None
    try:
        yield
    except duckdb.InterruptException:
        raise UsageError(too_late(timeout_s or 0)) from None
    except duckdb.Error as error:
        raise UsageError(f"DuckDB: {str(error).splitlines()[0].rstrip('.')}.") from None


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
