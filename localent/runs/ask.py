"""One question of the user's own, put to a model that is watched while it reasons. Nothing is stored.

Answers that a grammar enumerates (a number, yes or no, one of given options) are probed. Whether a question without
options or a known answer asks for a number is left to the model: it does where a number is likely to follow the cue.
Any other question is asked as it stands, and its tokens are measured alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from localent import models, tasks
from localent.engine import Coroutine, Engine, drive
from localent.errors import UsageError
from localent.records import Choice, Probe, Problem, Run, Trace
from localent.runs import session
from localent.runs.cue import LOOK
from localent.runs.progress import SILENT, Listener, Outcome
from localent.runs.run import enter, made, wanted
from localent.runs.settings import Settings, settings_of
from localent.store import Database
from localent.tasks import kinds
from localent.tasks.load import SHOTS
from localent.tracing.attempt import Place, Question, Setup, probed
from localent.tracing.watch import Watcher, watched

LABELS = "ABCDEFGH"
NO_NUMBER = 0.5  # probability of no number after the cue from which a question is taken to ask for none
MOST_LANES = 8  # of samples that are made side by side


def problem_of(question: str, answer: str = "", options: Sequence[str] = ()) -> Problem:
    """The user's question as a problem. `answer` "": not known; the trace then counts as wrong and p_true is 0.

    An answer in words makes the question one of the kind `text`. Raises UsageError for an empty question, and for an
    answer that is none of the options.
    """
    if not question.strip():
        raise UsageError("The question is empty.")
    if len(options) == 1 or len(options) > len(LABELS):
        raise UsageError(f"Give 2 to {len(LABELS)} options, got {len(options)}.")
    choices = tuple(Choice(label, text) for label, text in zip(LABELS, options, strict=False))
    return Problem("ask", "asked", question, answer and _true_answer(answer, choices), choices)


def _true_answer(text: str, choices: Sequence[Choice]) -> str:
    """The answer in the form that grading compares: a label, yes or no, a number in its plain form, or words."""
    gold = kinds.Gold(text.strip(), (), "--answer")
    if not choices:
        number = tasks.normalise_number(text)
        return number if number is not None else _worded(text).normalise(gold)
    labels = [choice.label for choice in choices]
    if (found := text.strip().upper()) not in labels:
        raise UsageError(f"--answer {text!r} is not one of the labels {', '.join(labels)}.")
    return found


def _worded(text: str) -> kinds.Kind:
    """The kind of an answer that is no number and no label."""
    kind = kinds.of_answer(text.strip())
    return kind if kind is kinds.YES_NO else kinds.TEXT


def kind_of(problem: Problem) -> kinds.Kind:
    """The kind of a question of one's own; a number where nothing speaks for another."""
    if problem.choices or not problem.answer or tasks.normalise_number(problem.answer) is not None:
        return kinds.of_answer(problem.answer, problem.choices)
    return _worded(problem.answer)


def ask(model: str, problem: Problem, settings: Settings, watcher: Watcher) -> Trace:
    """Let the model reason about one problem. Settings as for a run, in one lane.

    The trace has no probes where the question is not probed: see the top of the module.
    """
    file = session.usable(model, watcher.status)
    bundled = models.is_bundled(file.header.model)
    task, settings = task_of(problem, bundled=bundled), replace(settings, lanes=1)
    heard = Listener(status=watcher.status)
    if not task.kind.exact:
        return _asked(file, task, _unprobed(settings), watcher)
    with session.opened(file, task, settings, listener=heard) as asked, asked.engine() as lanes:
        (question,) = asked.questions
        setup = asked.setup(lanes).asking(question)
        if (
            bundled
            or problem.answer
            or problem.choices
            or not settings.probe
            or asks_for_number(lanes, question, setup)
        ):
            (trace,) = drive(lanes, [watched(question, setup, watcher)])
            return trace
    return _asked(file, open_task(problem), _unprobed(settings), watcher)


def _unprobed(settings: Settings) -> Settings:
    """The settings of a question that is not probed. Raises UsageError for a rule, which would have nothing to ask."""
    if settings.stop:
        raise UsageError(
            "The answer is neither a number nor one of given options, so no rule can tell when to stop: leave --stop"
            " out, or give the options with --option."
        )
    return replace(settings, probe=False)


def _asked(file: session.ModelFile, task: tasks.Task, settings: Settings, watcher: Watcher) -> Trace:
    """The trace of a question that is not probed."""
    with session.opened(file, task, settings) as asked, asked.engine() as lanes:
        (question,) = asked.questions
        (trace,) = drive(lanes, [watched(question, asked.setup(lanes).asking(question), watcher)])
    return trace


def asks_for_number(lanes: Engine, question: Question, how: Setup) -> bool:
    """True where a number is more likely than not to follow the cue, before any reasoning."""
    (first,) = drive(lanes, [_first(question, how)])
    return first.invalid < NO_NUMBER


