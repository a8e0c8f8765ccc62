"""The client: it lets a worker say what the run is, submits attempts, and writes their traces as they come."""

from __future__ import annotations

import math
import queue
import time
from asyncio import CancelledError
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from localent import tasks
from localent.cluster.connect import Cluster
from localent.cluster.job import Completed, Job, Made, Standing, why
from localent.cluster.lanes import Attempt
from localent.errors import LocalentError, UsageError
from localent.runs import shard
from localent.runs.progress import SILENT, Listener, Outcome, Tally
from localent.runs.settings import DEFAULTS, Settings, settings_of
from localent.store import Database, open_db

if TYPE_CHECKING:
    from distributed import Client, Future, Scheduler

PREFIX = "localent-"
LOOK_S = 1.0  # between two looks at which workers there are
BATCH = 64  # traces written in one transaction
SPARE = 0.25  # attempts that wait at the workers, as a share of their lanes
LOSSES = 4  # times that dask gives up an attempt whose workers died before we do


def run(
    model: str,
    task: tasks.Task,
    *,
    db: str | Path,
    cluster: Cluster,
    samples: int = 1,
    settings: Settings = DEFAULTS,
    listener: Listener = SILENT,
) -> Outcome:
    """Make the traces that are missing on the workers of a cluster: the same rows as by `runs.run`, to the last bit.

    This process needs no model. The run is that of the first worker's build and processor; workers that would make
    another one are named and get no work. Raises LocalentError where no worker can take part.
    """
    if samples < 1:
        raise UsageError(f"--samples must be at least 1, got {samples}.")
    settings = replace(settings, lanes=settings.lanes or shard.LANES)
    with open_db(db) as store, cluster.client(listener) as client:
        job, of = _completed(client, Job(model, task, settings, cluster.fetch), store, listener)
        wanted = [
            (problem.problem_id, sample)
            for problem in task.problems
            for sample in range(samples)
            if settings.shard is None or settings.shard.has(problem.problem_id, sample)
        ]
        done = store.finished(of.run.run_id)
        todo = [attempt for attempt in wanted if attempt not in done]
        lanes = of.settings.lanes or 1
        if not todo:
            return Outcome(of.run.run_id, len(wanted), 0, lanes)
        _enter(store, job, of, samples)
        name = f"{store.model(of.model.sha256).name} on {task.name}"
        work = _Work(client, job, store, Tally(listener, len(todo), lanes, name), listener)
        n_new = work.done(todo)
        n_left = work.tally.n_left
        return Outcome(of.run.run_id, len(wanted) - n_new - n_left, n_new, lanes, n_left, work.tally.longest)


# ── what the run is ───────────────────────────────────────────────────────────────────────────────────────────────


def _completed(client: Client, job: Job, store: Database, listener: Listener) -> tuple[Job, Completed]:
    """The job with all settings, as the first worker that can do it completes them; and its run and model."""
    of = _by_some_worker(client, job, listener)
    known = store.find_run(of.run.model_sha256, of.run.task, of.run.settings, of.run.build)
    if known and known.run_id != of.run.run_id and job.settings.lanes == shard.LANES:
        job = replace(job, settings=replace(job.settings, lanes=settings_of(known).lanes))  # begun in other lanes
        of = _by_some_worker(client, job, listener)
    return replace(job, settings=of.settings, run=of.run), of


def _by_some_worker(client: Client, job: Job, listener: Listener) -> Completed:
    from localent.cluster.plugin import complete

    tried: dict[str, str] = {}
    while True:
        workers = _workers(client, listener)
        for address in [one for one in workers if one not in tried]:
            listener.status(f"asking {address} what the run is")
            found = client.run(complete, job, workers=[address], on_error="return").get(address)
            if isinstance(found, Completed):
                return found
            tried[address] = str(found) if isinstance(found, LocalentError) else why(found)
        if tried.keys() >= _workers(client, listener).keys():
            address, reason = next(iter(tried.items()))
            raise LocalentError(f"None of {len(tried)} workers can make this run; {address}: {reason}")


def _workers(client: Client, listener: Listener) -> dict[str, int]:
    """The workers that there are, once there is one: address -> threads."""
    while not (found := dict(client.nthreads())):
        address = client.scheduler_info()["address"]
        listener.status(f"waiting for workers at {address}")
        if listener.time.left <= 0:
            raise LocalentError("No worker came in time: start some with 'dask worker ADDRESS'.")
        time.sleep(LOOK_S)
    return found


def orphans(dask_scheduler: Scheduler) -> list[str]:
    """The names of models on the workers whose clients are gone; called on the scheduler."""
    ours = [name for name in dask_scheduler.worker_plugins if name.startswith(PREFIX)]
    return [name for name in ours if not any(name.endswith(client) for client in dask_scheduler.clients)]


def _enter(store: Database, job: Job, of: Completed, samples: int) -> None:
    store.add_model(of.model)
    store.add_task(job.task.name, job.task.kind.form)
    store.add_problems(job.task.name, job.task.problems)
    store.add_run(of.run)
    store.ask(of.run.run_id, [problem.problem_id for problem in job.task.problems], samples)


