"""Progress and outcome of a run, the callbacks that get them, and the end of work when its time is up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from localent.engine import Coroutine, Engine, drive
from localent.records import Trace
from localent.runs.clock import UNLIMITED, Time, in_words

T = TypeVar("T")
NOTEWORTHY = 10.0  # seconds: work that is done sooner needs no estimate


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a run, reported after every decode and every finished trace."""

    n_done: int  # traces of this invocation
    n_todo: int
    n_tokens: int | None = None  # fed so far, probes included; None: not counted
    trace: Trace | None = None  # the one that just finished
    name: str = "traces"  # the work in words: "abacus-sft on demo-number"
    unit: str = "trace"  # of n_done and n_todo: "trace" | "tok" | "file"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The run that an invocation worked on, and how many traces it added."""

    run_id: str
    n_before: int  # traces asked for that were stored already, or that another process wrote first
    n_new: int
    lanes: int
    n_left: int = 0  # traces asked for that there was no time for
    longest: float = 0.0  # seconds of the longest new trace

    @property
    def n_done(self) -> int:
        """Traces asked for that are stored now."""
        return self.n_before + self.n_new


Report = Callable[[Progress], object]
Status = Callable[[str], object]  # takes a line such as "reading model.gguf"


def ignore(report: object) -> None:
    """Do nothing with a report."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Callbacks for work on a run, and the time that it may take."""

    report: Report = ignore  # progress in counts
    status: Status = ignore  # what is being done, in words
    note: Status = ignore  # a sentence that stays
    time: Time = UNLIMITED


SILENT = Listener()


@dataclass(slots=True)
class Tally:
    """Counts of work that consists of equal units, reported whenever they change; and its pace.

    A unit is begun only if the longest one until now would be done in time. So it hardly ever happens that one is
    abandoned: those are the long ones, and the rest would be a selection of short traces.
    """

    listener: Listener
    n_todo: int
    n_lanes: int
    name: str = "traces"
    unit: str = "trace"
    n_done: int = 0
    n_tokens: int = 0
    longest: float = field(init=False)  # seconds of a unit
    begun: float = field(init=False)

    def __post_init__(self) -> None:
        self.longest, self.begun = self.listener.time.unit, self.listener.time.clock()

    @property
    def n_left(self) -> int:
        """Units that are not done."""
        return self.n_todo - self.n_done

    def driven(self, lanes: Engine, jobs: Iterable[Coroutine[T]]) -> Iterator[T]:
        """The results of the jobs, a unit each, as they finish: as many as there is time for."""
        return self.drive(lanes, map(self._clocked, self.begin(jobs)))

    def drive(self, lanes: Engine, jobs: Iterable[Coroutine[T]]) -> Iterator[T]:
        """The results of the jobs, which may be parts of units, until the time is up."""
        return drive(lanes, jobs, on_decode=self.fed, go_on=lambda: self.listener.time.left > 0)

    def begin(self, units: Iterable[T]) -> Iterator[T]:
        """The units, each when it is begun: as many as there is time for."""
        units = iter(units)
        while self.listener.time.allows(self.longest) and (unit := next(units, None)) is not None:
            yield unit

    def ended(self, begun: float) -> None:
        """Take note of how long a unit took that was begun at this moment."""
        self.longest = max(self.longest, self.listener.time.clock() - begun)

    def fed(self, n_tokens: int) -> None:
        """Count the tokens of one decode."""
        self.n_tokens += n_tokens
        self._tell(None)

    def done(self, trace: Trace | None = None) -> None:
        """Count a finished unit."""
        self.n_done += 1
        self._tell(trace)
        if self.n_done == min(self.n_lanes, (self.n_todo + 1) // 2):  # by then all lanes have done their share
            self._estimate()

    def _clocked(self, job: Coroutine[T]) -> Coroutine[T]:
        begun = self.listener.time.clock()
        found = yield from job
        self.ended(begun)
        return found

    def _estimate(self) -> None:
        """Say how long all of it takes, at the pace of those that are done."""
        spent = self.listener.time.clock() - self.begun
        whole = spent * self.n_todo / self.n_done
        if whole - spent >= NOTEWORTHY:
            self.listener.note(about(whole, f"{self.n_todo} {self.unit}s", self.listener.time))

    def _tell(self, trace: Trace | None) -> None:
        self.listener.report(Progress(self.n_done, self.n_todo, self.n_tokens, trace, self.name))


def retold(listener: Listener, tell: Callable[[Sequence[Progress], float], str]) -> Listener:
    """The listener, for a run that is part of more work: where that would say how long it takes, `tell` says it.

    tell: takes the reports of the finished traces and the seconds until the last of them, returns the sentence.
    """
    begun, seen = listener.time.clock(), list[Progress]()

    def report(progress: Progress) -> None:
        if progress.trace is not None:
            seen.append(progress)
        listener.report(progress)

    return replace(listener, report=report, note=lambda _: listener.note(tell(seen, listener.time.clock() - begun)))


def about(seconds: float, what: str, time: Time) -> str:
    """The sentence on how long work will take."""
    sentence = f"About {in_words(seconds)} for {what} on this machine"
    if not time.is_limited:
        return f"{sentence}; --minutes M stops in time."
    return f"{sentence}; stops after {time.minutes:g} min." if seconds > time.left else f"{sentence}."


def unfinished(n_done: int, n_all: int, unit: str, time: Time) -> str:
    """The sentence on what there was no time for."""
    return f"{n_done} of {n_all} {unit}s done in {time.minutes:g} min; run the same command again to go on."


def no_trace(time: Time) -> str:
    """The sentence of the error where the time was too short for anything."""
    return f"No trace was finished in {time.minutes:g} min: give more --minutes, or lower --max-tokens."
