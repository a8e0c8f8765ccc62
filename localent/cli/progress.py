"""The progress bar of every command, on stderr; silent unless stderr is a terminal."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Protocol

from localent.report.table import cell_text, harmless

if TYPE_CHECKING:
    from localent.runs import Listener
    from localent.runs.clock import Time

PAUSE = 0.2  # seconds between two drawings


class Progress(Protocol):
    """The state of a piece of work, such as `runs.Progress`."""

    @property
    def name(self) -> str: ...
    @property
    def n_done(self) -> int: ...
    @property
    def n_todo(self) -> int: ...
    @property
    def unit(self) -> str: ...
    @property
    def n_tokens(self) -> int | None: ...


class Bar:
    """Stage, done, rate, time left; and tokens per second where they are counted."""

    def __init__(self, text: str = "", unit: str = "trace", *, scale: bool = False, prefix: str = "") -> None:
        """scale: write large counts as 12.3k. prefix: before the name of every stage, such as "1 of 3"."""
        from tqdm import tqdm

        self._prefix = f"{prefix}: " if prefix else ""
        options = dict(disable=None, dynamic_ncols=True, smoothing=0.1, leave=False, file=sys.stderr)
        self._bar = tqdm(desc=text or None, unit=unit, unit_scale=scale, **options)
        self._stage, self._start, self._shown = ("", -1), 0.0, 0.0

    def say(self, text: str) -> None:
        """Show the current activity."""
        if not self._bar.disable:
            self._bar.set_description(self._prefix + cell_text(text))

    def close(self) -> None:
        """Take the bar off the screen for good."""
        self._bar.close()

    def hide(self) -> None:
        """Take the bar off the screen, before something else is printed."""
        self._bar.clear()

    def note(self, text: str) -> None:
        """Print a line that stays, above the bar."""
        self._bar.write(harmless(text), file=sys.stderr)

    def listener(self, time: Time) -> Listener:
        """A listener that reports to this bar, with the time that the work may take."""
        from localent.runs import Listener

        return Listener(self, self.say, self.note, time)

    def add(self, n: int = 1) -> None:
        """Count n more of a total that is not known."""
        self._bar.update(n)

    def show(self, stage: str, done: int, total: int, unit: str, n_tokens: int | None = None) -> None:
        """Draw the progress of a stage. Another name, another total or a smaller count begins a new one."""
        now = time.monotonic()
        if (stage, total) != self._stage or done < self._bar.n:
            self._stage, self._start, self._shown = (stage, total), now, 0.0
            self._begin(stage, done, total, unit)
        if now - self._shown > PAUSE or done == total:
            self._shown, self._bar.n = now, done
            if n_tokens is not None and now - self._start >= PAUSE:
                self._bar.set_postfix_str(f"{n_tokens / (now - self._start):,.0f} tok/s", refresh=False)
            self._bar.refresh()

    def _begin(self, stage: str, done: int, total: int, unit: str) -> None:
        self._bar.unit = unit
        self._bar.set_postfix_str("", refresh=False)
        self._bar.set_description(
            self._prefix + cell_text(stage)
        )  # names come from files, and may hold escape sequences
        self._bar.reset(total)
        self._bar.initial = done  # a rate is that of this stage, from now on

    def __call__(self, progress: Progress) -> None:
        self.show(progress.name, progress.n_done, progress.n_todo, progress.unit, progress.n_tokens)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
