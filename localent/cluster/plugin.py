"""What a dask worker runs: it loads the model when it joins, says whether it fits, and makes attempts."""

from __future__ import annotations

import asyncio
import pickle
import platform

from distributed import Status, Worker, WorkerPlugin, get_worker, secede

from localent.cluster.job import Completed, Job, Made, Standing, check_version, completed, why
from localent.cluster.lanes import Attempt, Lanes
from localent.errors import LocalentError


class Loaded(WorkerPlugin):
    """The model of a job on a worker. One that does not fit gets no work: it lacks the resource that attempts need."""

    def __init__(self, job: Job, name: str) -> None:
        self.name, self.version, self.packed = name, job.version, pickle.dumps(job)
        self.lanes: Lanes | None = None
        self.refusal: str | None = None

    async def setup(self, worker: Worker) -> None:
        """Load the model, without keeping the worker from answering; then offer its lanes."""
        try:
            self.lanes = await asyncio.to_thread(self._started, worker.address)
        except Exception as error:  # every reason is told; without one the worker would end
            self.refusal = str(error) if isinstance(error, LocalentError) else why(error)
            return
        await worker.set_resources(**{self.name: self.lanes.n_lanes})
        for status in (Status.paused, Status.running):  # dask looks for waiting tasks when a worker goes on
            worker.status = status

    async def teardown(self, worker: Worker) -> None:
        """Free the model."""
        if self.lanes:
            await asyncio.to_thread(self.lanes.stop)

    def _started(self, address: str) -> Lanes:
        check_version(self.version)  # before anything else is read: another version may have other records
        lanes = Lanes(pickle.loads(self.packed), address)
        lanes.start()
        return lanes


async def complete(job: Job) -> Completed:
    """The run of a job as this worker makes it, without keeping it from answering."""
    return await asyncio.to_thread(completed, job)


def standing(name: str, dask_worker: Worker) -> Standing:
    """Whether a worker takes part in a run; called on it."""
    plugin, host = dask_worker.plugins.get(name), platform.node()
    if not isinstance(plugin, Loaded):
        return Standing(host, 0)
    return Standing(host, plugin.lanes.n_lanes if plugin.lanes else 0, plugin.refusal)


def make(name: str, attempt: Attempt) -> Made:
    """Make one attempt: the task that dask sends around. It waits for a lane, so it leaves the pool of threads."""
    plugin = get_worker().plugins[name]
    assert isinstance(plugin, Loaded)
    assert plugin.lanes
    secede()
    return plugin.lanes.make(attempt)
