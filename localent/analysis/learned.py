"""A learned stopper: the probability that the leading answer is right, from what its probe and those before show."""

from __future__ import annotations

import numpy as np

from localent.analysis.folds import FOLDS, folds
from localent.analysis.metrics import Array
from localent.analysis.probability_maps import newton
from localent.analysis.probed import Probed
from localent.stopping import falls, unchanged

RIDGE = 1.0  # of the standardised coefficients, as scikit-learn's C = 1


def leader_is_right(p: Probed) -> Array:
    """P(the leading answer is the true one): (n, K + 1), NaN where none leads.

    Logistic regression on `features`, fitted to the probes of other problems' folds: no problem teaches its own.
    """
    x, known = features(p), p.leader >= 0
    known &= np.isfinite(x).all(-1)
    found, fold = np.full(known.shape, np.nan), folds(p.clusters)
    for held in range(FOLDS):
        mine, others = known & (fold == held)[:, None], known & (fold != held)[:, None]
        if mine.any() and others.any():
            found[mine] = predicted(x[others], p.leader_true[others] == 1, x[mine])
    return found


def features(p: Probed) -> Array:
    """Features known at each probe while the trace is written: (n, K + 1, 8). Not its share of the trace."""
    before = np.c_[p.entropy[:, :1], p.entropy[:, :-1]]
    leader = np.log(np.clip(p.p_leader, 1e-6, 1.0))
    return np.stack(
        [
            p.entropy, p.entropy - before, falls(p.entropy), leader, unchanged(p.leader).astype(float),
            p.k, np.log1p(p.n_tokens), p.invalid,
        ],
        -1,
    )  # fmt: skip


def predicted(x: Array, y: Array, new: Array) -> Array:
    """Probabilities of ridge logistic regression: features (m, d), labels (m,) bool, new features (n, d) -> (n,)."""
    mean, spread = x.mean(0), x.std(0)
    spread = np.where(spread > 0, spread, 1.0)
    design = np.c_[np.ones(len(x)), (x - mean) / spread]
    penalty = np.r_[0.0, np.full(x.shape[1], RIDGE)]
    theta = newton(design, y.astype(float), np.ones(len(y)), np.zeros(design.shape[1]), penalty)
    z = np.clip(np.c_[np.ones(len(new)), (new - mean) / spread] @ theta, -500, 500)
    return 1 / (1 + np.exp(-z))
