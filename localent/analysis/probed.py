"""All that one estimator said along the traces of a run, as arrays: the common ground of signatures and policies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from localent.analysis.curves import TOUCH, Trajectories, log_true
from localent.analysis.metrics import Array

if TYPE_CHECKING:
    from localent.store import Database

COLUMNS = ("trace_id", "estimator", "control", "n_rollouts", "k", "position", "entropy", "p_true", "leader", "invalid")
COLUMNS += ("n_tokens", "n_fed")
LABELS = ("estimator", "control", "n_rollouts")  # the same for all probes of a Probed


@dataclass(frozen=True, slots=True)
class Probed:
    """Probes of n traces after k = 0..K steps. Arrays are (n, K_max + 1), NaN (leader: -1) where there is no probe."""

    estimator: str  # the answer kind where computed from logits; "rollout"
    control: str | None  # what stands in place of the traces' own steps; None: the steps themselves
    n_rollouts: int | None  # continuations a prefix, the most of any; None: computed from logits
    trace_ids: Array  # (n,) all traces of the run, by problem and sample; those without probes are rows of NaN
    problems: Array  # (n,)
    wrong: Array  # (n,) bool
    position: Array  # k / K
    entropy: Array  # nats
    p_true: Array
    leader: Array  # int: a code for the most likely answer; -2: none, or not known which
    leader_true: Array  # 1: the true answer is known to lead
    p_leader: Array  # probability of the likeliest answer found; 0 where there is none
    invalid: Array  # probability of what is no answer
    n_tokens: Array  # generated tokens in the prefix
    n_fed: Array  # tokens that the probe cost
    motion: Array  # (n, K_max) total variation between the distributions at k and k + 1
    net_motion: Array  # (n,) total variation between the first distribution and the last

    @property
    def there(self) -> Array:
        """(n,) bool: traces that were probed at all."""
        return ~np.isnan(self.position[:, 0])

    @property
    def there_at_all(self) -> Array:
        """(n,) bool: traces with any probe; controls have none at k = 0."""
        return (~np.isnan(self.position)).any(1)

    @property
    def n_steps(self) -> Array:
        """K, reasoning steps: (n,) float, NaN where not probed."""
        return np.where(self.there, (~np.isnan(self.position)).sum(1) - 1.0, np.nan)

    @property
    def open_leader(self) -> Array:
        """(n, K_max + 1) bool: answers were found, but what was left unexplored could still overtake them."""
        return (self.leader == -2) & (self.p_leader > 0)

    def among(self, kept: Array) -> Probed:
        """Some of the traces: kept (n,) bool."""
        return replace(self, **{f.name: getattr(self, f.name)[kept] for f in fields(self) if f.name not in LABELS})

    def trajectory(self, values: Array) -> Trajectories:
        """One of the arrays above, or a function of it, for the curves."""
        return Trajectories(values, self.position, self.wrong, self.problems, self.trace_ids)

    @property
    def log_true(self) -> Array:
        """ln p_k(a*), in nats, floored: (n, K_max + 1)."""
        return log_true(self.p_true)

    @property
    def gain(self) -> Array:
        """Information gained about the true answer since k = 0, ln p_k(a*) - ln p_0(a*), in nats: (n, K_max + 1)."""
        return self.log_true - self.log_true[:, :1]

    def at_end(self, values: Array) -> Array:
        """The value at the last probe: (n, K_max + 1) -> (n,)."""
        last = np.where(self.there, self.n_steps, 0).astype(int)
        return np.take_along_axis(values, last[:, None], axis=1)[:, 0]


def until(p: Probed, t: float) -> Probed:
    """What was known at share t of the steps: later probes as if they had not been made."""
    return only(p, p.position <= t + TOUCH)


def only(p: Probed, kept: Array) -> Probed:
    """Some of the probes, (n, K_max + 1) bool: the others as if they had not been made."""
    names = ("position", "entropy", "p_true", "leader_true", "p_leader", "invalid", "n_tokens", "n_fed")
    cut = {name: np.where(kept, getattr(p, name), np.nan) for name in names}
    motion, whole = np.where(kept[:, 1:], p.motion, np.nan), kept.sum(1) == (~np.isnan(p.position)).sum(1)
    net = np.where(whole, p.net_motion, np.nan)
    return replace(p, leader=np.where(kept, p.leader, -1), motion=motion, net_motion=net, **cut)


def probed(db: Database, run_id: str) -> dict[str, Probed]:
    """Estimator -> what it said, for every estimator (and control) that the run was probed with."""
    traces = db.traces(run_id, ("trace_id", "problem_id", "correct", "true_answer"))
    probes = db.probe_rows(run_id, COLUMNS)
    answers = db.answers(run_id, ("trace_id", "k", "estimator", "value", "prob"))
    ids, names = np.array(traces["trace_id"], np.int64), np.array(probes["estimator"])
    answer_names = np.array(answers["estimator"])
    found = {}
    for estimator in sorted(set(probes["estimator"])):
        mine, of_mine = (np.flatnonzero(all_ == estimator) for all_ in (names, answer_names))
        table = _rows(probes, mine, COLUMNS), _rows(answers, of_mine, ("trace_id", "k", "value", "prob"))
        found[estimator] = _probed(ids, traces, *table)
    return found


def computed(found: dict[str, Probed]) -> Probed | None:
    """The one that was computed from the logits along the trace itself, if any."""
    return next((p for p in found.values() if p.control is None and p.n_rollouts is None), None)


def _rows(columns: dict[str, list], rows: Array, names: Sequence[str]) -> dict[str, Array]:
    return {name: np.array(columns[name], object)[rows] for name in names}


def _probed(ids: Array, traces: dict, probes: dict[str, Array], answers: dict[str, Array]) -> Probed:
    order = np.argsort(ids)
    row, k = order[np.searchsorted(ids[order], probes["trace_id"].astype(np.int64))], probes["k"].astype(int)
    answer_row = order[np.searchsorted(ids[order], answers["trace_id"].astype(np.int64))]
    shape = (len(ids), int(k.max(initial=0)) + 1)

    def spread(name: str) -> Array:
        out = np.full(shape, np.nan)
        out[row, k] = probes[name].astype(float)  # None -> NaN
        return out

    leader, leader_true = np.full(shape, -1), np.full(shape, np.nan)
    leader[row, k] = _codes(probes["leader"])
    leader_true[row, k] = probes["leader"] == np.array(traces["true_answer"], object)[row]
    position = spread("position")
    p_leader, motion = _answers(shape, answer_row, answers["k"].astype(int), answers)
    ends = _ends(position, answer_row, answers["k"].astype(int))
    at_ends = {name: values[ends >= 0] for name, values in answers.items()}
    _, net = _answers((len(ids), 2), answer_row[ends >= 0], ends[ends >= 0], at_ends)
    control, sizes = probes["control"][0], [m for m in probes["n_rollouts"].tolist() if m is not None]
    labels = probes["estimator"][0].removesuffix(f":{control}"), control, max(sizes, default=None)
    both = ~np.isnan(position[:, 1:]) & ~np.isnan(position[:, :-1])
    return Probed(
        *labels, ids, np.array(traces["problem_id"]), ~np.array(traces["correct"], bool),
        position=position, leader=leader, leader_true=leader_true,
        p_leader=np.where(np.isnan(position), np.nan, p_leader),
        motion=np.where(both, motion, np.nan), net_motion=np.where(both[:, :1].any(1), net[:, 0], np.nan),
        **{name: spread(name) for name in ("entropy", "p_true", "invalid", "n_tokens", "n_fed")},
    )  # fmt: skip


def _codes(values: Array) -> Array:
    """Equal texts to equal numbers from 0; None to -2."""
    codes = np.unique(np.array(["" if value is None else value for value in values], str), return_inverse=True)[1]
    return np.where(np.array([value is None for value in values], bool), -2, codes.ravel())


def _ends(position: Array, row: Array, k: Array) -> Array:
    """0 for an answer at the first probe of its trace, 1 at the last, -1 between or where the trace has one probe."""
    final = (~np.isnan(position)).sum(1)[row] - 1
    return np.where(final < 1, -1, np.where(k == 0, 0, np.where(k == final, 1, -1)))


def _answers(shape: tuple[int, int], row: Array, k: Array, answers: dict[str, Array]) -> tuple[Array, Array]:
    """Probability of the leader (n, K + 1), and total variation from k to k + 1 (n, K).

    What is no listed answer (invalid, residual) is one outcome of its own.
    """
    prob = answers["prob"].astype(float)
    p_leader, listed = np.zeros(shape), np.zeros(shape)
    np.maximum.at(p_leader, (row, k), prob)
    np.add.at(listed, (row, k), prob)
    leftover = np.maximum(1 - listed, 0.0)
    code = _codes(answers["value"])
    following, preceding = (_same_answer(shape, row, k, code, prob, step) for step in (1, -1))
    change = np.zeros((shape[0], shape[1] + 1))  # by the k that the step ends at
    np.add.at(change, (row, k + 1), np.abs(prob - following))
    gone = np.isnan(preceding)  # new at k: nothing at k - 1 has counted it
    np.add.at(change, (row[gone], k[gone]), prob[gone])
    return p_leader, (change[:, 1:-1] + np.abs(np.diff(leftover, axis=1))) / 2


def _same_answer(shape: tuple[int, int], row: Array, k: Array, code: Array, prob: Array, step: int) -> Array:
    """Probability of the same answer at k + step; where it is not listed: 0 for the next k, NaN for the one before."""
    width = shape[1] + 2
    key = (row * (int(code.max(initial=0)) + 1) + code) * width + k + 1
    order = np.argsort(key)
    at = np.searchsorted(key[order], key + step)
    at = np.minimum(at, max(len(key) - 1, 0))
    there = key[order][at] == key + step
    return np.where(there, prob[order][at], 0.0 if step > 0 else np.nan)
