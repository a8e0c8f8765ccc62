"""Comparing on reasoning traces: teacher-forced, both models running free, and on the same prefixes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from localent import engine, runs, tasks
from localent.analysis.pairs import FreeRunning
from localent.analysis.pairs import free_running as figures_of
from localent.analysis.prefixes import Trajectory, trajectory
from localent.compare import free_running, kept, prefixes, texts
from localent.compare.assembly import assemble, heads_of, label, placed
from localent.compare.comparison import DEFAULT, Candidate, Comparison, Plan
from localent.compare.prefixes import Given
from localent.compare.scoring import measured, score_all
from localent.compare.stored import comparison_id, digest_of, keep
from localent.compare.teacher_forcing import Text, named
from localent.engine import Model
from localent.errors import UsageError
from localent.records import Run
from localent.runs.questions import Prompts
from localent.runs.settings import DEFAULTS, Settings, settings_of
from localent.store import open_db


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
    heads_of([reference, *candidates])  # refuse before any work
    outcome = _run(reference, task, db, n, samples, settings, report, status, "reference")
    return compare_run(
        reference,
        candidates,
        outcome.run_id,
        task,
        db=db,
        n=n,
        samples=samples,
        plan=plan,
        report=report,
        status=status,
    )


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

    What the database has already of the same comparison is read, not computed again.
    """
    heads = heads_of([reference, *candidates])
    with open_db(db, create=False) as store:
        run = store.run(run_id)
        written = _chosen(free_running.traces_of(store, run.run_id), task, n, samples)
        there = kept.on_run(store, run.run_id, positions=plan.positions)
    settings, plan = replace(settings_of(run), noise_of=None), placed(heads, plan)
    if there and (done := _kept_on_run(there, heads, task, run, written, settings, plan)):
        return done
    own = [None] * len(heads)
    if plan.free:
        own = _free_runs(heads, run, written, task, db, settings, plan, report, status)
    with ExitStack() as stack:
        loaded = [stack.enter_context(engine.open(h.model.path, gpu_layers=plan.gpu_layers)) for h in heads]
        given = _given(task, run, written, loaded[0], heads[0], settings)
        parts = _parts(given, written)
        found, floor = score_all(loaded, parts, plan, report)
        own_probes = plan.noise and heads[0].model.sha256 == run.model_sha256
        paths = _trajectories(loaded, given, settings, own_probes, report) if _probed(given, plan) else None
    results = [measured(found, i, parts, cut=False) for i in range(len(candidates))]
    floor_ = measured(floor, 0, parts, cut=False) if floor else None
    done = assemble(heads, results, floor_, ("run", run.run_id, digest_of(parts)), len(parts), plan, own, paths)
    keep(db, done, found, parts, plan)
    return done


def _parts(given: Sequence[Given], written: dict) -> list[Text]:
    return [texts.of_trace(g.question.prompt, g.trace, written[_key(g)].trace_id) for g in given]


def _kept_on_run(there: dict, heads, task, run: Run, written, settings, plan: Plan) -> Comparison | None:
    """The comparison as it is in the database; None unless all of it is there."""
    with engine.open(heads[0].model.path, gpu_layers=plan.gpu_layers) as weights:
        parts = _parts(_given(task, run, written, weights, heads[0], settings), written)
    reference, digest = heads[0].model, digest_of(parts)
    found = kept.all_of(there, [comparison_id(reference, h.model, "run", digest, plan) for h in heads[1:]])
    if not found:
        return None
    revived = [kept.revived(Candidate, figures) for figures in found]
    candidates = tuple(replace(one, model=h.model) for one, h in zip(revived, heads[1:], strict=True))
    floor = kept.revived(Candidate, found[0]["noise"])
    floor = floor and replace(floor, model=reference)
    return Comparison(reference, "run", run.run_id, len(parts), candidates, floor)


def _chosen(written: dict, task: tasks.Task, n: int | None, samples: int | None) -> dict:
    """The traces of the first n problems and samples, in the order of the task."""
    wanted = [p.problem_id for p in task.problems[:n]]
    n_samples = max((s for _, s in written), default=0) + 1 if samples is None else samples
    found = {(p, s): written[p, s] for p in wanted for s in range(n_samples) if (p, s) in written}
    if not found:
        raise UsageError(f"The run has no traces of these problems of {task.name}: name its task's file with --data.")
    return found


