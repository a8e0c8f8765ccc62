"""The policies: rules that abstain, vote or stop early, each with one open setting, played on stored traces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from localent.analysis import scores
from localent.analysis.intervals import problem_index
from localent.analysis.metrics import Array
from localent.analysis.play import Play, Policy, thresholds
from localent.analysis.probed import Probed
from localent.analysis.recorded import Recorded, Traces
from localent.analysis.signals import Score
from localent.analysis.votes import deepconf, several, votes, voting

SMOOTHING = 0.3  # of EAT's moving average
VOTERS = (
    "length in tokens", "mean entropy", "mean surprisal", "mean negative self-certainty",
    f"worst {scores.WINDOW}-token entropy", f"entropy of the last {scores.WINDOW}", "answer entropy at half",
    "answer entropy at end", "1 - leader's probability at end", "mean negative top-k confidence",
)  # fmt: skip
ORACLES = ("difficulty: other samples wrong",)  # they consult the true answer: nothing to act on


def policies(run: Recorded, scored: Sequence[Score]) -> Iterator[Policy]:
    """Every policy that the run's data allow. A signal that some trace lacks is left out: nothing is imputed."""
    traces, p, whole = run.traces, run.probes.own, {s.name: s for s in usable(scored)}
    for score in whole.values():
        yield _abstain(score, traces, _price(score, traces, p))
    if p is not None and p.there.all():
        yield from stops(traces, p)
    if several(traces):
        vote = voting(traces, np.ones(len(traces.wrong)))
        yield Policy("majority vote", "vote", (0.0,), lambda _, among: vote(among), "")
        for score in (whole[name] for name in VOTERS if name in whole):
            yield from votes(score, traces, _price(score, traces, p))
        yield deepconf(traces, run.tokens["entropy"])


def usable(scored: Sequence[Score]) -> list[Score]:
    """The signals that every trace has and that consult no true answer. Rollouts cost too much to act on."""
    fit = (s for s in scored if s.name not in ORACLES and s.family != "rollouts")
    return [s for s in fit if not np.isnan(s.values).any()]


def to_the_end(traces: Traces) -> Callable[[Array], Play]:
    """Every trace to its end, its own answer taken."""
    nothing = np.zeros(len(traces.wrong))
    return lambda among: _play(~traces.wrong, nothing == 0, traces.n_tokens, nothing, traces.problems, among)


def _play(right: Array, answered: Array, tokens: Array, fed: Array, problems: Array, among: Array) -> Play:
    return Play(right[among].astype(float), answered[among], tokens[among], fed[among], problems[among])


def _price(score: Score, traces: Traces, p: Probed | None) -> Array:
    """Tokens that it took to know a signal, beyond the trace itself: (n,).

    Those of its probes, all of them unless it reads one place; or of the other samples of the problem.
    """
    if score.family == "samples":
        index = problem_index(traces.problems)
        return np.bincount(index, traces.n_tokens)[index] - traces.n_tokens
    if score.family != "answer" or p is None:
        return np.zeros(len(traces.wrong))
    place = {"start": 0.0, "half": 0.5, "end": 1.0}.get(score.name.rsplit(" ", 1)[-1])
    return np.nansum(p.n_fed, 1) if place is None else p.at(p.n_fed, place)


def _abstain(score: Score, traces: Traces, fed: Array) -> Policy:
    """Answer only where the signal is at most the threshold."""

    def play(threshold: float, among: Array) -> Play:
        return _play(~traces.wrong, score.values <= threshold, traces.n_tokens, fed, traces.problems, among)

    return Policy(f"abstain by {score.name}", "abstain", thresholds(score.values), play, "at most")


