"""Connections to one file, and SQLite's errors in words for the person who meets them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localent.errors import LocalentError, UsageError
from localent.store.migrations import MIGRATIONS, migrate, version
from localent.store.schema import APPLICATION_ID, TABLES, VIEWS

BUSY_S = 30.0  # how long to wait for another writer; its transactions are milliseconds

NO_SHARE = (
    LocalentError,
    "{folder} lacks the locks or the shared memory that SQLite needs, as network shares often do; keep {path} on a disk"
    " of this machine and copy it there when all is done.",
)
NO_WAL_S = 1.0  # how long SQLite may say no to WAL without a reason
MEANINGS = {  # beginning of SQLite's error name -> (class, sentence)
    "SQLITE_FULL": (LocalentError, "The disk is full; all of {path} up to here is safe: make room and run it again."),
    "SQLITE_BUSY": (LocalentError, "Another program has locked {path} for {busy:.0f} s; close it and run this again."),
    "SQLITE_LOCKED": (LocalentError, "Another program has locked {path}; close it and run this again."),
    "SQLITE_READONLY_DIRECTORY": (LocalentError, "{folder} is read-only; make it writable or use another --db."),
    "SQLITE_READONLY": (LocalentError, "{path} is read-only; make it writable or choose another file with --db."),
    "SQLITE_NOTADB": (UsageError, "{path} is not an SQLite database; choose another file with --db."),
    "SQLITE_CANTOPEN": (LocalentError, "Cannot open {path}; make {folder} writable or use another --db."),
    "SQLITE_CORRUPT": (LocalentError, "{path} is damaged; save what is left with 'sqlite3 {path} .recover'."),
    **dict.fromkeys(("SQLITE_IOERR_SHM", "SQLITE_IOERR_LOCK", "SQLITE_IOERR_RDLOCK", "SQLITE_PROTOCOL"), NO_SHARE),
    "SQLITE_IOERR": (LocalentError, "The disk is full or failing at {path}; make room and run it again."),
    "SQLITE_CONSTRAINT_FOREIGNKEY": (
        LocalentError,
        "{path} does not have what this row refers to; add the problem first.",
    ),
}


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Context: SQLite's errors become sentences about this file."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        for beginning, (kind, sentence) in MEANINGS.items():
            if name.startswith(beginning):
                raise kind(sentence.format(path=path, folder=path.absolute().parent, busy=BUSY_S)) from error
        if "decode to UTF-8" in str(error):  # a text, or a name of the schema
            raise damaged(path) from error
        raise
    except UnicodeDecodeError as error:  # in a name of the schema, or in what SQLite says of it
        raise damaged(path) from error
    except OverflowError as error:
        raise UsageError(f"{path} holds whole numbers below 2^63 only; give a smaller one.") from error
    except UnicodeEncodeError as error:
        broken = error.object[max(0, error.start - 20) : error.end].encode(errors="backslashreplace").decode()
        raise UsageError(f"Invalid Unicode (lone surrogate) in {broken!r}; fix the text that it came from.") from error


def damaged(path: Path) -> LocalentError:
    """The error on a file that cannot be read."""
    return LocalentError(MEANINGS["SQLITE_CORRUPT"][1].format(path=path))


def writer(path: Path, *, create: bool) -> sqlite3.Connection:
    """A connection that reads and writes, to a file that is ours and of the newest version."""
    conn = connect(path, "rwc" if create else "rw")
    try:
        prepare(conn, path)
    except BaseException:
        conn.close()
        raise
    return conn


def prepare(conn: sqlite3.Connection, path: Path) -> None:
    """Bring the file to the newest version and set its modes; one that is not ours stays as it is."""
    known = check_ours(conn, path)
    enable_wal(conn, path)
    conn.execute("pragma foreign_keys = on")
    conn.execute("pragma synchronous = full")  # a committed trace survives a power cut; 1 sync per trace
    if known < len(MIGRATIONS):
        with writing(conn):
            check_ours(conn, path)  # another process may have been here first
            migrate(conn)


@contextmanager
def writing(conn: sqlite3.Connection) -> Iterator[None]:
    """Context: one write transaction, all of it or nothing."""
    try:
        conn.execute("begin immediate")
        yield
        conn.execute("commit")
    except BaseException:
        if conn.in_transaction:
            conn.execute("rollback")
        raise


def reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, to a file that is ours, also while another process writes to it.

    Reading a WAL file needs its -shm file, which SQLite cannot make in a read-only folder. With no -wal file, or an
    empty one, nobody is writing, and the file is read as it stands (`immutable`).
    """
    try:
        return checked_reader(connect(path, "ro"), path)
    except sqlite3.OperationalError as error:
        if not error.sqlite_errorname.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
            raise
    wal = path.with_name(path.name + "-wal")
    if wal.exists() and wal.stat().st_size:
        raise LocalentError(f"{path} has a -wal file in a read-only folder; copy both to a folder of your own.")
    return checked_reader(connect(path, "ro&immutable=1"), path)


