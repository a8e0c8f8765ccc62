"""The runs that are being worked on, or were last: how far, how fast, and how many answers are right so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from localent.analysis import intervals
from localent.analysis.intervals import Estimate
from localent.report.numbers import percent
from localent.runs.clock import in_words
from localent.store import Database, following
from localent.store.file import Row

SILENT_S = 30.0  # seconds without a trace that are worth a word,
SLOW = 5  # and how many times the usual pause that must be
GONE_S = 3600.0  # after so long a silence, a session without an end is taken for one that was killed


@dataclass(frozen=True, slots=True)
class Session:
    """One process that works on a run."""

    n_traces: int
    n_tokens: int
    n_todo: int | None  # traces that it set out to make; None: not known
    seconds: float  # from its start to its last trace
    silent: float  # seconds since its last trace, or its start
    closed: bool  # ended in order

    @property
    def rate(self) -> float | None:
        """Traces per second; None before there is any."""
        return self.n_traces / self.seconds if self.n_traces and self.seconds > 0 else None

    @property
    def n_left(self) -> int | None:
        """Traces still to be made; None where it is not known."""
        return None if self.n_todo is None else max(self.n_todo - self.n_traces, 0)

    @property
    def seconds_left(self) -> float | None:
        """Seconds that the rest takes at this rate; None where it cannot be told."""
        return None if self.rate is None or self.n_left is None else self.n_left / self.rate


@dataclass(frozen=True, slots=True)
class Work:
    """One run and the sessions that work on it, or the last one that did."""

    run_id: str
    n_traces: int
    accuracy: Estimate
    sessions: Sequence[Session]

    @property
    def at_work(self) -> bool:
        """True unless its sessions ended, or have been silent for too long."""
        return any(not one.closed and one.silent <= GONE_S for one in self.sessions)

    @property
    def n_asked(self) -> int | None:
        """Traces that there will be; None where a session does not say."""
        left = [one.n_left for one in self.sessions]
        return None if None in left or not self.at_work else self.n_traces + sum(n for n in left if n is not None)

    def sentence(self) -> str:
        """ "23 of 100 traces · 3.2 traces/s, 410 tokens/s · 24 s left · 65.2 % [43.0, 82.7] right so far"."""
        parts = [self._counted(), self._paced(), self._left(), self._graded(), self._silent()]
        return " · ".join(part for part in parts if part)

    def _counted(self) -> str:
        of = f" of {self.n_asked:,}" if self.n_asked else ""
        return f"{self.n_traces:,}{of} {'trace' if self.n_traces == 1 and not of else 'traces'}"

    def _paced(self) -> str:
        working = [one for one in self.sessions if one.rate is not None]
        if not working:
            return ""
        traces = sum(one.rate or 0.0 for one in working)
        tokens = sum(one.n_tokens / one.seconds for one in working)
        pace = f"{traces:.1f} traces/s" if traces >= 1 else f"{60 * traces:.1f} traces/min"
        return f"{pace}, {tokens:,.0f} tokens/s"

    def _left(self) -> str:
        if not self.at_work:
            return f"the last {in_words(self.sessions[0].silent)} ago"
        left = [one.seconds_left for one in self.sessions]
        known = [seconds for seconds in left if seconds is not None]
        return f"{in_words(max(known))} left" if len(known) == len(left) and max(known) > 0 else ""

    def _graded(self) -> str:
        return f"{percent(self.accuracy)} right{' so far' if self.at_work else ''}" if self.n_traces else ""

    def _silent(self) -> str:
        """Where no trace has come for long: a long one is in the making, or the process was killed."""
        silent = min(one.silent for one in self.sessions)
        usual = max((1 / one.rate for one in self.sessions if one.rate is not None), default=0.0)
        late = self.at_work and silent > max(SILENT_S, SLOW * usual)
        return f"nothing for {in_words(silent)}: a long trace, or it was stopped" if late else ""


def going_on(db: Database, run_ids: Sequence[str], now: datetime) -> list[Work]:
    """The runs among these that sessions work on; where there is none, the one that was worked on last."""
    still = [row for row in following.open_sessions(db, run_ids) if _silence(row, now) <= GONE_S]
    found = still or following.last_session(db, run_ids)
    sessions: dict[str, list[Session]] = {}
    for row in found:
        sessions.setdefault(row["run_id"], []).append(_session(row, now))
    return [_work(db, run_id, some) for run_id, some in sessions.items()]


def state_of(work: Sequence[Work]) -> str:
    """What goes on, in a sentence."""
    n = sum(one.at_work for one in work)
    if not n:
        return "No run is at work on this database. The page follows it."
    return "One run is at work." if n == 1 else f"{n} runs are at work."


def _session(row: Row, now: datetime) -> Session:
    return Session(
        n_traces=row["n_traces"],
        n_tokens=row["n_tokens"],
        n_todo=row["n_todo"],
        seconds=row["seconds"],
        silent=_silence(row, now),
        closed=bool(row["closed"]),
    )


def _silence(row: Row, now: datetime) -> float:
    ended = datetime.fromisoformat(str(row["ended"])).replace(tzinfo=UTC)
    return max((now - ended).total_seconds(), 0.0)


def _work(db: Database, run_id: str, sessions: Sequence[Session]) -> Work:
    graded = following.graded(db, run_id)
    right, problems = ([row[name] for row in graded] for name in ("correct", "problem"))
    accuracy = intervals.share(np.array(right, float), np.array(problems))
    return Work(run_id, len(graded), accuracy, sessions)
