"""A watched attempt: reports every token as it comes, and the answer after every step as soon as it is complete."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from localent import tasks
from localent.engine import Coroutine, Prompt, Rewind, Row, Vocab
from localent.measure.meter import Reading
from localent.measure.sampling import rng
from localent.records import Probe, Trace
from localent.tasks.kinds import Kind
from localent.tracing.attempt import Place, Question, Setup, finished, parts_of, probe_steps, probed, steps_of
from localent.tracing.generate import Generation, generate


@dataclass(frozen=True, slots=True)
class Watcher:
    """Callbacks for tokens and probes while they are made."""

    token: Callable[[bytes, dict[str, float]], object]  # its piece, and its measures by name
    probe: Callable[[Probe], object]  # `position` is 0: the trace's length is not known yet
    status: Callable[[str], object] = lambda text: None


@dataclass(slots=True)
class _Written:
    """The trace so far."""

    fed: list[int] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)


def watched(question: Question, how: Setup, watcher: Watcher, *, as_run: bool = False) -> Coroutine[Trace]:
    """Coroutine: the trace of `attempt`, but each step is probed when it is complete, not at the end.

    The trace's text is the same as without probes: after each, the lane returns to where it was. as_run: probe at the
    end, at the places of a run, so that the trace is that of `attempt` in everything.
    """
    so_far, draws = _Written(), rng(how.seed, question.problem.problem_id, 0)
    writing = generate(question.prompt, how.sampler, draws, how.meter, how.vocab, how.limits)
    row = yield next(writing)
    live = question.grammar is not None and not as_run
    while True:
        if live and step_ended(how.vocab, so_far.fed, question, how.kind) == len(so_far.probes):
            row = yield from _probed(question, how, so_far, watcher)
        reading = how.meter.read(row)
        try:
            token_id = cast(int, writing.send(row))  # only its first request is a prompt
        except StopIteration as end:
            if as_run:
                return (yield from _as_attempted(question, how, end.value, watcher))
            return _whole(question, how.kind, end.value, so_far.probes)
        watcher.token(how.vocab.pieces[token_id], _measures(how, row, reading, token_id))
        so_far.fed.append(token_id)
        row = yield token_id


def step_ended(vocab: Vocab, fed: Sequence[int], question: Question, kind: Kind) -> int | None:
    """k where k reasoning steps are complete and nothing follows them yet; None in the middle of one."""
    if fed and b"\n" not in vocab.pieces[fed[-1]]:
        return None
    pieces = [vocab.pieces[i] for i in fed]
    if not (question.at_once or tasks.ends_step(tasks.text_of(pieces), question.thought)):
        return None
    thinking = question.thought.is_open(tasks.text_of(pieces))
    steps = parts_of(question, pieces, kind, thinking=thinking)
    return len(steps) if all(step.kind == "reasoning" for step in steps) else None


def _probed(question: Question, how: Setup, so_far: _Written, watcher: Watcher) -> Coroutine[Row]:
    """Coroutine: probe the trace so far, then return to it; the row that predicts its next token."""
    text = tasks.text_of(how.vocab.pieces[i] for i in so_far.fed)
    place = Place(0, k=len(so_far.probes), n_steps=0, n_tokens=len(so_far.fed))
    so_far.probes.append((yield from probed(question, text, place, how)))
    watcher.probe(so_far.probes[-1])
    return (yield from _returned(question.prompt, so_far.fed))


def _returned(prompt: Prompt, fed: Sequence[int]) -> Coroutine[Row]:
    """Coroutine: back to where the probe began; the row that predicts the next token."""
    if not fed:
        return (yield prompt)
    yield Rewind(len(prompt.tokens) + len(fed) - 1)
    return (yield fed[-1])


def _measures(how: Setup, row: Row, reading: Reading, token_id: int) -> dict[str, float]:
    taken = how.meter.taken(row, reading, token_id)
    of_row = {"entropy": reading.entropy, "varentropy": reading.varentropy}
    return of_row | {"surprisal": taken.surprisal, "rank": taken.rank}


def _as_attempted(question: Question, how: Setup, written: Generation, watcher: Watcher) -> Coroutine[Trace]:
    """Coroutine: the trace with the probes of a run."""
    parts = steps_of(question, written, how.kind)
    probes = yield from probe_steps(question, 0, written, parts, how)
    for one in probes:
        watcher.probe(one)
    return finished(question, 0, written, parts, probes, how.kind)


def _whole(question: Question, kind: Kind, written: Generation, probes: Sequence[Probe]) -> Trace:
    """The trace, with the probes at their positions."""
    parts = steps_of(question, written, kind)
    n_steps = sum(step.kind == "reasoning" for step in parts)
    placed = tuple(replace(p, position=min(p.k / n_steps, 1.0) if n_steps else 0.0) for p in probes)
    return finished(question, 0, written, parts, placed, kind)