# ── the work ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class _Work:
    """Attempts at the workers, and traces into the store."""

    client: Client
    job: Job
    store: Database
    tally: Tally
    listener: Listener
    finished: queue.SimpleQueue[Future] = field(default_factory=queue.SimpleQueue)
    under_way: dict[Future, Attempt] = field(default_factory=dict)
    losses: Counter[Attempt] = field(default_factory=Counter)
    standing: dict[str, Standing] = field(default_factory=dict)  # by the worker's address
    sessions: dict[str, int] = field(default_factory=dict)  # by the worker's address
    looked: float = -math.inf
    n_new: int = 0

    @property
    def name(self) -> str:
        """The name of the run's model on the workers, and of the resource that stands for its lanes."""
        assert self.job.run is not None
        return f"{PREFIX}{self.job.run.run_id}-{self.client.id}"

    def done(self, todo: Sequence[Attempt]) -> int:
        """Do all of it, as far as there is time; returns how many traces are new to the store."""
        from localent.cluster.plugin import Loaded

        self.listener.status("loading the model on the workers")
        try:
            for name in self.client.run_on_scheduler(orphans):  # of clients that were killed
                self.client.unregister_worker_plugin(name)
            self.client.register_plugin(Loaded(self.job, self.name))
            self._work(self.tally.begin(todo))
        except (OSError, TimeoutError, CancelledError) as error:
            raise self._gone() from error
        finally:
            self._clean_up()
        for session in self.sessions.values():
            self.store.end_session(session)
        return self.n_new

    def _clean_up(self) -> None:
        """Let the workers go; where the scheduler is gone, there is nobody to tell."""
        with suppress(OSError, TimeoutError, CancelledError, RuntimeError):
            if self.client.status == "running":
                self.client.cancel(list(self.under_way), force=True)
                self.client.unregister_worker_plugin(self.name)

    def _gone(self) -> LocalentError:
        return LocalentError("The dask scheduler is gone; what was finished is stored, and the same command goes on.")

    def _work(self, todo: Iterator[Attempt]) -> None:
        more = True
        while more or self.under_way:
            self._look()
            while more and len(self.under_way) < self.room:
                attempt = next(todo, None)
                more = attempt is not None
                if attempt is not None:
                    self._submit(attempt)
            if self.tally.listener.time.left <= 0:
                return
            self._write(self._collected())

    def _submit(self, attempt: Attempt) -> None:
        from localent.cluster.plugin import make

        future = self.client.submit(make, self.name, attempt, resources={self.name: 1}, pure=False, retries=0)
        self.under_way[future] = attempt
        future.add_done_callback(self.finished.put)

    def _collected(self) -> list[Future]:
        """The attempts that have come to an end; waits for one, for a while."""
        try:
            found = [self.finished.get(timeout=LOOK_S)]
        except queue.Empty:
            return []
        while len(found) < BATCH and not self.finished.empty():
            found.append(self.finished.get())
        return [future for future in dict.fromkeys(found) if future in self.under_way]

    def _write(self, ended: Sequence[Future]) -> None:
        """Write the traces that were made, all in one transaction; submit those again whose workers were lost."""
        from distributed import KilledWorker

        good = [future for future in ended if future.status == "finished"]
        for future in ended:
            if future.status in ("error", "cancelled", "lost"):
                self._failed(future)
            elif future.status == "pending":  # its worker was lost with the trace
                future.add_done_callback(self.finished.put)
        try:
            made: list[Made] = self.client.gather(good)
        except KilledWorker:
            for future in good:
                self.finished.put(future)
            return
        is_new = self.store.add_rows([(one.tables, self._session(one)) for one in made])
        for future, one, new in zip(good, made, is_new, strict=True):
            del self.under_way[future]
            self.n_new += new
            self.tally.n_tokens += one.n_tokens
            self.tally.longest = max(self.tally.longest, one.seconds)
            self.tally.done()

    def _failed(self, future: Future) -> None:
        """Submit an attempt again that was lost with its worker. Raises what it failed for otherwise."""
        from distributed import KilledWorker

        attempt = self.under_way.pop(future)
        if self.client.status != "running":
            raise self._gone()
        error = future.exception() if future.status == "error" else None
        if isinstance(error, LocalentError):
            raise error
        if error is not None and not isinstance(error, KilledWorker):
            raise LocalentError(
                f"Problem {attempt[0]}, sample {attempt[1]} failed on a worker: {why(error)}"
            ) from error
        self.losses[attempt] += 1
        if self.losses[attempt] > LOSSES:
            raise LocalentError(
                f"Every worker that tried problem {attempt[0]}, sample {attempt[1]} died: is there memory for so many"
                " --lanes?"
            )
        self._submit(attempt)

    def _session(self, made: Made) -> int:
        """The session of a worker."""
        if made.worker not in self.sessions:
            assert self.job.run is not None
            part = self.job.settings.shard
            self.sessions[made.worker] = self.store.start_session(
                self.job.run.run_id, host=made.host, shard=None if part is None else str(part)
            )
        return self.sessions[made.worker]

    # --- workers ------------------------------------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """How many attempts may be under way: one for each lane, and some that wait at each worker."""
        lanes = [one.n_lanes for one in self.standing.values() if one.n_lanes]
        return sum(lanes) + sum(max(1, math.ceil(n * SPARE)) for n in lanes)

    def _look(self) -> None:
        """See which workers there are now, and what those that are new say."""
        from localent.cluster.plugin import standing

        now = self.listener.time.clock()
        if now - self.looked < LOOK_S:
            return
        self.looked = now
        there = self.client.nthreads().keys()
        self.standing = {address: one for address, one in self.standing.items() if address in there}
        unknown = [a for a in there if not (one := self.standing.get(a)) or not (one.n_lanes or one.refusal)]
        if unknown:
            self.standing |= self.client.run(standing, self.name, workers=unknown, on_error="ignore")
        for address in unknown:
            if (one := self.standing.get(address)) and one.refusal:
                self.listener.note(f"The worker at {address} ({one.host}) gets no work: {one.refusal}")
        if self.standing and all(one.refusal for one in self.standing.values()):
            raise LocalentError("No worker is left that can make this run; what was finished is stored.")
