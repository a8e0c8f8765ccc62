"""Traces of the same problems and seeds by two models: flips, lengths, first divergence. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from localent.analysis.divergence import ratio_of
from localent.analysis.intervals import Estimate, estimate, problem_index, share
from localent.analysis.metrics import Array, mean_of
from localent.analysis.profile import RIGHT, WRONG
from localent.analysis.significance import sign_flip_p

HORIZON = 32  # tokens: a trace that differs from the reference's earlier than this diverged early


@dataclass(frozen=True, slots=True)
class FreeRunning:
    """Traces of the same problems and seeds by both models."""

    n: int  # pairs
    n_problems: int
    accuracy_reference: Estimate
    accuracy_candidate: Estimate
    accuracy_change: Estimate
    right_to_wrong: int
    wrong_to_right: int
    mcnemar_p: float  # exact, two-sided; over problems, by their net of attempts lost and won
    flips: Estimate  # share of pairs of which one is right and the other wrong
    same_answer: Estimate  # of the pairs in which one of the two gave an answer
    length_ratio: Estimate  # mean tokens of the candidate / of the reference
    diverged_early: Estimate  # share that differ within the first 32 tokens
    first_divergence: float | None  # median token index among the pairs that differ; None: none do
    identical: Estimate  # share of pairs equal token by token
    mechanisms: dict[str, float]  # share of the candidate's own probed traces
    mechanisms_reference: dict[str, float]
    abandoned: Estimate  # wrong, yet the true answer led at some earlier step; of the candidate's probed traces
    abandoned_reference: Estimate
    abandoned_change: Estimate
    length_p: float | None = None  # two-sided, of equal lengths, by sign flips of problems; None: see sign_flip_p


@dataclass(frozen=True, slots=True)
class Pair:
    """Two attempts at one problem with one seed."""

    problem: str
    correct: tuple[bool, bool]  # reference, candidate
    answer: tuple[str | None, str | None]
    tokens: tuple[Sequence[int], Sequence[int]]
    mechanism: tuple[str, str] = ("", "")  # see profile.mechanisms; "": not probed
    abandoned: tuple[float, float] = (math.nan, math.nan)  # 1: wrong, but the true answer led before; NaN: not probed
    variants: str = ""  # names the problem with its variants, which count as one; "": it is by itself


def free_running(pairs: Sequence[Pair]) -> FreeRunning:
    """Figures of free-running pairs. Raises ValueError where there are none."""
    if not pairs:
        raise ValueError("expected at least one pair of traces")
    problems = np.array([p.variants or p.problem for p in pairs])
    right = np.array([p.correct for p in pairs], float)
    change = right[:, 1] - right[:, 0]
    first = [first_difference(*p.tokens) for p in pairs]
    apart = [i for i in first if i is not None]
    reference, candidate = ([p.mechanism[side] for p in pairs if p.mechanism[side]] for side in (0, 1))
    estimates = _answers(pairs, right, problems) | _texts(pairs, first, problems) | _given_up(pairs, problems)
    return FreeRunning(
        n=len(pairs),
        n_problems=len({p.problem for p in pairs}),
        right_to_wrong=int((change < 0).sum()),
        wrong_to_right=int((change > 0).sum()),
        mcnemar_p=mcnemar(*_lost_and_won(change, problems)),
        first_divergence=float(np.median(apart)) if apart else None,
        mechanisms=shares(candidate),
        mechanisms_reference=shares(reference),
        length_p=sign_flip_p(np.array([len(b) - len(a) for a, b in (p.tokens for p in pairs)], float), problems),
        **estimates,
    )


def _answers(pairs: Sequence[Pair], right: Array, problems: Array) -> dict[str, Estimate]:
    """The figures of FreeRunning on answers. right: (n, 2), 1 where reference and candidate are right."""
    change = right[:, 1] - right[:, 0]
    answered = np.array([p.answer != (None, None) for p in pairs], bool)
    same = np.array([p.answer[0] == p.answer[1] for p in pairs], bool)
    return dict(
        accuracy_reference=share(right[:, 0] == 1, problems),
        accuracy_candidate=share(right[:, 1] == 1, problems),
        accuracy_change=_mean(change, problems),
        flips=share(change != 0, problems),
        same_answer=share(same[answered], problems[answered]),
    )


def _texts(pairs: Sequence[Pair], first: Sequence[int | None], problems: Array) -> dict[str, Estimate]:
    """The figures of FreeRunning on token sequences. first: index of the first difference of each pair."""
    lengths = np.array([[len(t) for t in p.tokens] for p in pairs], float)
    early = np.array([i is not None and i < HORIZON for i in first], bool)
    return dict(
        length_ratio=estimate(ratio_of, lengths[:, 1], lengths[:, 0], problems=problems),
        diverged_early=share(early, problems),
        identical=share(np.array([i is None for i in first], bool), problems),
    )


def _given_up(pairs: Sequence[Pair], problems: Array) -> dict[str, Estimate]:
    """The figures of FreeRunning on true answers that led, then lost."""
    abandoned = np.array([p.abandoned for p in pairs], float)
    return dict(
        abandoned=_mean(abandoned[:, 1], problems),
        abandoned_reference=_mean(abandoned[:, 0], problems),
        abandoned_change=_mean(abandoned[:, 1] - abandoned[:, 0], problems),
    )


def _mean(values: Array, problems: Array) -> Estimate:
    return estimate(mean_of, values, problems=problems)


def mcnemar(b: int, c: int) -> float:
    """Exact two-sided p that flips in both directions are equally likely; 1 where there is no flip.

    Source: McNemar (1947), doi:10.1007/BF02295996, in its exact binomial form.
    """
    return float(binomtest(b, b + c, 0.5).pvalue) if b + c else 1.0


def _lost_and_won(change: Array, problems: Array) -> tuple[int, int]:
    """Problems with more attempts lost than won, and with more won: attempts at one problem are alike."""
    net = np.bincount(problem_index(problems), change)
    return int((net < 0).sum()), int((net > 0).sum())


def first_difference(a: Sequence[int], b: Sequence[int]) -> int | None:
    """Index of the first token that differs, or where the shorter ends; None where both are equal."""
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return None if at == len(a) == len(b) else at


def shares(names: Sequence[str]) -> dict[str, float]:
    """Share of each mechanism; empty where nothing was probed."""
    return {m: sum(name == m for name in names) / len(names) for m in (*RIGHT, *WRONG)} if names else {}
