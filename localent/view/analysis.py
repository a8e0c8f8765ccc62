"""Findings and figures, computed in a process of their own: a page shows the last ones until new ones are there."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
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
    thread: threading.Thread | None = None
    process: subprocess.Popen[bytes] | None = None
    stopped: bool = False

    def refresh(self, runs: tuple[str, ...]) -> None:
        """Begin to compute them anew, where the database has changed and the last time is long enough ago."""
        if self.stopped or (self.thread is not None and self.thread.is_alive()) or not self.due(runs):
            return
        self.thread = threading.Thread(target=self.compute, args=(runs,), name="localent-analysis", daemon=True)
        self.thread.start()

    def due(self, runs: tuple[str, ...]) -> bool:
        """True where there is something new that may be computed now."""
        pause = max(LEAST_S, SHARE * self.took) if self.version else 0.0
        return time.monotonic() - self.ended >= pause and (runs, stamp_of(self.path)) != (self.runs, self.stamp)

    def compute(self, runs: tuple[str, ...]) -> None:
        """Compute them; an error becomes the text."""
        with ONE_AT_A_TIME:
            began, stamp = time.monotonic(), stamp_of(self.path)
            text = self.ask(runs)
        if text is None:
            return
        self.text, self.runs, self.stamp, self.ended = text, runs, stamp, time.monotonic()
        self.took = self.ended - began
        self.version += 1

    def ask(self, runs: tuple[str, ...]) -> str | None:
        """The text, from a process that can be ended at any time; None where it was."""
        if self.stopped:
            return None
        command = [sys.executable, "-m", __name__, str(self.path), *runs]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        if self.stopped:  # in between
            self.process.kill()
        out, err = self.process.communicate()
        if self.stopped:
            return None
        if self.process.returncode:
            log.error("the figures of %s: %s", self.path, err.decode(errors="replace"))
            return failure(f"the process ended with code {self.process.returncode}")
        return out.decode()

    def stop(self) -> None:
        """End the computation, for good."""
        self.stopped = True
        if self.process is not None:
            self.process.kill()
        if self.thread is not None:
            self.thread.join()


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
    return failure(why)


def failure(why: str) -> str:
    """A sentence in the place of the sections."""
    return f'<p class="quiet">The findings and figures cannot be computed: {escape(why)}</p>'


if __name__ == "__main__":  # path, run ids -> the sections on stdout
    if hasattr(os, "nice"):
        os.nice(10)  # a run on this machine comes first
    sys.stdout.buffer.write(text_of(Path(sys.argv[1]), tuple(sys.argv[2:])).encode("utf-8", "replace"))
