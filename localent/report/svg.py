"""A panel as SVG, with classes instead of colours: the page's style sheet has light, dark and print colours."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape

from localent.report.panels import FEW, Line, Panel

WIDTH, HEIGHT = 560, 330
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 62
ROW, LABELS = 20, 232  # height of a row of dots, width of their labels
KEY_ROW = 17
Place = Callable[[float, float], tuple[float, float]]  # (x, y) of the data -> (x, y) in the drawing


def draw(panel: Panel) -> str:
    """The <svg> element."""
    body = "".join(_dots(panel) if panel.labels else _lines(panel))
    height = _height(panel)
    title = escape(f"{panel.title}. {panel.caption}")
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}"'
        f' xmlns="http://www.w3.org/2000/svg">{body}</svg>'
    )


def ticks(low: float, high: float, n: int = 5) -> list[float]:
    """Round numbers that span the range."""
    step = _nice((high - low) / n)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def place_ticks(xs: Sequence[float]) -> list[float]:
    """Ticks of the axis across: shares from 0 to 1, or whole steps from 0, up or back."""
    low, high = min(0.0, *xs), max(0.0 if min(xs) < 0 else 1.0, *xs)
    if low < 0 or high > 1:
        step = max(1, math.ceil(_nice((high - low) / 6)))
        return [float(x) for x in range(-step * math.ceil(-low / step), step * math.ceil(high / step) + 1, step)]
    return ticks(low, high)


def _nice(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if rough <= m * power * (1 + 1e-9))


def _height(panel: Panel) -> int:
    if panel.labels:
        return TOP + ROW * len(panel.labels) + BOTTOM - 14
    return HEIGHT + KEY_ROW * (len(key_rows(panel.lines)) - 1)


def value_ticks(panel: Panel) -> list[float]:
    """Ticks of the value axis, which cover all values, intervals and the level."""
    of_dots = [line.x for line in panel.lines] if panel.labels else [line.y for line in panel.lines]
    values = [v for group in (*of_dots, *((*line.low, *line.high) for line in panel.lines)) for v in group if v == v]
    values += [panel.level] if panel.level is not None else []
    low, high = min(values), max(values)
    if panel.kind in ("curves", "risk"):
        low = 0.0
    if high - low < 1e-6:
        low, high = low - 0.5, high + 0.5
    return ticks(low, high)


def _lines(panel: Panel) -> Iterator[str]:
    rungs = value_ticks(panel)
    xs = [x for line in panel.lines for x in line.x]
    x_ticks = place_ticks(xs)

    def at(x: float, y: float) -> tuple[float, float]:
        across, up = (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0]), (y - rungs[0]) / (rungs[-1] - rungs[0])
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    yield from _frame(panel, x_ticks, rungs, at)
    name = "band faint" if len(panel.lines) > FEW else "band"
    for line in panel.lines:
        yield _band(line, at, name)
    for line in panel.lines:
        yield _curve(line, at)
    yield from _key(panel)


def _frame(panel: Panel, x_ticks: Sequence[float], rungs: Sequence[float], at: Place) -> Iterator[str]:
    """Grid, ticks, labels, and the level at chance."""
    for y in rungs:
        (x0, y0), (x1, _) = at(x_ticks[0], y), at(x_ticks[-1], y)
        yield _stroke("grid", [(x0, y0), (x1, y0)]) + _text(x0 - 6, y0 + 4, f"{y:g}", "tick end")
    for x in x_ticks:
        x0, y0 = at(x, rungs[0])
        yield _stroke("axis", [(x0, y0), (x0, y0 + 4)]) + _text(x0, y0 + 17, f"{x:g}", "tick mid")
    yield _stroke("axis", [at(x_ticks[0], rungs[0]), at(x_ticks[-1], rungs[0])])
    if panel.level is not None:
        yield _stroke("level", [at(x_ticks[0], panel.level), at(x_ticks[-1], panel.level)])
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield _text(middle, HEIGHT - BOTTOM + 34, panel.x_label, "label mid")
    yield f'<text class="label mid" transform="translate(14 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)">'
    yield f"{escape(panel.y_label)}</text>"


def _band(line: Line, at: Place, name: str) -> str:
    """The interval as an area, with gaps where there is none."""
    areas = []
    for part in runs_of([low == low and high == high for low, high in zip(line.low, line.high, strict=True)]):
        upper = [at(line.x[i], line.high[i]) for i in part]
        lower = [at(line.x[i], line.low[i]) for i in reversed(part)]
        areas.append(f'<path class="{name} {_class(line)}" d="M{_path(upper + lower)}Z"/>')
    return "".join(areas)


def _curve(line: Line, at: Place) -> str:
    parts = runs_of([y == y for y in line.y])
    drawn = "".join(
        _stroke(f"curve {_class(line)}{_turn(line)}", [at(line.x[i], line.y[i]) for i in part]) for part in parts
    )
    places = [i for part in parts for i in part] if len(line.x) <= 20 else []
    return drawn + "".join(_point(line, i, at) for i in places)


def _point(line: Line, i: int, at: Place) -> str:
    """A dot with its values on hover; hollow where the search left much unexplored."""
    x, y = at(line.x[i], line.y[i])
    interval = f" [{line.low[i]:.3f}, {line.high[i]:.3f}]" if line.low[i] == line.low[i] else ""
    said = escape(f"{line.name}, at {line.x[i]:g}: {line.y[i]:.3f}{interval}, n = {line.n[i]}")
    hollow = " hollow" if line.open and line.open[i] else ""
    dot = _dot(x, y, _class(line) + hollow, 3 if hollow else 2.5)
    return f'<g><title>{said}</title><circle class="hit" cx="{x:.1f}" cy="{y:.1f}" r="9"/>{dot}</g>'


def _key(panel: Panel) -> Iterator[str]:
    """The legend, below the axis."""
    for row, lines in enumerate(key_rows(panel.lines)):
        x, y = float(LEFT), HEIGHT - 8 + KEY_ROW * row
        for line in lines:
            yield _stroke(f"curve {_class(line)}{_turn(line)}", [(x, y - 4), (x + 18, y - 4)]) + _text(
                x + 23, y, line.name, "tick"
            )
            x += _key_width(line)


def key_rows(lines: Sequence[Line]) -> list[list[Line]]:
    """The lines in rows of the legend that fit the figure's width."""
    rows, used = list[list[Line]]([[]]), 0.0
    for line in lines:
        if rows[-1] and used + _key_width(line) > WIDTH - LEFT:
            rows, used = [*rows, []], 0.0
        rows[-1].append(line)
        used += _key_width(line)
    return rows


