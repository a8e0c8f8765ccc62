"""Control probes: the same question and cue after another prefix. Their gain is not due to this reasoning.

- `other-question`: the first k steps of a trace of another question
- `wrong-trace`: the first k steps of a wrong trace of the same question
- `shuffled`: the trace's own first k steps in another order, drawn for each k
- `filler`: step by step as many tokens of filler, each step ended as it ends
- `none`: no prefix at all

One other trace is drawn for all k, so that a control has a curve of its own. A control is a Probe that names it, at
the k of the trace's own probe that it is compared with. Controls take nothing from the trace's own random stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from localent import tasks
from localent.engine import Coroutine, Feed, Rewind
from localent.records import Probe
from localent.tracing.attempt import Place, Question, Setup, probed

CONTROLS = ("other-question", "wrong-trace", "shuffled", "filler", "none")
COMPARED = CONTROLS[:-1]  # `none` is the reading at k = 0 over again: the gain is counted from there
FILLER = " ."
EVERY, ENDS = "every", "ends"  # probe of the trace; half of the steps and all of them
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
    given: frozenset[int] = frozenset()  # indices of the tokens that came from outside

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
    """Tokens in place of a trace's first k steps."""

    k: int
    tokens: tuple[int, ...]
    whole: tuple[int, ...]  # what the lane is filled with: the longest text of the control that begins with them


def compared_at(ks: Sequence[int], at: str = EVERY) -> list[int]:
    """The k at which controls are read, of those at which the trace is: all, or half of its steps and the end; never 0.

    ks: where the trace is probed, rising; the last is its end.
    """
    return [k for k in ks if k and (at == EVERY or k in (ks[-1] // 2, ks[-1]))]


def prefixes_of(
    control: str, own: Written, others: Sequence[Written], filler: Sequence[int], draw: Draw
) -> Iterator[Prefix]:
    """The text of a control in place of the first k steps, for each k from 1 for which there is one."""
    if control == "shuffled":
        mixed = ((k, _shuffled(own.steps(k), draw(f"shuffled:{k}"))) for k in range(1, own.n_steps + 1))
        yield from (Prefix(k, tokens, tokens) for k, tokens in mixed if tokens is not None)
    elif control == "none":
        yield from (Prefix(k, (), ()) for k in range(1, own.n_steps + 1))
    else:
        text = filled(own, filler) if control == "filler" else other(control, own, others, draw)
        if text is not None:
            last = min(own.n_steps, text.n_steps)
            yield from (Prefix(k, text.prefix(k), text.prefix(last)) for k in range(1, last + 1))


def other(control: str, own: Written, others: Sequence[Written], draw: Draw) -> Written | None:
    """A random one of the traces with as many steps as this one, or with the most if none has; None: no trace fits."""
    same = control == "wrong-trace"
    fitting = [w for w in others if (w.problem_id == own.problem_id) == same and w.trace_id != own.trace_id]
    fitting = [w for w in fitting if not (same and w.correct)]
    enough = min(own.n_steps, max((w.n_steps for w in fitting), default=0))
    fitting = [w for w in fitting if w.n_steps >= enough]
    return fitting[int(draw(control).integers(len(fitting)))] if fitting else None


def filled(own: Written, filler: Sequence[int]) -> Written:
    """The trace with its tokens replaced by filler, except the last of each step, which ends the step."""
    lasts = {end - 1 for end in own.ends[1:]}
    tokens = (token if i in lasts else filler[i % len(filler)] for i, token in enumerate(own.prefix(own.n_steps)))
    return replace(own, tokens=tuple(tokens))


def _shuffled(steps: list[tuple[int, ...]], rng: np.random.Generator) -> tuple[int, ...] | None:
    """The steps in a different order; None where every order gives the same tokens."""
    if len(set(steps)) < 2:
        return None
    own = tuple(token for step in steps for token in step)
    while True:
        mixed = tuple(token for i in rng.permutation(len(steps)) for token in steps[i])
        if mixed != own:
            return mixed


def control_probes(
    question: Question, own: Written, control: str, prefixes: Sequence[Prefix], how: Setup
) -> Coroutine[tuple[Probe, ...]]:
    """Coroutine: the answer distribution at each prefix, for a trace of n_steps steps; none without a grammar.

    From the last to the first: of one text each only cuts the lane shorter, nothing is fed twice. The lane is filled
    with the whole text whichever of its prefixes are asked for, so that a reading does not depend on the others. The
    prompt stays in the lane from text to text.
    """
    if question.grammar is None:
        return ()
    found: list[Probe] = []
    yield question.prompt
    filled_with: tuple[int, ...] = ()
    for prefix in reversed(prefixes):
        if prefix.whole != filled_with:
            yield Rewind(len(question.prompt.tokens))
            yield Feed(prefix.whole)
            filled_with = prefix.whole
        text = tasks.text_of(how.vocab.pieces[token] for token in prefix.tokens)
        place = Place(own.sample, prefix.k, own.n_steps, len(prefix.tokens), control)
        found.append((yield from probed(question, text, place, how)))
    return tuple(reversed(found))
