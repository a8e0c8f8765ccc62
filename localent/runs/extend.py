"""Probes added to traces that are stored: controls and rollouts. The traces stay as they are, to the last bit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from localent import engine, models, runs, tasks
from localent.engine import Coroutine, Engine, drive
from localent.errors import UsageError
from localent.files import identity
from localent.measure.meter import Meter
from localent.measure.sampling import Sampler, rng
from localent.records import Probe, Run
from localent.runs.run import Progress, Report
from localent.runs.settings import Settings, settings_of
from localent.store import Database, open_db
from localent.tracing.attempt import Question
from localent.tracing.controls import EVERY, FILLER, Prefix, Written, compared_at, control_probes, prefixes_of
from localent.tracing.rollout import Rollouts, rollouts


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which traces of a run count, and which probes they should have beside their own. None: all there are."""

    problems: Collection[str] | None = None  # ids
    samples: int | None = None  # traces of a problem: the first so many
    controls: Sequence[str] = ()
    at: str = EVERY  # where controls are read: see controls.compared_at
    control_samples: int | None = None  # traces of a problem that get controls
    m: int | None = 0  # rollouts for each prefix; 0: none
    n_rolled: int | None = None  # traces that are rolled out, first samples first

    def counts(self, problem_id: str, sample: int) -> bool:
        """Whether a trace counts."""
        asked = self.problems is None or problem_id in self.problems
        return asked and (self.samples is None or sample < self.samples)

    def controlled(self, sample: int) -> bool:
        """Whether a trace that counts has controls."""
        return self.control_samples is None or sample < self.control_samples

    def rolled(self, samples: Sequence[int]) -> list[int]:
        """Which of the traces that count, given by their samples, are rolled out: their indices."""
        return sorted(range(len(samples)), key=samples.__getitem__)[: self.n_rolled] if self.m != 0 else []


@dataclass(frozen=True, slots=True)
class Lack:
    """The probes that one trace lacks: the k of each control, and whether it is to be rolled out."""

    own: Written
    ks: dict[str, list[int]]
    rolled: bool


def add_probes(
    model: str,
    task: tasks.Task,
    run_id: str,
    *,
    db: str | Path,
    wanted: Wanted,
    report: Report = lambda progress: None,
    status: Callable[[str], None] = lambda text: None,
) -> int:
    """Add the control probes and rollouts that a run's traces lack; how many traces got some.

    Controls from other traces are drawn among those that count. A trace's probes are one transaction: stop it any way
    and call it again.
    """
    path = models.resolve(model)
    with open_db(db) as store:
        run, written = store.run(run_id), [w for w in stored(store, run_id) if wanted.counts(w.problem_id, w.sample)]
        lacking = list(_lacking(store, run, written, wanted))
        if not lacking:
            return 0
        status(f"adding probes to {len(lacking)} traces")
        settings = settings_of(run)
        with engine.open(path, gpu_layers=settings.gpu_layers or 0) as weights:
            problems = [p for p in task.problems if p.problem_id in {w.problem_id for w in written}]
            head = identity.read(path)
            questions = {q.problem.problem_id: q for q in runs.questions_of(task, problems, weights, head, settings)}
            settings = runs.filled(settings, weights, list(questions.values()))
            with weights.lanes(runs.options_of(settings)) as lanes:
                jobs = _jobs(lanes, run, lacking, questions, written, settings, task.kind, wanted.m)
                _work(store, lanes, run.run_id, jobs, len(lacking), report)
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


def _lacking(store: Database, run: Run, written: Sequence[Written], wanted: Wanted) -> Iterator[Lack]:
    """What the stored traces lack of what is wanted; a trace without reasoning steps has no controls."""
    rows = store.probe_rows(run.run_id, ("trace_id", "control", "k"))
    there = set(zip(*rows.values(), strict=True))
    to_roll = _to_roll(store, run, written, wanted)
    for own in written:
        ks = {}
        for control in wanted.controls if wanted.controlled(own.sample) else ():
            offered = {prefix.k for prefix in prefixes_of(control, own, written, (0,), _streams(run, own))}
            missing = [k for k in compared_at(own.n_steps, wanted.at) if k in offered]
            ks[control] = [k for k in missing if (own.trace_id, control, k) not in there]
        ks = {control: missing for control, missing in ks.items() if missing}
        if ks or own.trace_id in to_roll:
            yield Lack(own, ks, own.trace_id in to_roll)


