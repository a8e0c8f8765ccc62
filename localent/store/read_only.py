"""One SQL statement by a user: read-only for certain, with a time limit, and errors that help."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from localent.errors import UsageError
from localent.store.connect import columns_of, explained, reader
from localent.store.hints import hint

CHUNK = 500  # rows fetched at a time
TICK = 20_000  # steps of SQLite's virtual machine between two checks of the time limit: some 0.2 ms

READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE, sqlite3.SQLITE_FUNCTION}
DESCRIBING = {  # pragmas that only report; True: also with a value, which names a table
    **dict.fromkeys(("table_info", "table_xinfo", "index_list", "index_info", "index_xinfo", "foreign_key_list"), True),
    **dict.fromkeys(("table_list", "user_version", "application_id", "page_count", "page_size", "encoding"), False),
}
T = TypeVar("T")


def select(
    path: str | Path, sql: str, *, limit: int | None = None, timeout_s: float | None = None
) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """Run one reading statement: its column names, and its rows as they are asked for.

    `timeout_s` is time spent in SQLite, not in what the caller does between two rows. Ctrl-C ends it as well.
    Raises UsageError for a statement that fails, writes, or takes too long.
    """
    path = Path(path)
    with explained(path):
        conn = reader(path)
    restrict(conn)
    rows = fetch(Guard(conn, path, sql, timeout_s), limit)
    return next(rows), rows


def fetch(guard: Guard, limit: int | None) -> Iterator[Any]:
    """First the names of the columns, then the rows; the connection closes at the end, or with the iterator."""
    try:
        cursor = guard(guard.conn.execute, guard.sql)
        if cursor.description is None:
            raise UsageError("Only SELECT statements are accepted; begin with 'select', 'with' or 'explain'.")
        yield [column[0] for column in cursor.description]
        left = limit
        while left != 0 and (some := guard(cursor.fetchmany, CHUNK if left is None else min(left, CHUNK))):
            yield from some
            left = None if left is None else left - len(some)
    finally:
        guard.conn.close()


@dataclass(slots=True)
class Guard:
    """Calls into SQLite with a time limit, whose errors say what to do."""

    conn: sqlite3.Connection
    path: Path
    sql: str
    timeout_s: float | None
    spent: float = 0.0  # seconds
    began: float = field(default=0.0, init=False)

    def __call__(self, call: Callable[..., T], *args: object) -> T:
        """Call it within the time that is left."""
        self.began = time.monotonic()
        self.conn.set_progress_handler(self.late, TICK)
        try:
            with explained(self.path):
                return call(*args)
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise self.meaning(error) from error
        finally:
            self.spent += time.monotonic() - self.began

    def late(self) -> bool:
        """True when the time is up. Also where Python notices Ctrl-C: an exception here makes SQLite stop."""
        return self.timeout_s is not None and self.spent + time.monotonic() - self.began > self.timeout_s

    def meaning(self, error: Exception) -> BaseException:
        """The error as one that the caller can show."""
        name = getattr(error, "sqlite_errorname", "")
        if name == "SQLITE_INTERRUPT" and not self.late():
            return KeyboardInterrupt()
        if name == "SQLITE_INTERRUPT":
            return UsageError(f"Stopped after {self.timeout_s:g} s; ask for less, or allow more time.")
        if name == "SQLITE_AUTH":
            return UsageError("Only reading is allowed here: one 'select', 'with' or 'explain'.")
        columns = {name: known for name, known in columns_of(self.conn).items() if not name.startswith("sqlite_")}
        return UsageError(hint(str(error), self.sql, columns))


def restrict(conn: sqlite3.Connection) -> None:
    """Restrict the connection to reading. It is read-only already; this gives an early, clear error."""
    for name in DESCRIBING:  # SQLite sets up a pragma_ table at its first use, which looks like a write
        conn.execute(f"select 1 from pragma_{name} limit 0")
    conn.set_authorizer(authorize)


def authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """Deny everything that is not known to only read."""
    if action == sqlite3.SQLITE_PRAGMA:
        allowed = first in DESCRIBING and (second is None or DESCRIBING[first])
    else:
        allowed = action in READING and second != "load_extension"
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY
