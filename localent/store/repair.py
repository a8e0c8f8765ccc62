"""What is good of a damaged database, in a new file.

A trace is whole, and agrees with itself, or is left out: the command that made it makes it again. Judgements on the
traces of a run (verdicts, calibrations) are left out where one of its traces was.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from localent.errors import UsageError
from localent.store.check import Report, keys_of, opened, rules
from localent.store.connect import explained, writing
from localent.store.db import Database, open_db

PARENTS = ("models", "tasks", "problems", "runs", "attempts", "sessions", "checks")
OF_TRACE = ("traces", "tokens", "steps", "probes", "answers", "alternatives")
AFTER = ("origins", "comparisons", "divergences")  # they refer to traces
JUDGEMENTS = ("verdicts", "calibrations")
Row = tuple[object, ...]
BATCH = 1000  # rows of one transaction


@dataclass(slots=True)
class Kept:
    """The rows of one table."""

    table: str
    n_kept: int = 0
    n_left_out: int | None = 0  # None: how many there were cannot be read


def repair(path: Path, target: Path, report: Report = lambda *_: None) -> list[Kept]:
    """Copy what is good into `target`, a new file. Raises UsageError where that is there already."""
    if target.exists():
        raise UsageError(f"{target} exists already: name a file that does not.")
    with explained(path), closing(opened(path)) as conn, open_db(target) as store, explained(target):
        conn.text_factory = str  # what is no text is left out
        columns = {table: _common(conn, store, table) for table in store.schema}
        found = [_copied(conn, store, table, columns[table]) for table in PARENTS]
        traces = _traces(conn, store, columns, report)
        found += traces
        found += [_copied(conn, store, table, columns[table]) for table in AFTER]
        for table in JUDGEMENTS:
            n = _count(conn, table)
            found.append(Kept(table, 0, n) if traces[0].n_left_out else _copied(conn, store, table, columns[table]))
        return found


def _common(conn: sqlite3.Connection, store: Database, table: str) -> str:
    """The columns that both files have; none where what is there cannot be told."""
    there: set[str] = set()
    with suppress(sqlite3.DatabaseError):
        there = {name for (name,) in conn.execute(f"select name from pragma_table_info('{table}')")}
    return ", ".join(name for name in store.schema[table] if name in there)


def _count(conn: sqlite3.Connection, table: str) -> int | None:
    try:
        number: int = conn.execute(f"select count(*) from {table} not indexed").fetchone()[0]
    except sqlite3.DatabaseError:
        return None
    return number


def _copied(conn: sqlite3.Connection, store: Database, table: str, columns: str) -> Kept:
    """Copy the good rows of a table."""
    kept, total, rows = Kept(table), _count(conn, table), _readable(conn, table, columns)
    while some := list(islice(rows, BATCH)):
        kept.n_kept += _allowed(store, table, columns, some)
    kept.n_left_out = None if total is None else total - kept.n_kept
    return kept


def _readable(conn: sqlite3.Connection, table: str, columns: str) -> Iterator[Row]:
    """The good rows from the first on up to a damaged place, then from the last on down to one."""
    if not columns:
        return
    bad = " or ".join(f"({rule.bad})" for rule in rules() if rule.table == table) or "0"
    for way in ("asc", "desc"):
        order = ", ".join(f"t.{name} {way}" for name in _order(conn, table))
        sql = f"select {columns} from {table} t where not coalesce({bad}, 0) order by {order}"
        with suppress(sqlite3.DatabaseError):
            yield from conn.execute(sql)
            return


def _order(conn: sqlite3.Connection, table: str) -> tuple[str, ...]:
    """The columns in which order the rows lie in the file, so that no index is needed."""
    try:
        conn.execute(f"select rowid from {table} limit 0")
    except sqlite3.OperationalError:
        return keys_of(table)
    return ("rowid",)


def _allowed(store: Database, table: str, columns: str, rows: list[Row]) -> int:
    """Insert those of the rows that the schema allows; their number. Halves are tried where it refuses some."""
    try:
        with writing(store.conn):
            return _insert(store, table, columns, rows)
    except sqlite3.IntegrityError:
        half = len(rows) // 2
        return sum(_allowed(store, table, columns, part) for part in (rows[:half], rows[half:]) if half)


def _insert(store: Database, table: str, columns: str, rows: list[Row]) -> int:
    """Insert rows; their number."""
    marks = ", ".join("?" * (columns.count(",") + 1))
    return store.conn.executemany(f"insert into {table} ({columns}) values ({marks})", rows).rowcount


# ── traces ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _traces(conn: sqlite3.Connection, store: Database, columns: dict[str, str], report: Report) -> list[Kept]:
    """Copy the good traces, each with all that belongs to it."""
    found = {table: Kept(table) for table in OF_TRACE}
    totals = {table: _count(conn, table) for table in OF_TRACE}
    for trace_id in list(_ids(conn)):
        report("traces", found["traces"].n_kept, totals["traces"] or 0)
        rows = _rows(conn, columns, trace_id)
        with suppress(sqlite3.IntegrityError):
            with writing(store.conn):
                for table in OF_TRACE if rows else ():
                    _insert(store, table, columns[table], rows[table])
            for table in rows:
                found[table].n_kept += len(rows[table])
    for table, kept in found.items():
        total = totals[table]
        kept.n_left_out = None if total is None else total - kept.n_kept
    return list(found.values())


def _ids(conn: sqlite3.Connection) -> Iterator[int]:
    seen: set[int] = set()
    for way in ("asc", "desc"):
        with suppress(sqlite3.DatabaseError):
            for (trace_id,) in conn.execute(f"select trace_id from traces not indexed order by rowid {way}"):
                if trace_id not in seen:
                    seen.add(trace_id)
                    yield trace_id
            return


def _rows(conn: sqlite3.Connection, columns: dict[str, str], trace_id: int) -> dict[str, list[Row]]:
    """The rows of one trace by table; none at all where one cannot be read, or breaks a rule."""
    try:
        found = {
            table: conn.execute(f"select {columns[table]} from {table} where trace_id = ?", (trace_id,)).fetchall()
            for table in OF_TRACE
        }
        return {} if _is_bad(conn, trace_id) else found
    except sqlite3.DatabaseError:
        return {}


def _is_bad(conn: sqlite3.Connection, trace_id: int) -> bool:
    """True if a rule is broken by a row of this trace."""
    of_trace = (rule for rule in rules() if rule.table in OF_TRACE)
    return any(
        conn.execute(
            f"select 1 from {rule.table} t where t.trace_id = ? and ({rule.bad}) limit 1", (trace_id,)
        ).fetchone()
        for rule in of_trace
    )
