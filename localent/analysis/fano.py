"""Fano's inequality, solved exactly: the least error that an answer entropy allows."""

from __future__ import annotations

import math

import numpy as np

from localent.analysis.metrics import Array


def fano_bound(entropy: Array | float, n_answers: float | None = None, *, ln_others: float | None = None) -> Array:
    """The P that solves h_b(P) + P ln(n_answers - 1) = H: entropy in nats, any shape -> same, in [0, 1 - 1/n_answers].

    No guess from this distribution can be wrong less often. The linear form (H - ln 2)/ln(n_answers - 1) says nothing
    below ln 2. `ln_others`: ln(n_answers - 1), where the number of answers itself would overflow. An H above ln
    n_answers, which only a biased estimate has, gives the top of the range.
    Source: Fano (1961); Cover and Thomas (2006), theorem 2.10.1, without its last step.
    """
    if ln_others is None:
        if n_answers is None:
            raise ValueError("expected n_answers or ln_others")
        ln_others = math.log(n_answers - 1)
    most = ln_others
    found: Array = np.vectorize(lambda h: _solve(float(h), most), otypes=[float])(entropy)
    return found


def _solve(entropy: float, ln_others: float) -> float:
    from scipy.optimize import brentq

    if math.isnan(entropy):
        return math.nan
    top = 1 / (1 + math.exp(-ln_others))  # 1 - 1/n_answers, where the left side is largest
    if entropy <= 0:
        return 0.0
    if entropy >= most_entropy(top, ln_others):
        return top
    return brentq(lambda p: most_entropy(p, ln_others) - entropy, 0.0, top, xtol=1e-15)


def most_entropy(error: float, ln_others: float) -> float:
    """The largest entropy at this error: h_b(P) + P ln(n_answers - 1), nats."""
    binary = -sum(p * math.log(p) for p in (error, 1 - error) if p > 0)
    return binary + error * ln_others
