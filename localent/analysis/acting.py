"""Rules that act while a model writes: the setting that replay chose, what it promised, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from localent.analysis.intervals import DEFAULT, Estimate, Resampling, estimate
from localent.analysis.metrics import Array, Statistic, mean_of
from localent.analysis.policies import stop_policy
from localent.analysis.policy import Policy
from localent.analysis.probed import Probed
from localent.analysis.recorded import Recorded, Traces
from localent.analysis.replay import GIVE, Baselines, half
from localent.errors import UsageError
from localent.stopping import Rule, Stop

NOTHING_SHARED = "no trace of this run has a partner in that run"


@dataclass(frozen=True, slots=True)
class Gains:
    """What a rule saves and costs. Shares of the tokens that whole traces have; the change is of accuracy."""

    saved: Estimate  # of generated tokens, up to the stop
    saved_net: Estimate  # the same, with what the probes and the stated answer were fed counted as spent
    change: Estimate


@dataclass(frozen=True, slots=True)
class Promise:
    """The gains of a rule and its setting on a stored run, over problems that the setting was not chosen on."""

    run_id: str
    model: str
    task: str
    stop: Stop
    n_problems: int
    gains: Gains
    every_step: bool  # False: the run was probed at some of the steps, and a rule that acts is asked after each


@dataclass(frozen=True, slots=True)
class Acted:
    """The gains of a rule in a run where it acted, against whole traces of the same problems and samples."""

    n: int  # traces
    n_stopped: int
    n_paired: int  # traces that have a partner
    gains: Gains


def chosen(run: Recorded, rule: Rule, resampling: Resampling = DEFAULT) -> Stop:
    """The rule with the setting that replay chooses on one half of a run's problems.

    Raises UsageError for a run that cannot tell, or on which no setting is worth its cost.
    """
    traces, p = _replayed(run, rule)
    policy = _policy(traces, p, rule)
    setting = Baselines(traces, p, half(traces.clusters), resampling).choose(policy)
    if np.isinf(setting):
        raise UsageError(
            f"Replay found no setting of '{rule.title}' on run {traces.run_id} that saves tokens and costs at most"
            f" {GIVE:.0%} of accuracy: 'localent replay {traces.run_id}' shows which rules do, or write one as"
            f" --stop {rule.key}:SETTING."
        )
    return Stop(rule, rule.shown(setting))


def promised(run: Recorded, stop: Stop, resampling: Resampling = DEFAULT) -> Promise:
    """What replay finds for a stop on the other half of a run's problems. Every probe up to the stop is paid for."""
    traces, p = _replayed(run, stop.rule)
    among = ~half(traces.clusters)
    found = _policy(traces, p, stop.rule).apply(stop.bound, among)
    usual, right = traces.n_tokens[among], ~traces.wrong[among]
    gains = _gains(
        (found.tokens, found.tokens + found.probe_tokens, found.right), (usual, right), found.problems, resampling
    )
    n_problems = len(np.unique(traces.problems[among]))
    return Promise(traces.run_id, traces.model, traces.task, stop, n_problems, gains, p.every_step)


def acted(run: Recorded, early: Array, whole: Traces | None, resampling: Resampling = DEFAULT) -> Acted:
    """What a rule saved and cost in a run. early: (n,) bool, the traces it stopped; whole: those of the other run."""
    traces, p = run.traces, run.probes.own
    n, n_stopped = len(traces), int(early.sum())
    mine, theirs = _partners(traces, whole)
    if p is None or whole is None or not len(mine):
        missing = Estimate(None, reason=NOTHING_SHARED)
        return Acted(n, n_stopped, 0, Gains(missing, missing, missing))
    written = np.where(early, np.nanmax(np.where(np.isnan(p.n_tokens), 0.0, p.n_tokens), 1), traces.n_tokens)
    spent = traces.n_tokens + np.nansum(p.n_fed, 1)
    found = (written[mine], spent[mine], ~traces.wrong[mine])
    gains = _gains(found, (whole.n_tokens[theirs], ~whole.wrong[theirs]), traces.clusters[mine], resampling)
    return Acted(n, n_stopped, len(mine), gains)


def _gains(
    found: tuple[Array, Array, Array], usual: tuple[Array, Array], problems: Array, resampling: Resampling
) -> Gains:
    """found: tokens, tokens with all that was fed, right; usual: tokens, right: (n,) each, trace by trace."""
    tokens, spent, right = (np.asarray(x, float) for x in found)
    whole, was_right = (np.asarray(x, float) for x in usual)
    saved, net = (
        estimate(_share_saved, used, whole, problems=problems, resampling=resampling) for used in (tokens, spent)
    )
    return Gains(saved, net, estimate(mean_of, right - was_right, problems=problems, resampling=resampling))


def _share_saved(spent: Array, usual: Array) -> Statistic:
    """1 - tokens spent / tokens usually spent."""
    return lambda counts: 1 - (counts @ spent) / np.maximum(counts @ usual, 1e-300)


def _partners(a: Traces, b: Traces | None) -> tuple[Array, Array]:
    """Indices of the traces of a and of b that are attempts of one number at one problem."""
    if b is None:
        return np.zeros(0, int), np.zeros(0, int)
    place = {key: i for i, key in enumerate(zip(b.problems.tolist(), b.samples.tolist(), strict=True))}
    keys = list(zip(a.problems.tolist(), a.samples.tolist(), strict=True))
    mine = [i for i, key in enumerate(keys) if key in place]
    return np.array(mine, int), np.array([place[keys[i]] for i in mine], int)


def _policy(traces: Traces, p: Probed, rule: Rule) -> Policy:
    policy = stop_policy(replace(rule, every_probe=True), traces, p)
    if policy is None:
        raise UsageError(
            f"No probe of run {traces.run_id} has what '{rule.title}' reads: the run was made by an older version."
        )
    return policy


def _replayed(run: Recorded, rule: Rule) -> tuple[Traces, Probed]:
    """The traces and probes that replay looks at: not those of loops. Raises UsageError where they cannot tell."""
    run = run.among(~run.traces.looped)
    run_id, p = run.traces.run_id, run.probes.own
    if p is None or not p.there.all():
        raise UsageError(f"Run {run_id} was not probed, so no rule can be tried on it: name a run that was.")
    if rule.counts_probes and not p.every_step:
        raise UsageError(
            f"'{rule.title}' depends on how often a trace is probed, and run {run_id} was probed at some of its steps"
            " only: make one with --probes all, as often as a rule that acts is asked."
        )
    return run.traces, p
