"""One open file: its connection, its columns, and questions to it in SQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from localent.errors import UsageError
from localent.store.connect import columns_of, explained, writing

Row = dict[str, Any]  # column -> value
CHUNK = 500  # rows fetched at a time


class File:
    """The base of readers and writers: one open database."""

    def __init__(self, conn: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self.conn = conn
        self.schema = columns_of(conn)  # table or view -> column -> (type, may be null)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.conn.close()

    def query(self, sql: str, *values: object) -> list[Row]:
        """The rows of one reading statement, as dicts by column."""
        with explained(self.path):
            cursor = self.conn.execute(sql, values)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def first(self, sql: str, *values: object) -> Row | None:
        """The first row of one reading statement; None where there is none."""
        return next(iter(self.query(sql, *values)), None)

    def known(self, table: str, key: str, value: object) -> Row:
        """The row with this key; raise where there is none."""
        found = self.first(f"select * from {table} where {key} = ?", value)
        if found is None:
            raise UsageError(f"No {table[:-1]} '{value}' in {self.path}.")
        return found

    def query_columns(self, sql: str, names: Sequence[str], *values: object) -> dict[str, list[Any]]:
        """The columns of one reading statement, by these names."""
        with explained(self.path):
            return by_column(self.conn.execute(sql, values), names)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One write transaction: all of it or nothing."""
        with explained(self.path), writing(self.conn):
            yield


def by_column(cursor: sqlite3.Cursor, names: Sequence[str]) -> dict[str, list[Any]]:
    """Rows to columns in chunks: no second copy of all rows, and small ones stay out of the garbage collector."""
    columns: list[list[Any]] = [[] for _ in names]
    while some := cursor.fetchmany(CHUNK):
        for column, values in zip(columns, zip(*some, strict=True), strict=True):
            column.extend(values)
    return dict(zip(names, columns, strict=True))
