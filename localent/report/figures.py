"""Panels drawn with matplotlib for paper: vector graphics with embedded fonts, n and interval in the caption.

matplotlib is an extra, `pip install "localent[plot]"`, and is imported only when a figure is drawn.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localent.errors import LocalentError, UsageError
from localent.report.panels import BAND, FEW, Line, Panel
from localent.report.table import cell_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".svg", ".png", ".pdf")
Dash = str | tuple[float, tuple[float, ...]]
COLOURS = ("#0072B2", "#B35900", "#00795A", "#A8447F", "#3A8FC4", "#6B5B00")  # distinct without colour vision, too
ROLES: dict[str, tuple[str, Dash]]
ROLES = {"right": ("#0072B2", "--"), "wrong": ("#D55E00", "-"), "length": ("#6F7378", ":")}
ROLES |= {"reference": ("#6F7378", (0, (4, 3)))}
MARKERS = "osD^vP"
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))  # of the first six runs, the next six, ...
FEW_INSIDE, LEGEND = 4, 2.6  # lines whose names fit into the axes; inches beside them for more
STYLE = {
    "font.size": 9, "axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.color": "#E3E4E7", "grid.linewidth": 0.6, "axes.axisbelow": True,
    "pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "localent", "legend.frameon": False,
}  # fmt: skip
WIDTH, HEIGHT, ROW = 4.6, 3.4, 0.2  # inches; of one row of dots
DPI = 300
MANY = 6  # the bands of more curves than this would be one grey area
UNDRAWN = "The 95 % intervals of so many curves are not drawn; 'localent report' has them as CSV."


@dataclass(frozen=True, slots=True)
class Look:
    """How a figure looks on paper."""

    width: float | None = None  # inches of the whole figure; None: as its panels need
    font: float = 9.0  # points
    title: str | None = None  # in place of the panels' own; "": none
    caption: bool = True


LOOK = Look()


def save_figure(panels: Sequence[Panel], path: Path, look: Look = LOOK) -> None:
    """Draw the panels, two or three in a row, and write SVG, PNG or PDF by the file's suffix.

    Raises UsageError for another suffix, LocalentError where matplotlib is missing or the file cannot be written.
    """
    save(lambda: drawn(panels, look), path, look)


def save(make: Callable[[], Figure], path: Path, look: Look) -> None:
    """Draw a figure in the common style and write it. Raises as `save_figure` does."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"'{path.name}' must end in {', '.join(FORMATS)}.")
    matplotlib = imported()
    with matplotlib.rc_context(STYLE | {"font.size": look.font, "axes.titlesize": look.font + 1}):
        figure = make()
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


def drawn(panels: Sequence[Panel], look: Look = LOOK) -> Figure:
    """A matplotlib figure made without pyplot, which keeps global state and may open windows."""
    from matplotlib.figure import Figure

    columns, labelled = min(len(panels), 2 if len(panels) <= 4 else 3), bool(panels[0].labels)
    rows = ceil(len(panels) / columns)
    height = max(max(HEIGHT, 1.2 + ROW * len(panel.labels)) for panel in panels)
    beside = LEGEND if any(len(panel.lines) > FEW_INSIDE for panel in panels) else 0.0
    width, height = WIDTH * columns + (1.6 if labelled else beside), height * rows
    if look.width is not None:
        width, height = look.width, height * look.width / width
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey="none" if labelled else "all").ravel()
    for panel, axis in zip(panels, axes, strict=False):
        (dots if panel.labels else lines)(panel, axis)
        finish(panel, axis, look)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    return figure


def lines(panel: Panel, axis: Axes) -> None:
    """Draw curves with bands: faint ones of several curves, none of many, since they would hide each other."""
    alpha = 0.16 if len(panel.lines) <= FEW else 0.06
    for line in panel.lines:
        colour, dash, marker = style_of(line)
        if panel.kind != "reliability" and len(panel.lines) <= MANY:
            axis.fill_between(line.x, line.low, line.high, color=colour, alpha=alpha, linewidth=0)
        few = len(line.x) <= 20 and line.role != "reference"
        axis.plot(
            line.x, line.y, ls=dash, color=colour, label=plain(line.name), lw=1.6, marker=marker if few else None, ms=3
        )
        _hollow(line, colour, marker, axis)
        if panel.kind == "reliability" and few:
            axis.vlines(line.x, line.low, line.high, color=colour, lw=1.2)
    if panel.level is not None:
        axis.axhline(panel.level, color="#6F7378", lw=0.9, ls=(0, (4, 3)))
    if all(float(x).is_integer() for line in panel.lines for x in line.x):
        axis.locator_params(axis="x", integer=True)
    if panel.kind in ("curves", "risk", "p-true", "tokens"):
        axis.set_ylim(bottom=0)
    legend(panel, axis)


def legend(panel: Panel, axis: Axes) -> None:
    """Names inside the axes, or beside them where there are many."""
    if len(panel.lines) <= FEW_INSIDE:
        axis.legend(fontsize="small")
    else:
        axis.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)


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


def finish(panel: Panel, axis: Axes, look: Look) -> None:
    """Add title, axis labels, and the caption below."""
    title = panel.title if look.title is None else look.title
    if title:
        axis.set_title(textwrap.fill(plain(title), 50), loc="left")
    axis.set_xlabel(f"{panel.x_label}\n")
    axis.set_ylabel(textwrap.fill(panel.y_label, 36))
    if not look.caption:
        return
    said = panel.caption.replace(BAND, UNDRAWN) if len(panel.lines) > MANY else panel.caption
    caption = textwrap.fill(plain(said), 78)
    axis.annotate(
        caption,
        (0, 0),
        (0, -38),
        "axes fraction",
        textcoords="offset points",
        va="top",
        fontsize=look.font - 2,
        color="#4A4D52",
    )


def _hollow(line: Line, colour: str, marker: str, axis: Axes) -> None:
    """Mark the points that the search limits."""
    places = [i for i, limited in enumerate(line.open) if limited and len(line.x) <= 20]
    xs, ys = [line.x[i] for i in places], [line.y[i] for i in places]
    axis.plot(xs, ys, marker, color=colour, markerfacecolor="white", ms=4.5, ls="none")


def style_of(line: Line) -> tuple[str, Dash, str]:
    """Colour, dash and marker."""
    if line.role in ROLES:
        return *ROLES[line.role], MARKERS[0]
    turn, place = divmod(int(line.role), len(COLOURS))
    return COLOURS[place], DASHES[turn % len(DASHES)], MARKERS[(place + turn) % len(MARKERS)]


def plain(text: str) -> str:
    """Text that matplotlib shows as it is: no formula between dollar signs, no control characters."""
    return cell_text(text).replace("$", r"\$")


def undated(suffix: str) -> dict[str, None]:
    """Metadata without a date, so that the same data gives the same file."""
    names = {".svg": ["Date"], ".pdf": ["CreationDate"], ".png": []}[suffix]
    return dict.fromkeys(names)
