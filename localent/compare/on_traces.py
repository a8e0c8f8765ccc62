"""Comparison on reasoning traces: teacher-forced, with every model generating freely, and on the same prefixes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from localent import runs, tasks
from localent.analysis.as_json import from_json
from localent.analysis.pairs import free_running as figures_of_pairs
from localent.analysis.prefixes import Trajectory, trajectory
from localent.compare import free_running, prefixes, stored
from localent.compare.free_running import Key, ProfiledTrace
from localent.compare.models import InMemory, differences, models_of, placed, repeated, usable, with_cache
from localent.compare.plan import DEFAULT, Plan, Source, comparison_id
from localent.compare.prefixes import Given
from localent.compare.result import Candidate, Comparison, Views, assemble
from localent.compare.scoring import Pass, figures, score_all
from localent.compare.stored import Figures
from localent.compare.teacher_forcing import naming
from localent.compare.text import Text, digest_of
from localent.compare.token_classes import classes_of
from localent.engine import Vocab
from localent.errors import LocalentError, UsageError
from localent.records import Run, Speed
from localent.runs import Outcome, session
from localent.runs.clock import UNLIMITED
from localent.runs.progress import SILENT, Listener, Progress, Report, about, ignore, no_trace, retold, unfinished
from localent.runs.questions import Prompts, answered_by
from localent.runs.session import Loaded, ModelFile
from localent.runs.settings import DEFAULTS, Settings, settings_of
from localent.store import open_db

Traces = dict[Key, ProfiledTrace]
OTHER_LANES, FORCED, PROBED = 1.5, 0.3, 0.5  # cost of a run in half as many lanes, of reading traces, of probing them


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """The attempts that the reference makes at a task before it is compared."""

    n: int | None = None  # the first so many problems; None: all
    samples: int = 1  # of each problem
    settings: Settings = DEFAULTS


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTraces:
    """Traces of a stored run: those of the first `n` problems of its task, the first `samples` of each. None: all."""

    run_id: str
    task: tasks.Task
    n: int | None = None
    samples: int | None = None


def compare_task(
    models: Sequence[str],
    task: tasks.Task,
    *,
    db: str | Path,
    attempts: Attempts = Attempts(),
    plan: Plan = DEFAULT,
    listener: Listener = SILENT,
) -> Comparison:
    """Let the reference, the first of the models, work on a task (or resume its run), then compare on its traces.

    In limited time it makes so many traces that what is done with them should be done in time too, for which nothing
    is cut short: a comparison is of the same traces for all models.
    """
    models = repeated(models, plan)
    usable(models)  # refuse before any work
    n, samples, settings = attempts.n, attempts.samples, with_cache(replace(attempts.settings, ctx=None), plan, 0)
    with _naming_free_run(models[0]):
        heard = _first_part(listener, passes(plan, len(models)))
        outcome = runs.run(models[0], task.first(n), db=db, samples=samples, settings=settings, listener=heard)
    if not outcome.n_done:
        raise LocalentError(no_trace(listener.time))
    made = RunTraces(run_id=outcome.run_id, task=task, n=n, samples=samples)
    found = compare_run(
        models[:1] if plan.caches else models, made, db=db, plan=plan, listener=replace(listener, time=UNLIMITED)
    )
    if outcome.n_left:
        listener.note(unfinished(outcome.n_done, outcome.n_done + outcome.n_left, "trace", listener.time))
    return found


def make_part(
    models: Sequence[str],
    task: tasks.Task,
    *,
    db: str | Path,
    attempts: Attempts = Attempts(),
    plan: Plan = DEFAULT,
    listener: Listener = SILENT,
) -> Outcome:
    """Let all models generate a part of what is compared: attempts.settings.shard. Nothing is compared yet.

    Returns the outcome of the reference's part. The comparison on the merged parts finds these runs and goes on.
    """
    models = repeated(models, plan)
    usable(models)
    n, samples, settings = attempts.n, attempts.samples, with_cache(replace(attempts.settings, ctx=None), plan, 0)
    with _naming_free_run(models[0]):
        heard = replace(listener, report=_renamed("reference", listener.report))
        outcome = runs.run(models[0], task.first(n), db=db, samples=samples, settings=settings, listener=heard)
    if outcome.n_done and plan.free:
        made = RunTraces(run_id=outcome.run_id, task=task, n=n, samples=samples)
        work = _work(models, made, db, plan, listener)
        for file, chosen, name in work.free(outcome.run_id):
            work.run_free(file, replace(chosen, shard=settings.shard), name)
    return outcome


def compare_free(
    models: Sequence[str], on: RunTraces, *, db: str | Path, plan: Plan = DEFAULT, listener: Listener = SILENT
) -> list[Views]:
    """Let each model work on the problems of these traces by itself, beside those of the first, the reference.

    Returns the views of the reference in other lanes, empty without a noise floor; then those of each candidate.
    """
    return _work(models, on, db, plan, listener).free_runs()


def _work(models: Sequence[str], on: RunTraces, db: str | Path, plan: Plan, listener: Listener) -> _Work:
    """A comparison on the traces of a run that are in the database."""
    files = usable(models)
    with open_db(db, create=False) as store:
        run = store.run(on.run_id)
        traces = _chosen(free_running.traces_of(store, run.run_id), on)
    return _Work(files, on, run, traces, placed(files, plan), db, listener)


def passes(plan: Plan, n_models: int) -> float:
    """The cost of the whole comparison, in free runs of the reference: its own is one."""
    free = plan.free * (n_models - 1 + plan.noise * OTHER_LANES)
    return 1 + free + n_models * (FORCED + plan.free * PROBED)


def _first_part(listener: Listener, n_passes: float) -> Listener:
    """The listener for the reference's traces, which get their part of the time and tell how long all takes."""
    time = listener.time.share(1 / n_passes)

    def told(seen: Sequence[Progress], spent: float) -> str:
        last = seen[-1]
        whole = spent * last.n_todo / last.n_done * n_passes
        return about(whole, f"comparing on {last.n_todo} traces", listener.time)

    heard = replace(listener, report=_renamed("reference", listener.report))
    return replace(retold(heard, told), time=replace(time, end=time.until))


