"""Findings and figures, computed in a thread of their own: a page shows the last ones until new ones are there."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from localent.errors import LocalentError, UsageError
from localent.report.page import sections
from localent.store import open_db

LEAST_S, SHARE = 5.0, 10  # seconds between two computations, and their cost as a part of a run's time: 1 / SHARE
ONE_AT_A_TIME = threading.Lock()  # a run on this machine needs the cores more
log = logging.getLogger(__name__)
Stamp = tuple[tuple[int, int], ...]


def stamp_of(path: Path) -> Stamp:
    """What changes when a database is written to: time and size of the file and of its write-ahead log."""
    found = (one.stat() for one in (path, path.with_name(path.name + "-wal")) if one.exists())
    return tuple((stat.st_mtime_ns, stat.st_size) for stat in found)


@dataclass(slots=True)
class Analysis:
    """The sections of some runs of a database. version counts the computations that are done."""

    path: Path
    text: str = ""
    version: int = 0
    stamp: Stamp | None = None  # of the database as it was read
    runs: tuple[str, ...] = ()
    ended: float = 0.0  # when the last computation ended, and
    took: float = 0.0  # its seconds
    working: threading.Lock = field(default_factory=threading.Lock)

    def refresh(self, runs: tuple[str, ...]) -> None:
        """Begin to compute them anew, where the database has changed and the last time is long enough ago."""
        if not self.due(runs) or not self.working.acquire(blocking=False):
            return
        threading.Thread(target=self.compute, args=(runs,), name="localent-analysis", daemon=True).start()

    def due(self, runs: tuple[str, ...]) -> bool:
        """True where there is something new that may be computed now."""
        pause = max(LEAST_S, SHARE * self.took) if self.version else 0.0
        return time.monotonic() - self.ended >= pause and (runs, stamp_of(self.path)) != (self.runs, self.stamp)

    def compute(self, runs: tuple[str, ...]) -> None:
        """Compute them; an error becomes the text."""
        try:
            with ONE_AT_A_TIME:
                began, stamp = time.monotonic(), stamp_of(self.path)
                self.text = text_of(self.path, runs)
            self.runs, self.stamp = runs, stamp
            self.ended = time.monotonic()
            self.took = self.ended - began
            self.version += 1
        finally:
            self.working.release()


def text_of(path: Path, runs: tuple[str, ...]) -> str:
    """The sections as HTML, or a sentence on why there are none."""
    try:
        with open_db(path, readonly=True) as db:
            if runs or db.comparisons():
                return sections(db, runs)
        return '<p class="quiet">There is no run in this database yet.</p>'
    except (LocalentError, UsageError) as error:
        why = str(error)
    except Exception as error:  # the traces below can be read all the same
        log.exception("the figures of %s", path)
        why = repr(error)
    return f'<p class="quiet">The findings and figures cannot be computed: {escape(why)}</p>'
