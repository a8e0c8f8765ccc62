"""Votes among the samples of a problem: majority, best of n, weighted by a signal, DeepConf."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from localent.analysis import scores
from localent.analysis.intervals import problem_index
from localent.analysis.metrics import Array
from localent.analysis.policy import VOTE, Effects, Policy, thresholds
from localent.analysis.recorded import Traces
from localent.analysis.trace_signals import Score

MAJORITY, BEST, WEIGHTED, DEEPCONF = "majority_vote", "best_of_n", "weighted_vote", "deepconf"  # keys, or their begins
SHARPNESS = (0.5, 1.0, 2.0, 4.0)  # weight of a standard deviation of a signal in a vote


def can_vote(traces: Traces) -> bool:
    """True where some problem has several traces."""
    return len(np.unique(traces.problems)) < len(traces.problems)


def voting(
    traces: Traces, weights: Array, tokens: Array | None = None, fed: Array | None = None
) -> Callable[[Array], Effects]:
    """Weighted vote of the samples of each problem: a function of which traces take part -> Effects by problem."""
    _, first, index = np.unique(traces.problems, return_index=True, return_inverse=True)
    index, owners = index.ravel(), traces.clusters[first]
    tokens = traces.n_tokens if tokens is None else tokens
    fed = np.zeros(len(index)) if fed is None else fed
    given = np.array([answer is not None for answer in traces.answers], bool)
    pairs = np.stack([index, np.unique([answer or "" for answer in traces.answers], return_inverse=True)[1].ravel()], 1)
    cells, cell = np.unique(pairs, axis=0, return_inverse=True)
    cell, is_right = cell.ravel(), np.zeros(len(cells))
    is_right[cell] = ~traces.wrong

    def effects(among: Array) -> Effects:
        votes = np.bincount(cell, weights * given * among, len(cells))
        best = np.zeros(len(owners))
        np.maximum.at(best, cells[:, 0], votes)
        wins = ((votes >= best[cells[:, 0]] * (1 - 1e-12)) & (votes > 0)).astype(float)
        n_wins, won = (np.bincount(cells[:, 0], w, len(owners)) for w in (wins, wins * is_right))
        asked = np.unique(index[among])
        right = won[asked] / np.maximum(n_wins[asked], 1)
        spent, price = (np.bincount(index, x * among, len(owners))[asked] for x in (tokens, fed))
        return Effects(right, np.ones(len(asked), bool), spent, price, owners[asked])

    return effects


def votes(score: Score, traces: Traces, fed: Array) -> Iterator[Policy]:
    """Best of n by a signal, and the vote weighted by it. The signal's scale is that of the run, without labels."""
    index, values = problem_index(traces.problems), score.values
    best = np.full(int(index.max()) + 1, np.inf)
    np.minimum.at(best, index, values)
    lowest = voting(traces, (values == best[index]).astype(float), fed=fed)
    signal = score.signal
    title = f"best of n by {signal.title}"
    yield Policy(f"{BEST}:{signal.key}", title, VOTE, (0.0,), lambda _, among: lowest(among))
    z = (values - values.mean()) / (values.std() or 1.0)

    def weighted(sharpness: float, among: Array) -> Effects:
        return voting(traces, sharpened(z, sharpness), fed=fed)(among)

    title = f"vote weighted by {signal.title}"
    yield Policy(f"{WEIGHTED}:{signal.key}", title, VOTE, SHARPNESS, weighted, "sharpness")


def sharpened(z: Array, sharpness: float) -> Array:
    """Weights of traces whose signal is z standard deviations above the mean: the lower, the heavier."""
    return np.exp(np.clip(-sharpness * z, -50, 50))


def survivors(ended: Array, problems: Array) -> Array:
    """(n,) bool: the traces that vote where some were ended early. Where all of a problem were, all of them vote."""
    index = problem_index(problems)
    return ~(ended & (np.bincount(index, ~ended)[index] > 0))


def majority(traces: Traces) -> Policy:
    """The majority vote of all samples."""
    vote = voting(traces, np.ones(len(traces)))
    return Policy(MAJORITY, "majority vote", VOTE, (0.0,), lambda _, among: vote(among))


def deepconf(traces: Traces, entropy: Array) -> Policy:
    """End a trace where the mean entropy of its last tokens exceeds the threshold, and leave it out of the vote.

    entropy: of each token, (n, n_longest) nats. Where all samples of a problem would be ended, all of them vote, at
    full length.
    Source: DeepConf online, arXiv 2508.15260, with full-vocabulary entropy in place of its top-k confidence.
    """
    means = scores.window_means(entropy)

    def ended_early(threshold: float, among: Array) -> Effects:
        over = means > threshold
        votes = survivors(np.any(over, axis=1), traces.problems)
        tokens = np.where(~votes, over.argmax(1) + 1, traces.n_tokens)
        return voting(traces, votes.astype(float), tokens)(among)

    title = f"vote, ended above a {scores.WINDOW}-token entropy (DeepConf)"
    settings = (np.inf, *thresholds(scores.worst_window(entropy))[::-1])
    return Policy(DEEPCONF, title, VOTE, settings, ended_early, "nats")
