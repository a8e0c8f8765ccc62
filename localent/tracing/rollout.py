"""The answer distribution at a prefix from m sampled continuations, at the trace's own settings.

Where a probe forces an answer now, a rollout lets the reasoning go on. Its random streams are its own, one for each
continuation, so that it shares no sample with the trace it is compared with, and its order changes nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from localent import tasks
from localent.engine import Coroutine, Feed, Rewind, Vocab
from localent.errors import UsageError
from localent.measure.meter import Meter
from localent.measure.sampling import Draws, Sampler, rng
from localent.records import Answer, Probe
from localent.tracing.attempt import Question, stated
from localent.tracing.controls import Written
from localent.tracing.generate import LENGTH, LOOP, STOP, Limits
from localent.tracing.loops import EVERY, is_loop

LEAST = 16  # continuations; the plug-in entropy of fewer is far too low
PART = 4  # continuations in one lane: those of one trace then share the lanes, and are done soon
ESTIMATOR = "rollout"


@dataclass(frozen=True, slots=True)
class Rollouts:
    """The settings of continuations: those of the trace, and their number."""

    m: int
    sampler: Sampler
    seed: int
    limits: Limits  # of the whole trace, the prefix counted in: all that ends it
    kind: tasks.Kind

    def __post_init__(self) -> None:
        if self.m < LEAST:
            raise UsageError(f"Expected at least {LEAST} rollouts, got {self.m}: the entropy of fewer means little.")


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the continuations of one prefix, made one after the other in one lane."""

    k: int  # reasoning steps in the prefix
    js: range


@dataclass(frozen=True, slots=True)
class Continued:
    """One continuation: the answer that it comes to (None: none), and the tokens fed for it."""

    answer: str | None
    n_fed: int


def parts(ks: Sequence[int], m: int) -> list[Part]:
    """The m continuations of each prefix, in parts small enough to fill the lanes with those of one trace."""
    return [Part(k, range(j, min(j + PART, m))) for k in sorted(ks) for j in range(0, m, PART)]


def continuations(
    question: Question, own: Written, part: Part, how: Rollouts, vocab: Vocab, meter: Meter
) -> Coroutine[list[Continued]]:
    """Coroutine: sample on from the prefix after k steps, once for each j of the part.

    The trace is fed step by step, so that a reading does not depend on the others.
    """
    row, prefix = np.array((yield question.prompt)), own.prefix(part.k)  # a copy: every continuation begins with it
    for step in filter(None, own.steps(part.k)):
        row = np.array((yield Feed(step)))
    found, written = [], [*question.prompt.tokens, *prefix]
    for j in part.js:
        yield Rewind(len(written))
        draws = Draws(how.sampler, rng(how.seed, own.problem_id, own.sample, stream=f"rollout:{part.k}:{j}"), written)
        text, n_fed, finish = yield from continuation(row, how, draws, prefix, vocab, meter)
        found.append(Continued(stated(question, text, finish, how.kind).value, n_fed))
    return found


def continuation(
    row: np.ndarray, how: Rollouts, draws: Draws, prefix: Sequence[int], vocab: Vocab, meter: Meter
) -> Generator[int, np.ndarray, tuple[str, int, str]]:
    """Coroutine: sample on from the row after a prefix until what would have ended the trace ends it.

    Returns the text, prefix included, how many tokens were fed, and why it ended: STOP, LENGTH or LOOP.
    """
    limits, token_ids, n_fed, written = how.limits, list(prefix), 0, bytearray()
    closing = limits.budget.due(token_ids, vocab.pieces) if limits.budget else []
    while len(token_ids) < limits.max_tokens:
        token_ids.append(draws.give(closing.pop(0)) if closing else draws.take(meter, row, meter.read(row)))
        written += vocab.pieces[token_ids[-1]]
        text, finish = _ended(token_ids, len(prefix), written, vocab, limits)
        if finish is not None:
            return text, n_fed, finish
        if limits.budget and len(token_ids) == limits.budget.n_tokens:
            closing = limits.budget.due(token_ids, vocab.pieces)
        if len(token_ids) < limits.max_tokens:
            row, n_fed = (yield token_ids[-1]), n_fed + 1
    return _text(token_ids, vocab), n_fed, LENGTH


def _ended(
    token_ids: Sequence[int], n_prefix: int, written: bytearray, vocab: Vocab, limits: Limits
) -> tuple[str, str | None]:
    """(the text, why it ends after the last of these tokens); ("", None): it goes on. written: after the prefix."""
    if token_ids[-1] in vocab.eog:
        return _text(token_ids[:-1], vocab), STOP
    cut = min((at for stop in limits.stops if (at := written.find(stop)) >= 0), default=None)
    if cut is not None:
        return _text(token_ids[:n_prefix], vocab, bytes(written[:cut])), STOP
    if limits.answered and b"\n" in vocab.pieces[token_ids[-1]] and limits.answered(text := _text(token_ids, vocab)):
        return text, STOP
    looping = limits.end_loops and len(token_ids) % EVERY == 0 and is_loop(token_ids)
    return (_text(token_ids, vocab), LOOP) if looping else ("", None)


def _text(token_ids: Sequence[int], vocab: Vocab, more: bytes = b"") -> str:
    return tasks.text_of([*(vocab.pieces[i] for i in token_ids), more])


def rollouts_of(
    own: Written, ended: Mapping[int, Sequence[Continued]], truth: str, kind: tasks.Kind
) -> tuple[Probe, ...]:
    """The probe of each prefix, from its continuations: k -> all of them. Answers that are the same count as one."""
    found = []
    for k, some in sorted(ended.items()):
        answers, n_fed = kind.merged([one.answer for one in some], truth), sum(one.n_fed for one in some)
        found.append(rollout_probe(k, own.n_steps, own.ends[k], answers, truth, n_fed))
    return tuple(found)


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
