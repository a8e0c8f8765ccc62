"""Progress and outcome of a run, and the callbacks that get them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from localent.records import Trace


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


Report = Callable[[Progress], object]
Status = Callable[[str], object]  # takes a line such as "reading model.gguf"


def ignore(report: object) -> None:
    """Do nothing with a report."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Callbacks for work on a run: progress in counts, status in words."""

    report: Report = ignore
    status: Status = ignore


SILENT = Listener()


@dataclass(slots=True)
class Tally:
    """Counts of the work on a run, reported whenever they change."""

    report: Report
    n_todo: int
    name: str = "traces"
    n_done: int = 0
    n_tokens: int = 0

    def fed(self, n_tokens: int) -> None:
        """Count the tokens of one decode."""
        self.n_tokens += n_tokens
        self._tell(None)

    def done(self, trace: Trace | None = None) -> None:
        """Count a finished trace."""
        self.n_done += 1
        self._tell(trace)

    def _tell(self, trace: Trace | None) -> None:
        self.report(Progress(self.n_done, self.n_todo, self.n_tokens, trace, self.name))
