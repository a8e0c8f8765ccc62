"""The entropy mechanism: accuracy bought with token entropy as a model is trained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from localent.analysis.metrics import Array

LEAST = 3  # stages: with two, two parameters fit any


@dataclass(frozen=True, slots=True)
class EntropyLaw:
    """accuracy = ceiling - price (e^H - 1), fitted over stages of training; H: mean token entropy of their traces."""

    n: int  # stages
    ceiling: float  # accuracy that it gives for H = 0
    price: float  # accuracy for each unit of e^H
    rmse: float  # of accuracies, as a share

    @property
    def sentence(self) -> str:
        """The fit in words; a price below 0 is none."""
        fit = f"accuracy = {self.ceiling:.2f} - {self.price:.2f} (e^H - 1), rmse {self.rmse:.3f}"
        if self.price <= 0:
            return f"over {self.n} stages {fit}: here stages of more token entropy H are no less accurate."
        return (
            f"over {self.n} stages {fit}, H the mean token entropy: {self.ceiling:.0%} would be reached with no entropy"
            " left, were this a law. It is a description of these stages, not a test."
        )


def fit(entropy: Array, accuracy: Array) -> EntropyLaw | None:
    """Least squares over stages: mean token entropies (n,) in nats, accuracies (n,). None for too few, or all alike.

    Source: R = b - a e^H of Cui et al. (2025), arXiv 2505.22617, written around H = 0.
    """
    known = ~np.isnan(entropy) & ~np.isnan(accuracy)
    x, y = np.expm1(entropy[known]), accuracy[known]
    if len(x) < LEAST or np.ptp(x) < 1e-9:
        return None
    slope, ceiling = np.polyfit(x, y, 1)
    rmse = float(np.sqrt(np.mean((ceiling + slope * x - y) ** 2)))
    return EntropyLaw(len(x), float(ceiling), float(-slope), rmse)
