"""From token measures to scores: one number per trace, higher = more uncertain. Pure functions from arrays.

Token measures come as (n_traces, n_longest) arrays, one trace a row, NaN after its end. A trace without tokens has
no score: NaN. Free parameters of a formula (a window, a threshold) are named defaults here, stated in name or doc.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from localent.analysis.metrics import Array, Floats, Names

SPIKE = 0.7  # nats between neighbours
FORK = 0.8  # quantile of the run's token entropies from which a token "forks"
BURST, REBOUND, LAG = 1.36, 1.33, 4  # nats, nats, tokens: EDIS
WINDOW = 32  # tokens; DeepConf's 2,048 are longer than a trace of grade-school reasoning


def padded(values: Floats, n_tokens: Names) -> Array:
    """Flat values of one trace after another -> (n_traces, n_longest), NaN after each trace's end."""
    sizes = np.asarray(n_tokens, int)
    inside = np.arange(int(sizes.max(initial=1))) < sizes[:, None]
    rows = np.full(inside.shape, np.nan)
    rows[inside] = np.array(values, float)  # None -> NaN
    return rows


def first(x: Array, share: float) -> Array:
    """The first `share` of each trace's tokens, rounded up; NaN after them: (n, T) -> (n, T)."""
    n = (~np.isnan(x)).sum(1)
    return x if share == 1 else np.where(np.arange(x.shape[1]) < np.ceil(share * n - 1e-9)[:, None], x, np.nan)


# --- over the tokens of a trace -----------------------------------------------------------------------------------


def mean(x: Array) -> Array:
    """Mean over tokens, in the unit of x: (n, T) -> (n,)."""
    present = ~np.isnan(x)
    return _over(np.where(present, x, 0.0).sum(1), present.sum(1))


def total(x: Array) -> Array:
    """Sum over tokens; of surprisals it is -ln p(trace), in nats: (n, T) -> (n,)."""
    return np.where(np.isnan(x).all(1), np.nan, np.nansum(x, 1))


def largest(x: Array) -> Array:
    """Maximum over tokens: (n, T) -> (n,)."""
    return np.fmax.reduce(x, axis=1, initial=np.nan)


def std(x: Array) -> Array:
    """Standard deviation over tokens, divisor n, in the unit of x: (n, T) -> (n,)."""
    return np.sqrt(variance(x))


def variance(x: Array) -> Array:
    """Variance over tokens, divisor n, in the squared unit of x: (n, T) -> (n,)."""
    return mean((x - mean(x)[:, None]) ** 2)


def quantile(x: Array, q: float) -> Array:
    """Quantile over tokens, linear between order statistics as numpy's: (n, T) -> (n,)."""
    ordered, n = np.sort(x, axis=1), (~np.isnan(x)).sum(1)  # NaN last
    place = q * np.maximum(n - 1, 0)
    low, high = (np.take_along_axis(ordered, f(place).astype(int)[:, None], 1)[:, 0] for f in (np.floor, np.ceil))
    return low + (place - np.floor(place)) * (high - low)


def spike_count(entropy: Array, threshold: float = SPIKE) -> Array:
    """Number of jumps of the entropy by more than `threshold` nats between neighbouring tokens: (n, T) -> (n,).

    Σ_t 1[|H_(t+1) - H_t| > threshold], up or down.
    """
    return _counted(np.abs(np.diff(entropy, axis=1)) > threshold, entropy)


def forking_share(entropy: Array, q: float = FORK) -> Array:
    """Share of tokens at or above the q-quantile of all the run's token entropies: (n, T) -> (n,), in [0, 1].

    Source: "forking tokens", Wang et al. (2025), arXiv 2506.01939.
    """
    if np.isnan(entropy).all():
        return np.full(len(entropy), np.nan)
    level = np.nanquantile(entropy, q)
    return np.where(np.isnan(mean(entropy)), np.nan, mean(np.where(np.isnan(entropy), np.nan, entropy >= level)))


def edis(entropy: Array, lag: int = LAG) -> Array:
    """Entropy dynamics instability: ½ (bursts + rebounds) (1 + Var H), not normalised by length: (n, T) -> (n,).

    bursts Σ_t 1[H_(t+lag) - H_t > 1.36], rebounds Σ_t 1[H_t - min_(s<t) H_s > 1.33].
    Source: arXiv 2602.01288, which does not state its lag.
    """
    bursts = _counted(entropy[:, lag:] - entropy[:, :-lag] > BURST, entropy)
    lowest = np.minimum.accumulate(entropy, axis=1)[:, :-1]
    rebounds = _counted(entropy[:, 1:] - lowest > REBOUND, entropy)
    return (bursts + rebounds) / 2 * (1 + variance(entropy))


def envelope_area(entropy: Array) -> Array:
    """Area under the suffix maximum max_(s>=t) H_s over the relative position, in nats: (n, T) -> (n,).

    Source: arXiv 2603.17310; over t/n in place of t, so that length does not enter.
    """
    suffix = np.fmax.accumulate(entropy[:, ::-1], axis=1)[:, ::-1]
    return mean(np.where(np.isnan(entropy), np.nan, suffix))


