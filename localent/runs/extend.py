"""Probes added to traces that are stored: controls and rollouts. The traces stay as they are, to the last bit."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from localent import tasks
from localent.engine import Coroutine
from localent.errors import UsageError
from localent.measure.sampling import rng
from localent.records import Probe, Run
from localent.runs import session
from localent.runs.progress import SILENT, Listener, Tally
from localent.runs.session import Session
from localent.runs.settings import Settings, settings_of
from localent.runs.shard import Shard
from localent.store import Database, open_db
from localent.tracing import places
from localent.tracing.attempt import Question, Setup
from localent.tracing.controls import EVERY, FILLER, Draw, Written, compared_at, control_probes, prefixes_of
from localent.tracing.places import probed_at
from localent.tracing.rollout import Continued, Part, Rollouts, continuations, parts, rollouts_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The traces of a run that count, and the probes to add to them. None: no limit."""

    problems: Collection[str] | None = None  # ids
    samples: int | None = None  # traces of a problem: the first so many
    controls: Sequence[str] = ()
    at: str = EVERY  # where controls are read: see controls.compared_at
    control_samples: int | None = None  # traces of a problem that get controls
    m: int | None = 0  # rollouts for each prefix; 0: none
    n_rolled: int | None = None  # traces that are rolled out, first samples first
    every_step: bool = False  # roll out after every step, not only where traces are probed
    shard: Shard | None = None  # the part of the traces that get them here; None: all

    def counts(self, problem_id: str, sample: int) -> bool:
        """True for a trace that counts."""
        asked = self.problems is None or problem_id in self.problems
        return asked and (self.samples is None or sample < self.samples)

    def controlled(self, sample: int) -> bool:
        """True for a trace whose controls are read, among those that count."""
        return self.control_samples is None or sample < self.control_samples

    def mine(self, problem_id: str, sample: int) -> bool:
        """True for a trace that gets its probes here."""
        return self.shard is None or self.shard.has(problem_id, sample)

    def rolled(self, samples: Sequence[int]) -> list[int]:
        """Indices of the traces to roll out, among those that count, given by their samples."""
        return sorted(range(len(samples)), key=samples.__getitem__)[: self.n_rolled] if self.m != 0 else []


@dataclass(frozen=True, slots=True)
class Added:
    """What an invocation did for the traces that lacked probes."""

    n_new: int  # traces that have all of them now
    n_left: int  # traces that there was no time for
    longest: float = 0.0  # seconds of the longest of them


@dataclass(frozen=True, slots=True)
class Lack:
    """The probes that one trace is missing."""

    own: Written
    ks: dict[str, list[int]]  # of each control
    m: int  # rollouts for each prefix; 0: it has them, or none are wanted
    rolled: Sequence[int]  # k of the prefixes that lack them
    draw: Draw  # the random streams of its controls


def add_probes(
    model: str, task: tasks.Task, run_id: str, *, db: str | Path, wanted: Wanted, listener: Listener = SILENT
) -> Added:
    """Add the missing control probes and rollouts to a run's traces.

    Controls from other traces are drawn among those that count. A trace's probes are one transaction, so
    that a call that was stopped, also by the listener's time, can be repeated.
    """
    with open_db(db) as store:
        run = store.run(run_id)
        traces = [w for w in stored(store, run_id) if wanted.counts(w.problem_id, w.sample)]
        lacking = sorted(_lacking(store, run, traces, wanted), key=lambda lack: lack.own.problem_id)  # share a prompt
        if not (lacking and listener.time.allows(listener.time.unit)):
            return Added(0, len(lacking), listener.time.unit)
        listener.status(f"adding probes to {len(lacking)} traces")
        with _opened(model, task, run, traces) as asked:
            return _add(store, asked, run.run_id, traces, lacking, listener)


