"""The cue that fits a model: the one after which the least probability leads to no answer.

Measured on prefixes of a few traces of the first problems of the task's file, so that a run, its continuation and its
parts take the same cue.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from localent import tasks
from localent.engine import Coroutine, Engine, drive
from localent.errors import UsageError
from localent.measure.sampling import rng
from localent.records import INVALID_LIMIT
from localent.runs.progress import SILENT, Listener
from localent.tracing.attempt import Place, Question, Setup, prefix_ends, probed, steps_of
from localent.tracing.generate import generate
from localent.tracing.probe import Effort

N_PROBLEMS = 4
MAX_TOKENS = 256  # of each trace
KEPT = (  # settings of the run at which cues are measured: those of the prompt, and of the bits of a logit
    *("shots", "system", "template_vars", "chat_template", "answer_by", "option_score"),
    *("threads", "gpu_layers", "cache_type_k", "cache_type_v"),
)
LOOK = Effort(epsilon=0.01, max_fed=3, paths=0)  # enough to see past blanks and brackets
TIED = 0.01  # cues whose invalid mass differs by less are taken in the order of their kind
LOG = logging.getLogger("localent")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A cue and the probability that no answer follows it, at the start, half-way and at the end of reasoning."""

    key: str
    invalid: tuple[float, float, float]  # means over traces

    @property
    def mean(self) -> float:
        return sum(self.invalid) / len(self.invalid)


def first_problems(task: tasks.Task) -> tasks.Task:
    """The task that cues are measured on: the first problems of its file; for one question, the worked examples."""
    chosen = task.opening or task.kind.examples
    return replace(task, problems=chosen[:N_PROBLEMS])


def measured(
    lanes: Engine, asked: Mapping[str, Sequence[Question]], how: Setup, listener: Listener = SILENT
) -> tuple[Candidate, ...]:
    """Every cue's invalid mass. asked: cue -> the questions with it; all have the same prompts.

    Raises UsageError where the listener's time ends before.
    """
    n_fed = 0

    def fed(n_tokens: int) -> None:
        nonlocal n_fed
        n_fed += n_tokens
        listener.status(f"finding the cue that fits the model, once: {n_fed:,} tokens")
        if listener.time.left < 0:
            raise UsageError(
                f"{listener.time.minutes:g} min are not enough to find the cue that fits this model, once per prompt:"
                " give more --minutes, or name one by --cue."
            )

    by_problem = [dict(zip(asked, questions, strict=True)) for questions in zip(*asked.values(), strict=True)]
    traces = list(drive(lanes, (_read(cues, how) for cues in by_problem), on_decode=fed))
    n = len(traces)
    return tuple(_candidate(key, [sum(t[key][i] for t in traces) / n for i in range(3)]) for key in asked)


def _read(cues: Mapping[str, Question], how: Setup) -> Coroutine[dict[str, list[float]]]:
    """Coroutine: write a trace, then ask in every way at its start, half-way and at its end."""
    question = next(iter(cues.values()))
    how = replace(how.asking(question), effort=LOOK)
    draws = rng(how.seed, question.problem.problem_id, 0, stream="cue")
    written = yield from generate(question.prompt, how.sampler, draws, how.meter, how.vocab, how.limits)
    ends = prefix_ends(written, steps_of(question, written, how.kind))
    if ends[-1] > written.n_fed:
        yield written.tokens[written.n_fed].token_id
    found: dict[str, list[float]] = {key: [] for key in cues}
    bare = {key: replace(asked, problem=replace(asked.problem, answer="")) for key, asked in cues.items()}
    for k in reversed((0, (len(ends) - 1) // 2, len(ends) - 1)):
        text = tasks.text_of(token.text for token in written.tokens[: ends[k]])
        for key, asked in bare.items():  # no true answer to follow: what it costs says nothing here
            seen = yield from probed(asked, text, Place(0, k, len(ends) - 1, ends[k]), how)
            found[key].insert(0, seen.invalid)
    return found


def best(candidates: Sequence[Candidate]) -> Candidate:
    """The one with the least invalid mass; of those as good, the first."""
    least = min(candidate.mean for candidate in candidates)
    return next(candidate for candidate in candidates if candidate.mean <= least + TIED)


def warn(chosen: Candidate) -> None:
    """Warn where even the best cue leaves much probability on no answer."""
    if chosen.mean > INVALID_LIMIT:
        LOG.warning(
            "No cue fits this model well: after the best, %r, no answer follows with probability %.0f %%, so that its "
            "answer entropies say little; 'localent prompt MODEL TASK' shows all of them.",
            chosen.key,
            100 * chosen.mean,
        )


def to_json(candidates: Sequence[Candidate]) -> list[Any]:
    return [[candidate.key, list(candidate.invalid)] for candidate in candidates]


def from_json(entry: list[Any]) -> tuple[Candidate, ...]:
    """Raises ValueError for an entry of another form."""
    return tuple(_candidate(*one) for one in entry)


def _candidate(key: str, invalid: Sequence[float]) -> Candidate:
    start, half, end = map(float, invalid)
    return Candidate(str(key), (start, half, end))
