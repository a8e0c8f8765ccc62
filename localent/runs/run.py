"""The main job: problems x samples through one model into the store. It resumes by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from localent import tasks
from localent.engine import Coroutine, Engine
from localent.errors import UsageError
from localent.machine import findings
from localent.records import Run, Trace
from localent.runs import session
from localent.runs.progress import SILENT, Listener, Outcome, Tally
from localent.runs.session import Session
from localent.runs.settings import DEFAULTS, Settings
from localent.store import Database, open_db
from localent.tracing.attempt import Question, attempt
from localent.tracing.watch import watched

Todo = Sequence[tuple[Question, int]]  # (question, sample)


def run(
    model: str,
    task: tasks.Task,
    *,
    db: str | Path,
    samples: int = 1,
    settings: Settings = DEFAULTS,
    listener: Listener = SILENT,
) -> Outcome:
    """Make the traces that are missing: `samples` of each problem. `task.first(n)` limits the problems.

    model: a name of models.toml, NAME:QUANT, or a path to a GGUF file. Every finished trace is stored at once: stop
    the run in any way, also by the listener's time, and call it again. Raises LocalentError or UsageError before
    anything is written.
    """
    if samples < 1:
        raise UsageError(f"--samples must be at least 1, got {samples}.")
    file = session.usable(model, listener.status)
    with open_db(db) as store, session.opened(file, task, settings, store=store, listener=listener) as asked:
        todo = missing(store, asked, samples)
        n_all, lanes = len(wanted(asked, samples)), asked.options.n_lanes
        if not todo:
            enter_empty(store, asked, samples)
            return Outcome(asked.record.run_id, n_all, 0, lanes)
        n_new, tally = made(store, asked, todo, listener, samples)
        n_before = n_all - n_new - tally.n_left
        return Outcome(asked.record.run_id, n_before, n_new, lanes, tally.n_left, tally.longest)


def wanted(asked: Session, samples: int) -> Todo:
    """The questions and samples of this part of the run, problem by problem: its samples share the prompt."""
    shard = asked.settings.shard
    pairs = ((q, sample) for q in asked.questions for sample in range(samples))
    return [(q, sample) for q, sample in pairs if shard is None or shard.has(q.problem.problem_id, sample)]


def missing(store: Database, asked: Session, samples: int) -> Todo:
    """Those of them whose traces the store lacks."""
    done = store.finished(asked.record.run_id)
    return [(q, sample) for q, sample in wanted(asked, samples) if (q.problem.problem_id, sample) not in done]


def made(store: Database, asked: Session, todo: Todo, listener: Listener, samples: int) -> tuple[int, Tally]:
    """Make the traces there is time for; returns how many were new to the store, and the counts of the work."""
    with asked.engine() as lanes:
        record = enter(store, asked, samples)
        name = f"{store.model(record.model_sha256).name} on {asked.task.name}"
        tally = Tally(listener, len(todo), lanes.n_lanes, name)
        return stored(store, asked, tally.driven(lanes, attempts(lanes, asked, todo)), tally), tally


def enter(store: Database, asked: Session, samples: int) -> Run:
    """Write the model, the task, its problems, the run, and how many attempts are wanted; returns the run."""
    record, task = asked.record, asked.task
    store.add_model(asked.file.header.model)
    store.add_task(task.name, task.kind.form)
    store.add_problems(task.name, task.problems)
    store.add_run(record)
    store.ask(record.run_id, [problem.problem_id for problem in task.problems], samples)
    return record


def enter_empty(store: Database, asked: Session, samples: int) -> None:
    """Write the same for a part of a run that has no attempt, so that its file tells what it is."""
    if asked.settings.shard is not None and not store.has_run(asked.record.run_id):
        enter(store, asked, samples)


def stored(store: Database, asked: Session, traces: Iterator[Trace], tally: Tally) -> int:
    """Store traces as they finish, each in one transaction, as one session; returns how many were new."""
    record, shard = asked.record, asked.settings.shard
    part = None if shard is None else str(shard)
    n_new, session_id = 0, store.start_session(record.run_id, n_todo=tally.n_todo, shard=part)
    store.add_checks(session_id, findings.rows(findings.saved_report(record.model_sha256, record.build)))
    for trace in traces:
        n_new += store.add_trace(record.run_id, trace, session_id=session_id)
        tally.done(trace)
    store.end_session(session_id)
    return n_new


def attempts(lanes: Engine, asked: Session, todo: Todo) -> Iterator[Coroutine[Trace]]:
    """The coroutines of (question, sample) pairs, in order."""
    setup = asked.setup(lanes)
    for question, sample in todo:
        how = setup.asking(question)
        if how.stop is None:
            yield attempt(question, sample, how)
        else:
            yield watched(question, how, sample=sample, as_run=True)