def worst_window(x: Array, width: int = WINDOW) -> Array:
    """The largest mean of `width` neighbouring tokens (of all tokens, in a shorter trace): (n, T) -> (n,).

    Of negated confidences: DeepConf's lowest group confidence. Source: Fu et al. (2025), arXiv 2508.15260.
    """
    return largest(window_means(x, width))


def window_means(x: Array, width: int = WINDOW) -> Array:
    """Mean of the last `width` tokens at each token; NaN where there are fewer, unless the trace ends there."""
    n = (~np.isnan(x)).sum(1)
    sums = np.cumsum(np.c_[np.zeros(len(x)), np.where(np.isnan(x), 0.0, x)], axis=1)  # (n, T + 1)
    end = np.arange(1, x.shape[1] + 1)
    means = (sums[:, 1:] - sums[:, np.maximum(end - width, 0)]) / np.minimum(end, width)
    return np.where((end <= n[:, None]) & ((end >= width) | (end == n[:, None])), means, np.nan)


def tail(x: Array, width: int = WINDOW) -> Array:
    """Mean of the last `width` tokens (of all tokens, in a shorter trace): (n, T) -> (n,). DeepConf's tail."""
    place = np.arange(x.shape[1])
    n = (~np.isnan(x)).sum(1)[:, None]
    return mean(np.where((place >= n - width) & (place < n), x, np.nan))


# --- from several samples of one problem ------------------------------------------------------------------------


def disagreement(answers: Sequence[Hashable], problems: Names) -> Array:
    """Share of the other samples of the same problem with another answer: (n,), NaN without other samples.

    1 - the majority share for a trace that gives the majority's answer. None, no parsed answer, agrees with no other.
    """
    return _of_others(answers, problems, lambda own, others: np.mean([own is None or o != own for o in others]))


def n_distinct(answers: Sequence[Hashable], problems: Names) -> Array:
    """Number of distinct answers among the other samples of the same problem: (n,); each None is its own."""
    return _of_others(answers, problems, lambda _, others: len(set(others) - {None}) + list(others).count(None))


def semantic_entropy(answers: Sequence[Hashable], problems: Names, weights: Floats | None = None) -> Array:
    """Discrete semantic entropy over the answers of the other samples, in nats: (n,).

    Parsed answers are exact clusters, so no entailment model is needed; each None is its own. `weights` (n,): instead
    of counting, weigh each sample, as by exp(-mean surprisal); the clusters' masses are scaled to sum to 1. NaN where a
    weight is unknown (NaN), or all are 0: undefined.
    Source: Kuhn et al. (2023), arXiv 2302.09664; Farquhar et al. (2024), doi:10.1038/s41586-024-07421-0.
    """
    masses = np.ones(len(answers)) if weights is None else np.asarray(weights, float)
    numbered = [(answer, i) if answer is None else (answer, -1) for i, answer in enumerate(answers)]

    def entropy(_: int, others: Sequence[int]) -> float:
        return entropy_of_masses(_masses([numbered[i] for i in others], masses[list(others)]))

    return _of_others(range(len(answers)), problems, entropy)


def entropy_of_masses(masses: Sequence[float]) -> float:
    """Shannon entropy of masses scaled to sum to 1, in nats; NaN where they are unknown, or all 0: undefined."""
    if not np.sum(masses) > 0:
        return float("nan")
    p = np.asarray(masses, float) / np.sum(masses)
    return float(-(p * np.log(np.where(p > 0, p, 1.0))).sum())


def pass_rate_of_others(correct: Array, problems: Names) -> Array:
    """Share of right among the other samples of the same problem: (n,), NaN with no other sample. The difficulty."""
    return _of_others(np.asarray(correct, float).tolist(), problems, lambda _, others: np.mean(others))


def _masses(clusters: Sequence[Hashable], weights: Array) -> list[float]:
    masses: dict[Hashable, float] = {}
    for cluster, weight in zip(clusters, weights.tolist(), strict=True):
        masses[cluster] = masses.get(cluster, 0.0) + weight
    return list(masses.values())


def _of_others(values: Sequence[Any], problems: Names, score: Callable[[Any, list[Any]], Any]) -> Array:
    """score(own value, values of the other samples of its problem) for each trace; NaN where it has no other.

    Leave-one-out: a sample's own answer must not enter the score that predicts whether it is right.
    """
    found = np.full(len(problems), np.nan)
    groups: dict[Hashable, list[int]] = {}
    for i, problem in enumerate(np.asarray(problems).tolist()):
        groups.setdefault(problem, []).append(i)
    for members in groups.values():
        for i in members if len(members) > 1 else ():
            found[i] = score(values[i], [values[j] for j in members if j != i])
    return found


def _counted(flags: Array, x: Array) -> Array:
    """Number of flags set in each row; NaN for a trace without tokens. (Comparisons with NaN are False.)"""
    return np.where(np.isnan(x).all(1), np.nan, flags.sum(1))


def _over(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)
