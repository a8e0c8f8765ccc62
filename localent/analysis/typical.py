"""Traces that stand for the others: those whose answer entropy takes the course of the mean."""

from __future__ import annotations

import numpy as np

from localent.analysis.probed import Probed

STEPS = (3, 2, 4, 1)  # reasoning steps of a trace that is shown, the best number first


def typical(p: Probed) -> list[int]:
    """Ids of right traces of one number of steps, the most typical first; of wrong ones where none is right.

    Typical is what is nearest, in root mean square over the probes, to the mean course of the answer entropy among the
    right traces of as many steps. Empty where no trace was probed.
    """
    some = p.there & ~p.wrong if (p.there & ~p.wrong).any() else p.there
    for n_steps in (*STEPS, *sorted(set(p.n_steps[some].tolist()))):
        kept = np.flatnonzero(some & (p.n_steps == n_steps))
        if len(kept):
            return [int(p.trace_ids[i]) for i in kept[np.argsort(_distance(p, kept), kind="stable")]]
    return []


def _distance(p: Probed, kept: np.ndarray) -> np.ndarray:
    """Root mean square distance of each trace's answer entropies from the mean of all: (n_kept,) nats."""
    courses = p.entropy[kept][:, : int(p.last_probe[kept].max()) + 1]
    known = ~np.isnan(courses)
    mean = np.where(known, courses, 0.0).sum(0) / np.maximum(known.sum(0), 1)
    squares = np.where(known, (courses - mean) ** 2, 0.0).sum(1) / np.maximum(known.sum(1), 1)
    return np.where(known.any(1), np.sqrt(squares), np.inf)
