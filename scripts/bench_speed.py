"""Speed: localent's generation against bare llama.cpp, other lane counts and the high-level class; what probes cost.

Everything is a ratio of two things done in turn on the same machine in the same minute, many times over. Prefill is
subtracted on both sides: it is the same for all, and tokens/s of generation is what is asked.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import bench_scene
import llama_cpp
from bench_figures import Figure, of_many
from bench_scene import Scene
from llama_cpp import llama_cpp as C  # noqa: N812

from localent.engine import Coroutine, Engine, drive
from localent.engine.lanes import _Scheduler as Scheduler
from localent.errors import LocalentError
from localent.measure.meter import Meter
from localent.measure.sampling import Sampler
from localent.records import Model, Run
from localent.store import Database, open_db

SEGMENT = 2  # decodes timed together, before the other side has its turn: short, so that both meet the same noise
SHORT = 17  # tokens of a trace where the whole solution is not needed
RUN = Run("benchbenchbe", "0" * 64, "bench", {"lanes": 1}, {})
MODEL = Model("0" * 64, "bench", "", "qwen2", "Q4_K_M", 1, 1, 1.0, {}, 2, 1, "0" * 64, None)


@contextlib.contextmanager
def store() -> Iterator[Database]:
    """A database in a temporary folder that knows the bench's run and problem."""
    with tempfile.TemporaryDirectory() as folder, open_db(Path(folder) / "bench.db") as opened:
        opened.add_model(MODEL)
        opened.add_task("bench", "number")
        opened.add_problems("bench", [bench_scene.PROBLEM])
        opened.add_run(RUN)
        yield opened


class Bare:
    """The loop that nobody can beat: llama_decode again and again over an engine's lanes, logits looked at by nobody.

    It goes on where the lanes are and takes its tokens back, so that it computes at the same positions.
    """

    def __init__(self, engine: Engine):
        self.engine, self.context, n = engine, engine._context, engine.n_lanes
        self.batch = C.llama_batch_init(n, 0, 1)
        self.batch.n_tokens = n
        for lane in range(n):
            self.batch.token[lane], self.batch.n_seq_id[lane], self.batch.logits[lane] = lane + 1, 1, 1
            self.batch.seq_id[lane][0] = lane

    def seconds(self, n_steps: int) -> float:
        """Seconds that n_steps decodes take."""
        start = time.perf_counter()
        for step in range(n_steps):
            for lane, length in enumerate(self.engine._lengths[:-1]):
                self.batch.pos[lane] = length + step
            if C.llama_decode(self.context, self.batch):
                raise LocalentError("the bare loop could not decode")
            C.llama_get_logits(self.context)  # waits until they are there
        seconds = time.perf_counter() - start
        for lane, length in enumerate(self.engine._lengths[:-1]):
            C.llama_memory_seq_rm(C.llama_get_memory(self.context), lane, length, -1)
        return seconds

    def close(self) -> None:
        C.llama_batch_free(self.batch)


@dataclass(frozen=True, slots=True)
class Pair:
    """SEGMENT decodes by `run` and by the bare loop at the same positions."""

    ours: float  # seconds
    bare: float

    @property
    def ratio(self) -> float:
        return self.bare / self.ours


