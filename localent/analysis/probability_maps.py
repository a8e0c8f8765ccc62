"""Maps from a signal to the probability of being right: isotonic and Platt's. Higher signal: never more probable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from localent.analysis.metrics import Array

ISOTONIC, PLATT, LEVEL = "isotonic", "platt", "level"
TITLES = {ISOTONIC: "isotonic", PLATT: "Platt", LEVEL: "level"}
N_STEPS, SMALL = 100, 1e-10  # Newton's steps at most, and the change of the loss that ends them


@dataclass(frozen=True, slots=True)
class ProbabilityMap:
    """A falling function of a signal, linear between its knots, constant beyond them."""

    method: str  # ISOTONIC, PLATT or LEVEL
    at: tuple[float, ...]  # knots, rising: values of the signal
    p: tuple[float, ...]  # probability of being right there

    def __call__(self, scores: Array) -> Array:
        """(...) of the signal's values -> (...) in (0, 1)."""
        return np.interp(scores, self.at, self.p)


Fit = Callable[[Array, Array, Array], Array]  # scores (n,), right (n,), weights (n,) -> p of right (n,), falling


def fitted(method: str, scores: Array, right: Array, weights: Array | None = None) -> ProbabilityMap:
    """The map fitted to traces: signal (n,), right (n,) bool, how often each counts (n,).

    Labels are softened as Platt did, (n_right + 1) / (n_right + 2) and 1 / (n_wrong + 2), so that a few traces never
    claim certainty. Raises ValueError where nothing counts.
    """
    weights = np.ones(len(scores)) if weights is None else np.asarray(weights, float)
    kept = weights > 0
    if not kept.any():
        raise ValueError("expected at least one trace")
    knots, place = np.unique(np.asarray(scores, float)[kept], return_inverse=True)
    weight = np.bincount(place.ravel(), weights[kept])
    share = np.bincount(place.ravel(), (weights * softened(np.asarray(right, bool), weights))[kept]) / weight
    p = FITS[method](knots, share, weight)
    return ProbabilityMap(method, tuple(knots.tolist()), tuple(p.tolist()))


def softened(right: Array, weights: Array) -> Array:
    """Labels (n,) between 0 and 1. Source: Platt (1999), section 2.2."""
    n_right, n_wrong = weights[right].sum(), weights[~right].sum()
    return np.where(right, (n_right + 1) / (n_right + 2), 1 / (n_wrong + 2))


def isotonic(scores: Array, share: Array, weights: Array) -> Array:
    """The falling step function nearest to the shares in squares, weighted: rising scores (n,) -> (n,).

    Source: Zadrozny and Elkan (2002), doi:10.1145/775047.775151; scipy's pool-adjacent-violators.
    """
    from scipy.optimize import isotonic_regression

    found: Array = isotonic_regression(share, weights=weights, increasing=False).x
    return found


def platt(scores: Array, share: Array, weights: Array) -> Array:
    """The logistic function of the scores of the highest likelihood, level where that would rise: (n,) -> (n,).

    Source: Platt (1999), Probabilistic outputs for support vector machines; by Newton's method as in Lin, Lin and Weng
    (2007), doi:10.1007/s10994-007-5018-6.
    """
    mean = np.average(scores, weights=weights)
    spread = np.sqrt(np.average((scores - mean) ** 2, weights=weights)) or 1.0
    overall = np.average(share, weights=weights)
    x = np.stack([np.ones(len(scores)), (scores - mean) / spread], 1)
    theta = newton(x, share, weights, np.array([np.log(overall / (1 - overall)), 0.0]))
    if theta[1] >= 0:
        return np.full(len(scores), overall)
    return 1 / (1 + np.exp(-x @ theta))


def level(scores: Array, share: Array, weights: Array) -> Array:
    """The share of right traces, the same for every score: (n,) -> (n,)."""
    return np.full(len(scores), np.average(share, weights=weights))


def newton(x: Array, share: Array, weights: Array, theta: Array, penalty: Array | None = None) -> Array:
    """The minimum of the weighted log loss plus penalty · theta² / 2; steps are halved until they go down.

    x (n, d), share of right (n,) in [0, 1], weights (n,), theta (d,) to start from, penalty (d,).
    """
    penalty = np.zeros(len(theta)) if penalty is None else penalty
    loss = _loss(x, share, weights, theta, penalty)
    for _ in range(N_STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ theta, -500, 500)))
        gradient = x.T @ (weights * (p - share)) + penalty * theta
        curvature = (x * (weights * p * (1 - p))[:, None]).T @ x + np.diag(penalty + 1e-9)
        step = np.linalg.solve(curvature, gradient)
        while (new := _loss(x, share, weights, theta - step, penalty)) > loss and np.abs(step).max() > SMALL:
            step = step / 2
        theta, gained, loss = theta - step, loss - new, new
        if gained < SMALL:
            break
    return theta


def _loss(x: Array, share: Array, weights: Array, theta: Array, penalty: Array) -> float:
    z = x @ theta
    return float((weights * (np.logaddexp(0, z) - share * z)).sum() + (penalty * theta**2).sum() / 2)


FITS: dict[str, Fit] = {LEVEL: level, PLATT: platt, ISOTONIC: isotonic}  # the plainest first