def compare_run(
    models: Sequence[str],
    on: RunTraces,
    *,
    db: str | Path,
    plan: Plan = DEFAULT,
    listener: Listener = SILENT,
) -> Comparison:
    """Compare models, the reference first, on traces of a stored run, generating with the run's settings.

    A comparison that the database holds is read back, not computed again. Raises UsageError where the run has none of
    these traces, or was prompted differently than the reference is.
    """
    files = usable(repeated(models, plan))
    with open_db(db, create=False) as store:
        run = store.run(on.run_id)
        traces = _chosen(free_running.traces_of(store, run.run_id), on)
        known = stored.figures_on_run(store, run.run_id, positions=plan.positions)
    plan = plan if plan.caches else _cached_as(plan, run)
    work = _Work(files, on, run, traces, placed(files, plan), db, listener)
    return (known and work.read_back(known)) or work.compare()


def _cached_as(plan: Plan, run: Run) -> Plan:
    """The plan with the cache types that the run was made with."""
    made = settings_of(run)
    return replace(plan, cache_type_k=made.cache_type_k, cache_type_v=made.cache_type_v)


def _chosen(traces: Traces, on: RunTraces) -> Traces:
    """The traces of the first n problems and samples, in the order of the task."""
    wanted = [p.problem_id for p in on.task.problems[: on.n]]
    n_samples = max((s for _, s in traces), default=0) + 1 if on.samples is None else on.samples
    found = {(p, s): traces[p, s] for p in wanted for s in range(n_samples) if (p, s) in traces}
    if not found:
        raise UsageError(
            f"Run {on.run_id} has no traces of these problems of {on.task.name}: give its task's file with --data."
        )
    return found


@contextmanager
def _naming_free_run(model: str) -> Iterator[None]:
    with naming([Path(model).name], "running free"):
        yield


def _renamed(name: str, report: Report) -> Report:
    return lambda progress: report(replace(progress, name=f"{name} running free"))