def _key_width(line: Line) -> float:
    return 34 + 6.6 * len(line.name)


def _dots(panel: Panel) -> Iterator[str]:
    line, rungs = panel.lines[0], value_ticks(panel)
    bottom = TOP + ROW * len(panel.labels)

    def across(value: float) -> float:
        return LABELS + (value - rungs[0]) / (rungs[-1] - rungs[0]) * (WIDTH - LABELS - RIGHT - 6)

    for value in rungs:
        yield _stroke("grid", [(across(value), TOP), (across(value), bottom)])
        yield _text(across(value), bottom + 15, f"{value:g}", "tick mid")
    if panel.level is not None:
        yield _stroke("level", [(across(panel.level), TOP), (across(panel.level), bottom)])
    for i, label in enumerate(panel.labels):
        y = TOP + ROW * (i + 0.5)
        yield _text(LABELS - 8, y + 4, _cut(label), "tick end")
        if line.low[i] == line.low[i]:
            yield _stroke("curve c0", [(across(line.low[i]), y), (across(line.high[i]), y)])
        if line.x[i] == line.x[i]:
            yield _dot(across(line.x[i]), y, "clength" if panel.baselines and panel.baselines[i] else "c0", 4)
    yield _text((LABELS + WIDTH) / 2, bottom + 34, panel.x_label, "label mid")


def runs_of(flags: Sequence[bool]) -> list[list[int]]:
    """Indices of True values, a list for each run of neighbours."""
    found: list[list[int]] = []
    for i, flag in enumerate(flags):
        if flag and i and flags[i - 1]:
            found[-1].append(i)
        elif flag:
            found.append([i])
    return found


def _turn(line: Line) -> str:
    """The dash of the seventh run and those after it, whose colours come again."""
    turn = int(line.role) // 6 if line.role.isdigit() else 0
    return f" turn{turn % 4}" if turn % 4 else ""


def _class(line: Line) -> str:
    return f"c{int(line.role) % 6}" if line.role.isdigit() else f"c{line.role}"


def _stroke(name: str, points: Sequence[tuple[float, float]]) -> str:
    return f'<path class="{name}" d="M{_path(points)}"/>'


def _dot(x: float, y: float, name: str, radius: float = 2.5) -> str:
    return f'<circle class="dot {name}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>'


def _text(x: float, y: float, text: str, name: str) -> str:
    return f'<text class="{name}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _cut(label: str, n: int = 38) -> str:
    return label if len(label) <= n else label[: n - 1] + "…"
