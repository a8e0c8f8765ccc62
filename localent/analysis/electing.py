"""Votes among the samples of one question: which answer wins, and how certain that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from localent.analysis import scores
from localent.analysis.intervals import DEFAULT, SEED, Estimate, Resampling, wilson
from localent.analysis.metrics import Array
from localent.analysis.policies import VOTERS, policies, usable
from localent.analysis.policy import VOTE, Policy
from localent.analysis.recorded import Recorded
from localent.analysis.replay import Baselines, half
from localent.analysis.trace_signals import Score, read
from localent.analysis.votes import BEST, DEEPCONF, MAJORITY, WEIGHTED, can_vote, sharpened, survivors
from localent.errors import UsageError

N_RESAMPLES = 2000
SHARPNESS = 1.0  # of a weighted vote that no run has chosen
KNOWN = f"{MAJORITY}, {BEST}:SIGNAL, {WEIGHTED}:SIGNAL, {DEEPCONF}"


@dataclass(frozen=True, slots=True)
class Vote:
    """A way to vote. Without a run, weights have the scale of the samples themselves, and sharpness 1."""

    key: str  # as replay has it: "majority_vote", "weighted_vote:mean_entropy"
    setting: float | None = None  # that replay chose: sharpness, or nats; None: none was chosen
    scale: float | None = None  # standard deviation of the signal over a run; None: of the samples themselves

    @property
    def way(self) -> str:
        return self.key.partition(":")[0]

    @property
    def signal(self) -> str:
        return self.key.partition(":")[2]


@dataclass(frozen=True, slots=True)
class Ballot:
    """One sample in a vote."""

    sample: int
    answer: str | None
    n_tokens: int
    value: float | None  # of the signal
    weight: float  # share of all votes; 0 without an answer


@dataclass(frozen=True, slots=True)
class Counted:
    """One answer in a vote."""

    answer: str
    n: int  # samples
    share: float  # of the votes


@dataclass(frozen=True, slots=True)
class Election:
    """The outcome of a vote. certain: the winner's share, and in how many of resampled votes it wins."""

    vote: Vote
    ballots: tuple[Ballot, ...]
    answers: tuple[Counted, ...]  # most votes first
    winner: str | None  # None: no answer, or a tie
    share: Estimate  # of the votes, Wilson's interval at the effective number of votes
    wins: float | None  # share of resampled samples in which it wins; ties count in equal parts


@dataclass(frozen=True, slots=True)
class Record:
    """How often a vote was right on a stored run, over problems that its setting was not chosen on."""

    run_id: str
    model: str
    task: str
    n_problems: int
    accuracy: Estimate
    against_majority: Estimate


def parse(text: str) -> Vote:
    """The vote of that name. Raises UsageError for one that is not known."""
    way, sign, signal = text.partition(":")
    way = {"majority": MAJORITY, "best": BEST, "weighted": WEIGHTED}.get(way, way)
    plain, by_signal = (MAJORITY, DEEPCONF), (BEST, WEIGHTED)
    if (way in plain and not sign) or (way in by_signal and signal):
        return Vote(f"{way}:{signal}" if signal else way)
    raise UsageError(f"No vote {text!r}: choose {KNOWN}; signals are {', '.join(VOTERS)}.")


def chosen(run: Recorded, vote: Vote, resampling: Resampling = DEFAULT) -> tuple[Vote, Record]:
    """The vote with the setting that replay chooses on one half of a run, and how it does on the other."""
    run = run.among(~run.traces.looped)
    traces, scored = run.traces, read(run)
    if not can_vote(traces):
        raise UsageError(f"Run {traces.run_id} has one sample a problem, so no vote can be tried on it.")
    policy = _policy(run, scored, vote)
    judged = Baselines(traces, run.probes.own, half(traces.clusters), resampling)
    setting, outcome = judged.choose(policy), judged.judge(policy)
    if np.isinf(setting):
        raise UsageError(f"Replay found no threshold of '{vote.key}' on run {traces.run_id} that ends a trace.")
    spread = next((float(s.values.std()) for s in usable(scored) if s.signal.key == vote.signal), None)
    n = len(np.unique(traces.problems[~half(traces.clusters)]))
    told = Record(traces.run_id, traces.model, traces.task, n, outcome.accuracy, outcome.against_majority)
    return replace(vote, setting=setting if policy.unit else None, scale=spread or None), told


