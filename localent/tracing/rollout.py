"""The answer distribution at a prefix from m sampled continuations, at the trace's own settings.

Where a probe forces an answer now, a rollout lets the reasoning go on. Its random streams are its own, one for each
continuation, so that it shares no sample with the trace it is compared with, and its order changes nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from localent import tasks
from localent.engine import Coroutine, Feed, Rewind, Vocab
from localent.errors import UsageError
from localent.measure.meter import Meter
from localent.measure.sampling import Draws, Sampler, rng
from localent.records import Answer, Probe, token_texts
from localent.tasks import observed
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
        going = Going.after(prefix, own.given, how.limits, vocab)
        text, n_fed, finish = yield from continuation(row, draws, going, meter)
        found.append(Continued(stated(question, text, finish, how.kind).value, n_fed))
    return found


@dataclass(slots=True)
class Going:
    """A continuation under way: the tokens of prefix and continuation, and those that wait to be fed."""

    token_ids: list[int]
    given: list[bool]  # those that came from outside
    n_prefix: int
    limits: Limits
    vocab: Vocab
    n_lines: int  # from outside, so far
    waiting: list[int] = field(default_factory=list)
    from_outside: bool = False  # those that wait
    written: bytearray = field(default_factory=bytearray)  # after the prefix

    @classmethod
    def after(cls, prefix: Sequence[int], given: frozenset[int], limits: Limits, vocab: Vocab) -> Going:
        """The state after a prefix, in which every line from outside begins a step."""
        flags = [i in given for i in range(len(prefix))]
        n_lines = sum(now and not before for before, now in pairwise([False, *flags]))
        going = cls(list(prefix), flags, len(prefix), limits, vocab, n_lines)
        going.look()
        return going

    @property
    def is_full(self) -> bool:
        """True at the limit of tokens, those from outside not counted."""
        return len(self.token_ids) - (sum(self.given) if self.limits.arrivals else 0) >= self.limits.max_tokens

    def look(self) -> None:
        """Take note of what is due now: the end of a thought, or a line from outside."""
        if self.waiting:
            return
        budget, arrivals = self.limits.budget, self.limits.arrivals
        if budget and (not self.written or len(self.token_ids) == budget.n_tokens):
            self.waiting, self.from_outside = budget.due(self.token_ids, self.vocab.pieces), False
        elif arrivals and (not self.written or b"\n" in self.vocab.pieces[self.token_ids[-1]]):
            pieces = [self.vocab.pieces[i] for i in self.token_ids]
            self.waiting, self.from_outside = list(arrivals.due(self.n_lines, pieces, self.given)), True
            self.n_lines += bool(self.waiting)

    def take(self, token_id: int, *, outside: bool) -> None:
        """Append a token."""
        self.token_ids.append(token_id)
        self.given.append(outside)
        self.written += self.vocab.pieces[token_id]

    def ended(self) -> tuple[str, str | None]:
        """(the text, why it ends after the last token); ("", None): it goes on."""
        token_ids, limits, last = self.token_ids, self.limits, self.token_ids[-1]
        if last in self.vocab.eog:
            return self.text(len(token_ids) - 1), STOP
        cut = min((at for stop in limits.stops if (at := self.written.find(stop)) >= 0), default=None)
        if cut is not None:
            return self.cut_at(cut), STOP
        if limits.answered and b"\n" in self.vocab.pieces[last] and limits.answered(text := self.text()):
            return text, STOP
        looping = limits.end_loops and len(token_ids) % EVERY == 0 and is_loop(self.since_given())
        return (self.text(), LOOP) if looping else ("", None)

    def since_given(self) -> list[int]:
        """The tokens after the last line from outside."""
        return self.token_ids[max((i for i, outside in enumerate(self.given) if outside), default=-1) + 1 :]

    def text(self, n: int | None = None) -> str:
        """The text of the first n tokens, what came from outside blanked out."""
        return _own([self.vocab.pieces[i] for i in self.token_ids[:n]], self.given[:n])

    def cut_at(self, at: int) -> str:
        """The text with the continuation cut off after so many bytes."""
        n = self.n_prefix
        while n < len(self.token_ids) and at >= len(self.vocab.pieces[self.token_ids[n]]):
            at -= len(self.vocab.pieces[self.token_ids[n]])
            n += 1
        pieces = [self.vocab.pieces[i] for i in self.token_ids[: n + 1]]
        pieces[n:] = [piece[:at] for piece in pieces[n:]]
        return _own(pieces, self.given[: len(pieces)])


def _own(pieces: Sequence[bytes], given: Sequence[bool]) -> str:
    """The text of pieces, those that came from outside blanked out."""
    return observed.own(token_texts(pieces), given) if any(given) else tasks.text_of(pieces)


def continuation(
    row: np.ndarray, draws: Draws, going: Going, meter: Meter
) -> Generator[int, np.ndarray, tuple[str, int, str]]:
    """Coroutine: sample on from the row after a prefix until what would have ended the trace ends it.

    Returns the text as it is graded, prefix included, how many tokens were fed, and why it ended: STOP, LENGTH or LOOP.
    """
    n_fed = 0
    while not going.is_full:
        outside = bool(going.waiting) and going.from_outside
        token_id = draws.give(going.waiting.pop(0)) if going.waiting else draws.take(meter, row, meter.read(row))
        going.take(token_id, outside=outside)
        text, finish = ("", None) if outside else going.ended()
        if finish is not None:
            return text, n_fed, finish
        going.look()
        if not going.is_full:
            row, n_fed = (yield token_id), n_fed + 1
    return going.text(), n_fed, LENGTH


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
