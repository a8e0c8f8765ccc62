"""Gains of abstaining, voting and stopping early: policies replayed on stored runs, no model needed.

The setting of a policy is chosen on one half of the problems; everything reported is of the other half.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from localent.analysis import metrics
from localent.analysis.family import caveat
from localent.analysis.intervals import DEFAULT, Estimate, Resampling, estimate, paired
from localent.analysis.metrics import Array, Names, Statistic, mean_of
from localent.analysis.policies import length_cap, policies, to_the_end, usable
from localent.analysis.policy import ABSTAIN, STOP, VOTE, Effects, Policy
from localent.analysis.probed import Probed
from localent.analysis.recorded import Recorded, Traces
from localent.analysis.trace_signals import Score, Signal, read
from localent.analysis.votes import can_vote, majority
from localent.errors import UsageError
from localent.stopping import RULES, Stop

COVERAGE = 0.8  # share of the problems that an abstaining policy should answer
GIVE = 0.01  # accuracy that an early stop may cost on the half where it is chosen
COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
KINDS = (STOP, VOTE, ABSTAIN)
NO_BASELINE = Estimate(None, reason="one sample a problem: run with --samples")
NO_CAP = Estimate(None, reason="not probed: no trace could be stopped")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One policy on the half of the problems that it was not chosen on. Changes are the policy minus the other."""

    policy: str  # the title
    key: str
    kind: str
    setting: str
    accuracy: Estimate  # of what was answered
    coverage: Estimate  # share that was answered
    change: Estimate  # of accuracy: against answering all, against the majority vote, against whole traces
    against_cap: Estimate  # against a length cap chosen in the same way
    against_majority: Estimate  # against the majority vote of all samples
    tokens_saved: Estimate  # share of the generated tokens
    tokens_saved_net: Estimate  # the same, with what was fed to know the signal counted as spent
    stop: str = ""  # what `--stop` takes to act by it while a model writes; "": it cannot act, or never would


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """Selective accuracy by one signal at COVERAGES, over all traces."""

    signal: Signal
    accuracy: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Replay:
    """All policies of one run."""

    run_id: str
    n_chosen_on: int  # problems
    n_reported_on: int
    outcomes: tuple[Outcome, ...]
    risk_coverage: tuple[RiskCoverage, ...]
    notes: tuple[str, ...]


def replay(run: Recorded, *, policy: str = "all", seed: int = 0, resampling: Resampling = DEFAULT) -> Replay:
    """Replay the policies called `policy` ("all", a kind, a key or a title), ranked by accuracy, then tokens saved.

    Traces that repeat themselves are left out: a loop ends by itself, and no policy is needed to tell it from
    reasoning. `seed` decides the split of the problems. Raises UsageError for a policy that the run does not have.
    """
    n_looped, run = int(run.traces.looped.sum()), run.among(~run.traces.looped)
    traces, p, scored = run.traces, run.probes.own, read(run)
    chosen_on = half(traces.clusters, seed)
    every = list(policies(run, scored))
    asked = [one for one in every if policy in ("all", one.kind, one.key, one.title)]
    if not asked:
        names = ", ".join(dict.fromkeys(one.title for one in every))
        raise UsageError(
            f"No policy '{policy}' for run {traces.run_id}. Choose one of: all, {', '.join(KINDS)}, {names}."
        )
    baselines = Baselines(traces, p, chosen_on, resampling)
    found = sorted((baselines.judge(one) for one in asked), key=_rank)
    table = tuple(_risk_coverage(score, traces.wrong) for score in usable(scored))
    n_chosen_on, n_reported_on = (len(np.unique(traces.problems[at])) for at in (chosen_on, ~chosen_on))
    left_out = [f"{n_looped} traces that repeat themselves are left out of everything."] if n_looped else []
    notes = (*_notes(p, traces, len(found)), *left_out, *traces.variants, *caveat([traces.model]))
    return Replay(traces.run_id, n_chosen_on, n_reported_on, tuple(found), table, notes)


