"""Rows out of a data file: JSON Lines, a JSON list, CSV or TSV; every broken one is named by its place."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from localent.errors import UsageError

Row = tuple[str, dict[str, Any]]  # where it stands ("line 57"), its columns


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a file with their places. The ending decides between CSV, TSV and JSON."""
    text = _text(path)
    if not text.strip():
        raise UsageError(f"{path} is empty: expected one problem per line (JSON Lines), a JSON list, or CSV.")
    if path.suffix.lower() in (".csv", ".tsv"):
        return _csv_rows(path, text)
    return _list_rows(path, text) if text.lstrip().startswith("[") else _json_lines(path, text)


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): check the path and its permissions.") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        raise UsageError(f"{path} is not UTF-8 text (byte 0x{byte:02x} in line {line}): save it as UTF-8.") from None


def _json_lines(path: Path, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), start=1):  # splitlines() would also cut at U+2028 in a question
        if line.strip():
            yield f"line {number}", _object(path, f"line {number}", _json(path, line, first_line=number))


def _list_rows(path: Path, text: str) -> Iterator[Row]:
    for number, entry in enumerate(_json(path, text, first_line=1), start=1):
        yield f"entry {number}", _object(path, f"entry {number}", entry)


def _json(path: Path, text: str, first_line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {first_line + error.lineno - 1}"
        raise UsageError(
            f"{path}, {place} is not JSON ({error.msg}, column {error.colno}): mend or remove that line."
        ) from None
    except (RecursionError, ValueError):  # nested too deep, or an integer of more than 4300 digits
        raise UsageError(f"{path}, line {first_line} holds unreadable JSON: mend or remove that line.") from None


def _object(path: Path, place: str, entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise UsageError(
            f'{path}, {place} is {type(entry).__name__}, not an object: expected {{"question": ..., "answer": ...}}.'
        )
    return entry


def _csv_rows(path: Path, text: str) -> Iterator[Row]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            if None in row or None in row.values():
                raise UsageError(
                    f"{path}, line {reader.line_num} has another number of cells than the header: mend or remove it."
                )
            yield f"line {reader.line_num}", row
    except csv.Error as error:
        place = f"line {reader.line_num + 1}"  # of the last good row, plus one: where the broken one begins
        raise UsageError(f"{path}, {place} is not CSV ({error}): mend or remove that line.") from None
