"""Tables of one run as files for other tools: CSV, JSON lines, Parquet. Rows are streamed."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from localent.errors import LocalentError, UsageError
from localent.store import describe
from localent.store.connect import explained
from localent.store.db import Database

FORMATS = ("parquet", "csv", "jsonl")
CHUNK = 20_000  # rows
SOURCES = {  # file -> relation, and how it is known which run a row belongs to
    "traces": ("trace_summary", "run_id = ?"),
    "texts": ("traces", "run_id = ?"),
    "problems": ("problems", "(task, problem_id) in (select task, problem_id from traces where run_id = ?)"),
    "steps": ("steps", "trace_id in (select trace_id from traces where run_id = ?)"),
    "tokens": ("tokens", "trace_id in (select trace_id from traces where run_id = ?)"),
    "alternatives": ("alternatives", "trace_id in (select trace_id from traces where run_id = ?)"),
    "probes": ("step_entropy", "run_id = ?"),
    "answers": ("answers", "trace_id in (select trace_id from traces where run_id = ?)"),
}
EXTRA = "Parquet needs pyarrow: pip install 'localent[parquet]'; --to csv and --to jsonl need nothing."

Chunks = Iterator[list[tuple[Any, ...]]]
Count = Callable[[int], object]  # gets the number of rows written
Write = Callable[[Path, Sequence[describe.Column], Chunks], None]


@dataclass(frozen=True, slots=True)
class Written:
    """One file."""

    path: Path
    n_rows: int


def export(
    db: Database, run_id: str, folder: Path, to: str, *, tables: Sequence[str] = (), report: Count = lambda n: None
) -> list[Written]:
    """Write tables of a run, all unless named, one file each into `folder`; `report` gets the number of rows written.

    Parquet files carry each column's unit and meaning as field metadata. Raises UsageError for an unknown format or
    table, LocalentError where the folder cannot be written.
    """
    if to not in FORMATS:
        raise UsageError(f"No format '{to}'; choose from {', '.join(FORMATS)}.")
    if unknown := [name for name in tables if name not in SOURCES]:
        raise UsageError(f"No table '{unknown[0]}' to export; choose from {', '.join(SOURCES)}.")
    run_id, write = db.run(run_id).run_id, writer_of(to)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with explained(db.path):
            return [one(db, run_id, name, folder / f"{name}.{to}", write, report) for name in tables or SOURCES]
    except OSError as error:
        raise LocalentError(f"Cannot write to {folder}: {error.strerror}.") from error


def one(db: Database, run_id: str, name: str, path: Path, write: Write, report: Count) -> Written:
    """One table, whole or not at all: it takes its name when it is complete."""
    relation, where = SOURCES[name]
    columns = describe.columns(db, relation)
    cursor = db.conn.execute(f"select * from {relation} where {where}", (run_id,))
    part, counts = path.with_name(path.name + ".part"), list[int]()
    try:
        write(part, columns, counted(cursor, counts, report))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return Written(path, sum(counts))


def counted(cursor: sqlite3.Cursor, counts: list[int], report: Count) -> Chunks:
    """The rows in chunks, each counted once it is written."""
    while rows := cursor.fetchmany(CHUNK):
        yield rows
        counts.append(len(rows))
        report(len(rows))


# --- formats ------------------------------------------------------------------------------------------------------


def writer_of(to: str) -> Write:
    """The function that writes a format; raise where its package is missing."""
    if to == "parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise LocalentError(EXTRA) from error
    return {"parquet": write_parquet, "csv": write_csv, "jsonl": write_jsonl}[to]


def write_csv(path: Path, columns: Sequence[describe.Column], chunks: Chunks) -> None:
    """UTF-8, comma, header; null is empty, bytes are hex."""
    with path.open("w", encoding="utf-8", newline="") as file:
        # Python 3.11 quotes \r and \n in a cell only where its lines end in them: they do, until they are written.
        writer = csv.writer(SimpleNamespace(write=lambda row: file.write(row[:-2] + "\n")))
        writer.writerow([column.column for column in columns])
        for rows in chunks:
            writer.writerows([[cell.hex() if isinstance(cell, bytes) else cell for cell in row] for row in rows])


def write_jsonl(path: Path, columns: Sequence[describe.Column], chunks: Chunks) -> None:
    """One object a line; bytes are hex, an infinite number is the string "Infinity"."""
    names = [column.column for column in columns]
    with path.open("w", encoding="utf-8") as file:
        for rows in chunks:
            for row in rows:
                cells = dict(zip(names, map(plain, row), strict=True))
                file.write(json.dumps(cells, ensure_ascii=False, allow_nan=False) + "\n")


def plain(cell: object) -> object:
    if isinstance(cell, bytes):
        return cell.hex()
    if isinstance(cell, float) and cell in (float("inf"), float("-inf")):
        return "Infinity" if cell > 0 else "-Infinity"
    return cell


def write_parquet(path: Path, columns: Sequence[describe.Column], chunks: Chunks) -> None:
    """Types as the schema has them, of computed columns as their values are."""
    import pyarrow
    from pyarrow import parquet

    with ExitStack() as stack:
        file = None
        for rows in chunks:
            values = list(zip(*rows, strict=True))
            if file is None:
                schema = pyarrow.schema([field(c, some) for c, some in zip(columns, values, strict=True)])
                file = stack.enter_context(parquet.ParquetWriter(path, schema, compression="zstd"))
            arrays = [pyarrow.array(v, f.type) for v, f in zip(values, file.schema, strict=True)]
            file.write_table(pyarrow.Table.from_arrays(arrays, schema=file.schema))
        if file is None:
            empty = pyarrow.schema([field(column, ()) for column in columns]).empty_table()
            parquet.write_table(empty, path)


def field(column: describe.Column, values: Sequence[object]) -> Any:
    """A pyarrow.Field: name, type, and what the column means."""
    import pyarrow

    types = {"integer": pyarrow.int64(), "real": pyarrow.float64(), "text": pyarrow.string(), "blob": pyarrow.binary()}
    kinds: dict[type, str] = {int: "integer", float: "real", str: "text", bytes: "blob"}
    seen = kinds[type(next((v for v in values if v is not None), 0.0))]
    about = {"unit": column.unit, "about": column.about}
    return pyarrow.field(column.column, types[column.type or seen], metadata=about)
