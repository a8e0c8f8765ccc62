"""A table made to fit a terminal.

What is the same in every row is said once above it, and a single row is written downwards. Then texts are wrapped or
cut, and columns left out, the least important first. Numbers and intervals are shown whole or not at all. What is left
out is named, so that nothing disappears in silence.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from localent.report.table import GAP, MAX_WIDTH, are_numeric, cell_text, cut, grid_of, pad, table, text_width

Grid = Sequence[Sequence[str]]  # the header, then the rows

FIRST_TO_GO = ("kind", "missing", "unit", "test", "sample", "licence", "gated")  # the others go from right to left
LAST_TO_GO = ("reading", "verdict", "about", "one_row", "what it finds", "value", "here")
WRAPPED = (
    "claim",
    "verdict",
    "about",
    "one_row",
    "what it finds",
    "value",
    "note",
)  # sentences: continued on the next line, not cut
PATHS = ("here", "path", "file")  # cut at their beginning: the end tells more
LEAST, LEAST_OF = 16, {"claim": 28, "name": 60}  # columns of the terminal that a text keeps: a name can be typed
UNDEFINED = "undefined"  # in a cell, it makes the row one that can be folded
NOTHING = "-"  # in a cell: no value
FOLDED = 3  # from so many such rows on
SAID_ONCE = 3  # what is the same in so many rows or more
WORDS = re.compile(r"[^\W\d_]{2}")


@dataclass(frozen=True, slots=True)
class Fitted:
    """A table as text, and what it lacks."""

    text: str
    hidden: list[str]  # names of columns
    undefined: list[str]  # the first cells of rows


@dataclass(frozen=True, slots=True)
class Plan:
    """The columns that are shown, by index, with their widths."""

    shown: list[int]
    widths: list[int]


def fitted(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    width: int | None,
    max_width: int | None = MAX_WIDTH,
) -> Fitted:
    """An aligned table in at most `width` columns of a terminal; None: as wide as it is."""
    rows, undefined = without_undefined([list(row) for row in rows])
    grid = grid_of(columns, rows, max_width)
    if width is None or _sum(_natural(grid)) <= width:
        return Fitted(table(columns, rows, max_width=max_width), [], undefined)
    if len(rows) == 1:
        return Fitted("\n".join(downwards(grid_of(columns, rows, None), width)), [], undefined)
    kept, heading = without_constant(grid, width)
    columns, grid = [columns[i] for i in kept], [[row[i] for i in kept] for row in grid]
    rows = [[row[i] for i in kept] for row in rows]
    chosen = plan(grid, width)
    hidden = [name for i, name in enumerate(grid[0]) if i not in chosen.shown]
    text = "\n".join([*heading, *lines(grid, are_numeric(columns, rows), chosen)])
    return Fitted(text, hidden, undefined)


def downwards(grid: Grid, width: int) -> list[str]:
    """The only row, a line for each of its cells."""
    names, cells = grid
    indent = min(max(map(text_width, names)) + len(GAP), width // 2)
    return [line for name, cell in zip(names, cells, strict=True) for line in _named_lines(name, cell, indent, width)]


def _named_lines(name: str, cell: str, indent: int, width: int) -> list[str]:
    first = pad(cut(name, indent - len(GAP)), indent, False)
    if text_width(cell) != len(cell):
        return [first + cut(cell, width - indent)]
    found = textwrap.wrap(cell, width, initial_indent=first, subsequent_indent=" " * indent, break_on_hyphens=False)
    return found or [first.rstrip()]


def without_constant(grid: Grid, width: int) -> tuple[list[int], list[str]]:
    """The indices of the columns that vary, and lines that say the others, where there are rows enough."""
    head, *body = grid
    kept = [i for i in range(len(head)) if len({row[i] for row in body}) > 1]
    if len(body) < SAID_ONCE or not kept:
        return list(range(len(head))), []
    said = [f"{name}: {body[0][i]}" for i, name in enumerate(head) if i not in kept and body[0][i] not in ("", NOTHING)]
    return kept, textwrap.wrap("; ".join(said), width, break_on_hyphens=False)


def without_undefined(rows: Sequence[Sequence[object]]) -> tuple[list[Sequence[object]], list[str]]:
    """The rows that say something, and the first cells of those that are undefined, where these are many."""
    folded = [row for row in rows if UNDEFINED in row]
    if len(folded) < FOLDED or len(folded) == len(rows):
        return list(rows), []
    return [row for row in rows if UNDEFINED not in row], [cell_text(row[0]) for row in folded]


# --- which columns, and how wide ------------------------------------------------------------------------------------


def plan(grid: Grid, width: int) -> Plan:
    """The columns of a grid of texts that fit. The first one always does."""
    natural = _natural(grid)
    least = [min(n, _least(grid, i)) for i, n in enumerate(natural)]
    shown = list(range(len(natural)))
    while len(shown) > 1 and _sum([least[i] for i in shown]) > width:
        shown.remove(_next_to_go(grid[0], shown))
    room = width - _sum([least[i] for i in shown])
    widths = []
    for i in shown:
        more = max(0, min(room, natural[i] - least[i]))
        room -= more
        widths.append(min(least[i] + more, width))
    return Plan(shown, widths)


def _natural(grid: Grid) -> list[int]:
    return [max(map(text_width, column)) for column in zip(*grid, strict=True)]


def _sum(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _least(grid: Grid, column: int) -> int:
    """The width below which a column is left out: that of its widest number, and LEAST for texts."""
    cells = [row[column] for row in grid]
    if any(WORDS.search(cell) for cell in cells[1:]):
        return max(LEAST_OF.get(cells[0], LEAST), text_width(cells[0]))
    return max(map(text_width, cells))


def _next_to_go(names: Sequence[str], shown: Sequence[int]) -> int:
    """The index of the column that is left out next; never the first."""
    rest = shown[1:]
    first = [i for i in rest if names[i] in FIRST_TO_GO]
    usual = [i for i in rest if names[i] not in LAST_TO_GO]
    return (first or usual or rest)[-1]


# --- drawing --------------------------------------------------------------------------------------------------------


def lines(grid: Grid, right: Sequence[bool], chosen: Plan) -> list[str]:
    """The header, a rule and the rows, none wider than planned. right: columns that are aligned to the right."""
    head, *body = [_row_lines(row, grid[0], right, chosen) for row in grid]
    return [*head, GAP.join("-" * width for width in chosen.widths), *(line for row in body for line in row)]


def _row_lines(row: Sequence[str], names: Sequence[str], right: Sequence[bool], chosen: Plan) -> list[str]:
    """One row: a line, and more where a sentence continues."""
    shown = list(zip(chosen.shown, chosen.widths, strict=True))
    parts = [_cell_lines(row[i], names[i], width) for i, width in shown]
    found = []
    for n in range(max(map(len, parts))):
        cells = [
            pad(part[n] if n < len(part) else "", width, right[i])
            for part, (i, width) in zip(parts, shown, strict=True)
        ]
        found.append(GAP.join(cells).rstrip())
    return found


def _cell_lines(cell: str, name: str, width: int) -> list[str]:
    if text_width(cell) <= width:
        return [cell]
    if name in WRAPPED and text_width(cell) == len(cell):
        return textwrap.wrap(cell, width)
    return [cut(cell, width, from_left=name in PATHS)]
