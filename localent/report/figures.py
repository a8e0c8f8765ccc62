"""Panels drawn with matplotlib for paper: vector graphics with embedded fonts, n and interval in the caption.

matplotlib is an extra, `pip install "localent[plot]"`, and is imported only when a figure is drawn.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localent.errors import LocalentError, UsageError
from localent.report.panels import FEW, Line, Panel
from localent.report.table import cell_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".svg", ".png", ".pdf")
COLOURS = ("#0072B2", "#B35900", "#00795A", "#A8447F", "#3A8FC4", "#6B5B00")  # distinct without colour vision, too
ROLES = {"right": ("#0072B2", "--"), "wrong": ("#D55E00", "-"), "length": ("#6F7378", ":")}
MARKERS = "osD^vP"
STYLE = {
    "font.size": 9, "axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.color": "#E3E4E7", "grid.linewidth": 0.6, "axes.axisbelow": True,
    "pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "localent", "legend.frameon": False,
}  # fmt: skip
WIDTH, HEIGHT, ROW = 4.6, 3.4, 0.2  # inches; of one row of dots
DPI = 300


def save_figure(panels: Sequence[Panel], path: Path) -> None:
    """Draw the panels, at most two in a row, and write SVG, PNG or PDF by the file's suffix.

    Raises UsageError for another suffix, LocalentError where matplotlib is missing or the file cannot be written.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"'{path.name}' must end in {', '.join(FORMATS)}.")
    matplotlib = imported()
    with matplotlib.rc_context(STYLE):
        figure = drawn(panels)
        try:
            figure.savefig(path, dpi=DPI, metadata=undated(path.suffix.lower()), bbox_inches="tight")
        except OSError as error:
            raise LocalentError(f"Cannot write {path}: {error.strerror}.") from error


def imported() -> Any:
    """The package matplotlib. Raises LocalentError, with the way to install it, where it is missing."""
    try:
        import matplotlib
        import matplotlib.figure
    except ImportError as error:
        raise LocalentError("Figures need matplotlib: pip install 'localent[plot]'.") from error
    return matplotlib


def drawn(panels: Sequence[Panel]) -> Figure:
    """A matplotlib figure made without pyplot, which keeps global state and may open windows."""
    from matplotlib.figure import Figure

    columns = min(len(panels), 2)
    rows = ceil(len(panels) / columns)
    height = max(max(HEIGHT, 1.2 + ROW * len(panel.labels)) for panel in panels)
    figure = Figure(figsize=(WIDTH * columns + (1.6 if panels[0].labels else 0), height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, axis in zip(panels, axes, strict=False):
        (dots if panel.labels else lines)(panel, axis)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    return figure


def lines(panel: Panel, axis: Axes) -> None:
    """Draw curves with bands. The bands of many curves are faint, so that they do not hide each other."""
    alpha = 0.16 if len(panel.lines) <= FEW else 0.06
    for line in panel.lines:
        colour, dash, marker = style_of(line)
        axis.fill_between(line.x, line.low, line.high, color=colour, alpha=alpha, linewidth=0)
        few = len(line.x) <= 20
        axis.plot(
            line.x, line.y, dash, color=colour, label=plain(line.name), lw=1.6, marker=marker if few else None, ms=3
        )
    if panel.level is not None:
        axis.axhline(panel.level, color="#6F7378", lw=0.9, ls=(0, (4, 3)))
    if panel.kind in ("curves", "risk"):
        axis.set_ylim(bottom=0)
    axis.legend(fontsize=8)
    finish(panel, axis)


def dots(panel: Panel, axis: Axes) -> None:
    """Draw values with whiskers, a row each."""
    line = panel.lines[0]
    places = range(len(panel.labels))
    for i, value, low, high in zip(places, line.x, line.low, line.high, strict=True):
        colour = ROLES["length"][0] if panel.baselines and panel.baselines[i] else COLOURS[0]
        axis.plot([low, high], [i, i], color=colour, lw=1.4)
        axis.plot([value], [i], "o", color=colour, ms=4)
    if panel.level is not None:
        axis.axvline(panel.level, color="#6F7378", lw=0.9, ls=(0, (4, 3)))
    axis.set_yticks(list(places), list(map(plain, panel.labels)), fontsize=8)
    axis.set_ylim(len(panel.labels) - 0.5, -0.5)
    axis.grid(axis="y", visible=False)
    finish(panel, axis)


def finish(panel: Panel, axis: Axes) -> None:
    """Add title, axis labels, and the caption below."""
    axis.set_title(textwrap.fill(plain(panel.title), 50), loc="left")
    caption = textwrap.fill(plain(panel.caption), 78)
    axis.set_xlabel(f"{panel.x_label}\n")
    axis.set_ylabel(panel.y_label)
    axis.annotate(
        caption,
        (0, 0),
        (0, -38),
        "axes fraction",
        textcoords="offset points",
        va="top",
        fontsize=7,
        color="#4A4D52",
    )


def style_of(line: Line) -> tuple[str, str, str]:
    """Colour, dash and marker."""
    if line.role in ROLES:
        return *ROLES[line.role], MARKERS[0]
    place = int(line.role) % len(COLOURS)
    return COLOURS[place], "-", MARKERS[place]


def plain(text: str) -> str:
    """Text that matplotlib shows as it is: no formula between dollar signs, no control characters."""
    return cell_text(text).replace("$", r"\$")


def undated(suffix: str) -> dict[str, None]:
    """Metadata without a date, so that the same data gives the same file."""
    names = {".svg": ["Date"], ".pdf": ["CreationDate"], ".png": []}[suffix]
    return dict.fromkeys(names)
