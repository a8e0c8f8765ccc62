"""The database: what a program opens. Reading is in reader.py, writing in writer.py."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from localent.errors import LocalentError, UsageError
from localent.store.connect import explained, reader, writer
from localent.store.frames import Frames
from localent.store.migrations import MIGRATIONS, version
from localent.store.writer import Writer

if TYPE_CHECKING:
    import sqlite_utils


class Database(Frames, Writer):
    """One open file. Made by `open_db`; close it, or use it as a context manager."""

    @property
    def utils(self) -> sqlite_utils.Database:
        """The same connection as a `sqlite_utils.Database`, for work of one's own."""
        import sqlite_utils  # up to 0.6 s, since it loads pandas where there is one

        return sqlite_utils.Database(self.conn)

    def __dir__(self) -> list[str]:
        """What TAB offers: all that reads. What writes is for runs, and stays callable."""
        return sorted(set(super().__dir__()) - {name for name in vars(Writer) if not name.startswith("_")})

    def _repr_html_(self) -> str:
        """As a notebook shows it: its runs."""
        import localent  # the package's front door, which loads the view when it is asked for

        html: str = localent.as_html(self)
        return html


def open_db(path: str | Path, *, create: bool = True, readonly: bool = False) -> Database:
    """Open a database, bring it to the newest version, or make a new one.

    Several processes may write to one file: each transaction is one trace, and the others wait for it.
    `readonly` leaves the rows as they are and works in a read-only folder; a file of an older version is brought to the
    newest one first. Raises UsageError where that cannot be written.
    """
    path = Path(path)
    with explained(path):
        if not readonly:
            return Database(writer(path, create=create), path)
        conn = reader(path)
        if version(conn) == len(MIGRATIONS):
            return Database(conn, path)
        conn.close()
    _migrate(path)
    with explained(path):
        return Database(reader(path), path)


def _migrate(path: Path) -> None:
    try:
        with explained(path):
            writer(path, create=False).close()
    except LocalentError as error:
        raise UsageError(
            f"{path} was made by an older localent and cannot be updated: copy it and read the copy."
        ) from error