def _run(model, task, db, n, samples, settings, report: runs.Report, status, name: str) -> runs.Outcome:
    def tell(progress: runs.Progress) -> None:
        report(replace(progress, name=f"{name} running free"))

    settings = replace(settings, ctx=None)
    with named([Path(model).name], "running free"):
        heard = runs.Listener(tell, status)
        return runs.run(model, task, db=db, n=n, samples=samples, settings=settings, listener=heard)


def _free_runs(heads, run: Run, written, task, db, settings, plan: Plan, report, status) -> list[FreeRunning | None]:
    """Free-running figures: [the reference against itself in other lanes, each candidate]; and their run ids."""
    order = [p.problem_id for p in task.problems]
    n, samples = max(order.index(p) for p, _ in written) + 1, max(s for _, s in written) + 1
    own_id, base, found = run.run_id, written, []
    if heads[0].model.sha256 != run.model_sha256:
        own_id = _run(heads[0].model.path, task, db, n, samples, settings, report, status, "reference").run_id
        base = _traces(db, own_id, written)
    other = replace(settings, lanes=max(1, settings.lanes // 2) if settings.lanes > 1 else 2, noise_of=own_id)
    jobs = [(heads[0], other, "reference in other lanes")] if plan.noise else []
    jobs += [(h, settings, label(h.model)) for h in heads[1:]]
    for head, chosen, name in jobs:
        outcome = _run(head.model.path, task, db, n, samples, chosen, report, status, name)
        pairs = free_running.pairs(base, _traces(db, outcome.run_id, written))
        found.append((figures_of(pairs), outcome.run_id))
    return found if plan.noise else [None, *found]


def _traces(db, run_id: str, written) -> dict:
    with open_db(db, readonly=True) as store:
        return free_running.traces_of(store, run_id, set(written))


def _given(task, run: Run, written, weights: Model, head, settings: Settings) -> list[Given]:
    """The traces with their questions, prompted as they were."""
    wanted = {p for p, _ in written}
    problems = [p for p in task.problems if p.problem_id in wanted]
    prompts = Prompts(task, head.template, weights.vocab, settings)
    if prompts.digest() != run.settings["prompt"]:
        raise UsageError(
            f"Run {run.run_id} was prompted in another way than {Path(head.model.path).name} is on {task.name}: "
            "its template, examples or cue differ, so its traces cannot be fed as they were."
        )
    questions = {q.problem.problem_id: q for q in prompts.questions(problems)}
    return [Given(questions[p], one.trace) for (p, _), one in written.items()]


def _key(given: Given) -> tuple[str, int]:
    return given.trace.problem_id, given.trace.sample


def _probed(given: Sequence[Given], plan: Plan) -> bool:
    return plan.free and all(g.question.grammar is not None for g in given) and any(g.trace.probes for g in given)


def _trajectories(loaded, given, settings, own_probes: bool, report: runs.Report) -> list[Trajectory | None]:
    """[the reference's stored probes against its own read again, each candidate against the reference].

    own_probes: the stored probes are the reference's, not another model's whose run this is.
    """

    def tell(name: str) -> Callable[[int], None]:
        return lambda n: report(runs.Progress(n, len(given), name=f"{name} on the same prefixes"))

    how = dict(lanes=settings.lanes, threads=settings.threads)
    names = ["reference", *(m.path.name for m in loaded[1:])]
    read = []
    for model, name in zip(loaded, names, strict=True):
        with named([model.path.name], "on the same prefixes"):
            read.append(prefixes.probes_under(model, given, settings.effort(), report=tell(name), **how))
    stored = [g.trace.own_probes for g in given]
    same = own_probes and all(len(a) == len(b) for a, b in zip(stored, read[0], strict=True))
    floor = trajectory(prefixes.paired(given, read[0], stored)) if same else None
    return [floor, *(trajectory(prefixes.paired(given, read[0], r)) for r in read[1:])]
