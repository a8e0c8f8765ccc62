"""One question of the user's own, put to a model that is watched while it reasons. Nothing is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from localent import models, tasks
from localent.engine import drive
from localent.errors import UsageError
from localent.records import Choice, Problem, Trace
from localent.runs import session
from localent.runs.settings import Settings
from localent.tasks import kinds
from localent.tasks.load import SHOTS
from localent.tracing.watch import Watcher, watched

LABELS = "ABCDEFGH"


def problem_of(question: str, answer: str = "", options: Sequence[str] = ()) -> Problem:
    """The user's question as a problem. `answer` "": not known; the trace then counts as wrong and p_true is 0.

    Raises UsageError for an empty question, and for an answer of the wrong form.
    """
    if not question.strip():
        raise UsageError("The question is empty.")
    if len(options) == 1 or len(options) > len(LABELS):
        raise UsageError(f"Give 2 to {len(LABELS)} options, got {len(options)}.")
    choices = tuple(Choice(label, text) for label, text in zip(LABELS, options, strict=False))
    return Problem("ask", "asked", question, answer and _true_answer(answer, choices), choices)


def _true_answer(text: str, choices: Sequence[Choice]) -> str:
    """The answer in the form that grading compares: a label, or a number in its plain form."""
    labels = [choice.label for choice in choices]
    found = text.strip().upper() if choices else tasks.normalise_number(text)
    if found is None or (choices and found not in labels):
        wanted = f"one of the labels {', '.join(labels)}" if choices else "one number"
        raise UsageError(f"--answer {text!r} is not {wanted}.")
    return found


def ask(model: str, problem: Problem, settings: Settings, watcher: Watcher) -> Trace:
    """Let the model reason about one problem. Settings as for a run, in one lane."""
    file = session.usable(model, watcher.status)
    task = task_of(problem, bundled=models.is_bundled(file.header.model))
    with session.opened(file, task, replace(settings, lanes=1)) as asked, asked.engine() as lanes:
        (question,) = asked.questions
        setup = asked.setup(lanes).asking(question)
        (trace,) = drive(lanes, [watched(question, setup, watcher)])
    return trace


def task_of(problem: Problem, *, bundled: bool) -> tasks.Task:
    """The task of one problem. Bundled models know bare questions only; others get an instruction or examples."""
    kind = kinds.of_answer(problem.answer, problem.choices)
    if not bundled:
        return tasks.Task("ask", kind, (problem,), kind.examples, kind.instruction, SHOTS, "")
    like = tasks.load(
        "demo-choice" if problem.choices else "demo-number"
    )  # its cue is fitted to what it was trained on
    return replace(like, name="ask", problems=(problem,), source="")
