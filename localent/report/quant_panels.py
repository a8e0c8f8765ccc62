"""Figures of comparisons, from the database alone: KLD of each file, KLD against size, KLD by depth in the text."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localent.analysis import quantities
from localent.analysis.as_json import from_json
from localent.analysis.divergence import TeacherForced
from localent.errors import UsageError
from localent.records import Model
from localent.report.panels import Line, Panel
from localent.report.table import cell_text

if TYPE_CHECKING:
    from localent.store import Database

KINDS = ("kld", "pareto", "depth")
NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Compared:
    """A stored comparison: the file, how it was run, and its figures."""

    name: str
    model: Model
    forced: TeacherForced

    @property
    def kld(self) -> tuple[float, float, float]:
        """The mean with the ends of its interval; NaN where there is none."""
        found = self.forced[quantities.KLD.key]
        low, high = (NAN if x is None else x for x in (found.low, found.high))
        return found.value, low, high


def panels(kind: str, db: Database) -> list[Panel]:
    """The figures of one kind: one for each reference and text. Raises UsageError for an unknown kind."""
    if kind not in KINDS:
        raise UsageError(f"No figure '{kind}'; there are {', '.join(KINDS)}.")
    found = [(title, DRAWN[kind](title, group)) for title, group in groups(db).items()]
    return [panel for _, panel in found if panel is not None]


def groups(db: Database) -> dict[str, list[Compared]]:
    """Title -> what was compared with one reference on one text."""
    found: dict[str, list[Compared]] = {}
    for row in db.comparisons():
        reference = db.model(str(row["reference_sha256"])) if row["reference_sha256"] else None
        beside = reference.file if reference else "a base file"
        one = _compared(db, row)
        found.setdefault(cell_text(f"{beside}, {row['source']} {row['source_name']}"), []).append(one)
    return found


def _compared(db: Database, row: dict[str, Any]) -> Compared:
    figures, model = json.loads(str(row["figures"])), db.model(str(row["candidate_sha256"]))
    name = figures.get("variant") or model.file
    return Compared(cell_text(name), model, from_json(TeacherForced, figures["forced"]))


def kld_panel(title: str, group: Sequence[Compared]) -> Panel | None:
    """A row per file, closest first."""
    ordered = sorted(group, key=lambda one: one.kld[0])
    x, low, high = (list(column) for column in zip(*(one.kld for one in ordered), strict=True))
    line = Line("KLD", "0", x, list(range(len(x))), low, high, [one.forced.n for one in ordered])
    labels = tuple(f"{one.name}, {one.model.bits_per_weight:.2g} bits" for one in ordered)
    return Panel("kld", f"Distance from {title}", "KLD, nats a token", "", (line,), _size(group), labels=labels)


def pareto_panel(title: str, group: Sequence[Compared]) -> Panel | None:
    """Size against log KLD: a point per file, and the line of those that no other beats in both."""
    seen = sorted((one for one in group if one.kld[0] > 0), key=lambda one: (one.model.file_bytes, one.kld[0]))
    if not seen:
        return None
    best = pareto([(one.model.file_bytes, one.kld[0]) for one in seen])
    front = _points("none beats it in both", "length", [seen[i] for i in best])
    points = [_points(one.name, str(i), [one]) for i, one in enumerate(seen)]
    caption = f"{_size(group)} -1: 0.1 nats, -2: 0.01 nats."
    return Panel("pareto", f"KLD against size: {title}", "file size, MB", "log₁₀ of KLD", (front, *points), caption)


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points, sorted by their first coordinate, that no other beats in both: the lower the better."""
    kept: list[int] = []
    for i, (_, y) in enumerate(points):
        if not kept or y < points[kept[-1]][1]:
            kept.append(i)
    return kept


def _points(name: str, role: str, some: Sequence[Compared]) -> Line:
    y, low, high = zip(*(tuple(map(_log, one.kld)) for one in some), strict=True)
    x = [one.model.file_bytes / 1e6 for one in some]
    return Line(name, role, x, list(y), list(low), list(high), [one.forced.n for one in some])


def _log(value: float) -> float:
    return math.log10(value) if value > 0 else NAN


def depth_panel(title: str, group: Sequence[Compared]) -> Panel | None:
    """KLD by place in the text, a line per file."""
    seen = [one for one in group if one.forced.depths]
    if not seen:
        return None
    lines = tuple(_along(one, str(i)) for i, one in enumerate(seen))
    return Panel("depth", f"KLD by depth: {title}", "tokens before", "KLD, nats a token", lines, _size(group))


def _along(one: Compared, role: str) -> Line:
    depths = one.forced.depths
    middle = [sum(map(float, group.name.split("-"))) / 2 for group in depths]
    y, low, high = ([_known(getattr(group.kld, end)) for group in depths] for end in ("value", "low", "high"))
    return Line(one.name, role, middle, y, low, high, [group.n for group in depths])


def _known(value: float | None) -> float:
    return NAN if value is None else value


def _size(group: Iterable[Compared]) -> str:
    counts = sorted({one.forced.n for one in group})
    return f"n = {' to '.join(f'{n:,}' for n in dict.fromkeys((counts[0], counts[-1])))} positions. 95 % intervals."


DRAWN: dict[str, Callable[[str, Sequence[Compared]], Panel | None]]
DRAWN = {"kld": kld_panel, "pareto": pareto_panel, "depth": depth_panel}
