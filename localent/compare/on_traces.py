"""Comparing on reasoning traces: teacher-forced, both models running free, and on the same prefixes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from localent import engine, runs, tasks
from localent.analysis.pairs import free_running as figures_of_pairs
from localent.analysis.prefixes import Trajectory, trajectory
from localent.compare import free_running, prefixes, stored
from localent.compare.free_running import Key, ProfiledTrace
from localent.compare.models import headers_of, loaded, placed
from localent.compare.plan import DEFAULT, Plan, Source, comparison_id
from localent.compare.prefixes import Given
from localent.compare.result import Candidate, Comparison, Views, assemble
from localent.compare.scoring import Pass, figures, score_all
from localent.compare.stored import Figures
from localent.compare.teacher_forcing import naming
from localent.compare.text import Text, digest_of
from localent.compare.token_classes import classes_of
from localent.engine import Model
from localent.errors import UsageError
from localent.files.identity import Identity
from localent.records import Run
from localent.runs.questions import Prompts
from localent.runs.settings import DEFAULTS, Settings, settings_of
from localent.store import open_db

Traces = dict[Key, ProfiledTrace]


def compare_task(
    reference: str,
    candidates: Sequence[str],
    task: tasks.Task,
    *,
    db: str | Path,
    n: int | None = None,
    samples: int = 1,
    settings: Settings = DEFAULTS,
    plan: Plan = DEFAULT,
    report: runs.Report = lambda progress: None,
    status: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """Let the reference reason through a task (or take up its run), then compare on its traces."""
    headers_of([reference, *candidates])  # refuse before any work
    told = dict(report=report, status=status)
    with _naming_free_run(reference):
        how = dict(db=db, n=n, samples=samples, settings=replace(settings, ctx=None))
        outcome = runs.run(reference, task, **how, listener=runs.Listener(_renamed("reference", report), status))
    return compare_run(reference, candidates, outcome.run_id, task, db=db, n=n, samples=samples, plan=plan, **told)


def compare_run(
    reference: str,
    candidates: Sequence[str],
    run_id: str,
    task: tasks.Task,
    *,
    db: str | Path,
    n: int | None = None,
    samples: int | None = None,
    plan: Plan = DEFAULT,
    report: runs.Report = lambda progress: None,
    status: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """Compare on the traces of a run that exists: teacher-forced, running free as it did, and on its prefixes.

    A comparison that the database has already is read, not computed again.
    """
    headers = headers_of([reference, *candidates])
    with open_db(db, create=False) as store:
        run = store.run(run_id)
        traces = _chosen(free_running.traces_of(store, run.run_id), task, n, samples)
        known = stored.figures_on_run(store, run.run_id, positions=plan.positions)
    settings = replace(settings_of(run), noise_of=None)
    work = _Work(headers, task, run, traces, settings, placed(headers, plan), db, report, status)
    return (known and work.read_back(known)) or work.compare()


def _chosen(traces: Traces, task: tasks.Task, n: int | None, samples: int | None) -> Traces:
    """The traces of the first n problems and samples, in the order of the task."""
    wanted = [p.problem_id for p in task.problems[:n]]
    n_samples = max((s for _, s in traces), default=0) + 1 if samples is None else samples
    found = {(p, s): traces[p, s] for p in wanted for s in range(n_samples) if (p, s) in traces}
    if not found:
        raise UsageError(f"The run has no traces of these problems of {task.name}: name its task's file with --data.")
    return found


def _naming_free_run(model: str) -> AbstractContextManager[None]:
    return naming([Path(model).name], "running free")


def _renamed(name: str, report: runs.Report) -> runs.Report:
    return lambda progress: report(replace(progress, name=f"{name} running free"))


@dataclass(frozen=True, slots=True)
class _Work:
    """One comparison on the traces of a run."""

    headers: Sequence[Identity]  # the reference first
    task: tasks.Task
    run: Run
    traces: Traces
    settings: Settings  # of the run
    plan: Plan
    db: str | Path
    report: runs.Report
    status: Callable[[str], None]

    def compare(self) -> Comparison:
        """All views of all models, stored."""
        free = self.free_runs() if self.plan.free else [Views(None)] * len(self.headers)
        with loaded(self.headers, self.plan) as models:
            given = self.given(models[0])
            texts = self.texts(given)
            found, floor = score_all(models, Pass(texts, self.plan, self.report))
            paths = self.trajectories(models, given) if self.can_probe(given) else [None] * len(models)
        forced = [figures(floor, 0, texts, cut=False) if floor else None]
        forced += [figures(found, i, texts, cut=False) for i in range(len(models) - 1)]
        views = [replace(v, forced=f, trajectory=t) for v, f, t in zip(free, forced, paths, strict=True)]
        source = Source("run", self.run.run_id, digest_of(texts))
        done = assemble([h.model for h in self.headers], views, source, len(texts), self.plan)
        stored.write(self.db, done, found, texts, self.plan)
        return done

    def read_back(self, known: dict[str, Figures]) -> Comparison | None:
        """The comparison as it is in the database; None unless all of it is there."""
        reference, *candidates = (h.model for h in self.headers)
        with engine.open(reference.path, gpu_layers=self.plan.gpu_layers) as weights:
            texts = self.texts(self.given(weights))
        source = Source("run", self.run.run_id, digest_of(texts))
        keys = [comparison_id(reference, model, source, self.plan) for model in candidates]
        if not keys or not all(key in known for key in keys):
            return None
        found = [stored.from_json(Candidate, known[key]) for key in keys]
        named = tuple(replace(one, model=model) for one, model in zip(found, candidates, strict=True))
        floor = stored.from_json(Candidate, known[keys[0]]["noise"])
        floor = floor and replace(floor, model=reference)
        return Comparison(reference, source.kind, source.name, len(texts), named, floor)

    # --- what is fed ------------------------------------------------------------------------------------------------

    def given(self, weights: Model) -> list[Given]:
        """The traces with their questions, prompted as they were. Raises UsageError where the prompts differ."""
        header, wanted = self.headers[0], {p for p, _ in self.traces}
        problems = [p for p in self.task.problems if p.problem_id in wanted]
        prompts = Prompts(self.task, header.template, weights.vocab, self.settings)
        if prompts.digest() != self.run.settings["prompt"]:
            raise UsageError(
                f"Run {self.run.run_id} was prompted in another way than {Path(header.model.path).name} is on"
                f" {self.task.name}: its template, examples or cue differ, so its traces cannot be fed as they were."
            )
        questions = {question.problem.problem_id: question for question in prompts.questions(problems)}
        return [Given(questions[p], one.trace) for (p, _), one in self.traces.items()]

    def texts(self, given: Sequence[Given]) -> list[Text]:
        """Each prompt and the trace written after it: the trace's own tokens are scored."""
        ids = [one.trace_id for one in self.traces.values()]
        return [text_of(one, trace_id) for one, trace_id in zip(given, ids, strict=True)]

    # --- running free -----------------------------------------------------------------------------------------------

    def free_runs(self) -> list[Views]:
        """The reference against itself in other lanes, empty without a noise floor; then each candidate."""
        reference, *candidates = self.headers
        own_id, base = self.run.run_id, self.traces
        if reference.model.sha256 != self.run.model_sha256:  # the run is another model's
            own_id = self.run_free(reference, self.settings, "reference")
            base = self.traces_in(own_id)
        lanes = self.settings.lanes
        other = replace(self.settings, lanes=max(1, lanes // 2) if lanes > 1 else 2, noise_of=own_id)
        floor = self.free_run(base, reference, other, "reference in other lanes") if self.plan.noise else Views(None)
        return [floor, *(self.free_run(base, h, self.settings, h.model.quant) for h in candidates)]

    def free_run(self, base: Traces, header: Identity, settings: Settings, name: str) -> Views:
        """One model running free, beside the reference's traces."""
        run_id = self.run_free(header, settings, name)
        pairs = free_running.pairs(base, self.traces_in(run_id))
        return Views(None, figures_of_pairs(pairs), run_id)

    def run_free(self, header: Identity, settings: Settings, name: str) -> str:
        """The id of the run in which a model works on the problems of the traces."""
        order = [p.problem_id for p in self.task.problems]
        n, samples = max(order.index(p) for p, _ in self.traces) + 1, max(s for _, s in self.traces) + 1
        how = dict(db=self.db, n=n, samples=samples, settings=replace(settings, ctx=None))
        with _naming_free_run(header.model.path):
            listener = runs.Listener(_renamed(name, self.report), self.status)
            return runs.run(header.model.path, self.task, **how, listener=listener).run_id

    def traces_in(self, run_id: str) -> Traces:
        """The attempts of another run at the same problems."""
        with open_db(self.db, readonly=True) as store:
            return free_running.traces_of(store, run_id, set(self.traces))

    # --- on the same prefixes ---------------------------------------------------------------------------------------

    def can_probe(self, given: Sequence[Given]) -> bool:
        """True where the prefixes are to be probed, and answers of this kind can be."""
        known = all(g.question.grammar is not None for g in given) and any(g.trace.probes for g in given)
        return self.plan.free and known

    def trajectories(self, models: Sequence[Model], given: Sequence[Given]) -> list[Trajectory | None]:
        """The reference's stored probes against its own read again, then each candidate against the reference."""
        names = ["reference", *(model.path.name for model in models[1:])]
        reference, *others = (self.probes(*one, given) for one in zip(models, names, strict=True))
        known = [g.trace.own_probes for g in given]
        own = self.plan.noise and self.headers[0].model.sha256 == self.run.model_sha256  # else another model's probes
        same = own and all(len(a) == len(b) for a, b in zip(known, reference, strict=True))
        floor = trajectory(prefixes.paired(given, reference, known)) if same else None
        return [floor, *(trajectory(prefixes.paired(given, reference, other)) for other in others)]

    def probes(self, model: Model, name: str, given: Sequence[Given]) -> list[prefixes.Probes]:
        """The answer distributions of one model on the prefixes of all traces."""

        def tell(n: int) -> None:
            self.report(runs.Progress(n, len(given), name=f"{name} on the same prefixes"))

        how = dict(lanes=self.settings.lanes, threads=self.settings.threads)
        with naming([model.path.name], "on the same prefixes"):
            return prefixes.probes_under(model, given, self.settings.effort(), report=tell, **how)


def text_of(given: Given, trace_id: int) -> Text:
    """A prompt and the trace written after it: the trace's own tokens are scored."""
    prompt, trace = given.question.prompt, given.trace
    return Text(
        tokens=[*prompt.tokens, *(token.token_id for token in trace.tokens)],
        first=len(prompt.tokens) - 1,
        n_shared=prompt.n_shared,
        problem=trace.problem_id,
        trace_id=trace_id,
        classes=classes_of([token.text for token in trace.tokens], trace.steps),
    )
