"""The token measures that colour a trace in the terminal, on the page, and in a notebook."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measure:
    """The display of a measure of records.Token."""

    unit: str
    levels: tuple[float, ...]  # the lower bound of each colour but the first


MEASURES = {  # field of Token -> its display; store.traces.DRAWN has the same order
    "entropy": Measure("nats", (0.05, 0.25, 0.6, 1.1, 1.8)),
    "surprisal": Measure("nats", (0.05, 0.25, 0.7, 1.5, 3.0)),
    "varentropy": Measure("nats²", (0.05, 0.25, 0.6, 1.1, 1.8)),
    "rank": Measure("", (2, 3, 4, 6, 11)),
}


def level_of(value: float, measure: str) -> int:
    """The colour of a value, from 0 (certain) to 5."""
    return bisect_right(MEASURES[measure].levels, value)
