"""One SQL statement by a user: read-only for certain, with a time limit, and errors that help."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from localent.errors import UsageError
from localent.store.connect import columns_of, explained, reader
from localent.store.hints import hint

CHUNK = 500  # rows fetched at a time
CHUNK_CHARS = 1 << 20  # and about as many characters and bytes, where rows are long
GRACE_S = 2.0  # how long after the time is up SQLite may still be inside of one function
TICK = 20_000  # steps of SQLite's virtual machine between two checks of the time limit: some 0.2 ms

READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE, sqlite3.SQLITE_FUNCTION}
DESCRIBING = {  # pragmas that only report; True: also with a value, which names a table
    **dict.fromkeys(("table_info", "table_xinfo", "index_list", "index_info", "index_xinfo", "foreign_key_list"), True),
    **dict.fromkeys(("table_list", "user_version", "application_id", "page_count", "page_size", "encoding"), False),
}
LIMITS = {  # SQLite's own; the progress handler does not bind inside one function
    sqlite3.SQLITE_LIMIT_LENGTH: 10_000_000,  # bytes of a text, a blob or a row
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 1_000_000,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1_000,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
T = TypeVar("T")
Stuck = Callable[[], object]


def select(
    path: str | Path,
    sql: str,
    *,
    limit: int | None = None,
    timeout_s: float | None = None,
    stuck: Stuck | None = None,
    heap: int | None = None,
) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """Run one reading statement: its column names, and its rows as they are asked for.

    `timeout_s` is time spent in SQLite, not in what the caller does between two rows. Ctrl-C ends it as well. A text or
    blob has at most 10 MB. stuck: called from another thread where SQLite has not come back two seconds after the time
    is up, because it is inside of one function. heap: bytes of memory for SQLite in all of this process, sorting
    included, which else spills to the disk.
    Raises UsageError for a statement that fails, writes, takes too long, or makes too long a value.
    """
    path = Path(path)
    with explained(path):
        conn = reader(path)
    if heap is not None:
        conn.execute(f"pragma hard_heap_limit = {heap:d}")
        conn.execute("pragma temp_store = memory")
    restrict(conn)
    rows = fetch(Guard(conn, path, sql, timeout_s, stuck), limit)
    return next(rows), rows


def fetch(guard: Guard, limit: int | None) -> Iterator[Any]:
    """First the names of the columns, then the rows; the connection closes at the end, or with the iterator."""
    try:
        cursor = guard(guard.conn.execute, guard.sql)
        if cursor.description is None:
            raise UsageError("Only SELECT statements are accepted; begin with 'select', 'with' or 'explain'.")
        yield [column[0] for column in cursor.description]
        left, size = limit, 1
        while left != 0 and (some := guard(cursor.fetchmany, size if left is None else min(left, size))):
            yield from some
            left = None if left is None else left - len(some)
            size = next_size(size, some[-1])
    finally:
        guard.conn.close()


def next_size(size: int, row: tuple[Any, ...]) -> int:
    """How many rows to fetch at a time, after these: more, unless rows are long."""
    length = sum(len(cell) for cell in row if isinstance(cell, str | bytes))
    return max(1, min(2 * size, CHUNK, CHUNK_CHARS // max(length, 1)))


@dataclass(slots=True)
class Guard:
    """Calls into SQLite with a time limit, whose errors say what to do."""

    conn: sqlite3.Connection
    path: Path
    sql: str
    timeout_s: float | None
    stuck: Stuck | None = None
    spent: float = 0.0  # seconds
    began: float = field(default=0.0, init=False)

    def __call__(self, call: Callable[..., T], *args: object) -> T:
        """Call it within the time that is left."""
        self.began = time.monotonic()
        self.conn.set_progress_handler(self.late, TICK)
        try:
            with explained(self.path), self.watched():
                return call(*args)
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise self.meaning(error) from error
        except MemoryError as error:
            raise UsageError("This takes more memory than a query may have; ask for fewer or shorter rows.") from error
        finally:
            self.spent += time.monotonic() - self.began

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Context: `stuck` is called where it does not end in time."""
        if self.stuck is None or self.timeout_s is None:
            yield
            return
        timer = threading.Timer(max(self.timeout_s - self.spent, 0) + GRACE_S, self.stuck)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def late(self) -> bool:
        """True when the time is up. Also where Python notices Ctrl-C: an exception here makes SQLite stop."""
        return self.timeout_s is not None and self.spent + time.monotonic() - self.began > self.timeout_s

    def meaning(self, error: Exception) -> BaseException:
        """The error as one that the caller can show."""
        name = getattr(error, "sqlite_errorname", "")
        if name == "SQLITE_INTERRUPT" and not self.late():
            return KeyboardInterrupt()
        if name == "SQLITE_INTERRUPT":
            return UsageError(too_late(self.timeout_s or 0))
        if name == "SQLITE_TOOBIG" or "too large" in str(error) or "too big" in str(error):
            return UsageError("A text or row is longer than 10 MB here, or the statement than 1 MB; ask for less.")
        if name == "SQLITE_AUTH":
            return UsageError("Only reading is allowed here: one 'select', 'with' or 'explain'.")
        columns = {name: known for name, known in columns_of(self.conn).items() if not name.startswith("sqlite_")}
        return UsageError(hint(str(error), self.sql, columns))


def too_late(seconds: float) -> str:
    """The sentence on a statement whose time is up."""
    return f"Stopped after {seconds:g} s; ask for less, or allow more time."


def restrict(conn: sqlite3.Connection) -> None:
    """Restrict the connection to reading, within limits. It is read-only already; this gives an early, clear error."""
    for limit, value in LIMITS.items():
        conn.setlimit(limit, value)
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
