"""The rows of a data file (JSON Lines, a JSON list, CSV or TSV). Errors name the place of a broken row."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from localent.errors import UsageError

Row = tuple[str, dict[str, Any]]  # its place ("line 57"), its columns


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a file with their places. The ending decides between CSV, TSV and JSON."""
    text = _text(path)
    if not text.strip():
        raise UsageError(f"{path} is empty: expected one problem per line (JSON Lines), a JSON list, or CSV.")
    if path.suffix.lower() in (".csv", ".tsv"):
        return _csv_rows(path, text)
    if text.lstrip().startswith("["):
        return _list_rows(path, text)
    if _over_several_lines(text.strip()):
        raise UsageError(f"{path} has one JSON object over several lines: write one object a line, or a list of them.")
    return _json_lines(path, text)


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


def _over_several_lines(text: str) -> bool:
    """True if the first JSON value ends on a later line than it begins."""
    try:
        return "\n" in text[: json.JSONDecoder().raw_decode(text)[1]]
    except (ValueError, RecursionError):  # its line will be named
        return False


def _list_rows(path: Path, text: str) -> Iterator[Row]:
    for number, entry in enumerate(_json(path, text, first_line=1), start=1):
        yield f"entry {number}", _object(path, f"entry {number}", entry)


def _json(path: Path, text: str, first_line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {first_line + error.lineno - 1}"
        raise UsageError(
            f"{path}, {place} is not JSON ({error.msg}, column {error.colno}): fix or remove that line."
        ) from None
    except (RecursionError, ValueError):  # nested too deep, or an integer of more than 4300 digits
        raise UsageError(f"{path}, line {first_line} holds unreadable JSON: fix or remove that line.") from None


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
        _check_header(path, reader.fieldnames or [])
        for row in reader:
            if None in row or None in row.values():
                raise UsageError(
                    f"{path}, line {reader.line_num} has another number of cells than the header: fix or remove it."
                )
            yield f"line {reader.line_num}", row
    except csv.Error as error:
        place = f"line {reader.line_num + 1}"  # of the last good row, plus one: where the broken one begins
        raise UsageError(f"{path}, {place} is not CSV ({error}): fix or remove that line.") from None


def _check_header(path: Path, names: Sequence[str]) -> None:
    """Refuse a header that was meant for another separator, or names a column twice."""
    if len(names) == 1 and (";" in names[0] or "\t" in names[0]):
        raise UsageError(f"{path} has no comma in its header: separate cells by commas, or by tabs in a .tsv file.")
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{path} has the column {twice!r} twice: give every column a name of its own.")
