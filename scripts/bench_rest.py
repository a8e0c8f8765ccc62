"""Other costs that must stay small: memory above weights and cache, start-up, queries on a large database."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import bench_scene
from bench_figures import Figure, of_many
from bench_speed import RUN, store
from llama_cpp import llama_cpp as C  # noqa: N812

from localent import engine
from localent.engine import drive
from localent.files import identity
from localent.measure.sampling import Sampler
from localent.records import Answer, Extraction, Probe, Step, Token, Trace
from localent.store import select

MB = 1e6
PARTS = ("at start", "peak in header", "compute", "output")
VIEWS = ("run_summary", "trace_summary", "step_entropy")


# ── memory ──────────────────────────────────────────────────────────────────────────────────────────────────


def memory(model: Path, threads: int, lanes: int, contexts: tuple[int, ...]) -> list[Figure]:
    """(f) peak above weights and cache, each context length in a process of its own."""
    found = []
    for n_ctx in contexts:
        command = [sys.executable, __file__, *map(str, (model, threads, lanes, n_ctx))]
        with tempfile.TemporaryDirectory() as empty:  # the header is read as for a file never seen before
            env = os.environ | {"LOCALENT_CACHE": empty}
            told = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env).stdout)
        name = f"memory above weights and cache, {lanes} lanes of {n_ctx} tokens"
        found.append(Figure("f", name, told["above"], "MB", at_most=150))
        found += [Figure("f", f"  of it {part}", told[part], "MB") for part in PARTS]
    return found


def _child(model: Path, threads: int, lanes: int, n_ctx: int) -> dict[str, float]:
    """Read the header, load, prefill, generate and probe as a run does; the peak of all memory that is neither the
    model's file, a copy of its weights in another layout, nor the cache."""
    engine.build_info(0)  # loads llama.cpp, whose log the engine takes: ours must come after
    sizes, at_start = Counter(), _resident(model)
    log = C.llama_log_callback(lambda level, text, _: _note(sizes, text.decode("utf-8", "replace")))
    C.llama_log_set(log, None)
    with Watcher(model) as reading:
        identity.identify(model)
    with Watcher(model) as watcher:
        scene = bench_scene.scene(model, threads)
        with scene.engine(lanes, n_ctx) as lanes_:
            work = scene.probed(lanes, scene.setup(Sampler(0.7), 25), bench_scene.typical(scene.model.vocab))
            list(drive(lanes_, work))
    above = max(reading.peak, watcher.peak - sizes["repacked"] - sizes["cache"])
    seen = {"above": above, "at start": at_start, "peak in header": reading.peak, **sizes}
    return {name: seen[name] / MB for name in ("above", *PARTS)}


def _note(sizes: Counter, line: str) -> None:
    """Remember a buffer's size from llama.cpp's log."""
    kinds = {"KV buffer": "cache", "compute buffer": "compute", "output buffer": "output", "REPACK model": "repacked"}
    for words, kind in kinds.items():
        if words in line and (size := re.search(r"=\s*([\d.]+) MiB", line)):
            sizes[kind] += int(float(size[1]) * 2**20)


class Watcher:
    """Looks ten times a second how much memory is resident that is not mapped from the model's file."""

    def __init__(self, model: Path, every_s: float = 0.1):
        self.model, self.every_s, self.peak = model, every_s, 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(self.every_s):
            self.peak = max(self.peak, _resident(self.model))


def _resident(model: Path) -> int:
    """Bytes resident in this process, without those mapped from the model's file (Linux)."""
    total, counted = 0, True
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            counted = not line.endswith(model.name)
        elif counted and line.startswith("Rss:"):
            total += 1024 * int(line.split()[1])
    return total


# ── start ───────────────────────────────────────────────────────────────────────────────────────────────────


def start(repeats: int) -> list[Figure]:
    """(g) wall time from the shell, in turn with Python that does nothing."""
    commands = {"localent --help": ["-m", "localent", "--help"], "import localent": ["-c", "import localent"]}
    commands["(python -c pass)"] = ["-c", "pass"]
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, words in commands.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - began)
    limits = {"localent --help": dict(at_most=0.3)}
    return [of_many("g", name, found, "s", **limits.get(name, {})) for name, found in seconds.items()]


# ── a large database ────────────────────────────────────────────────────────────────────────────────────────


def large_store(n_rows: int, per_trace: int = 200, n_steps: int = 5) -> list[Figure]:
    """(h) write token rows as a run does; then open the file again and read the views to their last row."""
    with store() as keep:
        began = time.perf_counter()
        for trace in _traces(n_rows // per_trace, per_trace, n_steps):
            keep.add_trace(RUN.run_id, trace)
        rate = n_rows / (time.perf_counter() - began)
        seconds = {view: [_ask(keep.path, f"select * from {view}") for _ in range(3)] for view in VIEWS}
    rows = f"{n_rows:,} token rows"
    whole = [sum(one) for one in zip(*seconds.values(), strict=True)]
    return [
        of_many("h", f"open and read all views, {rows}", whole, "s", at_most=1.0),
        *(of_many("h", f"  of it {view}", found, "s") for view, found in seconds.items()),
        Figure("h", "token rows written, one transaction a trace", rate, "rows/s"),
    ]


def _ask(path: Path, sql: str) -> float:
    began = time.perf_counter()
    _, rows = select(path, sql)
    if not sum(1 for _ in rows):
        raise SystemExit(f"nothing came back from: {sql}")
    return time.perf_counter() - began


def _traces(n: int, n_tokens: int, n_steps: int) -> Iterator[Trace]:
    token = Token(1, b" bottles", 1.25, 1.5, 2.5, 0.75, 0.5, 1.5, 2, 3.5)
    tokens = tuple(replace(token, token_id=i) for i in range(n_tokens))
    size = n_tokens // n_steps
    steps = tuple(Step(i, i * size, (i + 1) * size, " bottles" * size, "reasoning") for i in range(n_steps))
    answers = tuple(Answer(str(i), 0.1) for i in range(8))
    probe = Probe(
        k=0, n_tokens=0, position=0.0, estimator="number", answers=answers, invalid=0.1, residual=0.1, entropy=1.5,
        entropy_se=0.1, entropy_lower=1.0, entropy_upper=2.0, leader="0", p_true=0.1, log_p_true=-2.3, n_fed=15,
    )  # fmt: skip
    probes = tuple(replace(probe, k=k, n_tokens=k * size, position=k / n_steps) for k in range(n_steps + 1))
    read = Extraction("296", "296", "answer statement", None)
    for i in range(n):
        text, correct = " bottles" * n_tokens, i % 2 == 0
        yield Trace(bench_scene.PROBLEM.problem_id, i, text, 90, "stop", read, correct, tokens, steps, probes)


if __name__ == "__main__":
    path, *numbers = sys.argv[1:]
    print(json.dumps(_child(Path(path), *map(int, numbers))))