def _first(question: Question, how: Setup) -> Coroutine[Probe]:
    """Coroutine: the probe before the first token."""
    yield question.prompt
    return (yield from probed(question, "", Place(0, 0, 0, 0), replace(how, effort=LOOK)))


def ask_often(
    model: str, problem: Problem, settings: Settings, n: int, *, store: Database, listener: Listener = SILENT
) -> Outcome:
    """Attempts 0 to n - 1 at one problem, side by side, kept in `store` as a run of their own.

    Raises UsageError for temperature 0, at which all would be the same.
    """
    if n < 1:
        raise UsageError(f"--samples must be at least 1, got {n}.")
    if settings.temperature == 0:
        raise UsageError("At temperature 0 all samples are the same: raise --temperature, or leave --samples out.")
    file = session.usable(model, listener.status)
    task = task_of(problem, bundled=models.is_bundled(file.header.model))
    settings = replace(settings, lanes=settings.lanes or min(n, MOST_LANES))
    with session.opened(file, task, settings, listener=listener) as asked:
        todo = wanted(asked, n)
        n_new, tally = made(store, asked, todo, listener, n)
        return Outcome(asked.record.run_id, 0, n_new, asked.options.n_lanes, tally.n_left, tally.longest)


@dataclass(frozen=True, slots=True)
class Like:
    """A stored run that a question is asked like: the same model, kind of answer, prompt and settings."""

    run: Run
    model: str  # its name
    form: str  # of the answers, as the database has it
    n_choices: frozenset[int]  # numbers of options that its problems have

    @classmethod
    def of(cls, store: Database, run_id: str) -> Like:
        """A run of a database."""
        run = store.run(run_id)
        sizes = frozenset(len(problem.choices) for problem in store.problems(run.task))
        return cls(run, store.model(run.model_sha256).name, store.kind(run.task), sizes)

    @property
    def settings(self) -> Settings:
        """The settings of the run, in one lane."""
        mine = dict(lanes=1, gpu_layers=None, ctx=None, noise_of=None)
        return replace(settings_of(self.run), **mine)  # type: ignore[arg-type]

    def refuse(self, file: session.ModelFile, problem: Problem) -> None:
        """Raise UsageError for another model, another kind of answer, or another number of options."""
        name = f"Run {self.run.run_id} ({self.model} on {self.run.task})"
        if file.header.model.sha256 != self.run.model_sha256:
            raise UsageError(f"{name} is not of {file.path.name}, and says nothing about its answers: name its model.")
        kind = kind_of(problem)
        if kind.form != self.form:
            raise UsageError(f"{name} has answers of the kind {self.form}, this question one of the kind {kind.form}.")
        if len(problem.choices) not in self.n_choices:
            sizes = " or ".join(map(str, sorted(self.n_choices)))
            raise UsageError(f"{name} has problems of {sizes} options, this question has {len(problem.choices)}.")

    def refuse_prompt(self, asked: session.Session) -> None:
        """Raise UsageError where a question of one's own is asked with another prompt than the run's."""
        if asked.prompts.digest() != self.run.settings["prompt"]:
            raise UsageError(
                f"Run {self.run.run_id} used another prompt than a question of your own gets (worked examples of its"
                " file, or another template), so it says nothing about its answer."
            )


def ask_like(model: str, problem: Problem, like: Like, watcher: Watcher, store: Database) -> tuple[str, Trace]:
    """Ask as a stored run asked; the trace is kept in `store`, as a run of its own: its id, and the trace.

    Raises UsageError where model, question or prompt are not those of the run: see `Like`.
    """
    file = session.usable(model, watcher.status)
    like.refuse(file, problem)
    task = task_of(problem, bundled=models.is_bundled(file.header.model))
    with session.opened(file, task, like.settings, listener=Listener(status=watcher.status)) as asked:
        like.refuse_prompt(asked)
        with asked.engine() as lanes:
            (question,) = asked.questions
            (trace,) = drive(lanes, [watched(question, asked.setup(lanes).asking(question), watcher, as_run=True)])
        run_id = enter(store, asked, 1).run_id
    store.add_trace(run_id, trace)
    return run_id, trace


def task_of(problem: Problem, *, bundled: bool) -> tasks.Task:
    """The task of one problem. Bundled models know bare questions only; others get an instruction or examples."""
    kind = kind_of(problem)
    if not bundled:
        return tasks.Task("ask", kind, (problem,), kind.examples, kind.instruction, SHOTS, "")
    like = tasks.load("demo-choice" if problem.choices else "demo-number")  # their cue is what it was trained on
    return replace(like, name="ask", kind=kind, problems=(problem,), source="")


def open_task(problem: Problem) -> tasks.Task:
    """The task of a question that asks for no number: a chat gets it as it stands, other models worked examples."""
    return tasks.Task("ask", kinds.TEXT, (problem,), kinds.TEXT.examples, "", SHOTS, "")