class Stopwatch:
    """Time by name. What is called within a timed call counts for the inner one only, and "prefill" is not split."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._names, self._since = ["other"], time.perf_counter()

    def timed(self, name: str, call: Callable) -> Callable:
        def within(*args, **kwargs):
            if self._names[-1] == "prefill":
                return call(*args, **kwargs)
            self._switch(self._names.append, name)
            try:
                return call(*args, **kwargs)
            finally:
                self._switch(self._names.pop)

        return within

    def lap(self) -> Counter[str]:
        """Seconds by name since the last lap."""
        self._switch(lambda: None)
        seconds, self.seconds = self.seconds, Counter()
        return seconds

    def _switch(self, change: Callable, *args) -> None:
        now = time.perf_counter()
        self.seconds[self._names[-1]] += now - self._since
        change(*args)
        self._since = now


def beside_bare(scene: Scene, engine: Engine, keep: Database, n_traces: int, n_tokens: int) -> list[Pair]:
    """Generate traces with all measures into the store; after every SEGMENT decodes the bare loop has its turn."""
    watch, bare, taken = Stopwatch(), Bare(engine), []
    engine.prefill = watch.timed("prefill", type(engine).prefill.__get__(engine))
    n_decodes = 0

    def turn(_: int) -> None:
        nonlocal n_decodes
        n_decodes += 1
        if n_decodes % SEGMENT == 0:
            taken.append((watch.lap()["other"], bare.seconds(SEGMENT)))
            watch.lap()

    how = scene.setup(Sampler(0.7), n_tokens)
    watch.lap()
    for trace in drive(engine, scene.attempts(n_traces, how), on_decode=turn):
        keep.add_trace(RUN.run_id, trace)
    bare.close()
    return [Pair(ours, before) for (_, before), (ours, _) in itertools.pairwise(taken)]


def generation(scene: Scene, lanes: int, label: str, rounds: int, n_tokens: int) -> list[Figure]:
    """(a) tokens/s of run's generation in units of the bare loop's."""
    with scene.engine(lanes) as engine, store() as keep:
        pairs = beside_bare(scene, engine, keep, lanes * rounds, n_tokens)
    rate = [lanes * SEGMENT / pair.ours for pair in pairs]
    return [
        of_many("a", f"generation / bare decode, {lanes} lanes, {label}", [p.ratio for p in pairs], at_least=0.97),
        of_many("a", f"generation, {lanes} lanes, {label}", rate, "tokens/s"),
    ]


def lane_counts(scene: Scene, counts: Sequence[int], rounds: int, n_tokens: int) -> tuple[list[Figure], int]:
    """(b) generation at each lane count, in turn; and the best count, chosen as `run` does."""
    rates: dict[int, list[float]] = {n: [] for n in counts}
    with contextlib.ExitStack() as stack:
        engines = {n: stack.enter_context(scene.engine(n)) for n in counts}
        for _, n in ((r, n) for r in range(rounds) for n in counts):
            with store() as keep:
                pairs = beside_bare(scene, engines[n], keep, n, n_tokens)
            rates[n].append(n * SEGMENT * len(pairs) / sum(pair.ours for pair in pairs))
    found = [of_many("b", f"generation, {n} lanes", rates[n], "tokens/s") for n in counts]
    most = max(figure.value for figure in found)
    lanes = next(n for n, figure in zip(counts, found, strict=True) if figure.value >= 0.95 * most)
    ratios = [many / one for many, one in zip(rates[lanes], rates[counts[0]], strict=True)]
    name = f"best lane count ({lanes}) / {counts[0]} lane"
    return [*found, of_many("b", name, ratios, at_least=2.0)], lanes


def high_level(scene: Scene, lanes: int, rounds: int, n_tokens: int) -> list[Figure]:
    """(c) against `llama_cpp.Llama`, which alone of all tools reads every logprob of a GGUF in Python."""
    theirs = llama_cpp.Llama(str(scene.model.path), n_ctx=256, logits_all=True, n_threads=scene.threads, verbose=False)
    ours, other = [], []
    with scene.engine(lanes) as engine:
        for _ in range(rounds):
            with store() as keep:
                pairs = beside_bare(scene, engine, keep, lanes, SHORT)
            ours.append(lanes * SEGMENT * len(pairs) / sum(pair.ours for pair in pairs))
            other.append(n_tokens / (_complete(theirs, 1 + n_tokens) - _complete(theirs, 1)))
    theirs.close()
    return [
        of_many("c", f"generation, {lanes} lanes / Llama(logits_all, logprobs=5)",
                [a / b for a, b in zip(ours, other, strict=True)], at_least=20.0),
        of_many("c", "Llama(logits_all, logprobs=5)", other, "tokens/s"),
    ]  # fmt: skip


def _complete(theirs: llama_cpp.Llama, n_tokens: int) -> float:
    start = time.perf_counter()
    theirs.reset()
    theirs.create_completion([1, 2, 3], max_tokens=n_tokens, logprobs=5, temperature=0.7, seed=1)
    return time.perf_counter() - start


def shares(scene: Scene, lanes: int, rounds: int, n_tokens: int) -> list[Figure]:
    """(d) where the time of a run goes: generation, probes and store, prefill left out."""
    watch, meter, sampler = Stopwatch(), Meter(scene.model.vocab.n_tokens), Sampler(0.7)
    laps = []
    meter.read, meter.taken = watch.timed("entropy", meter.read), watch.timed("entropy", meter.taken)
    how, draw = scene.setup(sampler, n_tokens, meter), watch.timed("sampling", sampler.sample)
    with scene.engine(lanes) as engine:
        engine.prefill, engine._run = watch.timed("prefill", engine.prefill), watch.timed("llama_decode", engine._run)
        for _ in range(rounds):
            with store() as keep:
                save = watch.timed("store", keep.add_trace)
                work = scene.probed(lanes, how, bench_scene.typical(scene.model.vocab), draw)
                watch.lap()
                _spend(engine, work, lambda trace, save=save: save(RUN.run_id, trace))
                laps.append(watch.lap())
    names = ("llama_decode", "entropy", "sampling", "store", "other")
    totals = [sum(lap[name] for name in names) for lap in laps]
    limits = {"store": dict(at_most=1.0)}
    return [
        of_many("d", f"time in {'other Python' if name == 'other' else name}",
                [100 * lap[name] / total for lap, total in zip(laps, totals, strict=True)], "%", **limits.get(name, {}))
        for name in names
    ]  # fmt: skip


def _spend(engine: Engine, work: Iterable[Coroutine], keep: Callable = lambda trace: None) -> list:
    traces = []
    for trace in drive(engine, work):
        keep(trace)
        traces.append(trace)
    return traces


def probing(scene: Scene, lanes: int, rounds: int) -> list[Figure]:
    """(e) what probing every step adds to generating, prefill left out of both."""
    minds = {"typical": bench_scene.typical(scene.model.vocab), "clueless": bench_scene.clueless(scene.model.vocab)}
    figures = []
    for name, believes in minds.items():
        costs, fed = zip(*(_cost(scene, lanes, believes) for _ in range(rounds)), strict=True)
        figures += [
            of_many("e", f"probing / generating, {name} answers", costs, at_most=0.8),
            Figure("e", f"tokens fed by probes / tokens generated, {name} answers", fed[0], "x"),
        ]
    return figures


def _cost(scene: Scene, lanes: int, believes: Callable[[int], bench_scene.Belief]) -> tuple[float, float]:
    """Seconds and tokens that probes add, in units of the generation that they follow.

    Traces with and without probes advance in turn, one decode each, so that both meet the same noise.
    """
    how, watch, spent, done = scene.setup(Sampler(0.7)), Stopwatch(), {"with": 0.0, "without": 0.0}, []
    with scene.engine(lanes) as one, scene.engine(lanes) as other:
        for engine in (one, other):
            engine.prefill = watch.timed("prefill", engine.prefill)
        probed = _steps(one, scene.probed(lanes, how, believes), done)
        plain = _steps(other, scene.attempts(8 * lanes, how), [])
        n_steps = 0
        watch.lap()
        for _ in probed:
            spent["with"] += watch.lap()["other"]
            next(plain)
            spent["without"] += watch.lap()["other"]
            n_steps += 1
    trace = done[0]
    generating = spent["without"] / n_steps * (len(trace.tokens) - 1)  # the last one is not fed
    return spent["with"] / generating - 1, sum(probe.n_fed for probe in trace.probes) / len(trace.tokens)


def _steps(engine: Engine, work: Iterable[Coroutine], done: list) -> Iterator[int]:
    """`drive`, with a pause after every decode."""
    scheduler = Scheduler(engine, iter(work))
    while True:
        done += scheduler.settle()
        if not scheduler.n_live:
            return
        scheduler.advance()
        yield scheduler.n_live