def _to_roll(store: Database, run: Run, written: Sequence[Written], wanted: Wanted) -> set[int]:
    """Ids of the traces that lack rollouts. Raises where they have others than those that are wanted."""
    ids = {written[i].trace_id for i in wanted.rolled([w.sample for w in written])}
    there = rolled_out(store, run.run_id)
    if others := {there[i] for i in ids & there.keys()} - {wanted.m}:
        raise UsageError(
            f"Run {run.run_id} has rollouts of {min(others)} continuations a prefix, not {wanted.m}: ask for --rollouts"
            f" {min(others)}, or 0 to do without, or name another --db."
        )
    return ids - there.keys()


def rolled_out(store: Database, run_id: str) -> dict[int, int]:
    """trace_id -> continuations a prefix, of the traces that were rolled out."""
    rows = store.probe_rows(run_id, ("trace_id", "n_rollouts"))
    return {trace_id: m for trace_id, m in zip(*rows.values(), strict=True) if m is not None}


def _streams(run: Run, own: Written) -> Callable[[str], np.random.Generator]:
    """The random streams of a trace's controls, by name."""
    return lambda name: rng(run.settings["seed"], own.problem_id, own.sample, stream=f"control:{name}")


def _jobs(
    lanes: Engine,
    run: Run,
    lacking: Sequence[Lack],
    questions: dict[str, Question],
    written: Sequence[Written],
    settings: Settings,
    kind: str,
    m: int,
) -> Iterator[Coroutine[tuple[Written, tuple[Probe, ...]]]]:
    meter, filler = Meter(lanes.n_vocab), lanes.vocab.tokenize(FILLER)
    for lack in lacking:
        question, draw = questions[lack.own.problem_id], _streams(run, lack.own)
        prefixes = {
            control: [p for p in prefixes_of(control, lack.own, written, filler, draw) if p.k in ks]
            for control, ks in lack.ks.items()
        }
        stops = tuple(stop.encode() for stop in question.stops)
        how = _rollouts(settings, kind, m, stops) if lack.rolled else None
        yield _job(question, lack.own, prefixes, how, lanes, settings, meter)


def _rollouts(settings: Settings, kind: str, m: int, stops: tuple[bytes, ...]) -> Rollouts:
    sampler = Sampler(settings.temperature, settings.top_p, settings.top_k)
    return Rollouts(m, sampler, settings.seed, settings.max_tokens, stops, kind)


def _job(
    question: Question,
    own: Written,
    prefixes: dict[str, list[Prefix]],
    how: Rollouts | None,
    lanes: Engine,
    settings: Settings,
    meter: Meter,
) -> Coroutine[tuple[Written, tuple[Probe, ...]]]:
    """Coroutine: (trace, its new probes)."""
    pieces, effort, probes = lanes.vocab.pieces, settings.effort(), ()
    for control, asked in prefixes.items():
        probes += yield from control_probes(question, own.n_steps, control, asked, pieces, effort, meter)
    if how is not None:
        ks = range(own.n_steps + 1)
        probes += yield from rollouts(question, own, ks, how, lanes.vocab, meter)
    return own, probes


def _work(store: Database, lanes: Engine, run_id: str, jobs: Iterator, n_todo: int, report: Report) -> None:
    """Drive the jobs; the probes of a trace are one transaction."""
    counts = {"done": 0, "tokens": 0}

    def tell(n_live: int = 0) -> None:
        counts["tokens"] += n_live
        report(Progress(counts["done"], n_todo, counts["tokens"]))

    for own, probes in drive(lanes, jobs, on_decode=tell):
        store.add_probes(run_id, own.trace_id, probes)
        counts["done"] += 1
        tell()
