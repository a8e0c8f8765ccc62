"""The probes of a run as arrays: one estimator, or one control, along all of its traces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from localent.analysis.curves import HALF, TOUCH, at_position, log_true
from localent.analysis.metrics import Array

KINDS = ("estimator", "control")  # fields that are not arrays
BESIDE = ("entropy_se", "next_entropy", "n_tokens", "n_fed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """Probes of n traces after some of k = 0..K steps: J_max + 1 of the trace that has most.

    Arrays are (n, J_max + 1), a trace's probes side by side in rising k; NaN (leader: -1) where there is none. Probed
    after every step, column j is k = j. A control or a rollout has the column of the trace's own probe at its k.
    """

    estimator: str  # the answer kind where computed from logits; "rollout"
    control: str | None  # text that replaces the traces' own steps; None: the steps themselves
    trace_ids: Array  # (n,) all traces of the run, by problem and sample; those without probes are rows of NaN
    problems: Array  # (n,)
    wrong: Array  # (n,) bool
    n_rollouts: Array  # (n,) int: continuations sampled at each prefix; 0: none
    k: Array  # steps in the prefix
    position: Array  # k / K
    entropy: Array  # nats; NaN: no answer was found
    entropy_se: Array  # its standard error; NaN: unknown
    next_entropy: Array  # nats, of the token after the cue; NaN: not read
    residual: Array  # probability not explored
    p_true: Array
    leader: Array  # int: a code for the most likely answer; -2: none, or not known which
    leader_true: Array  # 1: the true answer is known to lead
    p_leader: Array  # probability of the most likely answer found; 0 where there is none
    invalid: Array  # probability of what is no answer
    n_tokens: Array  # generated tokens in the prefix
    n_fed: Array  # tokens that the probe cost
    motion: Array  # (n, J_max) total variation between the distributions of neighbouring probes
    net_motion: Array  # (n,) total variation between the first distribution and the last
    guess: Array | None = None  # (n,) probability that a blind guess is right; 0: no guessing; None: not known
    groups: Array | None = None  # (n,) each problem with its variants; None: each problem is by itself

    @property
    def clusters(self) -> Array:
        """What intervals and p-values take as independent: problems, those that are variants as one. (n,)."""
        return self.problems if self.groups is None else self.groups

    @property
    def there(self) -> Array:
        """(n,) bool: traces that were probed at all."""
        return ~np.isnan(self.position[:, 0])

    @property
    def there_at_all(self) -> Array:
        """(n,) bool: traces with any probe; controls have none at k = 0."""
        found: Array = np.any(~np.isnan(self.position), axis=1)
        return found

    @property
    def n_steps(self) -> Array:
        """K, reasoning steps up to the last probe: (n,) float, NaN where not probed."""
        return np.where(self.there, np.max(self.k, axis=1, initial=0, where=~np.isnan(self.k)), np.nan)

    @property
    def last_probe(self) -> Array:
        """Column of the last probe: (n,) int; 0 where not probed."""
        return np.where(self.there, (~np.isnan(self.position)).sum(1) - 1, 0)

    @property
    def every_step(self) -> bool:
        """True if each trace was probed after every step."""
        return bool((self.last_probe == np.nan_to_num(self.n_steps)).all())

    @property
    def open_leader(self) -> Array:
        """(n, J_max + 1) bool: answers were found, but the unexplored probability could still overtake them."""
        found: Array = (self.leader == -2) & (self.p_leader > 0)
        return found

    def among(self, kept: Array) -> Probed:
        """Some of the traces: kept (n,) bool, or their indices."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in KINDS}
        cut: dict[str, Any] = {name: None if array is None else array[kept] for name, array in arrays.items()}
        return replace(self, **cut)

    def by_id(self) -> Probed:
        """The traces that have probes, by trace id.

        The order of summation is then fixed, and figures are reproducible to the last bit.
        """
        order = np.argsort(self.trace_ids)
        return self.among(order[self.there_at_all[order]])

    @property
    def log_true(self) -> Array:
        """ln p_k(a*), in nats, floored: (n, J_max + 1)."""
        return log_true(self.p_true)

    @property
    def gain(self) -> Array:
        """Information gained about the true answer since k = 0, ln p_k(a*) - ln p_0(a*), in nats: (n, J_max + 1).

        Positive: it became more likely.
        Source: the pointwise information of SCIENCE.md 5, as in Ton et al. (2024), arXiv 2411.11984; the floor is ours.
        """
        return self.log_true - self.log_true[:, :1]

    def at(self, values: Array, t: float | Sequence[float]) -> Array:
        """Values (n, J_max + 1) at share t of the steps: (n,), or (n, n_t) for several t; see curves.at_position."""
        return at_position(values, self.position, t)

    def half_way(self, values: Array) -> Array:
        """Values (n, J_max + 1) half-way: (n,); NaN for a trace of one step, whose half is its start."""
        return np.where(self.n_steps >= 2, self.at(values, HALF), np.nan)

    def from_end(self, values: Array, steps: Sequence[float]) -> Array:
        """Values (n, J_max + 1) at K + s for each s <= 0 of the steps: (n, n_s), NaN where that was not probed."""
        return self._where(values, self.n_steps[:, None] + np.asarray(steps, float))

    def from_start(self, values: Array, steps: Sequence[float]) -> Array:
        """Values (n, J_max + 1) after s >= 0 steps: (n, n_s), NaN where that was not probed."""
        return self._where(values, np.broadcast_to(np.asarray(steps, float), (len(self.n_steps), len(steps))))

    def _where(self, values: Array, wanted: Array) -> Array:
        """Values (n, J_max + 1) where k is as wanted, (n, n_s)."""
        hit = self.k[:, :, None] == wanted[:, None, :]
        column = np.argmax(hit, axis=1)
        return np.where(hit.any(1), np.take_along_axis(values, column, axis=1), np.nan)

    def at_end(self, values: Array) -> Array:
        """The value at the last probe: (n, J_max + 1) -> (n,)."""
        return np.take_along_axis(values, self.last_probe[:, None], axis=1)[:, 0]


