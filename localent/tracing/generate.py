"""Sample one trace from a prompt, measuring every prediction on the way."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from localent.engine import Prompt, Vocab
from localent.measure.meter import Meter, Reading
from localent.measure.sampling import Draws, Sampler
from localent.records import Alternative, Token, text_of, token_texts
from localent.tasks import observed
from localent.tracing.loops import EVERY, is_loop

STOP, LENGTH, LOOP, EARLY = "stop", "length", "loop", "early"  # why a generation ended


@dataclass(frozen=True, slots=True)
class Generation:
    """The output of a model: the tokens with their measures, and the reason for its end."""

    tokens: tuple[Token, ...]  # the end-of-generation token included, with empty text
    finish: str  # STOP | LENGTH | LOOP | EARLY
    n_fed: int  # of these tokens so many are in the lane; the last one sampled is not

    @property
    def raw(self) -> bytes:
        return b"".join(token.text for token in self.tokens)

    @property
    def text(self) -> str:
        """The decoded text, as it is stored."""
        return text_of([self.raw])

    @property
    def own_text(self) -> str:
        """The text with what came from outside blanked out, as it is graded."""
        return own_text(self.tokens)


def own_text(tokens: Sequence[Token]) -> str:
    """The text of tokens, those that came from outside blanked out."""
    if not any(token.given for token in tokens):
        return text_of(token.text for token in tokens)
    return observed.own(token_texts([token.text for token in tokens]), [token.given for token in tokens])


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Lines from outside: the first is fed before the first token, each other where the step after the last has ended.

    n_ended: (pieces, whether each is given) -> reasoning steps that are complete there; None: in the middle of one.
    """

    lines: tuple[tuple[int, ...], ...]  # token ids
    n_ended: Callable[[Sequence[bytes], Sequence[bool]], int | None]

    def due(self, n_fed: int, pieces: Sequence[bytes], given: Sequence[bool]) -> tuple[int, ...]:
        """The line that is to be fed after these pieces, of which n_fed lines are a part; none where it is not due."""
        if n_fed == len(self.lines) or (n_fed and given[-1]):
            return ()
        n_ended = self.n_ended(pieces, given) if n_fed else 0
        return self.lines[n_fed] if n_ended is not None and n_ended >= n_fed else ()


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit of thinking: once it is spent, the thought is closed by tokens that are fed instead of sampled."""

    n_tokens: int  # of the trace
    is_open: Callable[[str], bool]  # the text so far -> True: it ends inside a thought
    closing: tuple[int, ...]

    def due(self, token_ids: Sequence[int], pieces: Sequence[bytes]) -> list[int]:
        """The tokens that are to be fed after these: all that close the thought, the rest of them, or none."""
        n = self.n_tokens
        given = tuple(token_ids[n:])
        cut = len(token_ids) >= n and len(given) < len(self.closing) and given == self.closing[: len(given)]
        opened = cut and self.is_open(text_of(pieces[token_id] for token_id in token_ids[:n]))
        return list(self.closing[len(given) :]) if opened else []


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a trace besides the model's own end of generation, and its optional measures."""

    max_tokens: int  # that the model writes; lines from outside do not count
    stops: tuple[bytes, ...] = ()  # texts that end it; they are cut off where a token begins
    top_k: int = 0  # also take the top-k measures with this k; 0: do without them
    alternatives: int = 0  # also keep so many of the most likely tokens
    answered: Callable[[str], bool] | None = None  # the text so far -> True: end here; asked at the end of a line
    end_loops: bool = False  # end a trace that repeats itself
    budget: Budget | None = None
    arrivals: Arrivals | None = None


@dataclass(slots=True)
class _Forced:
    """The tokens that are fed in place of drawn ones: the end of a thought, and lines from outside."""

    limits: Limits
    waiting: list[int] = field(default_factory=list)
    given: bool = False  # they come from outside
    n_lines: int = 0  # from outside, so far

    def look(self, tokens: Sequence[Token]) -> None:
        """Take note of what is due after these tokens."""
        if self.waiting:
            return
        if self.limits.budget and _is_spent(tokens, self.limits.budget):
            self.waiting, self.given = list(self.limits.budget.closing), False
        elif self.limits.arrivals and (not self.n_lines or b"\n" in tokens[-1].text):
            pieces, given = [token.text for token in tokens], [token.given for token in tokens]
            self.waiting, self.given = list(self.limits.arrivals.due(self.n_lines, pieces, given)), True
            self.n_lines += bool(self.waiting)


@dataclass(frozen=True, slots=True)
class Ending:
    """What a generation can be sent in place of a row: it ends here, with tokens that are fed instead of sampled."""

    row: np.ndarray
    tokens: Sequence[int]  # one at least


