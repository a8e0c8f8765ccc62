"""The importance of steps over a run, as a table and sentences. Returns the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from localent.report.trace import Z, steps_of, visible, with_error
from localent.store.traces import Importance

Table = tuple[list[str], list[list[Any]]]  # columns, rows
P_TRUE, SHIFT = "p_true", "shift"
BY = (P_TRUE, SHIFT)
NOTES = (
    "p(true) by: change of the probability of the true answer from continuations that resample the step to"
    " continuations that keep it. Answers moved: half the squared distance of the two answer distributions, 0 where the"
    " step changes nothing, 1 where it turns one answer into another; without bias, so that it may be below 0."
    " ±: 95 % interval.",
    "Neighbouring steps share the continuations between them: where one is found too high, the next is found too low.",
)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many steps change something by their 95 % interval."""

    n: int
    up: int  # p(true) rises
    down: int
    moved: int  # the answers move


def counts(steps: Sequence[Importance]) -> Counts:
    """The steps whose interval excludes 0."""
    up = sum(one.p_true_change - Z * one.p_true_change_se > 0 for one in steps)
    down = sum(one.p_true_change + Z * one.p_true_change_se < 0 for one in steps)
    return Counts(len(steps), up, down, sum(one.shift - Z * one.shift_se > 0 for one in steps))


def ranked(steps: Sequence[Importance], by: str) -> list[Importance]:
    """The steps that matter most first: by the change of p(true) in either direction, or by how the answers move."""
    size = {P_TRUE: lambda one: abs(one.p_true_change), SHIFT: lambda one: one.shift}[by]
    return sorted(steps, key=lambda one: (-size(one), one.trace_id, one.k))


def table(steps: Sequence[Importance]) -> Table:
    """One row per step."""
    columns = ["trace", "step", "p(true) by", "answers moved", "rollouts", "text"]
    rows = []
    for one in steps:
        change = with_error(one.p_true_change, one.p_true_change_se)
        moved = with_error(one.shift, one.shift_se)
        text = " ".join(visible(one.step_text or "").split())
        rows.append([one.trace_id, steps_of(one), change, moved, f"{one.n_before}/{one.n_after}", text])
    return columns, rows


def sentences(steps: Sequence[Importance]) -> list[str]:
    """How many steps change something, and what the columns are."""
    c, n = counts(steps), len({one.trace_id for one in steps})
    found = (
        f"{c.n} steps of {n} {'trace' if n == 1 else 'traces'}: {c.up} make the true answer likelier, {c.down} less"
        f" likely, {c.moved} move the answers. Of as many steps that change nothing, up to {0.025 * c.n:.1f} would be"
        " found on either side."
    )
    return [found, *NOTES]