def half(problems: Names, seed: int = 0) -> Array:
    """Mask of the traces in the half that settings are chosen on, the problems of lower hash: (n,) bool.

    Of an odd number of problems the other half has one more.
    """
    names = np.asarray(problems).tolist()
    ranked = sorted(set(names), key=lambda p: hashlib.sha256(f"{seed}/{p}".encode()).digest())
    if len(ranked) < 2:
        raise UsageError(f"Replay needs two problems, to choose on one and report on the other: here is {len(ranked)}.")
    chosen = set(ranked[: len(ranked) // 2])
    return np.array([p in chosen for p in names], bool)


def _rank(found: Outcome) -> tuple[int, float, float]:
    return (
        KINDS.index(found.kind),
        -(found.change.value if found.change.value is not None else -1),
        -(found.tokens_saved.value or 0.0),
    )


def _risk_coverage(score: Score, wrong: Array) -> RiskCoverage:
    accuracy = (float(metrics.selective_accuracy(score.values, wrong, share)) for share in COVERAGES)
    return RiskCoverage(score.signal, tuple(accuracy))


def _notes(p: Probed | None, traces: Traces, n_ranked: int) -> tuple[str, ...]:
    notes = ["Settings are chosen on one half of the problems; the figures of policies are from the other half."]
    notes.append("Candidate thresholds are quantiles over all traces of the run; they use no label.")
    if p is not None:
        notes.append("The learned stopper is fitted to other problems than the one it stops, from both halves.")
    if n_ranked > 1:
        notes.append(
            f"{n_ranked} policies are ranked by their gain on that other half: the best of them is selected on the"
            " outcome, and will gain less on other problems."
        )
    if p is None:
        notes.append("This run was not probed, so no trace could be stopped early.")
    if not can_vote(traces):
        notes.append("One sample a problem: there is nothing to vote on; run with --samples.")
    return tuple(notes)


class Baselines:
    """The baselines of policies, on both halves: whole traces, the majority vote, the length cap."""

    def __init__(self, traces: Traces, p: Probed | None, chosen_on: Array, resampling: Resampling) -> None:
        self.fit, self.test, self.resampling = chosen_on, ~chosen_on, resampling
        self.can_vote, self.whole, self.majority = can_vote(traces), to_the_end(traces), majority(traces)
        self.capped = None if p is None else self.best(length_cap(traces, p))
        self.every_step = p is not None and p.every_step

    def judge(self, policy: Policy) -> Outcome:
        """Choose the setting on one half, report on the other."""
        setting = self.choose(policy)
        found, usual = policy.apply(setting, self.test), self.usual(policy, self.test)
        return Outcome(
            policy.title,
            policy.key,
            policy.kind,
            policy.shown(setting),
            accuracy=self.mean(np.where(found.answered, found.right, np.nan), found.problems),
            coverage=self.mean(found.answered.astype(float), found.problems),
            change=self.gain(found, usual),
            against_cap=NO_CAP if self.capped is None else self.gain(found, self.capped),
            against_majority=self.gain(found, self.vote(self.test)) if self.can_vote else NO_BASELINE,
            tokens_saved=self.saved(found.tokens, usual, found.problems),
            tokens_saved_net=self.saved(found.tokens + found.probe_tokens, usual, found.problems),
            stop=self.acting(policy, setting),
        )

    def acting(self, policy: Policy, setting: float) -> str:
        """The stop of a policy at a setting, as it is written; "" where no rule can act so."""
        rule = next((rule for rule in RULES if rule.key == policy.key), None)
        if rule is None or np.isinf(setting) or (rule.counts_probes and not self.every_step):
            return ""
        return str(Stop(rule, rule.shown(setting)))

    def best(self, policy: Policy) -> Effects:
        """The effects on the half for reporting, with the setting chosen on the other."""
        return policy.apply(self.choose(policy), self.test)

    def choose(self, policy: Policy) -> float:
        """The best setting on the half for choosing; ties go to the earlier one."""
        usual = self.usual(policy, self.fit)
        return max(policy.settings, key=lambda setting: self.worth(policy, policy.apply(setting, self.fit), usual))

    def worth(self, policy: Policy, found: Effects, usual: Effects) -> float:
        """The worth of a setting. Abstain: coverage; vote: accuracy; stop: tokens saved at a cost of at most GIVE."""
        if policy.kind == ABSTAIN:
            return -abs(float(found.answered.mean()) - COVERAGE)
        if policy.kind == VOTE:
            return float(found.right.mean())
        cost = usual.right.mean() - found.right.mean()
        saved = 1 - found.tokens.sum() / max(usual.tokens.sum(), 1)
        return float(saved) if cost <= GIVE else float(-1 - cost)

    def usual(self, policy: Policy, among: Array) -> Effects:
        """The effects of the baseline: the majority vote for votes, whole traces for the others."""
        return self.vote(among) if policy.kind == VOTE else self.whole(among)

    def vote(self, among: Array) -> Effects:
        """The majority vote."""
        return self.majority.apply(0.0, among)

    def mean(self, values: Array, problems: Array) -> Estimate:
        return estimate(mean_of, values, problems=problems, resampling=self.resampling)

    def gain(self, found: Effects, other: Effects) -> Estimate:
        """Accuracy of what the policy answers minus accuracy of the other, paired by problem."""
        mine, theirs = (mean_of(np.where(x.answered, x.right, np.nan)) for x in (found, other))
        return paired(theirs, other.problems, mine, found.problems, self.resampling)

    def saved(self, spent: Array, usual: Effects, problems: Array) -> Estimate:
        return estimate(_saved_of, spent.astype(float), usual.tokens, problems=problems, resampling=self.resampling)


def _saved_of(spent: Array, usual: Array) -> Statistic:
    """1 - tokens spent / tokens usually spent."""
    return lambda counts: 1 - (counts @ spent) / np.maximum(counts @ usual.astype(float), 1e-300)
