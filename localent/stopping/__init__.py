"""Rules that end a trace early, from its probes until then: replay tries them on stored traces, a run acts on them.

A rule is a quantity at each probe. A trace stops at the first probe at which the quantity is at most the setting and an
answer leads. No quantity looks ahead, so that replay and a run stop at the same place. A new rule is a line in RULES.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from localent.errors import UsageError
from localent.records import Probe

Array = npt.NDArray[Any]
SMOOTHING = 0.3  # of moving averages over the few probes of a short trace
EAT_SMOOTHING, EAT_WARM_UP = 0.2, 20  # as published: no stop before 4 / smoothing probes
SAME_FOR = (-6.0, -5.0, -4.0, -3.0, -2.0, -1.0)  # probes with the same leader, negated
RAMP_FROM, RAMP_TO, RAMP_STEPS = 0.9, 0.95, 2  # of CoDE-Stop's threshold
UNSTABLE = 0.55  # CoDE-Stop's delta
DEGENERATED = (-16.0, -12.0, -8.0, -6.0, -4.0, -3.0, -2.0, -1.0)  # CoDE-Stop's tau, negated
AT_ONCE = -float(np.finfo(np.float64).max)  # below every setting but "never", which is -inf
SLACK = 0.1  # nats: a fall by less adds nothing to the sum
NEXT = "next_entropy"
DIGITS = 6  # of a setting, significant: what is printed is what acts


class Course(Protocol):
    """The probes of n traces, side by side in rising k: arrays (n, K + 1), NaN (leader: negative) where is none."""

    @property
    def k(self) -> Array: ...
    @property
    def n_tokens(self) -> Array: ...
    @property
    def entropy(self) -> Array: ...
    @property
    def next_entropy(self) -> Array: ...
    @property
    def leader(self) -> Array: ...
    @property
    def p_leader(self) -> Array: ...


@dataclass(frozen=True, slots=True)
class Rule:
    """The definition of one rule. The key identifies it; the title is displayed."""

    key: str
    title: str
    unit: str
    of: Callable[[Course], Array]  # -> (n, K + 1), the smaller the sooner
    negated: bool = False  # the quantity is a negative one of `unit`, so that a smaller one stops sooner
    settings: tuple[float, ...] = ()  # to choose from; empty: quantiles
    every_probe: bool = True  # it asks at every probe, so that each up to the stop is paid for
    reads: str = ""  # a number of probes that older runs do not have; "": none
    counts_probes: bool = False  # it depends on how often a trace is probed, not only on what the last probe shows

    def shown(self, quantity: float) -> float:
        """A quantity or setting in its unit."""
        return (-quantity if self.negated else quantity) + 0.0


# ── quantities ────────────────────────────────────────────────────────────────────────────────────────────────────


def ema_variance(values: Array, smoothing: float = SMOOTHING, warm_up: int = 2) -> Array:
    """Moving variance of values around their moving average: (n, K + 1), NaN for the first `warm_up` probes.

    m_k = (1 - s) m_(k-1) + s x_k; v_k = (1 - s) v_(k-1) + s (x_k - m_k)², from m_0 = x_0 and v_0 = 0.
    Source: EAT, Wang et al. (2025), arXiv 2509.26522, as its authors' code computes it (github.com/xidulu/EAT,
    early_stopping_utils.py).
    """
    average, variance = values[:, 0], np.zeros(len(values))
    found = np.full(values.shape, np.nan)
    for k in range(1, values.shape[1]):
        average = (1 - smoothing) * average + smoothing * values[:, k]
        variance = (1 - smoothing) * variance + smoothing * (values[:, k] - average) ** 2
        found[:, k] = variance if k >= warm_up else np.nan
    return found


def unchanged(leader: Array) -> Array:
    """Number of probes for which the same answer has led: (n, K + 1) int; 0 where none leads.

    Source: arXiv 2506.02536.
    """
    found = np.zeros(leader.shape, int)
    for k in range(1, leader.shape[1]):
        same = (leader[:, k] == leader[:, k - 1]) & (leader[:, k] >= 0)
        found[:, k] = np.where(same, found[:, k - 1] + 1, 0)
    return found


def run_jump(leader: Array) -> Array:
    """How much longer the run of the answer that leads is than every earlier run: (n, K + 1) int.

    A run is the probes in a row that one answer leads; there is none, of length 0, where no answer does.
    Source: the run-length jump of ES-CoT, Mao et al. (2025), arXiv 2509.14004; its test is a plain threshold here.
    """
    length = np.where(leader >= 0, unchanged(leader) + 1, 0)
    longest, found = np.zeros(len(leader), int), np.zeros(leader.shape, int)
    for k in range(leader.shape[1]):
        begins = unchanged(leader)[:, k] == 0
        if k:
            longest = np.where(begins, np.maximum(longest, length[:, k - 1]), longest)
        found[:, k] = length[:, k] - longest
    return found


def falls(entropy: Array, slack: float = SLACK) -> Array:
    """CUSUM of the falls of the answer entropy below the mean of all before: (n, K + 1) nats, 0 at the first probe.

    S_k = max(0, S_(k-1) + mean(H_0..H_(k-1)) - H_k - slack): large once the entropy has shifted to a lower level.
    NaN where there is no entropy. Source: Page (1954), doi:10.1093/biomet/41.1-2.100, one-sided.
    """
    found = np.where(np.isnan(entropy), np.nan, 0.0)
    total, n, reached = np.zeros(len(entropy)), np.zeros(len(entropy)), np.zeros(len(entropy))
    for k in range(entropy.shape[1]):
        h, there = entropy[:, k], ~np.isnan(entropy[:, k])
        level = np.divide(total, n, out=np.where(there, h, 0.0), where=n > 0)
        reached = np.where(there, np.maximum(0.0, reached + level - np.where(there, h, 0.0) - slack), reached)
        found[:, k] = np.where(there, reached, np.nan)
        total, n = total + np.where(there, h, 0.0), n + there
    return found


def degeneration(confidence: Array, n_tokens: Array) -> Array:
    """CoDE-Stop's degeneration score: (n, K + 1), 0 at the first probe, rising with every unstable one.

    D_k = sum over i = 1..k of w_i v_i; v_i = 1 where 2 c_i - c_(i-1) < 0.55, else 0; w_i = ln(T_k / T_i) + 1, where T_i
    are the tokens until probe i.
    Source: Hosseini et al. (2026), arXiv 2604.04930. Only its abstract and a third party's account of the formulas
    could be read (github.com/yjkim-stat/Wiki-For-Overthinking), not the paper's own text.
    """
    logs, unstable = np.log(np.maximum(n_tokens, 1.0)), np.zeros(confidence.shape)
    unstable[:, 1:] = 2 * confidence[:, 1:] - confidence[:, :-1] < UNSTABLE
    weighed = np.cumsum(np.where(unstable > 0, logs, 0.0), 1)
    return np.cumsum(unstable, 1) * (1 + logs) - weighed


def code_stop(p: Course) -> Array:
    """CoDE-Stop: stop at once where the leader is sure enough, else by the degeneration score: (n, K + 1).

    Sure enough: c_k >= min(0.95, 0.9 + 0.05 k / 2), with the probability of the leading answer as confidence c_k. The
    ramp's begin and its two steps are the published ones; its end is not stated where we could read: 0.95 is ours.
    Source: see `degeneration`.
    """
    ramp = np.minimum(RAMP_TO, RAMP_FROM + (RAMP_TO - RAMP_FROM) * p.k / RAMP_STEPS)
    return np.where(p.p_leader >= ramp, AT_ONCE, -degeneration(p.p_leader, p.n_tokens))


def eat(p: Course) -> Array:
    """EAT as published: the moving variance of the entropy of one token, at smoothing 0.2, after 20 probes.

    The token is the one after the cue, which closes an open thought in the model's own format and begins the answer:
    the variant of EAT with an answer prefix. Source: see `ema_variance`; the smoothing is that of a public
    implementation (microsoft/interwhen), the paper's own settings could not be read.
    """
    return ema_variance(p.next_entropy, EAT_SMOOTHING, EAT_WARM_UP)


RULES = (
    Rule("entropy_threshold", "entropy threshold (HALT-CoT)", "nats", lambda p: p.entropy),
    Rule("eat", "EAT", "nats²", eat, reads=NEXT, counts_probes=True),
    Rule(
        "eat_short", "EAT for short traces", "nats²", lambda p: ema_variance(p.next_entropy), reads=NEXT,
        counts_probes=True,
    ),
    Rule(
        "settled_entropy", "moving variance of answer entropy", "nats²", lambda p: ema_variance(p.entropy),
        counts_probes=True,
    ),
    Rule("certain_leader", "certain leader", "p", lambda p: -p.p_leader, negated=True),
    Rule(
        "answer_convergence", "answer convergence", "probes", lambda p: -unchanged(p.leader), True, SAME_FOR,
        counts_probes=True,
    ),
    Rule(
        "run_jump", "run-length jump (ES-CoT)", "probes", lambda p: -run_jump(p.leader), True, SAME_FOR,
        counts_probes=True,
    ),
    Rule("code_stop", "CoDE-Stop", "score", code_stop, True, DEGENERATED, counts_probes=True),
    Rule("cusum", "CUSUM of falling entropy", "nats", lambda p: -falls(p.entropy), True, counts_probes=True),
    Rule("minimum_tokens", "minimum of tokens", "tokens", lambda p: -p.n_tokens, negated=True, every_probe=False),
)  # fmt: skip


# ── in use ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Written:
    """The probes of one trace that is being written: arrays (1, K + 1), a `Course`."""

    k: Array
    n_tokens: Array
    entropy: Array
    next_entropy: Array
    leader: Array
    p_leader: Array

    @classmethod
    def of(cls, probes: Sequence[Probe]) -> Written:
        """The probes so far, in rising k."""
        codes = {value: code for code, value in enumerate(dict.fromkeys(p.leader for p in probes))}
        leader = [-2 if p.leader is None else codes[p.leader] for p in probes]
        p_leader = [max((answer.prob for answer in p.answers), default=0.0) for p in probes]

        def row(name: str) -> Array:
            return np.array([[getattr(p, name) for p in probes]], np.float64)  # None -> NaN

        numbers = {name: row(name) for name in ("k", "n_tokens", "entropy", "next_entropy")}
        return cls(**numbers, leader=np.array([leader]), p_leader=np.array([p_leader]))


@dataclass(frozen=True, slots=True)
class Stop:
    """A rule with its setting, written "entropy_threshold:0.41"."""

    rule: Rule
    setting: float  # in the rule's unit

    def fires(self, probes: Sequence[Probe]) -> bool:
        """True if a trace with these probes, in rising k, stops at the last of them."""
        return self.quantity(probes) <= self.bound and probes[-1].leader is not None

    def quantity(self, probes: Sequence[Probe]) -> float:
        """The rule's quantity at the last probe; NaN where it has none."""
        return float(self.rule.of(Written.of(probes))[0, -1])

    @property
    def bound(self) -> float:
        """The setting as quantities are compared with it."""
        return self.rule.shown(self.setting)

    def __str__(self) -> str:
        return f"{self.rule.key}:{self.setting:.{DIGITS}g}"

    @property
    def words(self) -> str:
        """The rule and its setting for people: "certain leader, p 0.98"."""
        return f"{self.rule.title}, {self.rule.unit} {self.setting:.{DIGITS}g}"


def rounded(setting: float) -> float:
    """A setting with as many digits as are printed."""
    return float(f"{setting:.{DIGITS}g}")


def named(key: str) -> Rule:
    """The rule of that key or title. Raises UsageError, with those that there are, for another name."""
    found = next((rule for rule in RULES if key in (rule.key, rule.title)), None)
    if found is None:
        raise UsageError(
            f"No rule {key!r} can stop a trace while it is written: choose {', '.join(rule.key for rule in RULES)}."
        )
    return found


def parse(text: str) -> Stop:
    """The stop that is written so: "entropy_threshold:0.41". Raises UsageError for anything else."""
    key, sign, number = text.partition(":")
    rule = named(key)
    try:
        setting = float(number)
    except ValueError:
        setting = math.nan
    if not (sign and math.isfinite(setting)):
        raise UsageError(
            f"--stop {text!r} has no setting: write {rule.key}:SETTING in {rule.unit}, or add --stop-from RUN, on whose"
            " traces replay chooses it."
        )
    return Stop(rule, rounded(setting))
