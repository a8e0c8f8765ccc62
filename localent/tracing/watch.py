"""A watched attempt: reports every token as it comes, and the answer after every step as soon as it is complete.

A rule that stops acts on these answers (see `stopping`). Where it stops, an open thought is closed in its own format,
the cue asks for the answer, and the one that leads is given: fed like the end of a thought whose budget is spent, and
kept with the trace. The decision depends on the trace alone, not on lanes, neighbours or interruptions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from localent import tasks
from localent.engine import Coroutine, Prompt, Rewind, Row, Vocab
from localent.measure.sampling import rng
from localent.records import Extraction, Probe, Step, Trace
from localent.tasks.kinds import Kind
from localent.tracing.attempt import (
    Place,
    Question,
    Setup,
    finished,
    n_ended,
    parts_of,
    prefix_ends,
    probe_steps,
    probed,
    probes_at,
    steps_of,
)
from localent.tracing.generate import EARLY, Ending, Generation, generate

LEADING = "leading answer"  # how the answer of a trace that was stopped is read


@dataclass(frozen=True, slots=True)
class Watcher:
    """Callbacks for tokens and probes while they are made."""

    token: Callable[[bytes, dict[str, float]], object] | None  # its piece, and its measures by name
    probe: Callable[[Probe], object]  # `position` is 0: the trace's length is not known yet
    status: Callable[[str], object] = lambda text: None
    late: Callable[[], bool] = lambda: False  # True: end at the next step after which an answer leads, as a rule does


UNWATCHED = Watcher(None, lambda probe: None)


@dataclass(slots=True)
class _Written:
    """The trace so far."""

    sample: int
    fed: list[int] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)

    def text(self, vocab: Vocab) -> str:
        return tasks.text_of(vocab.pieces[i] for i in self.fed)


def watched(
    question: Question, how: Setup, watcher: Watcher = UNWATCHED, *, sample: int = 0, as_run: bool = False
) -> Coroutine[Trace]:
    """Coroutine: the trace of `attempt`, but each step is probed when it is complete, not at the end.

    The trace's text is the same as without probes: after each, the lane returns to where it was. as_run: the probes of
    a run. Without a rule that stops, that is at its places and at the end, so that the trace is that of `attempt` in
    everything; with one, after every step.
    """
    so_far, draws = _Written(sample), rng(how.seed, question.problem.problem_id, sample)
    writing = generate(question.prompt, how.sampler, draws, how.meter, how.vocab, how.limits)
    row = yield next(writing)
    live = question.grammar is not None and (how.stop is not None or not as_run)
    while True:
        sent: Row | Ending = row
        if live and step_ended(how.vocab, so_far.fed, question, how.kind) == len(so_far.probes):
            row = sent = yield from _probed(question, how, so_far, watcher)
            if _stops(how, so_far.probes, watcher):
                sent, live = Ending(row, ending(question, so_far, how.vocab)), False
        measures = _measures(how, row) if watcher.token else None
        try:
            token_id = cast(int, writing.send(sent))  # only its first request is a prompt
        except StopIteration as end:
            return (yield from _ended(question, how, end.value, so_far, watcher, as_run))
        if watcher.token and measures:
            watcher.token(how.vocab.pieces[token_id], measures(token_id))
        so_far.fed.append(token_id)
        row = yield token_id


def step_ended(vocab: Vocab, fed: Sequence[int], question: Question, kind: Kind) -> int | None:
    """k where k reasoning steps are complete and nothing follows them yet; None in the middle of one."""
    return n_ended(question, [vocab.pieces[i] for i in fed], kind)


def _stops(how: Setup, probes: Sequence[Probe], watcher: Watcher) -> bool:
    """True if the trace ends at its last probe: the rule fires there, or the time is up and an answer leads."""
    if how.stop is not None and how.stop.fires(probes):
        return True
    return probes[-1].leader is not None and watcher.late()


def ending(question: Question, so_far: _Written, vocab: Vocab) -> tuple[int, ...]:
    """The tokens that end the trace here: the end of an open thought, the cue, the answer that leads."""
    leader = so_far.probes[-1].leader
    assert leader is not None, "a trace stops only where an answer leads"
    return (*question.cue(so_far.text(vocab)), *question.said(leader))


def _probed(question: Question, how: Setup, so_far: _Written, watcher: Watcher) -> Coroutine[Row]:
    """Coroutine: probe the trace so far, then return to it; the row that predicts its next token."""
    place = Place(so_far.sample, k=len(so_far.probes), n_steps=0, n_tokens=len(so_far.fed))
    so_far.probes.append((yield from probed(question, so_far.text(how.vocab), place, how)))
    watcher.probe(so_far.probes[-1])
    return (yield from _returned(question.prompt, so_far.fed))


def _returned(prompt: Prompt, fed: Sequence[int]) -> Coroutine[Row]:
    """Coroutine: back to where the probe began; the row that predicts the next token."""
    if not fed:
        return (yield prompt)
    yield Rewind(len(prompt.tokens) + len(fed) - 1)
    return (yield fed[-1])


def _measures(how: Setup, row: Row) -> Callable[[int], dict[str, float]]:
    """What is told of the token that is taken at a row, by its id; to be asked before the row is overwritten."""
    reading = how.meter.read(row)

    def of(token_id: int) -> dict[str, float]:
        taken = how.meter.taken(row, reading, token_id)
        of_row = {"entropy": reading.entropy, "varentropy": reading.varentropy}
        return of_row | {"surprisal": taken.surprisal, "rank": taken.rank}

    return of


# ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _ended(
    question: Question, how: Setup, written: Generation, so_far: _Written, watcher: Watcher, as_run: bool
) -> Coroutine[Trace]:
    """Coroutine: the trace with all its probes."""
    if written.finish == EARLY:
        return _stopped(question, how.kind, written, so_far)
    parts, sample = steps_of(question, written, how.kind), so_far.sample
    if not as_run:
        probes = _placed(so_far.probes, parts)
    elif how.stop is None:
        probes = yield from probe_steps(question, sample, written, parts, how)
    else:
        probes = yield from _completed(question, how, written, parts, so_far)
    for one in probes[len(so_far.probes) :]:
        watcher.probe(one)
    return finished(question, sample, written, parts, probes, how.kind)


def _completed(
    question: Question, how: Setup, written: Generation, parts: Sequence[Step], so_far: _Written
) -> Coroutine[tuple[Probe, ...]]:
    """Coroutine: the probes after every step of a trace that was not stopped; the last ones are still missing."""
    if question.grammar is None:
        return ()
    ends = prefix_ends(written, parts)
    known = [probe for probe in so_far.probes if probe.k < len(ends)]
    later = yield from probes_at(range(len(known), len(ends)), question, so_far.sample, written, ends, how)
    return _placed([*known, *later], parts)


def _placed(probes: Sequence[Probe], parts: Sequence[Step]) -> tuple[Probe, ...]:
    """The probes at their positions."""
    n_steps = sum(step.kind == "reasoning" for step in parts)
    return tuple(replace(p, position=min(p.k / n_steps, 1.0) if n_steps else 0.0) for p in probes)


def _stopped(question: Question, kind: Kind, written: Generation, so_far: _Written) -> Trace:
    """A trace that a rule has stopped: its steps, then the answer that was leading."""
    last, pieces = so_far.probes[-1], [token.text for token in written.tokens]
    thinking = question.thought.is_open(tasks.text_of(pieces[: last.n_tokens]))
    steps = parts_of(question, pieces[: last.n_tokens], kind, thinking=thinking)
    text = tasks.text_of(pieces[last.n_tokens :])
    steps = (*steps, Step(len(steps), last.n_tokens, len(pieces), text, "answer"))
    trace = finished(question, so_far.sample, written, steps, _placed(so_far.probes, steps), kind)
    read = Extraction(last.leader, text, LEADING, None)
    return replace(trace, extraction=read, correct=tasks.grade(read, question.problem, kind))
