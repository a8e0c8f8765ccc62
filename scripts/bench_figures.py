"""The output of the bench: figures with their spread and target, as a table and as JSON."""

from __future__ import annotations

import math
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
    def measurable(self) -> bool:
        """False where the quartiles have both signs, or the value is no number: the machine had other work to do."""
        spread = self.low is not None and self.high is not None and self.low < 0 < self.high
        return math.isfinite(self.value) and self.value >= 0 and not spread

    @property
    def met(self) -> bool | None:
        """True if the target is met; None without a target, and where nothing could be measured."""
        if not self.measurable:
            return None
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
    value = f"{figure.value:.3g} {figure.unit}" if figure.measurable else "-"
    return figure.part, figure.name, value, spread, figure.target, verdict(figure)


def verdict(figure: Figure) -> str:
    """ "met", "MISSED" or "not measurable"; "" without a target."""
    if not figure.measurable:
        return "not measurable"
    return {None: "", True: "met", False: "MISSED"}[figure.met]


def claims(figures: Sequence[Figure]) -> list[str]:
    """One line for each figure that has a target."""
    return [
        f"{verdict(figure)}: {figure.name}, {figure.value:.3g} {figure.unit} ({figure.target})"
        if figure.measurable
        else f"not measurable: {figure.name} ({figure.target}); run it again on an idle machine"
        for figure in figures
        if figure.target
    ]


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [c.rjust(w) if i in (2, 3) else c.ljust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]


def as_rows(figures: Sequence[Figure]) -> list[dict]:
    """For JSON."""
    return [asdict(figure) | {"met": figure.met, "measurable": figure.measurable} for figure in figures]
