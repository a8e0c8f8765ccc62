"""The answer distribution of another model after each step of a trace that it did not write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from localent.analysis.prefixes import Prefix
from localent.engine import Coroutine, Engine, Feed, drive
from localent.measure.meter import Meter
from localent.measure.sampling import Sampler
from localent.records import Probe, Problem, Trace
from localent.runs.room import to_probe
from localent.runs.session import Loaded
from localent.tasks import kinds
from localent.tasks.kinds import Kind
from localent.tracing.attempt import Question, Setup, probe_steps
from localent.tracing.generate import Generation, Limits

Probes = tuple[Probe, ...]  # of one trace
Done = Callable[[int], object]  # takes the number of traces done


@dataclass(frozen=True, slots=True)
class Given:
    """A stored trace and its question."""

    question: Question
    trace: Trace


def probes_under(model: Loaded, given: Sequence[Given], kind: Kind, report: Done) -> list[Probes]:
    """The answer distribution of `model` at every step of each trace, in the order given.

    Each prefix is fed as its stored token ids, so that the model reads exactly what the trace's author wrote.
    """
    longest = max(len(g.question.prompt.tokens) + len(g.trace.tokens) for g in given)
    with model.with_ctx(longest + to_probe(model.settings, [g.question for g in given])).engine() as lanes:
        return _read(lanes, given, _setup(lanes, model, kind), report)


def _setup(lanes: Engine, model: Loaded, kind: Kind) -> Setup:
    """Nothing is sampled or generated."""
    chosen = model.settings
    return Setup(lanes.vocab, Meter(lanes.n_vocab), Sampler(), 0, Limits(0), kind, chosen.effort(), chosen.probes)


def _read(lanes: Engine, given: Sequence[Given], setup: Setup, report: Done) -> list[Probes]:
    found: list[Probes] = [()] * len(given)
    for n, (i, probes) in enumerate(drive(lanes, (_one(i, g, setup) for i, g in enumerate(given)))):
        found[i] = probes
        report(n + 1)
    return found


def _one(index: int, given: Given, setup: Setup) -> Coroutine[tuple[int, Probes]]:
    """Coroutine: feed a trace up to its last reasoning step, then probe it backwards."""
    question, trace = given.question, given.trace
    end = max((step.end for step in trace.steps if step.kind == "reasoning"), default=0)
    written = [token.token_id for token in trace.tokens[:end]]
    yield question.prompt
    if written:
        yield Feed(written)
    whole = Generation(trace.tokens, "stop", len(written))
    probes = yield from probe_steps(question, trace.sample, whole, trace.steps, setup)
    return index, probes


def paired(
    given: Sequence[Given], reference: Sequence[Sequence[Probe]], candidate: Sequence[Sequence[Probe]]
) -> list[Prefix]:
    """Both models' probes, prefix by prefix, where both found an answer."""
    return [
        Prefix(
            trace=i,
            problem=g.question.problem.cluster,
            position=a.position,
            entropy=(a.entropy, b.entropy),
            p_true=(a.p_true, b.p_true),
            leader=(a.leader, b.leader),
            leads=(leads(a, g.question.problem), leads(b, g.question.problem)),
            guess=kinds.named(a.estimator).chance(g.question.problem),
        )
        for i, (g, ours, theirs) in enumerate(zip(given, reference, candidate, strict=True))
        for a, b in zip(ours, theirs, strict=True)
        if a.entropy is not None and b.entropy is not None
    ]


def leads(probe: Probe, problem: Problem) -> float:
    """1 if the true answer leads, else 0; its probability where what is unexplored could overtake the leader."""
    if probe.leader is None and probe.answers:
        return probe.p_true
    return float(probe.leader == problem.answer)
