"""The time that work may take, and the time that it takes in words."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from localent.errors import UsageError

Clock = Callable[[], float]  # seconds since any origin


@dataclass(frozen=True, slots=True)
class Time:
    """The time that work may take: nothing is begun that would end after `until`, and at `end` the rest is abandoned.

    Both are moments of the clock; infinite: no limit.
    """

    minutes: float = math.inf  # of the whole command
    end: float = math.inf
    until: float = math.inf
    unit: float = 0.0  # seconds that a unit of the work takes, where that is known
    clock: Clock = time.monotonic

    @property
    def left(self) -> float:
        """Seconds until the end."""
        return self.end - self.clock()

    @property
    def is_limited(self) -> bool:
        return math.isfinite(self.end)

    def allows(self, seconds: float) -> bool:
        """True if work of this length may be begun now."""
        return self.clock() + seconds < self.until

    def share(self, part: float) -> Time:
        """The same end, but work is begun in this part of the time that is left only."""
        return replace(self, until=self.clock() + part * self.left) if self.is_limited else self

    def split(self, n: int) -> Time:
        """The first of n equal parts of the time in which work is begun."""
        now = self.clock()
        return replace(self, until=now + (self.until - now) / n) if self.is_limited else self


UNLIMITED = Time()


def limited(minutes: float, clock: Clock = time.monotonic) -> Time:
    """So many minutes from now on. Raises UsageError unless they are a positive number."""
    if not (math.isfinite(minutes) and minutes > 0):
        raise UsageError(f"--minutes must be a positive number, got {minutes:g}.")
    end = clock() + 60 * minutes
    return Time(minutes, end, end, clock=clock)


def in_words(seconds: float) -> str:
    """A duration as people say it: "40 s", "14 min", "2 h 10 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h" + f" {minutes} min" * (minutes > 0) if hours else f"{minutes} min"
