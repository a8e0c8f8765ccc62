"""The output of the bench: figures with their spread and target, as a table and as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. `low` and `high` are the quartiles of what was repeated."""

    part: str  # letter of the measurement
    name: str
    value: float
    unit: str  # "x" for a ratio
    low: float | None = None
    high: float | None = None
    at_least: float | None = None  # the target, from below or above
    at_most: float | None = None

    @property
    def met(self) -> bool | None:
        """True if the target is met; None without a target."""
        if self.at_least is not None:
            return self.value >= self.at_least
        return None if self.at_most is None else self.value <= self.at_most

    @property
    def target(self) -> str:
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return "" if self.at_most is None else f"<= {self.at_most:g}"


def of_many(part: str, name: str, values: Sequence[float], unit: str = "x", **target: float) -> Figure:
    """The median of repeated measurements, with their quartiles."""
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else 3 * list(values)
    return Figure(part, name, middle, unit, low, high, **target)


def table(figures: Sequence[Figure]) -> str:
    """One line a figure, columns aligned."""
    head = ("", "what", "value", "quartiles", "target", "")
    lines = [head, *(_cells(figure) for figure in figures)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join("  ".join(_aligned(line, widths)).rstrip() for line in lines)


def _cells(figure: Figure) -> tuple[str, ...]:
    spread = "" if figure.low is None else f"{figure.low:.3g} .. {figure.high:.3g}"
    verdict = {None: "", True: "met", False: "MISSED"}[figure.met]
    return figure.part, figure.name, f"{figure.value:.3g} {figure.unit}", spread, figure.target, verdict


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [c.rjust(w) if i in (2, 3) else c.ljust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]


def as_rows(figures: Sequence[Figure]) -> list[dict]:
    """For JSON."""
    return [asdict(figure) | {"met": figure.met} for figure in figures]
