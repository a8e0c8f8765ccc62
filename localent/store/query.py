"""Questions in SQL by the user: read-only for certain, with a time limit, and errors that help."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from localent.errors import UsageError
from localent.store.connect import columns_of, explained, reader

CHUNK = 500  # rows fetched at a time
TICK = 20_000  # SQLite's virtual machine steps between two looks at the clock: some 0.2 ms

READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE, sqlite3.SQLITE_FUNCTION}
DESCRIBING = {  # pragmas that only tell; with a value only those where the value names a table
    **dict.fromkeys(("table_info", "table_xinfo", "index_list", "index_info", "index_xinfo", "foreign_key_list"), True),
    **dict.fromkeys(("table_list", "user_version", "application_id", "page_count", "page_size", "encoding"), False),
}


def select(
    path: str | Path, sql: str, *, limit: int | None = None, timeout_s: float | None = None
) -> tuple[list[str], Iterator[tuple]]:
    """Run one reading statement: its column names, and its rows as they are asked for.

    `timeout_s` is time spent in SQLite, not in what the caller does between two rows. Ctrl-C ends it as well.
    """
    path = Path(path)
    with explained(path):
        conn = reader(path)
    restrict(conn)
    rows = fetch(Guard(conn, path, timeout_s), sql, limit)
    return next(rows), rows


def fetch(guard: Guard, sql: str, limit: int | None) -> Iterator:
    """First the names of the columns, then the rows; the connection closes at the end, or with the iterator."""
    try:
        cursor = guard(guard.conn.execute, sql)
        if cursor.description is None:
            raise UsageError("That is no question; begin with 'select'.")
        yield [column[0] for column in cursor.description]
        left = limit
        while left != 0 and (some := guard(cursor.fetchmany, CHUNK if left is None else min(left, CHUNK))):
            yield from some
            left = None if left is None else left - len(some)
    finally:
        guard.conn.close()


@dataclass(slots=True)
class Guard:
    """Calls into SQLite that end in time, and whose errors say what to do."""

    conn: sqlite3.Connection
    path: Path
    timeout_s: float | None
    spent: float = 0.0  # seconds
    began: float = field(default=0.0, init=False)

    def __call__(self, call, *args):
        """Call it within what is left of the time."""
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
        """Also where Python notices Ctrl-C: an exception here makes SQLite stop."""
        return self.timeout_s is not None and self.spent + time.monotonic() - self.began > self.timeout_s

    def meaning(self, error: Exception) -> BaseException:
        name = getattr(error, "sqlite_errorname", "")
        if name == "SQLITE_INTERRUPT" and not self.late():
            return KeyboardInterrupt()
        if name == "SQLITE_INTERRUPT":
            return UsageError(f"Stopped after {self.timeout_s:g} s; ask for less, or allow more time.")
        if name == "SQLITE_AUTH":
            return UsageError("Only reading is allowed here: one 'select', 'with' or 'explain'.")
        return UsageError(hint(str(error), self.conn))


def restrict(conn: sqlite3.Connection) -> None:
    """From here on the connection only reads; it cannot write anyway, this makes sure and says so early."""
    for name in DESCRIBING:  # SQLite sets up a pragma_ table at its first use, which looks like a write
        conn.execute(f"select 1 from pragma_{name} limit 0")
    conn.set_authorizer(authorize)


def authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """Deny whatever is not known to only read."""
    if action == sqlite3.SQLITE_PRAGMA:
        allowed = first in DESCRIBING and (second is None or DESCRIBING[first])
    else:
        allowed = action in READING and second != "load_extension"
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def hint(message: str, conn: sqlite3.Connection) -> str:
    """The error as a sentence, with the nearest name that exists."""
    relations = {name: columns for name, columns in columns_of(conn).items() if not name.startswith("sqlite_")}
    if missing := re.fullmatch(r"no such column: (?:.*\.)?(.+)", message):
        columns = {column for columns in relations.values() for column in columns}
        return f"No column '{missing[1]}'{nearest(missing[1], columns)}"
    if missing := re.fullmatch(r"no such table: (?:.*\.)?(.+)", message):
        return f"No table '{missing[1]}'{nearest(missing[1], relations)} There are {', '.join(relations)}."
    if "one statement" in message:
        return "One statement at a time; drop what follows the ';'."
    return f"SQLite says: {message}."


def nearest(name: str, names) -> str:
    found = get_close_matches(name, sorted(names), n=1)
    return f"; did you mean '{found[0]}'?" if found else "."
