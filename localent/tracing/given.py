"""Coroutines that read given text: teacher forcing, nothing is sampled."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

from localent.engine import Coroutine, Prompt, Row, Vocab
from localent.measure.meter import Meter
from localent.records import Token, Trace
from localent.tasks import observed
from localent.tracing.attempt import GIVEN, Question, Setup, finished, probe_steps, steps_of
from localent.tracing.generate import Generation, Limits, measured
from localent.tracing.prompt_tokens import continued, space_after


def read(tokens: Sequence[int], row: Row, meter: Meter, vocab: Vocab) -> Generator[int, Row, list[Token]]:
    """Coroutine: the measures of each given token; `row` predicts the first. All of them are fed."""
    found, limits = [], Limits(max_tokens=len(tokens))
    for token_id in tokens:
        found.append(measured(row, meter, meter.read(row), token_id, vocab, limits))
        row = yield token_id
    return found


def read_solution(question: Question, tokens: Sequence[tuple[int, bool]], how: Setup) -> Coroutine[Trace]:
    """Coroutine: the worked solution as a trace, probed after each of its steps. tokens: see solution_tokens."""
    row = yield question.prompt
    taken = yield from read([token for token, _ in tokens], row, how.meter, how.vocab)
    taken = [replace(one, given=outside) for one, (_, outside) in zip(taken, tokens, strict=True)]
    written = Generation(tuple(taken), GIVEN, len(taken))
    parts = steps_of(question, written, how.kind)
    probes = yield from probe_steps(question, 0, written, parts, how)
    return finished(question, 0, written, parts, probes, how.kind)


def read_window(tokens: Sequence[int], meter: Meter, vocab: Vocab) -> Coroutine[list[Token]]:
    """Coroutine: the measures of a window of plain text; without a BOS its first token is not predicted."""
    first, rest = (vocab.bos, tokens) if vocab.bos is not None else (tokens[0], tokens[1:])
    row = yield Prompt([first])
    return (yield from read(rest, row, meter, vocab))


def solution_tokens(question: Question, vocab: Vocab) -> list[tuple[int, bool]]:
    """The tokens of the worked solution after the prompt, each with True if its line comes from outside.

    A space stands between where the prompt ends in none.
    """
    space, found = space_after(question.prompt, vocab), []
    for text, outside in observed.woven(question.problem):
        found += [(token, outside) for token in continued(space + text, vocab)]
        space = ""
    return found