@dataclass(frozen=True, slots=True)
class _Work:
    """One comparison on the traces of a run."""

    files: Sequence[ModelFile]  # the reference first
    on: RunTraces
    run: Run
    traces: Traces
    plan: Plan
    db: str | Path
    listener: Listener

    @property
    def task(self) -> tasks.Task:
        """The task that the traces are of."""
        return self.on.task

    @property
    def n_attempts(self) -> int:
        """The traces that are compared, were all of them there."""
        samples = self.on.samples or max(s for _, s in self.traces) + 1
        return samples * len(self.task.first(self.on.n).problems)

    @property
    def settings(self) -> Settings:
        """The settings of the run, for runs of the user's own."""
        return replace(settings_of(self.run), noise_of=None)

    @property
    def is_references(self) -> bool:
        """True if the run is the reference's, False if another model wrote the traces."""
        return self.files[0].header.model.sha256 == self.run.model_sha256

    def compare(self) -> Comparison:
        """All views of all models, stored."""
        free = self.free_runs() if self.plan.free else [Views(None)] * len(self.files)
        with InMemory(self.files, replace(self.settings, gpu_layers=self.plan.gpu_layers), self.plan) as models:
            given = self.given(models[0].weights.vocab)
            texts = self.texts(given)
            whole = Pass(texts, self.plan, self.listener.report)
            speeds, (found, floor) = whole.speeds(models), score_all(models, whole)
            paths = self.trajectories(models, given) if self.can_probe(given) else [None] * len(models)
        forced = [figures(floor, 0, texts, cut=False) if floor else None]
        forced += [figures(found, i, texts, cut=False) for i in range(len(models) - 1)]
        parts = zip(free, forced, paths, speeds, strict=True)
        views = [replace(view, forced=f, trajectory=t, speed=s) for view, f, t, s in parts]
        done = assemble(models_of(self.files), views, self.source(texts), len(texts), self.plan)
        done = replace(done, warnings=differences(models_of(self.files)))
        stored.write(self.db, done, found, texts, self.plan)
        return done

    def read_back(self, known: dict[str, Figures]) -> Comparison | None:
        """The comparison as the database holds it; None unless all of it is there."""
        reference, *candidates = models_of(self.files)
        with session.vocabulary(reference.path) as (_, vocab):
            texts = self.texts(self.given(vocab))
        source = self.source(texts)
        keys = [comparison_id(reference, model, source, self.plan, i) for i, model in enumerate(candidates, 1)]
        if not keys or not all(key in known for key in keys):
            return None
        found = [from_json(Candidate, known[key]) for key in keys]
        named = tuple(replace(one, model=model) for one, model in zip(found, candidates, strict=True))
        floor = from_json(Candidate, known[keys[0]]["noise"])
        floor = floor and replace(floor, model=reference)
        speed = from_json(Speed | None, known[keys[0]].get("reference_speed"))
        done = Comparison(reference, source.kind, source.name, len(texts), named, floor)
        told = differences(models_of(self.files))
        return replace(done, speed=speed, variant=self.plan.variant(0), warnings=told)

    # --- what is fed ------------------------------------------------------------------------------------------------

    def source(self, texts: Sequence[Text]) -> Source:
        """The traces as the source of the comparison."""
        return Source("run", self.run.run_id, digest_of(texts))

    def given(self, vocab: Vocab) -> list[Given]:
        """The traces with their questions. Raises UsageError unless the prompts are those of the run."""
        file, wanted = self.files[0], {p for p, _ in self.traces}
        problems = [p for p in self.task.problems if p.problem_id in wanted]
        task, settings = answered_by(self.task, file.header, self.settings)
        prompts = Prompts(task, file.header.template, vocab, settings)
        if prompts.digest() != self.run.settings["prompt"]:
            raise UsageError(
                f"Run {self.run.run_id} used another prompt than {file.path.name} gets on {self.task.name} (another"
                " template, other examples or another cue), so its traces cannot be compared: start a new run with"
                " --task."
            )
        questions = {question.problem.problem_id: question for question in prompts.questions(problems)}
        return [Given(questions[p], one.trace) for (p, _), one in self.traces.items()]

    def texts(self, given: Sequence[Given]) -> list[Text]:
        """Each prompt followed by its trace, of which the trace's tokens are scored."""
        ids = [one.trace_id for one in self.traces.values()]
        return [text_of(one, trace_id) for one, trace_id in zip(given, ids, strict=True)]

    # --- free running -----------------------------------------------------------------------------------------------

    def free_runs(self) -> list[Views]:
        """The reference against itself in other lanes, empty without a noise floor; then each candidate."""
        own_id, base = self.run.run_id, self.traces
        if not self.is_references:
            own_id = self.run_free(self.files[0], with_cache(self.settings, self.plan, 0), "reference")
            base = self.traces_in(own_id)
        names = iter(self.free(own_id))
        floor = self.free_run(base, *next(names)) if self.plan.noise else Views(None)
        return [floor, *(self.free_run(base, *one) for one in names)]

    def free(self, own_id: str) -> Iterator[tuple[ModelFile, Settings, str]]:
        """What runs free: the reference in other lanes, where a noise floor is wanted; then each candidate.

        own_id: of the run of the reference that they are compared with.
        """
        reference, *candidates = self.files
        if self.plan.noise:
            lanes = min(self.settings.lanes or 1, self.n_attempts)  # no more are used at a time
            other = replace(self.settings, lanes=max(1, lanes // 2) if lanes > 1 else 2, noise_of=own_id)
            yield reference, with_cache(other, self.plan, 0), "reference in other lanes"
        for i, file in enumerate(candidates, 1):
            name = self.plan.variant(i) or file.header.model.quant
            yield file, with_cache(self.settings, self.plan, i), name

    def free_run(self, base: Traces, file: ModelFile, settings: Settings, name: str) -> Views:
        """Compare the free run of one model with the reference's traces."""
        run_id = self.run_free(file, settings, name)
        pairs = free_running.pairs(base, self.traces_in(run_id))
        return Views(None, figures_of_pairs(pairs), run_id)

    def run_free(self, file: ModelFile, settings: Settings, name: str) -> str:
        """Let a model work on the problems of the traces; returns the id of its run."""
        order, path, settings = [p.problem_id for p in self.task.problems], file.spelled, replace(settings, ctx=None)
        n, samples = max(order.index(p) for p, _ in self.traces) + 1, max(s for _, s in self.traces) + 1
        heard = replace(self.listener, report=_renamed(name, self.listener.report), note=ignore)
        with _naming_free_run(path):
            outcome = runs.run(path, self.task.first(n), db=self.db, samples=samples, settings=settings, listener=heard)
        return outcome.run_id

    def traces_in(self, run_id: str) -> Traces:
        """The attempts of another run at the same problems."""
        with open_db(self.db, readonly=True) as store:
            return free_running.traces_of(store, run_id, set(self.traces))

    # --- on the same prefixes ---------------------------------------------------------------------------------------

    def can_probe(self, given: Sequence[Given]) -> bool:
        """True if prefixes are asked for, the traces have probes, and answers of this kind can be probed."""
        known = all(g.question.grammar is not None for g in given) and any(g.trace.probes for g in given)
        return self.plan.free and known

    def trajectories(self, models: InMemory, given: Sequence[Given]) -> list[Trajectory | None]:
        """The reference's stored probes against its own, made again; then each candidate against the reference."""
        names = ["reference", *(file.path.name for file in self.files[1:])]
        reference, *others = (self.probes(models[i], name, given) for i, name in enumerate(names))
        known = [g.trace.own_probes for g in given]
        own = self.plan.noise and self.is_references
        same = own and all(len(a) == len(b) for a, b in zip(known, reference, strict=True))
        floor = trajectory(prefixes.paired(given, reference, known)) if same else None
        return [floor, *(trajectory(prefixes.paired(given, reference, other)) for other in others)]

    def probes(self, model: Loaded, name: str, given: Sequence[Given]) -> list[prefixes.Probes]:
        """The answer distributions of one model on the prefixes of all traces."""

        def tell(n: int) -> None:
            self.listener.report(Progress(n, len(given), name=f"{name} on the same prefixes"))

        with naming([model.file.path.name], "on the same prefixes"):
            return prefixes.probes_under(model, given, self.task.kind, tell)


def texts_of_run(file: ModelFile, on: RunTraces, *, db: str | Path, vocab: Vocab) -> list[Text]:
    """The texts of a stored run's traces for the model that wrote them, in the order of the task."""
    with open_db(db, create=False) as store:
        run = store.run(on.run_id)
        traces = _chosen(free_running.traces_of(store, run.run_id), on)
    work = _Work([file], on, run, traces, DEFAULT, db, SILENT)
    return work.texts(work.given(vocab))


def text_of(given: Given, trace_id: int) -> Text:
    """A prompt followed by its trace, of which the trace's tokens are scored."""
    prompt, trace = given.question.prompt, given.trace
    return Text(
        tokens=[*prompt.tokens, *(token.token_id for token in trace.tokens)],
        first=len(prompt.tokens) - 1,
        n_shared=prompt.n_shared,
        problem=trace.problem_id,
        variants=given.question.problem.variants,
        trace_id=trace_id,
        classes=classes_of([token.text for token in trace.tokens], trace.steps),
    )
