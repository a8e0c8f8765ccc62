"""The same prefixes put to another model: its answer distribution after each step of a trace that it did not write."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from localent.analysis.prefixes import Prefix
from localent.engine import Engine, Model, Options, Prompt, drive
from localent.measure.meter import Meter
from localent.measure.sampling import Sampler
from localent.records import Probe, Trace
from localent.tasks import kinds
from localent.tracing.attempt import Question, Setup, probe_steps
from localent.tracing.generate import Generation, Limits
from localent.tracing.probe import Effort

Probes = tuple[Probe, ...]  # of one trace
SLACK = 24  # tokens of context for a cue and one answer beyond the search's budget


@dataclass(frozen=True, slots=True)
class Given:
    """A trace that exists, and the question it answers."""

    question: Question
    trace: Trace


def probes_under(
    model: Model,
    given: Sequence[Given],
    effort: Effort,
    *,
    lanes: int,
    threads: int,
    report: Callable[[int], object] = lambda n: None,
) -> list[Probes]:
    """The answer distribution of `model` at every step of each trace, in the order given.

    Each prefix is fed as its stored token ids: the model never sees other text than the trace's author wrote.
    """
    longest = max(len(g.question.prompt.tokens) + len(g.trace.tokens) for g in given)
    options = Options(n_lanes=lanes, n_ctx=longest + effort.max_fed + SLACK, n_threads=threads)
    with model.lanes(options) as engine:
        return read(engine, given, effort, report)


def read(
    engine: Engine, given: Sequence[Given], effort: Effort, report: Callable[[int], object] = lambda n: None
) -> list[Probes]:
    """See probes_under: for any engine."""
    found: list[Probes] = [()] * len(given)
    meter = Meter(engine.n_vocab)
    for n, (i, probes) in enumerate(drive(engine, (_one(i, g, effort, meter, engine) for i, g in enumerate(given)))):
        found[i] = probes
        report(n + 1)
    return found


def _one(
    index: int, given: Given, effort: Effort, meter: Meter, engine: Engine
) -> Generator[Any, Any, tuple[int, Probes]]:
    """Coroutine: feed a trace up to its last reasoning step, then probe it backwards."""
    question, trace = given.question, given.trace
    end = max((step.end for step in trace.steps if step.kind == "reasoning"), default=0)
    written = [token.token_id for token in trace.tokens[:end]]
    yield Prompt([*question.prompt.tokens, *written], question.prompt.n_shared)
    how = Setup(engine.vocab, meter, Sampler(), 0, Limits(0), kinds.named(question.grammar.kind), effort)
    probes = yield from probe_steps(question, Generation(trace.tokens, "stop", len(written)), trace.steps, how)
    return index, probes


def paired(
    given: Sequence[Given], reference: Sequence[Sequence[Probe]], candidate: Sequence[Sequence[Probe]]
) -> list[Prefix]:
    """Both models' probes, prefix by prefix."""
    return [
        Prefix(
            trace=i,
            problem=g.trace.problem_id,
            position=a.position,
            entropy=(a.entropy, b.entropy),
            p_true=(a.p_true, b.p_true),
            leader=(a.leader, b.leader),
        )
        for i, (g, ours, theirs) in enumerate(zip(given, reference, candidate, strict=True))
        for a, b in zip(ours, theirs, strict=True)
    ]
