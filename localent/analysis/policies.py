"""The policies: rules that abstain, vote or stop early, replayed on stored traces. Those that stop: `stopping`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from localent.analysis.intervals import problem_index
from localent.analysis.learned import leader_is_right
from localent.analysis.metrics import Array
from localent.analysis.policy import ABSTAIN, STOP, Effects, Policy, thresholds
from localent.analysis.probed import Probed
from localent.analysis.recorded import Recorded, Traces
from localent.analysis.trace_signals import ANSWER, ROLLOUTS, SAMPLES, Score
from localent.analysis.votes import can_vote, deepconf, majority, votes
from localent.stopping import RULES, Course, Rule

VOTERS = (  # signals that weigh votes
    "length", "mean_entropy", "mean_surprisal", "mean_self_certainty", "worst_window", "tail_entropy",
    "answer_entropy_half", "answer_entropy_end", "leader_doubt_end", "mean_topk_confidence",
)  # fmt: skip


def policies(run: Recorded, scored: Sequence[Score]) -> Iterator[Policy]:
    """Every policy that the run's data allow. Signals that some trace lacks are left out: nothing is imputed."""
    traces, p, whole = run.traces, run.probes.own, {s.signal.key: s for s in usable(scored)}
    for score in whole.values():
        yield _abstain(score, traces, _price(score, traces, p))
    if p is not None and p.there.all():
        yield from stops(traces, p)
    if can_vote(traces):
        yield majority(traces)
        for score in (whole[key] for key in VOTERS if key in whole):
            yield from votes(score, traces, _price(score, traces, p))
        yield deepconf(traces, run.tokens["entropy"])


def usable(scored: Sequence[Score]) -> list[Score]:
    """The signals that every trace has and that use no true answer, without rollouts, which cost too much to act on."""
    fit = (s for s in scored if not s.signal.oracle and s.signal.family != ROLLOUTS)
    return [s for s in fit if not np.isnan(s.values).any()]


def to_the_end(traces: Traces) -> Callable[[Array], Effects]:
    """Every trace to its end, its own answer taken."""
    nothing = np.zeros(len(traces))
    return lambda among: _effects(traces, among, ~traces.wrong, nothing == 0, traces.n_tokens, nothing)


def _effects(traces: Traces, among: Array, right: Array, answered: Array, tokens: Array, fed: Array) -> Effects:
    return Effects(right[among].astype(float), answered[among], tokens[among], fed[among], traces.clusters[among])


def _price(score: Score, traces: Traces, p: Probed | None) -> Array:
    """Token cost of a signal beyond the trace itself: (n,).

    The cost of its probes (of one, if it reads one position), or of the other samples of the problem.
    """
    signal = score.signal
    if signal.family == SAMPLES:
        index = problem_index(traces.problems)
        return np.bincount(index, traces.n_tokens)[index] - traces.n_tokens
    if signal.family != ANSWER or p is None:
        return np.zeros(len(traces))
    return np.nansum(p.n_fed, 1) if signal.at is None else p.at(p.n_fed, signal.at)


def _abstain(score: Score, traces: Traces, fed: Array) -> Policy:
    """Answer only where the signal is at most the threshold."""

    def apply(threshold: float, among: Array) -> Effects:
        return _effects(traces, among, ~traces.wrong, score.values <= threshold, traces.n_tokens, fed)

    key, title = f"abstain:{score.signal.key}", f"abstain by {score.signal.title}"
    return Policy(key, title, ABSTAIN, thresholds(score.values), apply, "at most")


# --- stops ----------------------------------------------------------------------------------------------------------


def stop_policy(rule: Rule, traces: Traces, p: Probed) -> Policy | None:
    """A rule on the probes of a run: stop at the first probe where it holds and an answer leads, and take that answer.

    One setting is off. None where no probe has what the rule reads, as in older runs.
    """
    if rule.reads and np.isnan(getattr(p, rule.reads)).all():
        return None
    values = rule.of(p)
    apply = _stopping(traces, p, lambda setting: (values <= setting) & (p.leader >= 0), every_probe=rule.every_probe)
    settings = (-np.inf, *(rule.settings or thresholds(values)))
    return Policy(rule.key, rule.title, STOP, settings, apply, rule.unit, rule.negated)


def stops(traces: Traces, p: Probed) -> Iterator[Policy]:
    """The policies that stop early, the length cap last."""
    yield from filter(None, (stop_policy(rule, traces, p) for rule in STOPS))
    yield length_cap(traces, p)


def length_cap(traces: Traces, p: Probed) -> Policy:
    """Cut traces longer than the cap at the last probe within it: the baseline of all early stops."""

    def rule(cap: float) -> Array:
        fits = p.n_tokens <= -cap
        last_fit = fits & ~np.c_[fits[:, 1:], np.zeros((len(fits), 1), bool)]
        return last_fit & (traces.n_tokens[:, None] > -cap)

    settings = tuple(-x for x in thresholds(traces.n_tokens.astype(float))[::-1])
    apply = _stopping(traces, p, rule, every_probe=False)
    return Policy("length_cap", "length cap", STOP, settings, apply, "tokens", negated=True)


def _stopping(
    traces: Traces, p: Probed, rule: Callable[[float], Array], *, every_probe: bool = True
) -> Callable[[float, Array], Effects]:
    """Effects of a rule (n, K + 1) bool that says where a trace may stop: the first such place.

    every_probe: the rule asks at every probe, so that each probe up to the stop is paid for.
    """
    fed = np.where(np.isnan(p.n_fed), 0.0, p.n_fed)
    spent = np.cumsum(fed, 1) if every_probe else fed
    asked = fed.sum(1) if every_probe else np.zeros(len(fed))

    def apply(setting: float, among: Array) -> Effects:
        may = rule(setting) & ~np.isnan(p.position)
        stopped, at = may.any(1), may.argmax(1)[:, None]

        def there(values: Array) -> Array:
            return np.take_along_axis(values, at, 1)[:, 0]

        right = np.where(stopped, there(p.leader_true) == 1, ~traces.wrong)
        tokens = np.where(stopped, there(p.n_tokens), traces.n_tokens)
        cost = np.zeros(len(fed)) if np.isneginf(setting) else np.where(stopped, there(spent), asked)
        return _effects(traces, among, right, np.ones(len(right), bool), tokens, cost)

    return apply


def _learned(p: Course) -> Array:
    """Learned from the other traces of a run, so that it cannot act while a single one is written."""
    assert isinstance(p, Probed)
    return -leader_is_right(p)


STOPS = (*RULES, Rule("learned", "learned stopper (logistic)", "p", _learned, negated=True))
