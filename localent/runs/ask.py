"""One question put to a model, watched while it thinks: every token as it comes, the answer after every step."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import localent
from localent import engine, models, runs, tasks
from localent.engine import Engine, Prompt, Rewind, Vocab, drive
from localent.errors import UsageError
from localent.files import identity
from localent.measure.meter import Meter
from localent.measure.sampling import Sampler, rng
from localent.records import Choice, Probe, Problem, Trace
from localent.tasks import kinds
from localent.tasks.load import SHOTS
from localent.tracing.attempt import Question, finished, steps_of
from localent.tracing.generate import Limits, generate
from localent.tracing.probe import Distribution, probe

LABELS = "ABCDEFGH"
Coroutine = Generator[Prompt | Rewind | int, Any, Any]


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who is told what, while it happens."""

    token: Callable[[bytes, dict[str, float]], object]  # its piece, and its measures by name
    probe: Callable[[Probe], object]  # `position` is 0: how long the trace gets is not known yet
    status: Callable[[str], object] = lambda text: None


def problem_of(question: str, answer: str = "", options: Sequence[str] = ()) -> Problem:
    """A problem of one's own. `answer` "": not known, so that the trace counts as wrong and p_true as 0."""
    choices = tuple(Choice(label, text) for label, text in zip(LABELS, options, strict=False))
    return Problem("ask", "asked", question, answer and _true_answer(answer, choices), choices)


def _true_answer(text: str, choices: Sequence[Choice]) -> str:
    """The answer as graded answers are written: a label, or a number in its plain form."""
    labels = [choice.label for choice in choices]
    found = text.strip().upper() if choices else tasks.normalise_number(text)
    if found is None or (choices and found not in labels):
        wanted = f"one of the labels {', '.join(labels)}" if choices else "one number"
        raise UsageError(f"--answer {text!r} is not {wanted}.")
    return found


def ask(model: str, problem: Problem, settings: runs.Settings, watcher: Watcher) -> Trace:
    """Let the model think about one problem; nothing is stored. Settings as for a run; one lane."""
    path = models.resolve(model)
    watcher.status(f"reading {path.name}")
    head = identity.read(path)
    task = task_of(problem, path)
    settings = replace(settings, gpu_layers=runs.gpu_layers_of(head, settings))
    with engine.open(path, gpu_layers=settings.gpu_layers) as weights:
        questions = list(runs.questions_of(task, [problem], weights, head, settings))
        settings = replace(runs.filled(settings, weights, questions), lanes=1)
        with weights.lanes(runs.options_of(settings)) as lanes:
            (trace,) = drive(lanes, [watched(questions[0], task.kind, lanes, settings, watcher)])
    return trace


def task_of(problem: Problem, path: Path) -> tasks.Task:
    """How the question is put: bundled models know bare questions only, others get an instruction or examples."""
    kind = kinds.of_answer(problem.answer, problem.choices)
    bundled = Path(localent.__file__).parent in path.absolute().parents
    instruction, shots = ("", 0) if bundled else (kind.instruction, SHOTS)
    return tasks.Task("ask", kind, (problem,), kind.examples, instruction, shots, "")


def watched(question: Question, kind: str, lanes: Engine, settings: runs.Settings, watcher: Watcher) -> Coroutine:
    """Coroutine: what `attempt` does, but each step is probed when it is complete, not when all is over."""
    meter, n_prompt = Meter(lanes.n_vocab), len(question.prompt.tokens)
    sampler = Sampler(settings.temperature, settings.top_p, settings.top_k)
    limits = Limits(settings.max_tokens, tuple(stop.encode() for stop in question.stops))
    writing = generate(question.prompt, sampler, rng(settings.seed, "ask", 0), meter, lanes.vocab, limits)
    row = yield next(writing)
    fed: list[int] = []
    probes: list[Probe] = []
    while True:
        if question.grammar and step_ended(lanes.vocab, fed, question, kind) == len(probes):
            cue = question.cue(tasks.text_of(lanes.vocab.pieces[i] for i in fed))
            truth = question.problem.answer
            seen = yield from probe(n_prompt + len(fed), cue, question.grammar, truth, settings.effort(), meter)
            probes.append(probe_of(len(probes), len(fed), kind.name, seen))
            watcher.probe(probes[-1])
            row = yield from returned(question.prompt, fed)
        reading = meter.read(row)
        try:
            token_id = writing.send(row)
        except StopIteration as end:
            return whole(question, kind, end.value, probes)
        taken = meter.taken(row, reading, token_id)
        measures = {"entropy": reading.entropy, "varentropy": reading.varentropy}
        watcher.token(lanes.vocab.pieces[token_id], measures | {"surprisal": taken.surprisal, "rank": taken.rank})
        fed.append(token_id)
        row = yield token_id


def step_ended(vocab: Vocab, fed: Sequence[int], question: Question, kind: str) -> int | None:
    """k where k reasoning steps are complete and nothing follows them yet; None in the middle of one."""
    if fed and b"\n" not in vocab.pieces[fed[-1]]:
        return None
    pieces = [vocab.pieces[i] for i in fed]
    thinking = tasks.is_open(tasks.text_of(pieces), question.opens_thought)
    steps = tasks.of_trace(pieces, kind, question.problem.choices, thinking=thinking)
    return len(steps) if all(step.kind == "reasoning" for step in steps) else None


def returned(prompt: Prompt, fed: Sequence[int]) -> Coroutine:
    """Coroutine: back to where the probe began; the row that predicts the next token."""
    if not fed:
        return (yield prompt)
    yield Rewind(len(prompt.tokens) + len(fed) - 1)
    return (yield fed[-1])


def whole(question: Question, kind: str, written, probes: Sequence[Probe]) -> Trace:
    """The trace, with the probes at their positions."""
    parts = steps_of(question, written, kind)
    n_steps = sum(step.kind == "reasoning" for step in parts)
    kept = tuple(replace(p, position=min(p.k / n_steps, 1.0) if n_steps else 0.0) for p in probes)
    return finished(question, 0, written, parts, kept, kind)


def probe_of(k: int, n_tokens: int, kind: str, seen: Distribution) -> Probe:
    answers = seen.answers
    names = ("entropy", "entropy_lower", "entropy_upper", "residual", "invalid", "p_true", "log_p_true", "n_fed")
    found = {name: getattr(seen, name) for name in names}
    leader = answers[0].value if answers else None
    return Probe(k=k, n_tokens=n_tokens, position=0.0, estimator=kind, leader=leader, answers=answers, **found)


def check(problem: Problem, n_options: int) -> None:
    """Raise where the question cannot be asked."""
    if not problem.question.strip():
        raise UsageError("The question is empty.")
    if n_options == 1 or n_options > len(LABELS):
        raise UsageError(f"Give 2 to {len(LABELS)} options, got {n_options}.")
