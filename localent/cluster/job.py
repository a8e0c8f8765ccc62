"""What travels between the client and the workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import localent
from localent import models, tasks
from localent.errors import LocalentError
from localent.records import Model, Run
from localent.runs import session
from localent.runs.session import Session
from localent.runs.settings import Settings
from localent.store.joining import Known, differing
from localent.store.rows import Rows
from localent.tasks import kinds


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker needs to make attempts of a run."""

    model: str  # a name, or a path on the workers' disks
    task: tasks.Task
    settings: Settings
    fetch: bool = False  # a model that a worker lacks is fetched from the hub
    run: Run | None = None  # the run that it has to be; None: not known yet
    version: str = localent.__version__

    @contextmanager
    def opened(self) -> Iterator[Session]:
        """Load the model and put the problems to it. Raises LocalentError where that would make another run."""
        check_version(self.version)
        file = session.usable(self._name())
        task = replace(self.task, kind=kinds.named(self.task.kind.name))  # the one object of that kind here
        with session.opened(file, task, self.settings) as asked:
            if self.run and asked.record.run_id != self.run.run_id:
                name = file.header.model.name
                facts = (Known(run, name).facts for run in (self.run, asked.record))
                raise LocalentError(f"it would make another run, which differs in {differing(*facts)}")
            yield asked

    def _name(self) -> str:
        """The model as it is found here, fetched where that is wanted."""
        try:
            if models.resolve(self.model).is_file() or not self.fetch:
                return self.model
        except LocalentError:
            if not self.fetch:
                raise
        return str(models.pull(self.model))


@dataclass(frozen=True, slots=True)
class Completed:
    """What the first worker makes of a job."""

    run: Run
    model: Model
    settings: Settings  # none of them left open


@dataclass(frozen=True, slots=True)
class Made:
    """One trace as rows, which are cheaper to send and to write than records."""

    tables: tuple[Rows, ...]  # parents first
    n_tokens: int  # fed, probes included
    seconds: float
    worker: str  # its address
    host: str


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a worker takes part."""

    host: str
    n_lanes: int  # 0: it does not, or not yet
    refusal: str | None = None  # why not


def completed(job: Job) -> Completed:
    """The run of a job as a worker makes it."""
    with job.opened() as asked:
        return Completed(asked.record, asked.file.header.model, asked.settings)


def check_version(version: str) -> None:
    """Raise LocalentError where this is another localent."""
    if version != localent.__version__:
        raise LocalentError(f"it has localent {localent.__version__}, not {version}")


def why(error: object) -> str:
    """An error of another program on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