@contextmanager
def _opened(model: str, task: tasks.Task, run: Run, traces: Sequence[Written]) -> Iterator[Session]:
    """The model of a run with the questions of some traces and the run's settings."""
    ids = {trace.problem_id for trace in traces}
    task = replace(task, problems=tuple(p for p in task.problems if p.problem_id in ids))
    settings = settings_of(run)
    settings = replace(settings, gpu_layers=settings.gpu_layers or 0)  # early runs did not record it
    with session.opened(session.usable(model), task, settings) as asked:
        yield asked


def stored(store: Database, run_id: str) -> list[Written]:
    """All traces of a run as token ids and step ends; the token that ends a trace is in no step."""
    traces = store.traces(run_id, ("trace_id", "problem_id", "sample", "correct", "n_tokens", "n_given"))
    tokens, ends = store.tokens(run_id, ("token_id", "text", "piece", "given")), _step_ends(store, run_id)
    sizes = np.array(traces["n_tokens"], int) + np.array(traces["n_given"], int)
    starts, found = np.r_[0, np.cumsum(sizes)].tolist(), []
    for i, (trace_id, problem, sample, correct, *_) in enumerate(zip(*traces.values(), strict=True)):
        at, n = slice(starts[i], starts[i + 1]), int(sizes[i])
        is_end = n > 0 and not tokens["text"][at][-1] and tokens["piece"][at][-1] is None
        mine = (0, *(min(end, n - is_end) for end in ends.get(trace_id, ())))
        given = frozenset(np.flatnonzero(tokens["given"][at]).tolist())
        found.append(Written(trace_id, problem, sample, bool(correct), tuple(tokens["token_id"][at]), mine, given))
    return found


def _step_ends(store: Database, run_id: str) -> dict[int, list[int]]:
    """trace_id -> one past the last token of each reasoning step."""
    ends: dict[int, list[int]] = {}
    for trace_id, kind, end in zip(*store.steps(run_id, ("trace_id", "kind", "end_token")).values(), strict=True):
        if kind == "reasoning":
            ends.setdefault(trace_id, []).append(end)
    return ends


def _lacking(store: Database, run: Run, written: Sequence[Written], wanted: Wanted) -> Iterator[Lack]:
    """The probes that are wanted and missing; a trace without reasoning steps has no controls."""
    rows = store.probe_rows(run.run_id, ("trace_id", "control", "k"))
    there, n_probes = set(zip(*rows.values(), strict=True)), settings_of(run).probes
    to_roll = _to_roll(store, run, written, wanted)
    for own in (own for own in written if wanted.mine(own.problem_id, own.sample)):
        ks = {}
        for control in wanted.controls if wanted.controlled(own.sample) else ():
            offered = {prefix.k for prefix in prefixes_of(control, own, written, (0,), _streams(run, own))}
            missing = [k for k in compared_at(probed_at(own.n_steps, n_probes), wanted.at) if k in offered]
            ks[control] = [k for k in missing if (own.trace_id, control, k) not in there]
        ks = {control: missing for control, missing in ks.items() if missing}
        rolled = to_roll.get(own.trace_id, [])
        if ks or rolled:
            yield Lack(own, ks, wanted.m or 0 if rolled else 0, rolled, _streams(run, own))


def _to_roll(store: Database, run: Run, written: Sequence[Written], wanted: Wanted) -> dict[int, list[int]]:
    """trace_id -> the k at which rollouts are missing. Raises UsageError where there are another number of them."""
    chosen = [written[i] for i in wanted.rolled([w.sample for w in written])]
    there, n_probes = rolled_out(store, run.run_id), None if wanted.every_step else _n_probes(settings_of(run))
    if others := {m for w in chosen for m in there.get(w.trace_id, {}).values()} - {wanted.m}:
        raise UsageError(
            f"Run {run.run_id} has rollouts of {min(others)} continuations a prefix, not {wanted.m}: ask for --rollouts"
            f" {min(others)}, or 0 to do without, or name another --db."
        )
    missing = {w.trace_id: set(probed_at(w.n_steps, n_probes)) - there.get(w.trace_id, {}).keys() for w in chosen}
    return {trace_id: sorted(ks) for trace_id, ks in missing.items() if ks}


