"""Measures of one next-token distribution, in float64, for arrays of any leading shape. Nats throughout."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from localent.errors import LocalentError

Array = NDArray[np.float64]


def log_softmax(logits: ArrayLike) -> Array:
    """Log-probabilities in nats: (..., n_vocab) -> (..., n_vocab), float64.

    Raises LocalentError on NaN, +inf, or a row of nothing but -inf.
    """
    x = np.asarray(logits, np.float64)
    top = x.max(axis=-1, keepdims=True)
    if not np.isfinite(top).all():
        raise LocalentError("The logits are broken: NaN, +inf or nothing but -inf in a row.")
    z = x - top
    found: Array = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
    return found


def entropy(log_probs: ArrayLike) -> Array:
    """Shannon entropy in nats: (..., n_vocab) -> (...).

    Tokens of probability zero (log-prob -inf) add nothing.
    Source: Shannon (1948), section 6.
    """
    p, lp = p_and_finite_log(log_probs)
    found: Array = -(p * lp).sum(axis=-1)
    return found


def varentropy(log_probs: ArrayLike) -> Array:
    """Variance of the surprisal, nats squared: (..., n_vocab) -> (...).

    Source: Kontoyiannis and Verdu (2014), arXiv 1212.2668. (entropix uses bits.)
    """
    p, lp = p_and_finite_log(log_probs)
    found: Array = (p * (lp + entropy(log_probs)[..., None]) ** 2).sum(axis=-1)
    return found


def renyi2(log_probs: ArrayLike) -> Array:
    """Rényi entropy of order 2 (collision entropy), -ln sum p², in nats: (..., n_vocab) -> (...).

    Source: Rényi (1961).
    """
    p, _ = p_and_finite_log(log_probs)
    found: Array = -np.log((p * p).sum(axis=-1))
    return found


def entropy_of_probs(probs: ArrayLike) -> Array:
    """Shannon entropy in nats of a whole distribution given as masses, zeros allowed: (..., n) -> (...).

    Raises LocalentError unless each row is non-negative and sums to 1: a part of a distribution has no entropy.
    """
    p = np.asarray(probs, np.float64)
    total = p.sum(axis=-1)
    if not ((p >= 0).all() and (np.abs(total - 1) <= 1e-6).all()):
        raise LocalentError(f"Expected masses >= 0 that sum to 1, got a sum of {total}.")
    found: Array = -(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=-1)
    return found


def p_and_finite_log(log_probs: ArrayLike) -> tuple[Array, Array]:
    """exp(l) and l with -inf made 0, so that p · l is 0 where p is 0. No epsilon."""
    lp = np.asarray(log_probs, np.float64)
    if np.isnan(lp).any():
        raise LocalentError("The log-probabilities are broken: NaN among them.")
    return np.exp(lp), np.where(lp > -np.inf, lp, 0.0)