def _policy(run: Recorded, scored: Sequence[Score], vote: Vote) -> Policy:
    known = {p.key: p for p in policies(run, scored) if p.kind == VOTE}
    if vote.key not in known:
        raise UsageError(f"Replay has no vote '{vote.key}' on run {run.traces.run_id}: choose {', '.join(known)}.")
    return known[vote.key]


def elect(run: Recorded, vote: Vote, seed: int = SEED) -> Election:
    """The vote among all traces of a run of one question."""
    values = _values(run, vote)
    weights = _weights(run, vote, values) * [answer is not None for answer in run.traces.answers]
    total = weights.sum()
    shares = weights / total if total > 0 else weights
    counted = _counted(run.traces.answers.tolist(), shares)
    tied = len(counted) > 1 and counted[0].share - counted[1].share <= 1e-12
    winner = counted[0].answer if counted and not tied else None
    columns = (run.traces.samples, run.traces.answers, run.traces.n_tokens, values, shares)
    ballots = (_ballot(*row) for row in zip(*(column.tolist() for column in columns), strict=True))
    share, wins = _certain(run.traces.answers, shares, winner, seed)
    return Election(vote, tuple(ballots), counted, winner, share, wins)


def _ballot(sample: int, answer: str | None, n_tokens: int, value: float, weight: float) -> Ballot:
    return Ballot(sample, answer, n_tokens, None if np.isnan(value) else value, weight)


def _counted(answers: Sequence[str | None], shares: Array) -> tuple[Counted, ...]:
    given = [answer for answer in dict.fromkeys(answers) if answer is not None]
    at = {answer: np.array([a == answer for a in answers]) for answer in given}
    found = (Counted(answer, int(mask.sum()), float(shares[mask].sum())) for answer, mask in at.items())
    return tuple(sorted(found, key=lambda c: (-c.share, -c.n, c.answer)))


def _values(run: Recorded, vote: Vote) -> Array:
    """The signal of each sample: (n,), NaN where the vote uses none."""
    if not vote.signal:
        return np.full(len(run.traces), np.nan)
    known = {s.signal.key: s for s in read(run)}
    if vote.signal not in known or np.isnan(known[vote.signal].values).any():
        missing = known[vote.signal].signal.missing if vote.signal in known else "it is not one"
        raise UsageError(f"These samples have no signal '{vote.signal}' ({missing}): choose {', '.join(VOTERS)}.")
    return known[vote.signal].values


def _weights(run: Recorded, vote: Vote, values: Array) -> Array:
    """The votes of each sample: (n,)."""
    if vote.way == BEST:
        return (values == values.min()).astype(float)
    if vote.way == WEIGHTED:
        spread = vote.scale or float(values.std()) or 1.0
        return sharpened((values - values.mean()) / spread, SHARPNESS if vote.setting is None else vote.setting)
    if vote.way == DEEPCONF:
        if vote.setting is None:
            raise UsageError(f"The vote '{DEEPCONF}' needs a threshold: add --vote-from RUN, and replay chooses one.")
        ended: Array = np.any(scores.window_means(run.tokens["entropy"]) > vote.setting, axis=1)
        return survivors(ended, run.traces.problems).astype(float)
    return np.ones(len(run.traces))


def _certain(answers: Array, shares: Array, winner: str | None, seed: int) -> tuple[Estimate, float | None]:
    """The winner's share with Wilson's interval, and how often it wins among resampled samples.

    The number of votes is Kish's effective one, (sum w)² / sum w²: a vote that one sample decides is one vote.
    """
    if winner is None:
        return Estimate(None, reason="no answer wins"), None
    share = float(shares[answers == winner].sum())
    n = 1 / float((shares**2).sum())
    low, high = wilson(share * n, n)
    names = sorted({answer for answer in answers.tolist() if answer is not None})
    table = np.array([shares * (answers == name) for name in names])  # (n_answers, n)
    drawn = np.random.default_rng(seed).integers(len(answers), size=(N_RESAMPLES, len(answers)))
    votes = table[:, drawn].sum(2)  # (n_answers, n_resamples)
    best = (votes >= votes.max(0) - 1e-12) & (votes.max(0) > 0)
    won = best[names.index(winner)] / np.maximum(best.sum(0), 1)
    return Estimate(share, low, high, n=int((shares > 0).sum())), float(won.mean())
