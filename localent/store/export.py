"""Tables of runs as files for other tools: CSV, JSON lines, Parquet; or a run as a log of Inspect. Streamed.

Of one run: a file for each table. Of all runs, also of several databases into one folder: a folder for each table, with
a Parquet file for each run, whose rows all say of which run they are, and a manifest of the files that are complete.
"""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from localent.errors import LocalentError, UsageError
from localent.store import describe, inspect_log, manifest
from localent.store.connect import explained
from localent.store.db import Database
from localent.store.inspect_log import part_of_name

FORMATS = ("parquet", "csv", "jsonl", "inspect")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet computes a text that begins so
CHUNK = 20_000  # rows
SOURCES = {  # file -> relation, and how it is known which run a row belongs to
    "traces": ("trace_summary", "run_id = ?1"),
    "texts": ("traces", "run_id = ?1"),
    "problems": ("problems", "(task, problem_id) in (select task, problem_id from traces where run_id = ?1)"),
    "steps": ("steps", "trace_id in (select trace_id from traces where run_id = ?1)"),
    "tokens": ("tokens", "trace_id in (select trace_id from traces where run_id = ?1)"),
    "alternatives": ("alternatives", "trace_id in (select trace_id from traces where run_id = ?1)"),
    "probes": ("step_entropy", "run_id = ?1"),
    "answers": ("answers", "trace_id in (select trace_id from traces where run_id = ?1)"),
}
RUN_ID = describe.Column("", "run_id", "text", "", "the run")
COMPUTED = {"leader_true": "integer"}  # types of columns that views compute: the first rows may all be null
EXTRA = "Parquet needs pyarrow: pip install 'localent[parquet]'; --to csv and --to jsonl need nothing."

Chunks = Iterator[list[tuple[Any, ...]]]
Count = Callable[[int], object]  # gets the number of rows written
Write = Callable[[Path, Sequence[describe.Column], Chunks], None]


@dataclass(frozen=True, slots=True)
class Written:
    """One file."""

    path: Path
    n_rows: int
    n_formulas: int = 0  # texts in a CSV file that a spreadsheet would compute


def export(
    db: Database, run_id: str, folder: Path, to: str, *, tables: Sequence[str] = (), report: Count = lambda n: None
) -> list[Written]:
    """Write tables of a run, all unless named, one file each into `folder`; `report` gets the number of rows written.

    Parquet files carry each column's unit and meaning as field metadata. "inspect" writes one file, the whole run.
    Raises UsageError for an unknown format or table, LocalentError where the folder cannot be written.
    """
    if to not in FORMATS:
        raise UsageError(f"No format '{to}'; choose from {', '.join(FORMATS)}.")
    if unknown := [name for name in tables if name not in SOURCES]:
        raise UsageError(f"No table '{unknown[0]}' to export; choose from {', '.join(SOURCES)}.")
    if to == "inspect" and tables:
        raise UsageError("A log of Inspect holds the whole run: leave --table out.")
    run_id = db.run(run_id).run_id
    with written_to(folder), explained(db.path):
        if to == "inspect":
            return [log(db, run_id, folder / inspect_log.name_of(db, run_id), report)]
        write = writer_of(to)
        return [one(db, run_id, name, folder / f"{name}.{to}", write, report) for name in tables or SOURCES]


def export_all(db: Database, folder: Path, report: Count = lambda n: None) -> list[Written]:
    """Write all tables of all runs as Parquet, folder/TABLE/RUN.parquet; files of runs of other databases stay.

    The manifest is written after each run. Raises LocalentError where the folder cannot be written.
    """
    write, found = writer_of("parquet"), list[Written]()
    with written_to(folder), explained(db.path):
        manifest.read(folder)  # refused before anything is written
        for name in SOURCES:
            (folder / name).mkdir(exist_ok=True)
        for run_id in [row["run_id"] for row in db.runs()]:
            files = {name: folder / name / f"{part_of_name(run_id)}.parquet" for name in SOURCES}
            new = {name: one(db, run_id, name, path, write, report, named=True) for name, path in files.items()}
            manifest.add(folder, db, run_id, {name: (one.path, one.n_rows) for name, one in new.items()})
            found += new.values()
    return found


@contextmanager
def written_to(folder: Path) -> Iterator[None]:
    """Context: the folder is there; what the disk says becomes a sentence."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise LocalentError(f"Cannot write to {folder}: {error.strerror}.") from error


def one(
    db: Database, run_id: str, name: str, path: Path, write: Write, report: Count, *, named: bool = False
) -> Written:
    """One table, whole or not at all: it takes its name when it is complete. named: rows say of which run they are."""
    relation, where = SOURCES[name]
    columns, first = describe.columns(db, relation), ""
    if named and "run_id" not in db.schema[relation]:
        columns, first = [RUN_ID, *columns], "?1 as run_id, "
    cursor = db.conn.execute(f"select {first}{relation}.* from {relation} where {where}", (run_id,))
    counts, formulas = list[int](), list[int]()
    chunks = counted(cursor, counts, report)
    with whole(path) as part:
        write(part, columns, noting_formulas(chunks, formulas) if path.suffix == ".csv" else chunks)
    return Written(path, sum(counts), sum(formulas))


def log(db: Database, run_id: str, path: Path, report: Count) -> Written:
    """The whole run as a log of Inspect."""
    with whole(path) as part:
        return Written(path, inspect_log.write(db, run_id, part, report))


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Context: a file beside `path` that takes its name when it is complete, and is removed otherwise."""
    part = path.with_name(path.name + ".part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def noting_formulas(chunks: Chunks, found: list[int]) -> Chunks:
    """The same rows; `found` gets the number of texts in each chunk that a spreadsheet would compute."""
    for rows in chunks:
        found.append(sum(isinstance(cell, str) and cell.startswith(FORMULA) for row in rows for cell in row))
        yield rows


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
    return pyarrow.field(column.column, types[column.type or COMPUTED.get(column.column, seen)], metadata=about)
