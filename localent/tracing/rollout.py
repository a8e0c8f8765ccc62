"""The answer distribution at a prefix from m sampled continuations, at the trace's own settings.

Where a probe forces an answer now, a rollout lets the reasoning go on. Its random streams are its own, one for each
continuation, so that it shares no sample with the trace it is compared with, and its order changes nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from localent import tasks
from localent.engine import Feed, Rewind, Vocab
from localent.errors import UsageError
from localent.measure.meter import Meter
from localent.measure.sampling import Draws, Sampler, rng
from localent.records import Answer, Probe
from localent.tracing.attempt import Question
from localent.tracing.controls import Written
from localent.tracing.generate import Limits

LEAST = 16  # continuations; the plug-in entropy of fewer is far too low
ESTIMATOR = "rollout"


@dataclass(frozen=True, slots=True)
class Rollouts:
    """The settings of continuations: those of the trace, and their number."""

    m: int
    sampler: Sampler
    seed: int
    limits: Limits  # of the whole trace, the prefix counted in
    kind: tasks.Kind

    def __post_init__(self) -> None:
        if self.m < LEAST:
            raise UsageError(f"Expected at least {LEAST} rollouts, got {self.m}: the entropy of fewer means little.")


def rollouts(
    question: Question, own: Written, ks: Sequence[int], how: Rollouts, vocab: Vocab, meter: Meter
) -> Generator[Any, Any, tuple[Probe, ...]]:
    """Coroutine: m continuations from the prefix after each of the k steps, in rising order; a Probe for each k.

    The trace is fed once, step by step whichever k are asked for, so that a reading does not depend on the others.
    """
    row, found, n_steps = np.array((yield question.prompt)), [], 0  # a copy: every continuation begins with it
    for k in sorted(ks):
        for step in filter(None, own.steps(k)[n_steps:]):
            row = np.array((yield Feed(step)))
        prefix, n_steps, n_fed = own.prefix(k), k, 0
        written = tasks.text_of(vocab.pieces[token] for token in prefix)
        values: list[str | None] = []
        for j in range(how.m):
            yield Rewind(len(question.prompt.tokens) + len(prefix))
            stream = rng(how.seed, own.problem_id, own.sample, stream=f"rollout:{k}:{j}")
            draws = Draws(how.sampler, stream, [*question.prompt.tokens, *prefix])
            text, fed, ended = yield from continuation(row, how, draws, prefix, vocab, meter)
            whole, choices = written + text, question.problem.choices
            cut_off = not ended and question.thought.is_unanswered(whole)  # no answer yet, as in attempt.py
            values.append(None if cut_off else tasks.extract(whole, how.kind, choices, question.thought).value)
            n_fed += fed
        yield Rewind(len(question.prompt.tokens) + len(prefix))
        found.append(rollout_probe(k, own.n_steps, len(prefix), values, question.problem.answer, n_fed))
    return tuple(found)


def continuation(
    row: np.ndarray, how: Rollouts, draws: Draws, prefix: Sequence[int], vocab: Vocab, meter: Meter
) -> Generator[int, np.ndarray, tuple[str, int, bool]]:
    """Coroutine: sample on from the row after a prefix to the end of the model, of its answer, or of its tokens.

    Returns the text, how many tokens were fed, and False where the limit came first.
    """
    before, limits = b"".join(vocab.pieces[token] for token in prefix), how.limits
    written, n_fed, n_most = b"", 0, limits.max_tokens - len(prefix)
    for n in range(n_most):
        token = draws.take(meter, row, meter.read(row))
        if token in vocab.eog:
            return tasks.text_of([written]), n_fed, True
        written += vocab.pieces[token]
        cut = min((at for stop in limits.stops if (at := written.find(stop)) >= 0), default=None)
        if cut is not None:
            return tasks.text_of([written[:cut]]), n_fed, True
        if limits.answered and b"\n" in vocab.pieces[token] and limits.answered(tasks.text_of([before, written])):
            return tasks.text_of([written]), n_fed, True
        if n + 1 < n_most:
            row, n_fed = (yield token), n_fed + 1
    return tasks.text_of([written]), n_fed, False


def rollout_probe(k: int, n_steps: int, n_tokens: int, values: Sequence[str | None], truth: str, n_fed: int) -> Probe:
    """The distribution over the answers of m continuations: of the n that gave one.

    The entropy is Miller and Madow's, between the plug-in entropy and ln n. `invalid` is the share without an answer.
    The log-probability of the true answer has the floor 1/(2m): m samples cannot tell less.
    """
    m, counts = len(values), Counter(value for value in values if value is not None)
    ranked, n = sorted(counts.items(), key=lambda item: (-item[1], item[0])), counts.total()
    p_true = counts[truth] / n if n else 0.0
    return Probe(
        k=k,
        n_tokens=n_tokens,
        position=k / n_steps if n_steps else 0.0,
        estimator=ESTIMATOR,
        n_rollouts=m,
        answers=tuple(Answer(value, count / n) for value, count in ranked),
        invalid=1 - n / m,
        residual=0.0,
        entropy=miller_madow(list(counts.values())) if n else None,
        entropy_se=plug_in_error(list(counts.values())) if n else None,
        entropy_lower=plug_in_entropy(list(counts.values())) if n else None,
        entropy_upper=math.log(n) if n else None,
        leader=ranked[0][0] if n else None,
        p_true=p_true,
        log_p_true=math.log(max(p_true, 1 / (2 * m))),
        n_fed=n_fed,
    )


def plug_in_entropy(counts: Sequence[int]) -> float:
    """Entropy of the observed shares, in nats; biased low."""
    m = sum(counts)
    return -math.fsum(n / m * math.log(n / m) for n in counts if n)


def plug_in_error(counts: Sequence[int]) -> float:
    """Standard error of the plug-in entropy, in nats: that of the mean of -ln p over the samples."""
    m, entropy = sum(counts), plug_in_entropy(counts)
    return math.sqrt(max(0.0, math.fsum(n / m * math.log(n / m) ** 2 for n in counts if n) - entropy**2) / m)


def miller_madow(counts: Sequence[int]) -> float:
    """Plug-in entropy plus (observed classes - 1)/(2m), at most ln m, in nats. Source: Miller (1955)."""
    m, n_seen = sum(counts), sum(n > 0 for n in counts)
    return min(plug_in_entropy(counts) + (n_seen - 1) / (2 * m), math.log(m))
