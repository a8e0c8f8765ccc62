"""The rows of a data file (JSON Lines, a JSON list, CSV, TSV or Parquet). Errors name the place of a broken row."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from localent.errors import LocalentError, UsageError
from localent.files.opening import refuse_special

Entry = dict[str, Any] | UsageError  # the columns of a row, or what is wrong with it
Row = tuple[str, Entry]  # its place ("line 57"), and what is there

ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
NOT_READ = {  # by the ending or the first bytes of a file: what it is, and the way out
    ".xml": "is XML, which is not read: convert it to JSON Lines, one problem a line",
    ".xlsx": "is an Excel workbook, which is not read: save its sheet as CSV",
    ".xls": "is an Excel workbook, which is not read: save its sheet as CSV",
    ".arrow": "is an Arrow file, which is not read: save it as Parquet or JSON Lines",
    ".gz": "is compressed, which is not read: unpack it",
    ".bz2": "is compressed, which is not read: unpack it",
    ".zst": "is compressed, which is not read: unpack it",
    ".zip": "is an archive, which is not read: unpack it",
    ".tar": "is an archive, which is not read: unpack it",
}
BATCH = 256  # rows of Parquet in memory before their size is looked at
MOST_BYTES = 1 << 30  # of rows in a Parquet file
EXTRA = "Parquet needs pyarrow: pip install 'localent[parquet]', or save {} as JSON Lines."


def read_rows(path: Path, header: Sequence[str] = ()) -> Iterator[Row]:
    """The rows of a file with their places. The ending decides between CSV, TSV, Parquet and JSON.

    header: the names of its columns, for a CSV file that has none. A single broken row is handed over as its error;
    a file that cannot be read at all raises UsageError.
    """
    ending = path.suffix.lower()
    if ending in NOT_READ:
        raise UsageError(f"{path} {NOT_READ[ending]}, and name that file.")
    if header and ending not in (".csv", ".tsv"):
        raise UsageError(f"{path} names its columns itself, so --columns has no effect: leave it out.")
    if ending == ".parquet":
        return _parquet_rows(path)
    text = _text(path)
    if not text.strip():
        raise UsageError(f"{path} is empty: expected one problem per line (JSON Lines), a JSON list, or CSV.")
    if ending in (".csv", ".tsv"):
        return _csv_rows(path, text, header)
    if text.lstrip().startswith("<"):
        raise UsageError(f"{path} {NOT_READ['.xml']}, and name that file.")
    return _json_rows(path, text)


def with_answers(path: Path, rows: list[Row], column: str, name: str) -> list[Row]:
    """The rows of a file with their answers, which stand in another file beside it, one a line."""
    beside = path.with_name(name.format(stem=path.stem))
    if not beside.is_file():
        raise UsageError(
            f"{path.name} has no column {column!r}, and no file {beside.name} with the answers is beside it."
        )
    answers = _text(beside).split()
    if len(answers) != len(rows):
        raise UsageError(
            f"{beside} has {len(answers)} answers for {len(rows)} problems: fetch both files of one split."
        )
    return [
        (where, entry if isinstance(entry, UsageError) else {**entry, column: answer})
        for (where, entry), answer in zip(rows, answers, strict=True)
    ]


def _text(path: Path) -> str:
    content = _bytes(path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        raise UsageError(f"{path} is not UTF-8 text (byte 0x{byte:02x} in line {line}): save it as UTF-8.") from None


def _bytes(path: Path) -> bytes:
    refuse_special(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): check the path and its permissions.") from None


# ── JSON ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _json_rows(path: Path, text: str) -> Iterator[Row]:
    if text.lstrip().startswith("["):
        return _list_rows(path, _json(path, text, first_line=1))
    whole = _whole_object(text)
    if whole is None:
        return _json_lines(path, text)
    lists = {key: held for key, held in whole.items() if _are_objects(held)}
    if len(lists) != 1:
        raise UsageError(f"{path} has one JSON object over several lines: write one object a line, or a list of them.")
    return _list_rows(path, next(iter(lists.values())))


def _whole_object(text: str) -> dict[str, Any] | None:
    """The one JSON object that a text is, where it holds lists or goes over several lines; None for JSON Lines."""
    try:
        value, end = json.JSONDecoder().raw_decode(text.lstrip())
    except (ValueError, RecursionError):  # its line will be named
        return None
    several_lines = "\n" in text.lstrip()[:end]
    alone = not text.lstrip()[end:].strip()
    held_rows = isinstance(value, dict) and any(map(_are_objects, value.values()))
    return value if isinstance(value, dict) and (several_lines or (alone and held_rows)) else None


def _are_objects(held: Any) -> bool:
    """True for a list of rows; options are objects, too."""
    objects = isinstance(held, list) and bool(held) and all(isinstance(entry, dict) for entry in held)
    return objects and not all({"label", "text"} <= set(entry) for entry in held)


def _json_lines(path: Path, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), start=1):  # splitlines() would also cut at U+2028 in a question
        if line.strip():
            yield f"line {number}", _line(path, line, number)


def _line(path: Path, line: str, number: int) -> Entry:
    try:
        return _object(path, f"line {number}", _json(path, line, first_line=number))
    except UsageError as error:
        return error


def _list_rows(path: Path, entries: Sequence[Any]) -> Iterator[Row]:
    for number, entry in enumerate(entries, start=1):
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


def _object(path: Path, place: str, entry: Any) -> Entry:
    if isinstance(entry, dict):
        return entry
    return UsageError(
        f'{path}, {place} is {type(entry).__name__}, not an object: expected {{"question": ..., "answer": ...}}.'
    )


# ── tables ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _csv_rows(path: Path, text: str, header: Sequence[str]) -> Iterator[Row]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    names = list(header) or None
    reader = csv.DictReader(io.StringIO(text, newline=""), names, delimiter=delimiter, strict=True)
    try:
        _check_header(path, reader.fieldnames or [])
        for row in reader:
            yield f"line {reader.line_num}", _whole(path, row, reader.line_num, bare=bool(header))
    except csv.Error as error:
        place = f"line {reader.line_num + 1}"  # of the last good row, plus one: where the broken one begins
        raise UsageError(f"{path}, {place} is not CSV ({error}): fix or remove that line.") from None


def _whole(path: Path, row: Mapping[Any, Any], line: int, *, bare: bool) -> Entry:
    """A row of CSV with as many cells as there are names."""
    if None in row or None in row.values():
        names = "--columns names" if bare else "the header"
        return UsageError(f"{path}, line {line} has another number of cells than {names}: fix or remove it.")
    return dict(row)


def _check_header(path: Path, names: Sequence[str]) -> None:
    """Refuse a header that was meant for another separator, or names a column twice."""
    if len(names) == 1 and (";" in names[0] or "\t" in names[0]):
        raise UsageError(f"{path} has no comma in its header: separate cells by commas, or by tabs in a .tsv file.")
    _refuse_twice(path, names)


def _refuse_twice(path: Path, names: Sequence[str]) -> None:
    """Raise for two columns of one name."""
    twice = next((name for name, n in Counter(names).items() if name and n > 1), None)
    if twice is not None:
        raise UsageError(
            f"{path} has the column {twice!r} twice: give every column a name of its own, or name all of them with"
            " --columns if the file has no header."
        )


def _parquet_rows(path: Path) -> Iterator[Row]:
    refuse_special(path)
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise LocalentError(EXTRA.format(path)) from None
    try:
        file = parquet.ParquetFile(path)
        _refuse_twice(path, file.schema_arrow.names)
        entries = list(_entries(path, file))
    except LocalentError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError, LookupError, RecursionError) as error:
        raise UsageError(f"{path} is not Parquet that can be read ({str(error)[:80]}): fetch it again.") from None
    return _list_rows(path, entries)


def _entries(path: Path, file: Any) -> Iterator[dict[str, Any]]:
    """The rows of a pyarrow ParquetFile. A small file may stand for any number of them, or for any length."""
    n_bytes = 0
    for batch in file.iter_batches(batch_size=BATCH):
        n_bytes += batch.nbytes
        if n_bytes > MOST_BYTES:
            raise UsageError(f"{path} holds more than {MOST_BYTES >> 20:,} MB of rows: name a file of fewer.")
        yield from batch.to_pylist()
