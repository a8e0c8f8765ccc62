"""Information about the true answer in a trace's own steps beyond that in a control's text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from localent.analysis.curves import FLOOR, GRID, Curve, curve
from localent.analysis.information import POOLING, Reader, readable
from localent.analysis.intervals import DEFAULT, Resampling, problem_index
from localent.analysis.metrics import Array
from localent.analysis.probed import Probed, only

WRONG = "wrong-trace"  # the control that is chosen by how a trace ended


def gap_to(p: Probed, control: Probed, floor: float = FLOOR, reader: Reader = POOLING) -> Array:
    """Information after the trace's own steps minus that after the control's: (n, K_max + 1) nats, 0 at k = 0.

    Each recalibrated by itself (information.readable). Both gains count from the same k = 0, which cancels; so does
    what is gained by averaging alone. NaN where the control was not read.
    """
    width = min(p.p_true.shape[1], control.p_true.shape[1])
    gaps = np.full(p.p_true.shape, np.nan)
    own, other = readable(p, floor, reader=reader), readable(control, floor, p, reader)
    gaps[:, :width] = own[:, :width] - other[:, :width]
    gaps[:, 0] = np.where(control.there_at_all & p.there, 0.0, np.nan)
    return gaps


def of_these(p: Probed, name: str, control: Probed, rows: Array | None = None) -> Probed:
    """The probes of a control beside those traces that it is a control for: all, or the rows (n,) bool of them.

    A wrong trace stands in only for those whose problem has another trace that is wrong.
    """
    rows = p.there if rows is None else rows & p.there
    rows = rows & has_wrong_sibling(p) if name == WRONG else rows
    return only(control, rows[:, None] & ~np.isnan(control.position))


def has_wrong_sibling(p: Probed) -> Array:
    """True for a trace whose problem has another trace that is wrong: (n,) bool."""
    index = problem_index(p.problems)
    found: Array = np.bincount(index, p.wrong)[index] - p.wrong > 0
    return found


def along(p: Probed, control: Probed, resampling: Resampling = DEFAULT) -> Curve:
    """Mean of gap_to at t = 0, 0.1, ..., 1 over the traces that have both readings, in nats."""
    return curve(GRID, p.at(gap_to(p, control), GRID), p.clusters, resampling)


def earliest_over(curves: Sequence[Curve]) -> float | None:
    """The first t at which every control is exceeded, and none falls back to the end, each interval above 0.

    None: not exceeded at the end, or some control has no interval there (see untested). An earlier t without an
    interval, because the control was not read there or by too few traces, is skipped.
    """
    if not curves:
        return None
    low = np.array([c.low for c in curves])
    above = ((low > 0) | np.isnan(low)).all(0)
    lasting = np.logical_and.accumulate(above[::-1])[::-1] & (low > 0).all(0)
    return float(curves[0].at[lasting.argmax()]) if lasting.any() and (low[:, -1] > 0).all() else None


def untested(curves: dict[str, Curve]) -> list[str]:
    """Controls without an interval at the end, if all others are exceeded there; without them the claim stays open."""
    low = {name: c.low[-1] for name, c in curves.items()}
    return [name for name, end in low.items() if np.isnan(end)] if not any(end <= 0 for end in low.values()) else []
