"""Control probes: the same question, the same cue, another prefix. What they gain is not gained by this reasoning.

- `other-question`: the first k steps of a trace of another question
- `wrong-trace`: the first k steps of a wrong trace of the same question
- `shuffled`: the trace's own first k steps in another order
- `filler`: as many tokens of filler, ended as the step ends
- `none`: no prefix at all

They are stored as probes whose estimator is "number:shuffled" and so on, at the k whose reading they stand against, and
take nothing from the trace's own random stream.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from localent import tasks
from localent.attempt import Question, as_probe
from localent.engine import Prompt
from localent.entropy import Meter
from localent.probe import Effort, probe
from localent.records import Probe

CONTROLS = ("other-question", "wrong-trace", "shuffled", "filler", "none")
COMPARED = CONTROLS[:-1]  # `none` is the reading at k = 0 over again: the gain is counted from there
FILLER = " ."


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


def compared_at(n_steps: int) -> list[int]:
    """The k at which controls are read: half of the steps and all of them; never 0."""
    return sorted({n_steps // 2, n_steps} - {0})


def control_prefix(
    control: str, own: Written, k: int, others: Sequence[Written], filler: Sequence[int], rng: np.random.Generator
) -> tuple[int, ...] | None:
    """Tokens that stand in the place of the first k steps; None: there are none of this kind.

    others: traces of the run to take steps from. Of those that qualify one is drawn.
    """
    if control == "none":
        return ()
    if control == "filler":
        return _filler(own.prefix(k), filler)
    if control == "shuffled":
        return _shuffled(own.steps(k), rng)
    same = control == "wrong-trace"
    fitting = [w for w in others if w.n_steps >= k and (w.problem_id == own.problem_id) == same]
    fitting = [w for w in fitting if w.trace_id != own.trace_id and not (same and w.correct)]
    return fitting[int(rng.integers(len(fitting)))].prefix(k) if fitting else None


def _filler(prefix: Sequence[int], filler: Sequence[int]) -> tuple[int, ...]:
    """As many tokens, the last one kept: it is what ends a step."""
    repeated = tuple(filler[i % len(filler)] for i in range(len(prefix) - 1))
    return (*repeated, *prefix[-1:])


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
    own: Written,
    prefixes: Mapping[tuple[str, int], Sequence[int]],
    pieces: Sequence[bytes],
    effort: Effort,
    meter: Meter,
) -> Generator[Any, Any, tuple[Probe, ...]]:
    """Coroutine: the answer distribution after each prefix, (control, k) -> tokens, in place of the trace's own."""
    found = []
    for (control, k), tokens in prefixes.items():
        prompt = Prompt([*question.prompt.tokens, *tokens], question.prompt.n_shared)
        yield prompt
        cue = question.cue(tasks.text_of(pieces[token] for token in tokens))
        truth, n_prefix = question.problem.answer, len(prompt.tokens)
        seen = yield from probe(n_prefix, cue, question.grammar, truth, effort, meter)
        found.append(as_probe(k, own.n_steps, len(tokens), f"{question.grammar.kind}:{control}", seen))
    return tuple(found)


def prefixes_of(
    own: Written, controls: Sequence[str], others: Sequence[Written], filler: Sequence[int], streams: Mapping[str, Any]
) -> Iterator[tuple[tuple[str, int], tuple[int, ...]]]:
    """((control, k), tokens) for each control and each k that has them. streams: control -> its random stream."""
    for control in controls:
        for k in compared_at(own.n_steps):
            tokens = control_prefix(control, own, k, others, filler, streams[control])
            if tokens is not None:
                yield (control, k), tokens
