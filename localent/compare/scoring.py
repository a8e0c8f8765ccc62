"""Teacher forcing of loaded models as a plan says, beside the noise floor, and the figures of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from localent.analysis import divergence
from localent.analysis.divergence import TeacherForced
from localent.compare import noise, teacher_forcing
from localent.compare.plan import Plan
from localent.compare.positions import Positions
from localent.compare.teacher_forcing import Feeding
from localent.compare.text import Text, classes_of_rows
from localent.engine import Model, Options, Row, Scorer
from localent.machine import hardware
from localent.runs import Progress, Report

NOISE_CHUNK = 3  # times smaller than the longest piece: the reference against itself is fed in other pieces
OnRows = Callable[[Sequence[Row]], object]


@dataclass(frozen=True, slots=True)
class Pass:
    """Texts that are fed as a plan says, and who hears of it."""

    texts: Sequence[Text]
    plan: Plan
    report: Report

    @property
    def n_threads(self) -> int:
        return self.plan.threads or hardware.usable_cores()

    def scorer(self, model: Model) -> Scorer:
        """A scorer with room for the longest text."""
        n_ctx = max(len(text.tokens) for text in self.texts)
        return model.scorer(Options(n_lanes=1, n_ctx=n_ctx, n_threads=self.n_threads, chunk=self.plan.chunk))

    def score(
        self,
        reference: Scorer,
        others: Sequence[Scorer],
        stage: str,
        *,
        normalised: bool = False,
        on_rows: OnRows = lambda rows: None,
    ) -> Positions:
        """Every scored position of the texts; see teacher_forcing.score."""
        total, done = sum(len(text.tokens) - 1 for text in self.texts), 0

        def tell(n: int) -> None:
            nonlocal done
            done += n
            self.report(Progress(min(done, total), total, name=stage, unit="tok"))

        how = dict(chunk=self.plan.chunk, n_threads=self.n_threads)
        feeding = Feeding(**how, normalised=normalised, on_rows=on_rows, report=tell)
        return teacher_forcing.score(self.texts, reference, others, feeding)


def score_all(
    loaded: Sequence[Model], whole: Pass, on_rows: OnRows = lambda rows: None
) -> tuple[Positions, Positions | None]:
    """(all texts under all models, a few texts under the reference fed in two ways)."""
    with ExitStack() as stack:
        scorers = [stack.enter_context(whole.scorer(model)) for model in loaded]
        found = whole.score(scorers[0], scorers[1:], "teacher forcing", on_rows=on_rows)
        if not whole.plan.noise:
            return found, None
        again = stack.enter_context(whole.scorer(loaded[0]))
        longest = min(whole.plan.chunk, max(len(text.tokens) - 1 for text in whole.texts))  # the last token is not fed
        other = noise.Rechunked(again, max(1, longest // NOISE_CHUNK))
        few = Pass(noise.sample(whole.texts), whole.plan, whole.report)
        return found, few.score(scorers[0], [other], "noise floor")


def figures(found: Positions, i: int, texts: Sequence[Text], *, cut: bool, stored: bool = False) -> TeacherForced:
    """The figures of candidate i. cut: see divergence.teacher_forced; stored: the reference is a base file."""
    problems = clusters(found, texts)
    classes = np.array(classes_of_rows(texts)[: len(found)]) if texts[0].classes else None
    return divergence.teacher_forced(
        found.reference,
        found.candidates[i],
        cut=cut,
        problems=problems if len(set(problems)) > 1 else None,
        classes=classes,
        distribution=not stored,
    )


def clusters(found: Positions, texts: Sequence[Text]) -> np.ndarray:
    """The problem, or chunk, of every position: -> (n,)."""
    return np.array([text.problem for text in texts])[found.text]
