"""Teacher forcing of loaded models as a plan says, beside the noise floor; figures from its columns."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np

from localent.analysis import divergence
from localent.analysis.divergence import TeacherForced
from localent.compare import noise, teacher_forcing
from localent.compare.comparison import Plan
from localent.compare.teacher_forcing import Positions, Text
from localent.engine import Model, Options, Scorer
from localent.machine import hardware
from localent.runs import Progress, Report

NOISE_CHUNK = 3  # times smaller than the longest piece: the reference against itself is fed in other pieces


def score_all(
    loaded: Sequence[Model], parts: Sequence[Text], plan: Plan, report: Report, *, on_rows=lambda rows: None
) -> tuple[Positions, Positions | None]:
    """(all texts under all models, a few texts under the reference fed in two ways)."""
    with ExitStack() as stack:
        scorers = [stack.enter_context(scorer_of(model, parts, plan)) for model in loaded]
        found = scored(parts, scorers[0], scorers[1:], plan, "teacher forcing", report, on_rows=on_rows)
        if not plan.noise:
            return found, None
        again = stack.enter_context(scorer_of(loaded[0], parts, plan))
        longest = min(plan.chunk, max(len(text.tokens) - 1 for text in parts))  # the last token is not fed
        other = noise.Rechunked(again, max(1, longest // NOISE_CHUNK))
        return found, scored(noise.sample(parts), scorers[0], [other], plan, "noise floor", report)


def scored(parts, reference: Scorer, others, plan: Plan, stage: str, report: Report, **how) -> Positions:
    total, done = sum(len(t.tokens) - 1 for t in parts), 0

    def tell(n: int) -> None:
        nonlocal done
        done += n
        report(Progress(min(done, total), total, name=stage, unit="tok"))

    n_threads = plan.threads or hardware.usable_cores()
    return teacher_forcing.score(parts, reference, others, chunk=plan.chunk, n_threads=n_threads, report=tell, **how)


def scorer_of(model: Model, parts: Sequence[Text], plan: Plan) -> Scorer:
    n_ctx = max(len(text.tokens) for text in parts)
    threads = plan.threads or hardware.usable_cores()
    return model.scorer(Options(n_lanes=1, n_ctx=n_ctx, n_threads=threads, chunk=plan.chunk))


def measured(found: Positions, i: int, parts: Sequence[Text], *, cut: bool, stored: bool = False) -> TeacherForced:
    problems, classes = clusters(found, parts), None
    if parts[0].classes:
        classes = _classes(found, parts)
    problems = problems if len(set(problems)) > 1 else None
    columns = found.candidates[i]
    return divergence.teacher_forced(
        found.reference, columns, cut=cut, problems=problems, classes=classes, distribution=not stored
    )


def clusters(found: Positions, parts: Sequence[Text]) -> np.ndarray:
    """The problem, or chunk, of every position: -> (n,)."""
    return np.array([text.problem for text in parts])[found.text]


def _classes(found: Positions, parts: Sequence[Text]) -> np.ndarray:
    flat = [name for text in parts for name in text.classes]
    return np.array(flat[: len(found)])
