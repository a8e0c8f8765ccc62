"""Rows as text: an aligned table, Markdown, CSV, JSON lines. Returns strings; the command line prints them.

Cells are of SQLite's types: None, int, float, str, bytes. None is empty, bytes are hex.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

MAX_WIDTH = 60  # terminal columns of one cell
GAP = "  "
HELD = 1000  # rows that decide how wide columns are
COMBINING = 20  # characters that a terminal's column may take
CONTROLS = re.compile(
    "[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)  # control characters that JSON leaves as they are


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    markdown: bool = False,
    max_width: int | None = MAX_WIDTH,
) -> str:
    """An aligned table: numbers to the right, text to the left, line breaks shown as \\n.

    Cells wider than `max_width` end in "…"; None keeps them whole.
    """
    return "\n".join(table_lines(columns, rows, markdown=markdown, max_width=max_width))


def table_lines(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    markdown: bool = False,
    max_width: int | None = MAX_WIDTH,
) -> Iterator[str]:
    """The lines of a table as its rows come: the first HELD rows decide how wide and on which side columns are.

    So a table of any length needs the memory of these rows. A wider cell further down pushes its row apart.
    """
    rows = (brief(row, max_width) for row in rows)
    held = list(itertools.islice(rows, HELD))
    right = are_numeric(columns, held)
    grid = [[_shown(cell, max_width, markdown) for cell in row] for row in [columns, *held]]
    widths = [max(3 * markdown, *map(text_width, column)) for column in zip(*grid, strict=True)]
    body = itertools.chain(grid, ([_shown(cell, max_width, markdown) for cell in row] for row in rows))
    lines = ([pad(cell, w, to_right) for cell, w, to_right in zip(row, widths, right, strict=True)] for row in body)
    return _markdown(lines, right) if markdown else _plain(lines, widths)


def brief(row: Sequence[object], max_width: int | None) -> list[object]:
    """A row without the ends of cells that would be cut off anyhow; combining characters take no width."""
    most = None if max_width is None else COMBINING * max_width
    return [cell[:most] if isinstance(cell, str | bytes) else cell for cell in row]


def _shown(cell: object, max_width: int | None, markdown: bool) -> str:
    text = cut(cell_text(cell), max_width)
    return text.replace("|", "\\|") if markdown else text


def grid_of(columns: Sequence[str], rows: Iterable[Sequence[object]], max_width: int | None) -> list[list[str]]:
    """The header and the rows as texts."""
    return [[cut(cell_text(cell), max_width) for cell in row] for row in [columns, *rows]]


def are_numeric(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[bool]:
    """For each column, whether it holds numbers only, which are aligned to the right."""
    return [_is_numeric([row[i] for row in rows]) for i in range(len(columns))]


def csv_lines(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Header and rows as CSV, one string each, without line ends. None and "" are both empty."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)  # ends lines in \r\n, cut off below: Python 3.11 quotes only what ends its lines
    for row in itertools.chain([columns], rows):
        writer.writerow([cell.hex() if isinstance(cell, bytes) else cell for cell in row])
        yield buffer.getvalue()[:-2]
        buffer.seek(0)
        buffer.truncate()


def json_lines(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """One JSON object per row; repeated column names are numbered.

    An infinite number, which JSON lacks, is the string "Infinity" or "-Infinity".
    """
    columns = _distinct(columns)
    for row in rows:
        cells = {name: _json_cell(cell) for name, cell in zip(columns, row, strict=True)}
        yield json_text(cells)


def cell_text(cell: object) -> str:
    """One cell on one line: floats to six significant digits, control characters escaped."""
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.6g}"
    if isinstance(cell, bytes):
        return cell.hex()
    return "".join(char if char.isprintable() else _escaped(char) for char in str(cell))


def harmless(text: str) -> str:
    """Text with control characters escaped and line breaks kept, so that it cannot control a terminal."""
    return "\n".join(map(cell_text, text.split("\n")))


def json_text(
    value: object, *, default: Callable[[Any], object] | None = None, indent: int | None = None, nan: bool = False
) -> str:
    """JSON, readable, with every character that could control a terminal as \\u....; nan: it may hold some."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=nan, default=default, indent=indent)
    return CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def text_width(text: str) -> int:
    """Terminal columns: wide characters take two, combining ones none."""
    return sum((unicodedata.east_asian_width(c) in "WF") + (not unicodedata.combining(c)) for c in text)


def cut(text: str, width: int | None, *, from_left: bool = False) -> str:
    """At most `width` terminal columns of a text, with "…" where the rest was; from_left: keep its end."""
    if width is None or text_width(text) <= width:
        return text
    while text_width(text) > width - 1:
        text = text[-min(len(text) - 1, width) :] if from_left else text[: min(len(text) - 1, width)]
        if not text or width <= 1:
            break
    return "…" + text if from_left else text + "…"


def pad(text: str, width: int, to_right: bool) -> str:
    """Fill with spaces up to `width` terminal columns."""
    space = " " * (width - text_width(text))
    return space + text if to_right else text + space


def _plain(lines: Iterator[list[str]], widths: list[int]) -> Iterator[str]:
    for row in itertools.chain([next(lines), ["-" * width for width in widths]], lines):
        yield GAP.join(row).rstrip()


def _markdown(lines: Iterator[list[str]], right: list[bool]) -> Iterator[str]:
    head = next(lines)
    rules = ["-" * (text_width(cell) - to_right) + ":" * to_right for cell, to_right in zip(head, right, strict=True)]
    for row in itertools.chain([head, rules], lines):
        yield "| " + " | ".join(row) + " |"


def _is_numeric(cells: Sequence[object]) -> bool:
    """True if a column holds numbers only, and at least one."""
    present = [cell for cell in cells if cell is not None]
    return bool(present) and all(isinstance(cell, int | float) for cell in present)


def _distinct(columns: Sequence[str]) -> list[str]:
    """a, b, a -> a, b, a_2."""
    names: list[str] = []
    for column in columns:
        numbered = (f"{column}_{n}" for n in itertools.count(2))
        names.append(next(name for name in itertools.chain([column], numbered) if name not in names))
    return names


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


def _json_cell(cell: object) -> object:
    if isinstance(cell, bytes):
        return cell.hex()
    if isinstance(cell, float) and math.isinf(cell):
        return "Infinity" if cell > 0 else "-Infinity"
    return cell


def p_cell(p: float | None) -> str:
    """ "0.032", "<0.001"."""
    return "-" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"