def generate(
    prompt: Prompt, sampler: Sampler, rng: np.random.Generator, meter: Meter, vocab: Vocab, limits: Limits
) -> Generator[Prompt | int, np.ndarray | Ending, Generation]:
    """Coroutine: prefill the prompt, then sample until one of the limits, or until the model ends, or an `Ending`.

    Measures are those of the raw logits at temperature 1, independent of the sampler. `rng` draws exactly one
    number per token, so that a trace depends on nothing but its own seed.
    """
    tokens: list[Token] = []
    forced = _Forced(limits)
    draws = Draws(sampler, rng, prompt.tokens)
    row = yield prompt
    while True:
        if isinstance(row, Ending):
            for given in row.tokens:
                row = row.row if isinstance(row, Ending) else row
                tokens.append(measured(row, meter, meter.read(row), draws.give(given), vocab, limits))
                row = yield given
            return Generation(tuple(tokens), EARLY, len(tokens))
        forced.look(tokens)
        reading, outside = meter.read(row), bool(forced.waiting) and forced.given
        token_id = draws.give(forced.waiting.pop(0)) if forced.waiting else draws.take(meter, row, reading)
        token = measured(row, meter, reading, token_id, vocab, limits)
        tokens.append(replace(token, given=True) if outside else token)
        n_fed = len(tokens) - 1
        if not outside and (finish := _finish(tokens, vocab, limits)):
            return Generation(tuple(tokens), finish, min(n_fed, len(tokens)))
        row = yield token_id


def _finish(tokens: list[Token], vocab: Vocab, limits: Limits) -> str | None:
    """Why a generation ends here; None where it goes on. Cuts off a stop text."""
    last = tokens[-1]
    if last.token_id in vocab.eog or _cut_at_stop(tokens, limits.stops) or _is_answered(tokens, limits):
        return STOP
    if limits.end_loops and len(tokens) % EVERY == 0 and is_loop(_since_given(tokens)):
        return LOOP
    n = len(tokens) if limits.arrivals is None else sum(not token.given for token in tokens)
    return LENGTH if n == limits.max_tokens else None


def _since_given(tokens: Sequence[Token]) -> list[int]:
    """The token ids after the last line from outside: lines that repeat themselves make no loop."""
    last = max((i for i, token in enumerate(tokens) if token.given), default=-1)
    return [token.token_id for token in tokens[last + 1 :]]


def _is_answered(tokens: Sequence[Token], limits: Limits) -> bool:
    asked = limits.answered is not None and b"\n" in tokens[-1].text
    return asked and limits.answered(own_text(tokens))  # type: ignore[misc]


def _is_spent(tokens: Sequence[Token], budget: Budget) -> bool:
    """True once, where the budget ends inside a thought."""
    return len(tokens) == budget.n_tokens and budget.is_open(text_of(token.text for token in tokens))


def alternatives(row: np.ndarray, meter: Meter, reading: Reading, vocab: Vocab, n: int) -> tuple[Alternative, ...]:
    """The `n` most likely tokens of a prediction, most likely first."""
    if not n:
        return ()
    ids, logits = meter.largest(row, reading, min(n, meter.n_vocab))
    probs = np.exp(logits - reading.max_logit - reading.log_normaliser)
    texts = (text_of([vocab.pieces[i]]) for i in ids.tolist())
    return tuple(map(Alternative, ids.tolist(), texts, probs.tolist()))


def measured(row: np.ndarray, meter: Meter, reading: Reading, token_id: int, vocab: Vocab, limits: Limits) -> Token:
    """The record of one prediction and the token taken; `limits` names the optional measures.

    A token that ends the generation has no text.
    """
    others = alternatives(row, meter, reading, vocab, limits.alternatives)
    taken = meter.taken(row, reading, token_id)
    top = meter.topk(row, reading, limits.top_k) if limits.top_k else None
    return Token(
        token_id=token_id,
        text=b"" if token_id in vocab.eog else vocab.pieces[token_id],
        surprisal=taken.surprisal,
        entropy=reading.entropy,
        varentropy=reading.varentropy,
        renyi2=reading.renyi2,
        top1_prob=reading.top1_prob,
        margin=reading.margin,
        rank=taken.rank,
        self_certainty=reading.self_certainty,
        topk_confidence=top.confidence if top else None,
        topk_bias=top.partial_bias if top else None,
        alternatives=others,
    )


def _cut_at_stop(tokens: list[Token], stops: Sequence[bytes]) -> bool:
    """True where a stop text has appeared; the tokens from its beginning on are dropped.

    A token in whose middle it begins stays whole: the model wrote that token, and the lane was fed all of it.
    """
    if not stops:
        return False
    window = max(len(stop) for stop in stops) + len(tokens[-1].text)
    tail, start = b"", len(tokens)
    while start > 0 and len(tail) < window:
        start -= 1
        tail = tokens[start].text + tail
    at = min((i for stop in stops if (i := tail.find(stop)) >= 0), default=None)
    if at is None:
        return False
    while start < len(tokens) and at > 0:
        at -= len(tokens[start].text)
        start += 1
    del tokens[start:]
    return True