def stops(traces: Traces, p: Probed) -> Iterator[Policy]:
    """Stop a trace after some step and take the leading answer of the probe there."""
    never = (-np.inf,)
    rules = {
        "entropy threshold (HALT-CoT)": (lambda x: p.entropy <= x, thresholds(p.entropy), "nats"),
        "EAT": (lambda x: ema_variance(p.entropy) <= x, thresholds(ema_variance(p.entropy)), "nats²"),
        "certain leader": (lambda x: p.p_leader >= -x, thresholds(-p.p_leader), "minus p"),
        "answer convergence": (lambda x: unchanged(p.leader) >= -x, tuple(-r for r in range(6, 0, -1)), "minus steps"),
    }
    for name, (rule, settings, unit) in rules.items():
        yield Policy(name, "stop", never + settings, _stopping(traces, p, partial(_where_one_leads, rule, p)), unit)
    yield length_cap(traces, p)


def _where_one_leads(rule: Callable[[float], Array], p: Probed, setting: float) -> Array:
    """Where the rule would stop and there is an answer to take."""
    return rule(setting) & (p.leader >= 0)


def length_cap(traces: Traces, p: Probed) -> Policy:
    """Cut traces longer than the cap at the last step within it: the baseline of all early stops."""

    def rule(cap: float) -> Array:
        fits = p.n_tokens <= -cap
        last_fit = fits & ~np.c_[fits[:, 1:], np.zeros((len(fits), 1), bool)]
        return last_fit & (traces.n_tokens[:, None] > -cap)

    settings = tuple(-x for x in thresholds(traces.n_tokens.astype(float))[::-1])
    return Policy("length cap", "stop", settings, _stopping(traces, p, rule, probes="one"), "minus tokens")


def _stopping(traces: Traces, p: Probed, rule: Callable, probes: str = "all") -> Callable[[float, Array], Play]:
    """Play of a rule (n, K + 1) bool that says where a trace may stop: the first such place."""
    fed = np.where(np.isnan(p.n_fed), 0.0, p.n_fed)

    def play(setting: float, among: Array) -> Play:
        stops = rule(setting) & ~np.isnan(p.position)
        stopped, at = stops.any(1), stops.argmax(1)[:, None]
        right = np.where(stopped, np.take_along_axis(p.leader_true, at, 1)[:, 0] == 1, ~traces.wrong)
        tokens = np.where(stopped, np.take_along_axis(p.n_tokens, at, 1)[:, 0], traces.n_tokens)
        spent = np.cumsum(fed, 1) if probes == "all" else fed
        asked = fed.sum(1) if probes == "all" else 0.0
        cost = np.where(stopped, np.take_along_axis(spent, at, 1)[:, 0], asked)
        cost = np.where(np.isneginf(setting), 0.0, cost)
        return _play(right, np.ones(len(right), bool), tokens, cost, traces.problems, among)

    return play


def ema_variance(entropy: Array, smoothing: float = SMOOTHING) -> Array:
    """Moving variance of the answer entropy around its moving average: (n, K + 1), NaN for the first two probes.

    m_k = (1 - s) m_(k-1) + s H_k; v_k = (1 - s) v_(k-1) + s (H_k - m_k)², from m_0 = H_0 and v_0 = 0.
    Source: EAT, arXiv 2509.26522, whose smoothing is another for its longer traces.
    """
    average, variance = entropy[:, 0], np.zeros(len(entropy))
    found = np.full_like(entropy, np.nan)
    for k in range(1, entropy.shape[1]):
        average = (1 - smoothing) * average + smoothing * entropy[:, k]
        variance = (1 - smoothing) * variance + smoothing * (entropy[:, k] - average) ** 2
        found[:, k] = variance if k > 1 else np.nan
    return found


def unchanged(leader: Array) -> Array:
    """For how many steps the same answer has led: (n, K + 1) int; 0 where none leads. Source: arXiv 2506.02536."""
    found = np.zeros(leader.shape, int)
    for k in range(1, leader.shape[1]):
        same = (leader[:, k] == leader[:, k - 1]) & (leader[:, k] >= 0)
        found[:, k] = np.where(same, found[:, k - 1] + 1, 0)
    return found