def _n_probes(settings: Settings) -> int | None:
    """How many prefixes of a trace are looked at; of a kind that is not probed, as many as usual."""
    return settings.probes if settings.probe else places.DEFAULT


def rolled_out(store: Database, run_id: str) -> dict[int, dict[int, int]]:
    """trace_id -> k -> continuations of that prefix, of the traces that were rolled out."""
    rows, found = store.probe_rows(run_id, ("trace_id", "k", "n_rollouts")), dict[int, dict[int, int]]()
    for trace_id, k, m in zip(*rows.values(), strict=True):
        if m is not None:
            found.setdefault(trace_id, {})[k] = m
    return found


def _streams(run: Run, own: Written) -> Draw:
    """The random streams of a trace's controls, by name."""
    return lambda name: rng(settings_of(run).seed, own.problem_id, own.sample, stream=f"control:{name}")


@dataclass(slots=True)
class _Adding:
    """The probes of one trace while they are made: a job for all of its controls, one for each part of its rollouts."""

    lack: Lack
    question: Question
    begun: float  # on the clock
    n_open: int = 0  # jobs without a result
    probes: tuple[Probe, ...] = ()  # of controls
    continued: dict[Part, list[Continued]] = field(default_factory=dict)

    def jobs(self, how: Setup, traces: Sequence[Written]) -> list[Coroutine[_Adding]]:
        """The coroutines that make the probes. traces: what controls are drawn from."""
        found = [self._controls(how, traces)] if self.lack.ks else []
        if self.lack.m:
            limits = how.asking(self.question).limits
            rolling = Rollouts(self.lack.m, how.sampler, how.seed, limits, how.kind)
            found += [self._rollouts(part, rolling, how) for part in parts(self.lack.rolled, self.lack.m)]
        self.n_open = len(found)
        return found

    def _controls(self, how: Setup, traces: Sequence[Written]) -> Coroutine[_Adding]:
        own, draw, filler = self.lack.own, self.lack.draw, how.vocab.tokenize(FILLER)
        for control, ks in self.lack.ks.items():
            prefixes = [p for p in prefixes_of(control, own, traces, filler, draw) if p.k in ks]
            self.probes += yield from control_probes(self.question, own, control, prefixes, how)
        return self

    def _rollouts(self, part: Part, rolling: Rollouts, how: Setup) -> Coroutine[_Adding]:
        found = yield from continuations(self.question, self.lack.own, part, rolling, how.vocab, how.meter)
        self.continued[part] = found
        return self

    def made(self, kind: tasks.Kind) -> tuple[Probe, ...]:
        """All probes, once no job is open."""
        ended: dict[int, list[Continued]] = {}
        for part in sorted(self.continued, key=lambda part: (part.k, part.js.start)):
            ended.setdefault(part.k, []).extend(self.continued[part])
        return (*self.probes, *rollouts_of(self.lack.own, ended, self.question.problem.answer, kind))


def _add(
    store: Database, asked: Session, run_id: str, traces: Sequence[Written], lacking: Sequence[Lack], listener: Listener
) -> Added:
    """Make the probes; those of a trace are one transaction."""
    questions = {q.problem.problem_id: q for q in asked.questions}
    with asked.engine() as lanes:
        setup, tally = asked.setup(lanes), Tally(listener, len(lacking), lanes.n_lanes)
        begun = (_Adding(lack, questions[lack.own.problem_id], listener.time.clock()) for lack in tally.begin(lacking))
        jobs = (job for adding in begun for job in adding.jobs(setup, traces))
        for adding in tally.drive(lanes, jobs):
            adding.n_open -= 1
            if not adding.n_open:
                tally.ended(adding.begun)
                store.add_probes(run_id, adding.lack.own.trace_id, adding.made(asked.task.kind))
                tally.done()
        return Added(tally.n_done, tally.n_left, tally.longest)