def until(p: Probed, t: float) -> Probed:
    """The probes at or before share t of the steps; later ones are masked."""
    return only(p, p.position <= t + TOUCH)


def only(p: Probed, kept: Array) -> Probed:
    """The probes in the mask `kept`, (n, J_max + 1) bool; all others become NaN (leader: -1)."""
    names = ("k", "position", "entropy", "residual", "p_true", "leader_true", "p_leader", "invalid", *BESIDE)
    cut: dict[str, Any] = {name: np.where(kept, getattr(p, name), np.nan) for name in names}
    motion, whole = np.where(kept[:, 1:], p.motion, np.nan), kept.sum(1) == (~np.isnan(p.position)).sum(1)
    net = np.where(whole, p.net_motion, np.nan)
    return replace(p, leader=np.where(kept, p.leader, -1), motion=motion, net_motion=net, **cut)


def codes(values: Array) -> Array:
    """Equal texts -> equal numbers from 0; None -> -2: (n,) -> (n,) int."""
    codes = np.unique(np.array(["" if value is None else value for value in values], str), return_inverse=True)[1]
    return np.where(np.array([value is None for value in values], bool), -2, codes.ravel())


@dataclass(frozen=True, slots=True)
class Listed:
    """All answers of all probes, one after another: arrays (n_answers,)."""

    row: Array  # trace
    k: Array  # column of the probe
    code: Array  # of the answer: see codes
    prob: Array

    def among(self, kept: Array, k: Array) -> Listed:
        """Those in the mask `kept`, with new k."""
        return Listed(self.row[kept], k[kept], self.code[kept], self.prob[kept])


def moved(position: Array, listed: Listed) -> tuple[Array, Array, Array]:
    """(p_leader, motion, net_motion) of Probed, from the position of each probe (n, J_max + 1) and its answers."""
    listed = replace(listed, prob=listed.prob.astype(float))
    p_leader, motion = _answers(position.shape, listed)
    ends = _ends(position, listed.row, listed.k)
    _, net = _answers((len(position), 2), listed.among(ends >= 0, ends))
    both = ~np.isnan(position[:, 1:]) & ~np.isnan(position[:, :-1])
    return (
        np.where(np.isnan(position), np.nan, p_leader),
        np.where(both, motion, np.nan),
        np.where(both[:, :1].any(1), net[:, 0], np.nan),
    )


def _ends(position: Array, row: Array, k: Array) -> Array:
    """0 for an answer at the first probe of its trace, 1 at the last, -1 between or where the trace has one probe."""
    final = (~np.isnan(position)).sum(1)[row] - 1
    return np.where(final < 1, -1, np.where(k == 0, 0, np.where(k == final, 1, -1)))


def _answers(shape: tuple[int, int], listed: Listed) -> tuple[Array, Array]:
    """Probability of the leader (n, K + 1), and total variation from k to k + 1 (n, K).

    What is no listed answer (invalid, residual) is one outcome of its own.
    """
    row, k, prob = listed.row, listed.k, listed.prob
    p_leader, total = np.zeros(shape), np.zeros(shape)
    np.maximum.at(p_leader, (row, k), prob)
    np.add.at(total, (row, k), prob)
    leftover = np.maximum(1 - total, 0.0)
    following, preceding = (_same_answer(shape, listed, step) for step in (1, -1))
    change = np.zeros((shape[0], shape[1] + 1))  # by the k that the step ends at
    np.add.at(change, (row, k + 1), np.abs(prob - following))
    gone = np.isnan(preceding)  # new at k: nothing at k - 1 has counted it
    np.add.at(change, (row[gone], k[gone]), prob[gone])
    return p_leader, (change[:, 1:-1] + np.abs(np.diff(leftover, axis=1))) / 2


def _same_answer(shape: tuple[int, int], listed: Listed, step: int) -> Array:
    """Probability of the same answer at k + step; where it is not listed: 0 for the next k, NaN for the one before."""
    width = shape[1] + 2
    key = (listed.row * (int(listed.code.max(initial=0)) + 1) + listed.code) * width + listed.k + 1
    order = np.argsort(key)
    at = np.searchsorted(key[order], key + step)
    at = np.minimum(at, max(len(key) - 1, 0))
    there = key[order][at] == key + step
    return np.where(there, listed.prob[order][at], 0.0 if step > 0 else np.nan)
