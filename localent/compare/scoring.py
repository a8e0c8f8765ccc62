"""Teacher forcing of loaded models as a plan says, with the noise floor, and the figures that result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from localent.analysis import divergence
from localent.analysis.divergence import TeacherForced
from localent.compare import noise, teacher_forcing
from localent.compare.models import InMemory
from localent.compare.plan import Plan
from localent.compare.positions import Fed, Positions
from localent.compare.teacher_forcing import Feeding
from localent.compare.text import Text, classes_of_rows
from localent.engine import Options, Rows, Scorer, speed_of
from localent.errors import LocalentError
from localent.machine import hardware
from localent.records import Speed
from localent.runs.progress import Progress, Report, ignore
from localent.runs.session import Loaded

NOISE_CHUNK = 3  # the noise floor is fed in pieces that are this many times shorter than the longest piece
OnRows = Callable[[Fed], object]


@dataclass(frozen=True, slots=True)
class Pass:
    """Texts that are fed as a plan says, with progress reported."""

    texts: Sequence[Text]
    plan: Plan
    report: Report

    @property
    def n_threads(self) -> int:
        """The plan's threads, else all usable cores."""
        return self.plan.threads or hardware.usable_cores()

    def scorer(self, model: Loaded) -> Scorer:
        """A scorer with room for the longest text."""
        scorer = model.weights.scorer(self._options(model, max(len(text.tokens) for text in self.texts)))
        n = self.plan.n_vocab
        return scorer if n is None or n == scorer.n_vocab else Cut(scorer, n)

    def speeds(self, models: InMemory | Sequence[Loaded]) -> list[Speed]:
        """The speed of each model with the plan's threads."""
        return [self._speed(models[i], i, len(models)) for i in range(len(models))]

    def _speed(self, model: Loaded, i: int, n: int) -> Speed:
        self.report(Progress(i, n, name="measuring speed", unit="file"))
        return speed_of(model.weights, self._options(model, 1))

    def _options(self, model: Loaded, n_ctx: int) -> Options:
        options = Options(n_lanes=1, n_ctx=n_ctx, n_threads=self.n_threads, chunk=self.plan.chunk)
        return replace(options, type_k=model.settings.cache_type_k, type_v=model.settings.cache_type_v)

    def score(
        self,
        reference: Scorer,
        others: Sequence[Scorer],
        stage: str,
        *,
        normalised: bool = False,
        on_rows: OnRows = ignore,
    ) -> Positions:
        """Every scored position of the texts. stage: its name in reports; the rest as in teacher_forcing."""
        return teacher_forcing.score(
            self.texts, reference, others, self._feeding(stage, normalised=normalised, on_rows=on_rows)
        )

    def score_in_turn(self, models: InMemory, on_rows: OnRows) -> Positions:
        """The same with one candidate in memory at a time."""
        openers = [partial(self._opened, models, i) for i in range(1, len(models))]
        how = self._feeding("teacher forcing", len(openers), on_rows=on_rows)
        with self.scorer(models[0]) as reference:
            return teacher_forcing.score_in_turn(self.texts, reference, openers, how)

    def _opened(self, models: InMemory, i: int) -> Scorer:
        return self.scorer(models[i])

    def _feeding(self, stage: str, n_times: int = 1, *, normalised: bool = False, on_rows: OnRows) -> Feeding:
        """How texts are fed, each n_times, with progress under the name of the stage."""
        total, done = n_times * sum(len(text.tokens) - 1 for text in self.texts), 0

        def tell(n: int) -> None:
            nonlocal done
            done += n
            self.report(Progress(min(done, total), total, name=stage, unit="tok"))

        return Feeding(
            chunk=self.plan.chunk, n_threads=self.n_threads, normalised=normalised, on_rows=on_rows, report=tell
        )


class Cut(Scorer):
    """A scorer whose rows end where the vocabulary that all models have ends."""

    def __init__(self, scorer: Scorer, n_vocab: int) -> None:
        self.scorer, self.n_vocab, self.name, self.can_keep = scorer, n_vocab, scorer.name, scorer.can_keep

    def keep(self, n_tokens: int) -> None:
        self.scorer.keep(n_tokens)

    def feed(self, tokens: Sequence[int], n_rows: int) -> Rows:
        if max(tokens) >= self.n_vocab:
            raise LocalentError(
                f"The text holds token {max(tokens)}, which only some of the models have: compare them on another text."
            )
        return np.asarray(self.scorer.feed(tokens, n_rows))[:, : self.n_vocab]

    def close(self) -> None:
        self.scorer.close()


def score_all(models: InMemory, whole: Pass, on_rows: OnRows = ignore) -> tuple[Positions, Positions | None]:
    """(all texts under all models, a few texts under the reference fed in two ways); the latter with a noise floor."""
    found = _scored(models, whole, on_rows)
    return found, noise_floor(models[0], whole) if whole.plan.noise else None


def _scored(models: InMemory, whole: Pass, on_rows: OnRows) -> Positions:
    """One candidate at a time, but for texts so long that their rows cannot be kept for the next one."""
    n_vocab = whole.plan.n_vocab or models[0].weights.vocab.n_tokens
    longest = max(text.n_rows for text in whole.texts)
    if not models.fit_together and longest <= teacher_forcing.rows_kept(n_vocab):
        return whole.score_in_turn(models, on_rows)
    with ExitStack() as stack:
        scorers = [stack.enter_context(whole.scorer(model)) for model in models.together()]
        return whole.score(scorers[0], scorers[1:], "teacher forcing", on_rows=on_rows)


def noise_floor(reference: Loaded, whole: Pass) -> Positions:
    """A few texts under the reference, fed as above and in shorter pieces."""
    longest = min(whole.plan.chunk, max(len(text.tokens) - 1 for text in whole.texts))  # the last token is not fed
    few = Pass(noise.sample(whole.texts), whole.plan, whole.report)
    with whole.scorer(reference) as one, whole.scorer(reference) as again:
        other = noise.Rechunked(again, max(1, longest // NOISE_CHUNK))
        return few.score(one, [other], "noise floor")


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
        depth=found.position,
        distribution=not stored,
    )


def clusters(found: Positions, texts: Sequence[Text]) -> np.ndarray:
    """The problem, or chunk, of every position: -> (n,)."""
    return np.array([text.cluster for text in texts])[found.text]
