"""A line chart in characters: braille dots where the terminal's encoding has them, letters in plain ASCII."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

Point = tuple[float, float]

BRAILLE = 0x2800
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # [row from the top][column] in a braille cell
FRAME = {True: ("┤", "│", "└", "┴", "─"), False: ("+", "|", "+", "+", "-")}


@dataclass(frozen=True, slots=True)
class Canvas:
    """The plotting area in characters, and the ranges of x and y that it shows."""

    n_columns: int
    n_rows: int
    x_range: tuple[float, float]
    top: float  # y goes from 0 to here

    def place(self, point: Point, across: int, down: int) -> tuple[int, int]:
        """Column and row of a point, counted from the top left, with `across` x `down` dots in a character."""
        (x, y), (first, last) = point, self.x_range
        column = round((x - first) / (last - first) * (self.n_columns * across - 1))
        row = round((1 - y / self.top) * (self.n_rows * down - 1))
        return column, row


def line_chart(
    xs: Sequence[float],
    series: Mapping[str, Sequence[float]],
    *,
    width: int = 70,
    height: int = 9,
    unicode: bool = True,
) -> list[str]:
    """Lines of one chart: y from 0 up, a label at the end of each series, x ticks at both ends and the middle.

    The first series is drawn solid, the others dotted (in ASCII: each with its first letter). NaN is a gap.
    """
    highest = max((y for ys in series.values() for y in ys if not math.isnan(y)), default=0.0)
    margin, room = len(_tick(1.0)) + 2, max(map(len, series)) + 2
    canvas = Canvas(width - margin - room, height, (xs[0], xs[-1]), nice_top(highest))
    lines = {name: points for name, ys in series.items() if (points := _present(xs, ys))}
    drawn = _braille(canvas, list(lines.values())) if unicode else _ascii(canvas, lines)
    labels = _labels(canvas, lines)
    body = [
        f"{_y_tick(canvas, row)}{FRAME[unicode][0 if _y_tick(canvas, row).strip() else 1]}{text} {labels.get(row, '')}"
        for row, text in enumerate(drawn)
    ]
    return [line.rstrip() for line in [*body, *_x_axis(canvas, unicode, " " * (margin - 1))]]


def nice_top(highest: float) -> float:
    """The top of the y axis: the next number whose half is round, too. 1 for a chart of zeros."""
    if highest <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(highest))
    return next(
        step * power for step in (1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10) if highest <= step * power * (1 + 1e-9)
    )


def can_draw(encoding: str | None) -> bool:
    """True if this encoding has the chart's characters."""
    try:
        "⣿┤│└┴─".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _present(xs: Sequence[float], ys: Sequence[float]) -> list[Point]:
    return [(float(x), float(y)) for x, y in zip(xs, ys, strict=True) if not math.isnan(y)]


def _braille(canvas: Canvas, lines: list[list[Point]]) -> list[str]:
    cells = [[0] * canvas.n_columns for _ in range(canvas.n_rows)]
    for n, points in enumerate(lines):
        for column, row in _polyline(canvas, points, 2, 4):
            if n == 0 or column % 4 < 2:  # all but the first are dotted: every other pair
                cells[row // 4][column // 2] |= DOTS[row % 4][column % 2]
    return ["".join(chr(BRAILLE + bits) if bits else " " for bits in row) for row in cells]


def _ascii(canvas: Canvas, lines: dict[str, list[Point]]) -> list[str]:
    cells = [[" "] * canvas.n_columns for _ in range(canvas.n_rows)]
    for name, points in lines.items():
        for column, row in _polyline(canvas, points, 1, 1):
            cells[row][column] = name[0] if cells[row][column] in (" ", name[0]) else "*"
    return ["".join(row) for row in cells]


def _polyline(canvas: Canvas, points: list[Point], across: int, down: int) -> set[tuple[int, int]]:
    """Dots of the straight lines between neighbouring points."""
    places = [canvas.place(point, across, down) for point in points]
    dots = set(places)
    for (c0, r0), (c1, r1) in pairwise(places):
        n = max(abs(c1 - c0), abs(r1 - r0), 1)
        dots |= {(round(c0 + (c1 - c0) * i / n), round(r0 + (r1 - r0) * i / n)) for i in range(n)}
    return dots


def _labels(canvas: Canvas, lines: Mapping[str, list[Point]]) -> dict[int, str]:
    """Row -> label: next to the last point of each series, at most one in a row."""
    labels: dict[int, str] = {}
    for name, points in sorted(lines.items(), key=lambda line: -line[1][-1][1]):
        wanted = canvas.place(points[-1], 1, 1)[1]
        free = [row for row in range(canvas.n_rows) if row not in labels]
        labels[min(free, key=lambda row: (abs(row - wanted), -row))] = name
    return labels


def _tick(value: float) -> str:
    return f"{value:5.2f}"


def _y_tick(canvas: Canvas, row: int) -> str:
    """The number to the left of a row: at the top, in the middle and at zero."""
    marked = {0: canvas.top, (canvas.n_rows - 1) / 2: canvas.top / 2, canvas.n_rows - 1: 0.0}
    return (_tick(marked[row]) if row in marked else " " * len(_tick(0.0))) + " "


def _x_axis(canvas: Canvas, unicode: bool, margin: str) -> list[str]:
    """The axis with ticks at both ends and the middle, and their numbers."""
    _, _, corner, tick, line = FRAME[unicode]
    first, last = canvas.x_range
    ticks = {0: first, (canvas.n_columns - 1) // 2: (first + last) / 2, canvas.n_columns - 1: last}
    axis = "".join(tick if column in ticks else line for column in range(canvas.n_columns))
    numbers = [" "] * (canvas.n_columns + 4)
    for column, value in ticks.items():
        text = f"{value:g}"
        start = max(0, column - len(text) // 2)
        numbers[start : start + len(text)] = text
    return [f"{margin}{corner}{axis}", f"{margin} {''.join(numbers)}"]
