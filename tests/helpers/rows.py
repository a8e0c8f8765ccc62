"""Rows of logits that differ a little."""

import numpy as np


def rows(n_vocab, shift, n=3, seed=0, sd=3.0):
    """Pairs of different rows: (n, 2, n_vocab) float32."""
    rng = np.random.default_rng(seed)
    first = rng.normal(0, sd, (n, n_vocab))
    return np.stack([first, first + rng.normal(0, shift, (n, n_vocab))], 1).astype(np.float32)
