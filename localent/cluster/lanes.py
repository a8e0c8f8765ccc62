"""A model in the memory of a worker: one thread drives its lanes, attempts are handed to it from others."""

from __future__ import annotations

import platform
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass

from localent.cluster.job import Job, Made
from localent.engine import Coroutine, drive
from localent.errors import LocalentError
from localent.records import Trace
from localent.runs.run import attempts
from localent.store.rows import rows_of

Attempt = tuple[str, int]  # (problem_id, sample)


@dataclass(frozen=True, slots=True)
class Order:
    """An attempt that somebody waits for."""

    attempt: Attempt
    trace: Future[Trace]


class Lanes:
    """The lanes of one run on this worker. Starting waits until the model is loaded, and raises why it cannot be."""

    def __init__(self, job: Job, worker: str) -> None:
        self.job, self.worker, self.n_lanes = job, worker, 0
        self._orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._open: set[Future[Trace]] = set()  # of the attempts in lanes
        self._ready: Future[int] = Future()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="localent lanes", daemon=True)

    def start(self) -> None:
        """Load the model."""
        self._thread.start()
        self.n_lanes = self._ready.result()

    def make(self, attempt: Attempt) -> Made:
        """Make one attempt; waits for it. Several threads may call this at a time."""
        begun, trace = time.monotonic(), Future[Trace]()
        self._orders.put(Order(attempt, trace))
        made = trace.result()
        assert self.job.run is not None
        n_tokens = len(made.generated) + sum(probe.n_fed for probe in made.probes)
        seconds = time.monotonic() - begun
        return Made(rows_of(self.job.run, made), n_tokens, seconds, self.worker, platform.node())

    def stop(self) -> None:
        """Abandon what is under way, and free the model."""
        self._stopped = True
        self._orders.put(None)
        self._thread.join()

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            with self.job.opened() as asked, asked.engine() as lanes:
                questions = {question.problem.problem_id: question for question in asked.questions}
                jobs = _Arriving(self, lambda of: attempts(lanes, asked, [(questions[of[0]], of[1])]))
                self._ready.set_result(lanes.n_lanes)
                while not self._stopped:
                    for order, made in drive(lanes, jobs, go_on=lambda: not self._stopped):
                        self._open.discard(order.trace)
                        self._hand_over(order, made)
        except BaseException as error:
            self._end(error)
        else:
            self._end(LocalentError(f"The worker on {platform.node()} was stopped: run the same command again."))

    @staticmethod
    def _hand_over(order: Order, made: Trace | LocalentError) -> None:
        if isinstance(made, LocalentError):
            order.trace.set_exception(made)
        else:
            order.trace.set_result(made)

    def _end(self, error: BaseException) -> None:
        """Tell all who wait."""
        if not self._ready.done():
            self._ready.set_exception(error)
        waiting = [*self._open]
        while not self._orders.empty():
            if order := self._orders.get():
                waiting.append(order.trace)
        for trace in waiting:
            if not trace.done():
                trace.set_exception(error)

    def next_order(self) -> Order | None:
        """The next attempt to begin; waits for one only while no lane is at work."""
        try:
            order = self._orders.get(block=not (self._open or self._stopped))
        except queue.Empty:
            return None
        if order:
            self._open.add(order.trace)
        return order


class _Arriving(Iterator[Coroutine[tuple[Order, Trace | LocalentError]]]):
    """The coroutines of attempts as they come. It may end and go on later: it is asked again for each free lane."""

    def __init__(self, lanes: Lanes, begin: Callable[[Attempt], Iterator[Coroutine[Trace]]]) -> None:
        self.lanes, self.begin = lanes, begin

    def __next__(self) -> Coroutine[tuple[Order, Trace | LocalentError]]:
        order = self.lanes.next_order()
        if order is None:
            raise StopIteration
        return self._of(order)

    def _of(self, order: Order) -> Coroutine[tuple[Order, Trace | LocalentError]]:
        (coroutine,) = self.begin(order.attempt)
        try:
            return order, (yield from coroutine)
        except LocalentError as error:
            return order, error
