"""Problems dealt into folds: what is fitted to some of them is judged on the others."""

from __future__ import annotations

import hashlib

import numpy as np

from localent.analysis.metrics import Array, Names

FOLDS = 5


def folds(problems: Names) -> Array:
    """The fold of each trace's problem, in the order of the problems' hashes: (n,) int in 0..FOLDS - 1."""
    names = np.asarray(problems).tolist()
    ranked = sorted(set(names), key=lambda name: hashlib.sha256(f"calibrate/{name}".encode()).digest())
    place = {name: rank % FOLDS for rank, name in enumerate(ranked)}
    return np.array([place[name] for name in names], int)
