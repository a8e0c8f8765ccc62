"""Probes added to traces that are stored: controls and rollouts. The traces stay as they are, to the last bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from localent import models, runs, tasks
from localent.attempt import Question
from localent.controls import FILLER, Written, compared_at, control_prefix, control_probes, prefixes_of
from localent.engine import Coroutine, Engine, drive, header
from localent.engine.llama import LlamaEngine, LlamaModel
from localent.entropy import Meter
from localent.records import Probe, Run
from localent.rollout import ESTIMATOR, Rollouts, rollouts
from localent.runs import Progress, Report
from localent.sampling import Sampler, rng
from localent.settings import Settings, settings_of
from localent.store import Database, open_db


def add_probes(
    model: str,
    task: tasks.Task,
    run_id: str,
    *,
    db: str | Path,
    controls: Sequence[str] = (),
    m: int = 0,
    n_rolled: int | None = None,
    report: Report = lambda progress: None,
    status: Callable[[str], None] = lambda text: None,
) -> int:
    """Add the control probes, and `m` rollouts a prefix (0: none), that a run's traces lack; how many traces got some.

    n_rolled: only the first so many traces are rolled out, at every k; rollouts are dear. A trace's probes are one
    transaction: stop it any way and call it again.
    """
    path = models.resolve(model)
    with open_db(db) as store:
        run, written = store.run(run_id), stored(store, run_id)
        lacking = _lacking(store, run, task.kind, written, controls, m, n_rolled)
        if not lacking:
            return 0
        status(f"adding probes to {len(lacking)} traces")
        settings = settings_of(run)
        with LlamaModel(path, settings.gpu_layers or 0) as weights:
            problems = [p for p in task.problems if p.problem_id in {w.problem_id for w in written}]
            head = header.read(path)
            questions = {q.problem.problem_id: q for q in runs.questions_of(task, problems, weights, head, settings)}
            settings = runs.filled(settings, weights, list(questions.values()))
            with closing(LlamaEngine(weights, runs.options_of(settings))) as engine:
                jobs = _jobs(engine, lacking, questions, written, settings, task.kind, m)
                _work(store, engine, run.run_id, jobs, len(lacking), report)
    return len(lacking)


def stored(store: Database, run_id: str) -> list[Written]:
    """All traces of a run as token ids and step ends; the token that ends a trace is in no step."""
    traces = store.traces(run_id, ("trace_id", "problem_id", "sample", "correct", "n_tokens"))
    tokens, ends = store.tokens(run_id, ("token_id", "text", "piece")), _step_ends(store, run_id)
    starts, found = np.r_[0, np.cumsum(traces["n_tokens"], dtype=int)].tolist(), []
    for i, (trace_id, problem, sample, correct, n) in enumerate(zip(*traces.values(), strict=True)):
        at = slice(starts[i], starts[i + 1])
        is_end = n > 0 and not tokens["text"][at][-1] and tokens["piece"][at][-1] is None
        mine = (0, *(min(end, n - is_end) for end in ends.get(trace_id, ())))
        found.append(Written(trace_id, problem, sample, bool(correct), tuple(tokens["token_id"][at]), mine))
    return found


def _step_ends(store: Database, run_id: str) -> dict[int, list[int]]:
    """trace_id -> one past the last token of each reasoning step."""
    ends: dict[int, list[int]] = {}
    for trace_id, kind, end in zip(*store.steps(run_id, ("trace_id", "kind", "end_token")).values(), strict=True):
        if kind == "reasoning":
            ends.setdefault(trace_id, []).append(end)
    return ends


def _lacking(
    store: Database, run: Run, kind: str, written: Sequence[Written], controls: Sequence[str], m: int, n: int | None
) -> list[tuple[Written, tuple[str, ...], bool]]:
    """(trace, the controls that it lacks, whether it lacks rollouts); traces without reasoning steps have neither."""
    rows = store.probe_rows(run.run_id, ("trace_id", "estimator"))
    there = set(zip(rows["trace_id"], rows["estimator"], strict=True))
    found = []
    for i, trace in enumerate(written):
        missing = tuple(c for c in controls if (trace.trace_id, f"{kind}:{c}") not in there)
        missing = tuple(c for c in missing if possible(c, trace, written))
        rolled = bool(m) and (n is None or i < n) and (trace.trace_id, ESTIMATOR) not in there
        if missing or rolled:
            found.append((trace, missing, rolled))
    return found


def possible(control: str, own: Written, others: Sequence[Written]) -> bool:
    """Whether there is such a prefix for any k: no steps to shuffle, or no wrong trace of the question, is no fault."""
    stream = np.random.default_rng(0)
    return any(control_prefix(control, own, k, others, (0,), stream) is not None for k in compared_at(own.n_steps))


def _jobs(
    engine: Engine,
    lacking: Sequence[tuple[Written, tuple[str, ...], bool]],
    questions: dict[str, Question],
    written: Sequence[Written],
    settings: Settings,
    kind: str,
    m: int,
) -> Iterator[Coroutine[tuple[Written, tuple[Probe, ...]]]]:
    meter, filler = Meter(engine.n_vocab), engine.vocab.tokenize(FILLER)
    for own, controls, rolled in lacking:
        question = questions[own.problem_id]
        streams = {c: rng(settings.seed, own.problem_id, own.sample, stream=f"control:{c}") for c in controls}
        prefixes = dict(prefixes_of(own, controls, written, filler, streams))
        stops = tuple(stop.encode() for stop in question.stops)
        how = _rollouts(settings, kind, m, stops) if rolled else None
        yield _job(question, own, prefixes, how, engine, settings, meter)


def _rollouts(settings: Settings, kind: str, m: int, stops: tuple[bytes, ...]) -> Rollouts:
    sampler = Sampler(settings.temperature, settings.top_p, settings.top_k)
    return Rollouts(m, sampler, settings.seed, settings.max_tokens, stops, kind)


def _job(
    question, own: Written, prefixes: dict, how: Rollouts | None, engine: Engine, settings: Settings, meter: Meter
):
    """Coroutine: (trace, its new probes)."""
    pieces, effort = engine.vocab.pieces, settings.effort()
    probes = yield from control_probes(question, own, prefixes, pieces, effort, meter)
    if how is not None:
        ks = range(own.n_steps + 1)
        probes += yield from rollouts(question, own, ks, how, engine.vocab, meter)
    return own, probes


def _work(store: Database, engine: Engine, run_id: str, jobs: Iterator, n_todo: int, report: Report) -> None:
    """Drive the jobs; the probes of a trace are one transaction."""
    counts = {"done": 0, "tokens": 0}

    def tell(n_live: int = 0) -> None:
        counts["tokens"] += n_live
        report(Progress(counts["done"], n_todo, counts["tokens"]))

    for own, probes in drive(engine, jobs, on_decode=tell):
        store.add_probes(run_id, own.trace_id, probes)
        counts["done"] += 1
        tell()
