"""One score against the outcome with length or the question held fixed: what `signals` and `study` both decide by.

A score that separates wrong from right traces may do so because long traces are wrong more often and look uncertain, or
because hard questions do. Both are held fixed by comparing like with like, in strata, so that an effect of any shape is
taken out; a partial correlation takes out a monotone one only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from localent.analysis.intervals import Estimate
from localent.analysis.metrics import Array, UndefinedError
from localent.analysis.probed import Probed
from localent.analysis.recorded import Traces
from localent.analysis.significance import (
    Shift,
    like_lengths,
    like_tokens,
    separation_shift,
    stratified_shift,
    within_ranks,
)

LENGTH, QUESTION = "explained by length", "explained by the question"
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Compared:
    """Scored traces and their outcome. Arrays are (n,), without missing scores; higher scores: expected to be wrong."""

    scores: Array
    wrong: Array  # bool
    problems: Array  # the questions that are held fixed
    clusters: Array  # what is independent: problems, their variants as one
    n_steps: Array
    n_tokens: Array

    @classmethod
    def of(cls, scores: Array, these: Traces | Probed, n_tokens: Array) -> Compared:
        """The traces that have the score, (n,) of all of `these`."""
        known, of = ~np.isnan(scores), (these.wrong, these.problems, these.clusters, these.n_steps)
        return cls(*(array[known] for array in (scores, *of, n_tokens)))


@dataclass(frozen=True, slots=True)
class Held:
    """What is left of a separation with something held fixed."""

    left: Estimate  # AUROC minus 0.5 within it, with Student's interval
    p: float | None  # two-sided, that nothing is left; 1 where it is left the other way; None: it cannot be held fixed

    @property
    def shown(self) -> bool:
        """True if something is left in the expected direction."""
        return self.p is not None and self.p < ALPHA

    def explains(self, whole: float) -> bool:
        """True if what is left is not shown and is less than the whole separation, AUROC minus 0.5."""
        return self.p is not None and not self.shown and self.left.below(whole)


def by_length(x: Compared) -> Held:
    """Among traces of equally many steps and like numbers of tokens.

    p is the larger of two: within strata of steps and tokens, and within narrower strata of tokens alone. Both have to
    show it, since the first are too wide to take out a steep effect of tokens, the second know nothing of steps.
    """
    crossed = like_lengths(x.n_steps, x.n_tokens)
    both = [_above(stratified_shift, x, strata) for strata in (crossed, like_tokens(x.n_tokens))]
    return Held(_left(x, crossed), None if None in both else max(p for p in both if p is not None))


def by_question(x: Compared) -> Held:
    """Among traces of one question; p is the larger of that and the one with length held fixed as well."""
    both = by_both(x)
    ps = [_above(separation_shift, x, x.problems), both.p]
    return Held(_left(x, x.problems), None if None in ps else max(p for p in ps if p is not None))


def by_both(x: Compared) -> Held:
    """Among traces of one question, by the rank of the score among all traces of like length.

    Three or four traces of a question are too few to be parted by length. Where the score follows length alone, its
    rank among traces of like length is uniform for every question.
    """
    ranks = within_ranks(x.scores, like_lengths(x.n_steps, x.n_tokens))
    ranked = replace(x, scores=ranks)
    return Held(_left(ranked, x.problems), _above(separation_shift, ranked, x.problems))


def decide(whole: float, length: Held, question: Held | None) -> tuple[str, str]:
    """(LENGTH, QUESTION or "" where it cannot be named, note) of a separation; ("", "") where both leave it.

    whole: AUROC minus 0.5. question: None where it is held fixed already.
    """
    if whole <= 0:
        return "", "by ranks nothing is left"  # means differ one way, ranks the other
    if not length.shown:
        reason = "length cannot be held fixed" if length.p is None else "length may explain it"
        return (LENGTH, "") if length.explains(whole) else ("", reason)
    if question is None or question.p is None or question.shown:
        return "", ""
    return (QUESTION, "") if question.explains(whole) else ("", "the question may explain it")


def _left(x: Compared, strata: Array) -> Estimate:
    """AUROC minus 0.5 within strata, with Student's interval; the reason where it is undefined."""
    try:
        found = separation_shift(x.scores, x.wrong, x.clusters, strata)
    except UndefinedError as error:
        return Estimate(None, reason=str(error))
    return Estimate(found.value, found.low(), found.high(), n=len(x.scores), n_problems=len(np.unique(x.clusters)))


def _above(shift: Callable[..., Shift], x: Compared, strata: Array) -> float | None:
    try:
        return shift(x.scores, x.wrong, x.clusters, strata).p_above()
    except UndefinedError:
        return None