def checked_reader(conn: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    """The connection, which can only read from now on; raise where the file is not ours or empty."""
    try:
        conn.execute("pragma query_only = on")
        if not check_ours(conn, path):
            raise UsageError(f"{path} is empty; 'localent run MODEL TASK --db {path}' fills it.")
    except BaseException:
        conn.close()
        raise
    return conn


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection by URI mode: "ro" | "rw" | "rwc"; raise where the place cannot hold a database."""
    if not path.exists() and mode != "rwc":
        raise UsageError(f"No database {path}; 'localent run MODEL TASK --db {path}' makes it.")
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file in it with --db.")
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is a pipe or a device; choose a file with --db.")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"No folder {path.absolute().parent}; make it first, or choose another --db.")
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=BUSY_S)


def check_ours(conn: sqlite3.Connection, path: Path) -> int:
    """The version of the file, 0 for an empty one; raise where it is another program's or a newer version's."""
    mark = conn.execute("pragma application_id").fetchone()[0]
    empty = conn.execute("select count(*) from sqlite_master").fetchone()[0] == 0
    if mark != APPLICATION_ID and not (mark == 0 and empty):
        raise UsageError(f"{path} is another program's SQLite database; choose another file with --db.")
    if version(conn) > len(MIGRATIONS):
        raise UsageError(f"{path} was made by a newer localent; update with 'pip install --upgrade localent'.")
    if alien := next(foreign(conn), None):
        raise UsageError(f"{path} was changed: {alien}. 'localent check {path} --repair NEW.db' copies its rows.")
    return version(conn)


def foreign(conn: sqlite3.Connection) -> Iterator[str]:
    """What would act when rows are written, or answer in another way than ours, or without end: each in words."""
    newest = version(conn) == len(MIGRATIONS)
    for name in TABLES:
        if conn.execute("select 1 from pragma_table_list(?) where type in ('virtual', 'shadow')", (name,)).fetchone():
            yield f"its {name} is a virtual table"
        if made := conn.execute("select name from pragma_table_xinfo(?) where hidden > 1", (name,)).fetchone():
            yield f"its {name}.{made[0]} is computed, not stored"
    for kind, name, text in conn.execute("select type, name, sql from sqlite_master where type in ('trigger', 'view')"):
        if kind == "trigger":
            yield f"its trigger {name} is not localent's"
        elif name in TABLES:
            yield f"its {name} is a view, not a table"
        elif newest and name in VIEWS and text != f"CREATE VIEW {name} as\n{VIEWS[name]}":
            yield f"its view {name} is not localent's"


def enable_wal(conn: sqlite3.Connection, path: Path) -> None:
    """Switch the file to WAL for good; SQLite does not wait for other processes here, so this does.

    Raises LocalentError where WAL cannot be had: it needs memory that processes share.
    """
    began = time.monotonic()
    while conn.execute("pragma journal_mode").fetchone()[0] != "wal":
        waited = time.monotonic() - began
        try:
            mode = conn.execute("pragma journal_mode = wal").fetchone()[0]
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or waited > BUSY_S:
                raise
        else:
            if mode != "wal" and waited > NO_WAL_S:
                kind, sentence = NO_SHARE
                raise kind(sentence.format(path=path, folder=path.absolute().parent))
        time.sleep(0.01)


def columns_of(conn: sqlite3.Connection) -> dict[str, dict[str, tuple[str, bool]]]:
    """Table or view -> column -> (type, may be null), as SQLite reports them."""
    found: dict[str, dict[str, tuple[str, bool]]] = {}
    sql = """select m.name, c.name, upper(c.type), not c."notnull" and not c.pk from sqlite_master m
      join pragma_table_info(m.name) c where m.type in ('table', 'view') order by m.name, c.cid"""
    for relation, column, kind, nullable in conn.execute(sql):
        found.setdefault(relation, {})[column] = (kind, bool(nullable))
    return found
