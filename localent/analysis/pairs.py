"""Two models' traces of the same problems with the same seeds: flips, lengths, where the paths part. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from localent.analysis.divergence import ratio_of
from localent.analysis.intervals import Estimate, estimate, problem_index, share
from localent.analysis.metrics import Floats, Names, mean_of
from localent.analysis.profile import RIGHT, WRONG

HORIZON = 32  # tokens within which a trace may leave the reference's


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


@dataclass(frozen=True, slots=True)
class Pair:
    """Two attempts at one problem with one seed."""

    problem: str
    correct: tuple[bool, bool]  # reference, candidate
    answer: tuple[str | None, str | None]
    tokens: tuple[Sequence[int], Sequence[int]]
    mechanism: tuple[str, str] = ("", "")  # see profile.mechanisms; "": not probed
    abandoned: tuple[float, float] = (math.nan, math.nan)  # 1: wrong, but the true answer led before; NaN: not probed


def free_running(pairs: Sequence[Pair]) -> FreeRunning:
    """Figures of free-running pairs. Raises ValueError where there are none."""
    if not pairs:
        raise ValueError("expected at least one pair of traces")
    problems = np.array([p.problem for p in pairs])
    right = np.array([p.correct for p in pairs], float)
    lengths = np.array([[len(t) for t in p.tokens] for p in pairs], float)
    first = [first_difference(*p.tokens) for p in pairs]
    apart = [i for i in first if i is not None]
    mechanisms = [[p.mechanism[side] for p in pairs if p.mechanism[side]] for side in (0, 1)]
    given_up = np.array([p.abandoned for p in pairs], float)

    def mean(values: Floats) -> Estimate:
        return estimate(mean_of, np.asarray(values, float), problems=problems)

    def share_of(flags: Names) -> Estimate:
        return share(np.array(flags, bool), problems)

    change = right[:, 1] - right[:, 0]
    answered = np.array([p.answer != (None, None) for p in pairs], bool)
    same = np.array([p.answer[0] == p.answer[1] for p in pairs], bool)
    return FreeRunning(
        n=len(pairs),
        n_problems=len(set(problems)),
        accuracy_reference=share_of(right[:, 0]),
        accuracy_candidate=share_of(right[:, 1]),
        accuracy_change=mean(change),
        right_to_wrong=int((change < 0).sum()),
        wrong_to_right=int((change > 0).sum()),
        mcnemar_p=mcnemar(*_lost_and_won(change, problems)),
        flips=share_of(change != 0),
        same_answer=share(same[answered], problems[answered]),
        length_ratio=estimate(ratio_of, lengths[:, 1], lengths[:, 0], problems=problems),
        diverged_early=share_of([i is not None and i < HORIZON for i in first]),
        first_divergence=float(np.median(apart)) if apart else None,
        identical=share_of([i is None for i in first]),
        mechanisms=shares(mechanisms[1]),
        mechanisms_reference=shares(mechanisms[0]),
        abandoned=mean(given_up[:, 1]),
        abandoned_reference=mean(given_up[:, 0]),
        abandoned_change=mean(given_up[:, 1] - given_up[:, 0]),
    )


def mcnemar(b: int, c: int) -> float:
    """Exact two-sided p that flips in both directions are equally likely; 1 where there is no flip.

    Source: McNemar (1947), doi:10.1007/BF02295996, in its exact binomial form.
    """
    return float(binomtest(b, b + c, 0.5).pvalue) if b + c else 1.0


def _lost_and_won(change: np.ndarray, problems: np.ndarray) -> tuple[int, int]:
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
