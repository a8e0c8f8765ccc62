"""What a study needs: traces, controls and rollouts of every model on every task, made or taken from the database.

In limited time the parts follow each other so that every claim can be judged by something: attempts with their probes
get half of it, controls three tenths, rollouts the rest, each shared between the runs. What a part does not use goes to
the next, and what all of them leave goes to another round. Problems are taken in the order of their ids, which are
hashes, so that those there was time for are a random sample, not the ones with short traces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from localent import runs, tasks
from localent.runs import extend
from localent.runs.clock import Time
from localent.runs.extend import Wanted
from localent.runs.progress import ignore
from localent.store import open_db
from localent.study.forecast import forecast
from localent.study.subjects import ModelRun

ATTEMPTS, CONTROLS, ROLLOUTS = "attempts", "controls", "rollouts"
SHARES = {ATTEMPTS: 0.5, CONTROLS: 0.6, ROLLOUTS: 1.0}  # of the time that is left when a part begins


@dataclass(slots=True)
class Work:
    """The run of one model on one task, with the probes that are wanted."""

    model: str
    task: tasks.Task  # its problems are those of the study
    wanted: Wanted
    settings: runs.Settings
    db: str | Path
    run_id: str = ""
    n_traces: int = 0  # those that are there
    n_left: dict[str, int] = field(default_factory=dict)  # part -> traces that there was no time for
    longest: dict[str, float] = field(default_factory=dict)  # part -> seconds of a trace

    @property
    def name(self) -> str:
        return f"{self.model} on {self.task.name}"

    @property
    def run(self) -> ModelRun:
        return ModelRun(self.model, self.task.name, self.run_id)

    def make(self, part: str, listener: runs.Listener) -> int:
        """Make what a part lacks, as far as there is time; returns for how many traces that was done."""
        time = replace(listener.time, unit=self.longest.get(part, 0.0))
        return (self._attempt if part == ATTEMPTS else self._add)(part, replace(listener, time=time))

    def _attempt(self, part: str, listener: runs.Listener) -> int:
        known = self.run_id and not (self.n_left[part] and listener.time.allows(listener.time.unit))
        if known:
            return 0
        listener.status(self.name)
        samples, heard = self.wanted.samples or 1, forecast(self.name, self.wanted, listener)
        outcome = runs.run(self.model, self.task, db=self.db, samples=samples, settings=self.settings, listener=heard)
        self.run_id, self.n_traces = outcome.run_id, outcome.n_done
        self.n_left[part], self.longest[part] = outcome.n_left, outcome.longest
        return outcome.n_new

    def _add(self, part: str, listener: runs.Listener) -> int:
        if not self.is_whole():
            return 0
        only = replace(self.wanted, m=0) if part == CONTROLS else replace(self.wanted, controls=())
        if not (only.controls or only.m):
            return 0
        listener.status(f"{part} of {self.name}")
        added = extend.add_probes(
            self.model, self.task, self.run_id, db=self.db, wanted=only, listener=replace(listener, note=ignore)
        )
        self.n_left[part], self.longest[part] = added.n_left, added.longest
        return added.n_new

    def is_whole(self) -> bool:
        """False in the file of a part alone: controls are drawn from the traces of all parts, and rollouts chosen."""
        if self.settings.shard is None:
            return True
        with open_db(self.db, readonly=True) as store:
            done = store.finished(self.run_id)
        samples = range(self.wanted.samples or 1)
        return all((problem.problem_id, sample) in done for problem in self.task.problems for sample in samples)

    def unfinished(self, time: Time) -> str:
        """The sentence on what there was no time for; "" where all is there."""
        if not any(self.n_left.values()):
            return ""
        n = self.n_traces + self.n_left[ATTEMPTS]
        lacking = {part: k for part, k in self.n_left.items() if part != ATTEMPTS and k}
        without = "".join(f", {part} missing for {k} of them" for part, k in lacking.items())
        return (
            f"{self.name}: {self.n_traces} of {n} traces{without}, done in {time.minutes:g} min;"
            " run the same command again to go on."
        )


def make(works: Sequence[Work], listener: runs.Listener) -> None:
    """Make everything, as far as there is time."""
    while _round(works, listener):
        pass


def _round(works: Sequence[Work], listener: runs.Listener) -> bool:
    """One go at all parts; True if another one could do more."""
    n_new = 0
    for part, share in SHARES.items():
        time = listener.time.share(share)
        for i, work in enumerate(works):
            n_new += work.make(part, replace(listener, time=time.split(len(works) - i)))
    left = any(n for work in works for n in work.n_left.values())
    return n_new > 0 and left and listener.time.left > 0
