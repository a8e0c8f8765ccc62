"""Control probes: the same question, the same cue, another prefix. What they gain is not gained by this reasoning.

- `other-question`: the first k steps of a trace of another question
- `wrong-trace`: the first k steps of a wrong trace of the same question
- `shuffled`: the trace's own first k steps in another order, drawn anew for each k
- `filler`: step by step as many tokens of filler, each step ended as it ends
- `none`: no prefix at all

One other trace is drawn for all k, so that a control has a curve of its own. A control is a Probe that names it, at
the k of the trace's own probe that it is compared with. Controls take nothing from the trace's own random stream.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from localent import tasks
from localent.engine import Prompt
from localent.measure.meter import Meter
from localent.records import Probe
from localent.tracing.attempt import Question
from localent.tracing.probe import Effort, probe

CONTROLS = ("other-question", "wrong-trace", "shuffled", "filler", "none")
COMPARED = CONTROLS[:-1]  # `none` is the reading at k = 0 over again: the gain is counted from there
FILLER = " ."
EVERY, ENDS = "every", "ends"  # step; half of the steps and all of them
AT = (EVERY, ENDS)
Draw = Callable[[str], np.random.Generator]  # a random stream by its name


@dataclass(frozen=True, slots=True)
class Written:
    """A stored trace, as far as controls and rollouts need it."""

    trace_id: int
    problem_id: str
    sample: int
    correct: bool
    tokens: tuple[int, ...]
    ends: tuple[int, ...]  # tokens in the prefix after k = 0..K reasoning steps

    @property
    def n_steps(self) -> int:
        return len(self.ends) - 1

    def prefix(self, k: int) -> tuple[int, ...]:
        return self.tokens[: self.ends[k]]

    def steps(self, k: int) -> list[tuple[int, ...]]:
        """The tokens of each of the first k steps."""
        return [self.tokens[a:b] for a, b in zip(self.ends[:k], self.ends[1 : k + 1], strict=True)]


@dataclass(frozen=True, slots=True)
class Prefix:
    """Tokens that stand in the place of a trace's first k steps."""

    k: int
    tokens: tuple[int, ...]
    whole: tuple[int, ...]  # what the lane is filled with: the longest text of the control that begins with them


def compared_at(n_steps: int, at: str = EVERY) -> list[int]:
    """The k at which controls are read: after every step, or after half of the steps and all; never 0."""
    return list(range(1, n_steps + 1)) if at == EVERY else sorted({n_steps // 2, n_steps} - {0})


def prefixes_of(
    control: str, own: Written, others: Sequence[Written], filler: Sequence[int], draw: Draw
) -> Iterator[Prefix]:
    """What the control puts in the place of the first k steps, for each k from 1 for which there is such a text."""
    if control == "shuffled":
        mixed = ((k, _shuffled(own.steps(k), draw(f"shuffled:{k}"))) for k in range(1, own.n_steps + 1))
        yield from (Prefix(k, tokens, tokens) for k, tokens in mixed if tokens is not None)
    elif control == "none":
        yield from (Prefix(k, (), ()) for k in range(1, own.n_steps + 1))
    else:
        text = filled(own, filler) if control == "filler" else other(control, own, others, draw)
        last = min(own.n_steps, text.n_steps) if text else 0
        yield from (Prefix(k, text.prefix(k), text.prefix(last)) for k in range(1, last + 1))


def other(control: str, own: Written, others: Sequence[Written], draw: Draw) -> Written | None:
    """One of the traces that have as many steps, or, where none has, as many as any; None: there is none at all."""
    same = control == "wrong-trace"
    fitting = [w for w in others if (w.problem_id == own.problem_id) == same and w.trace_id != own.trace_id]
    fitting = [w for w in fitting if not (same and w.correct)]
    enough = min(own.n_steps, max((w.n_steps for w in fitting), default=0))
    fitting = [w for w in fitting if w.n_steps >= enough]
    return fitting[int(draw(control).integers(len(fitting)))] if fitting else None


def filled(own: Written, filler: Sequence[int]) -> Written:
    """The trace with all tokens but the last of each step replaced: that one is what ends a step."""
    lasts = {end - 1 for end in own.ends[1:]}
    tokens = (token if i in lasts else filler[i % len(filler)] for i, token in enumerate(own.prefix(own.n_steps)))
    return replace(own, tokens=tuple(tokens))


def _shuffled(steps: list[tuple[int, ...]], rng: np.random.Generator) -> tuple[int, ...] | None:
    """The steps in an order that reads otherwise; None where there is no other."""
    if len(set(steps)) < 2:
        return None
    own = tuple(token for step in steps for token in step)
    while True:
        mixed = tuple(token for i in rng.permutation(len(steps)) for token in steps[i])
        if mixed != own:
            return mixed


def control_probes(
    question: Question,
    n_steps: int,
    control: str,
    prefixes: Sequence[Prefix],
    pieces: Sequence[bytes],
    effort: Effort,
    meter: Meter,
) -> Generator[Any, Any, tuple[Probe, ...]]:
    """Coroutine: the answer distribution after each of the prefixes.

    From the last to the first: of one text each only cuts the lane shorter, nothing is fed twice. The lane is filled
    with the whole text whichever of its prefixes are asked for, so that a reading does not depend on the others.
    """
    found, filled_with = [], None
    for prefix in reversed(prefixes):
        if prefix.whole != filled_with:
            yield Prompt([*question.prompt.tokens, *prefix.whole], question.prompt.n_shared)
            filled_with = prefix.whole
        cue = question.cue(tasks.text_of(pieces[token] for token in prefix.tokens))
        truth, n_prefix = question.problem.answer, len(question.prompt.tokens) + len(prefix.tokens)
        seen = yield from probe(n_prefix, cue, question.grammar, truth, effort, meter)
        place = dict(k=prefix.k, n_steps=n_steps, n_tokens=len(prefix.tokens))
        found.append(Probe.of(seen, **place, estimator=question.grammar.kind, control=control))
    return tuple(reversed(found))
