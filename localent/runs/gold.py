"""Worked solutions read by a model: the information in each human step about the answer.

The solutions of a task are stored as a run of their own, "gsm8k (gold)", one trace a problem. Nothing is sampled.
SIA is said to result from maximum likelihood on such traces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from localent import tasks
from localent.engine import Model
from localent.errors import UsageError
from localent.runs import room, session
from localent.runs.progress import SILENT, Listener, Outcome, Tally
from localent.runs.questions import no_probes
from localent.runs.run import enter, enter_empty, missing, stored, wanted
from localent.runs.session import Session
from localent.runs.settings import GO_ON, LETTER, Settings
from localent.store import Database, open_db
from localent.tracing.attempt import Question
from localent.tracing.given import read_solution, solution_tokens

LANES = 8


def read_solutions(
    model: str,
    task: tasks.Task,
    *,
    db: str | Path,
    n: int | None = None,
    settings: Settings,
    listener: Listener = SILENT,
) -> Outcome:
    """Read the worked solutions of the task's first n problems that have one; those in the database are not read again.

    Raises UsageError for a task without worked solutions, and for one whose longest does not fit the model's context.
    """
    task = _solved(task, n)
    if not task.kind.exact:
        raise UsageError(f"{no_probes(task)} --gold reads probes: take a task of another kind.")
    settings = replace(settings, lanes=settings.lanes or LANES, temperature=0.0, probes=None)
    settings = replace(settings, answer_by=LETTER, after_answer=GO_ON, end_loops=False)  # as the solutions are written
    file = session.usable(model, listener.status)
    with open_db(db) as store, session.opened(file, task, settings, room=to_read, listener=listener) as asked:
        todo = [question for question, _ in missing(store, asked, samples=1)]
        if not todo:
            enter_empty(store, asked, samples=1)
        n_new, n_left = _read(store, asked, todo, listener) if todo else (0, 0)
        n_before = len(wanted(asked, samples=1)) - n_new - n_left
        return Outcome(asked.record.run_id, n_before, n_new, asked.options.n_lanes, n_left)


def _solved(task: tasks.Task, n: int | None) -> tasks.Task:
    """The task of reading the first n worked solutions."""
    problems = tuple(p for p in task.problems if p.solution)[:n]
    if not problems:
        raise UsageError(f"{task.name} has no worked solutions to read: name a task that has, such as gsm8k.")
    return replace(task, name=f"{task.name} (gold)", problems=problems)


def to_read(settings: Settings, weights: Model, questions: Sequence[Question]) -> Settings:
    """Room for the longest prompt with its solution, and for its probes.

    Nothing is generated: max_tokens is the model's whole context, so that the run is the same for every n.
    """
    sizes = [_size(settings, weights, question) for question in questions]
    longest = max(range(len(sizes)), key=sizes.__getitem__)
    if sizes[longest] > weights.n_ctx_train:
        raise UsageError(
            f"Problem {questions[longest].problem.source_id} and its solution need {sizes[longest]} tokens of context,"
            f" the model was trained for {weights.n_ctx_train}: lower -n, --shots or --max-fed, or take another model."
        )
    return replace(settings, max_tokens=weights.n_ctx_train, ctx=sizes[longest])


def _size(settings: Settings, weights: Model, question: Question) -> int:
    n_solution = len(solution_tokens(question, weights.vocab))
    return len(question.prompt.tokens) + n_solution + room.to_probe(settings, [question])


def _read(store: Database, asked: Session, todo: Sequence[Question], listener: Listener) -> tuple[int, int]:
    """Read the solutions; returns how many were new to the store, and how many there was no time for."""
    with asked.engine() as lanes:
        setup, tally = asked.setup(lanes), Tally(listener, len(todo), lanes.n_lanes, unit="solution")
        jobs = (read_solution(q, solution_tokens(q, lanes.vocab), setup) for q in todo)
        enter(store, asked, 1)
        n_new = stored(store, asked, tally.driven(lanes, jobs), tally)
        return n_new, tally.n_left
