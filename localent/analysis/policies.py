"""What abstaining, voting and stopping early would have gained: policies replayed on stored runs, no model needed.

What a policy leaves open is chosen on one half of the problems; everything reported is of the other half.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from localent.analysis import metrics, scores
from localent.analysis.curves import at_position
from localent.analysis.intervals import Estimate, estimate, paired, problem_index
from localent.analysis.metrics import Array, Statistic, mean_of
from localent.analysis.probed import Probed, computed, probed
from localent.analysis.signals import Score, Traces, caveat_of, read
from localent.errors import UsageError

if TYPE_CHECKING:
    from localent.store import Database

COVERAGE = 0.8  # share of the problems that an abstaining policy should answer
GIVE = 0.01  # accuracy that an early stop may cost on the half where it is chosen
SMOOTHING = 0.3  # of EAT's moving average
SHARPNESS = (0.5, 1.0, 2.0, 4.0)  # how much a standard deviation of a signal weighs in a vote
N_THRESHOLDS = 20
COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
VOTERS = (
    "length in tokens", "mean entropy", "mean surprisal", "mean negative self-certainty",
    f"worst {scores.WINDOW}-token entropy", f"entropy of the last {scores.WINDOW}", "answer entropy at half",
    "answer entropy at end", "1 - leader's probability at end", "mean negative top-k confidence",
)  # fmt: skip
KINDS = ("stop", "vote", "abstain")
ORACLES = ("difficulty: other samples wrong",)  # they consult the true answer: nothing to act on
NO_BASELINE = Estimate(None, reason="one sample a problem: run with --samples")
NO_CAP = Estimate(None, reason="not probed: no trace could be stopped")


@dataclass(frozen=True, slots=True)
class Play:
    """What came of a policy, one row per answer that was asked for: a trace, or a problem in a vote."""

    right: Array  # probability of being answered right: ties in a vote are settled at random
    answered: Array  # bool
    tokens: Array  # generated
    probe_tokens: Array  # fed to decide
    problems: Array


@dataclass(frozen=True, slots=True)
class Policy:
    """A rule with one open setting."""

    name: str
    kind: str  # "abstain" | "vote" | "stop"
    settings: tuple[float, ...]  # to choose from
    play: Callable[[float, Array], Play]  # setting, which traces (n,) bool -> what comes of it
    unit: str  # what the setting is


@dataclass(frozen=True, slots=True)
class Outcome:
    """One policy on the half of the problems that it was not chosen on. Changes are the policy minus the other."""

    policy: str
    kind: str
    setting: str
    accuracy: Estimate  # of what was answered
    coverage: Estimate  # share that was answered
    change: Estimate  # of accuracy: against answering all, against the majority vote, against whole traces
    against_cap: Estimate  # against a length cap chosen in the same way
    against_majority: Estimate  # against the majority vote of all samples
    tokens_saved: Estimate  # share of the generated tokens
    tokens_saved_net: Estimate  # the same, with what was fed to know the signal counted as spent


@dataclass(frozen=True, slots=True)
class Replay:
    """All policies of one run; risk_coverage: signal -> selective accuracy at COVERAGES, over all traces."""

    run_id: str
    n_chosen_on: int  # problems
    n_reported_on: int
    outcomes: tuple[Outcome, ...]
    risk_coverage: dict[str, tuple[float, ...]]
    notes: tuple[str, ...]


def replay(db: Database, run_id: str, *, policy: str = "all", seed: int = 0, **options) -> Replay:
    """Replay the policies called `policy` ("all", a kind, or a name): by kind, ranked by accuracy, then tokens saved.

    `seed` settles which half of the problems is which; `options` go to the intervals.
    """
    run_id = db.run(run_id).run_id
    traces, p = read(db, run_id), computed(probed(db, run_id))
    answers = db.traces(run_id, ("answer",))["answer"]
    every = list(policies(db, run_id, traces, p, answers))
    asked = [one for one in every if policy in ("all", one.kind, one.name)]
    if not asked:
        names = ", ".join(dict.fromkeys(one.name for one in every))
        raise UsageError(f"No policy '{policy}' for run {run_id}. There are all, {', '.join(KINDS)}, {names}.")
    chosen_on = half(traces.problems, seed)
    field = Field(traces, answers, p, chosen_on, options)
    found = sorted((field.judge(one) for one in asked), key=_rank)
    table = {s.name: _accuracies(s.values, traces.wrong) for s in usable(traces)}
    sizes = (len(np.unique(traces.problems[at])) for at in (chosen_on, ~chosen_on))
    return Replay(run_id, *sizes, tuple(found), table, (*_notes(p, traces), *caveat_of(db, run_id)))


def half(problems: Sequence, seed: int = 0) -> Array:
    """Whether each problem is in the half that settings are chosen on: a hash, so that it never moves. (n,) bool"""
    digests = {p: hashlib.sha256(f"{seed}/{p}".encode()).digest()[0] for p in set(np.asarray(problems).tolist())}
    return np.array([digests[p] % 2 == 0 for p in np.asarray(problems).tolist()], bool)


def _rank(found: Outcome) -> tuple[int, float, float]:
    return (
        KINDS.index(found.kind),
        -(found.change.value if found.change.value is not None else -1),
        -(found.tokens_saved.value or 0.0),
    )


def _accuracies(values: Array, wrong: Array) -> tuple[float, ...]:
    return tuple(float(metrics.selective_accuracy(values, wrong, share)) for share in COVERAGES)


def _notes(p: Probed | None, traces: Traces) -> tuple[str, ...]:
    notes = ["Settings are chosen on one half of the problems; all figures are of the other half."]
    if p is None:
        notes.append("This run was not probed, so no trace could be stopped early.")
    if not _several(traces):
        notes.append("One sample a problem: there is nothing to vote on; run with --samples.")
    return tuple(notes)


def _several(traces: Traces) -> bool:
    return len(np.unique(traces.problems)) < len(traces.problems)


class Field:
    """What policies are held against: the traces, the halves, the majority vote, the length cap."""

    def __init__(self, traces: Traces, answers: list, p: Probed | None, chosen_on: Array, options: dict) -> None:
        self.fit, self.test, self.options = chosen_on, ~chosen_on, options
        self.traces, self.several = traces, _several(traces)
        self.whole = _whole(traces)
        self.vote = _voting(traces, answers, np.ones(len(traces.wrong)))
        self.cap = None if p is None else _length_cap(traces, p)
        self.capped = None if self.cap is None else self.cap.play(self.choose(self.cap), self.test)

    def judge(self, policy: Policy) -> Outcome:
        """Choose the setting on one half, report on the other."""
        setting = self.choose(policy)
        play, usual = policy.play(setting, self.test), self.usual(policy, self.test)
        against = {"against_cap": NO_CAP if self.capped is None else self.gain(play, self.capped)}
        majority = self.gain(play, self.vote(self.test)) if self.several else NO_BASELINE
        options = dict(problems=play.problems, **self.options)
        return Outcome(
            policy.name,
            policy.kind,
            shown(policy.unit, setting),
            accuracy=estimate(mean_of, np.where(play.answered, play.right, np.nan), **options),
            coverage=estimate(mean_of, play.answered.astype(float), **options),
            change=self.gain(play, usual),
            **against,
            against_majority=majority,
            tokens_saved=self.saved(play.tokens, usual, play.problems),
            tokens_saved_net=self.saved(play.tokens + play.probe_tokens, usual, play.problems),
        )

    def choose(self, policy: Policy) -> float:
        """The best setting on the half for choosing; ties go to the earlier one."""
        usual = self.usual(policy, self.fit)
        return max(policy.settings, key=lambda setting: self.worth(policy, policy.play(setting, self.fit), usual))

    def worth(self, policy: Policy, play: Play, usual: Play) -> float:
        """What a setting is chosen for. Abstain: coverage; vote: accuracy; stop: tokens saved at hardly any cost."""
        if policy.kind == "abstain":
            return -abs(play.answered.mean() - COVERAGE)
        if policy.kind == "vote":
            return float(play.right.mean())
        cost = usual.right.mean() - play.right.mean()
        saved = 1 - play.tokens.sum() / max(usual.tokens.sum(), 1)
        return float(saved) if cost <= GIVE else float(-1 - cost)

    def usual(self, policy: Policy, among: Array) -> Play:
        """What it is held against: the majority vote for votes, the whole traces for the others."""
        return self.vote(among) if policy.kind == "vote" else self.whole(among)

    def gain(self, play: Play, other: Play) -> Estimate:
        """Accuracy of what the policy answers minus accuracy of the other, paired by problem."""
        mine, theirs = (mean_of(np.where(x.answered, x.right, np.nan)) for x in (play, other))
        return paired(theirs, other.problems, mine, play.problems, **self.options)

    def saved(self, spent: Array, usual: Play, problems: Array) -> Estimate:
        return estimate(_saved_of, spent.astype(float), usual.tokens, problems=problems, **self.options)


def shown(unit: str, setting: float) -> str:
    """A setting as people read it: "tokens 37"; rules that stop the sooner the smaller it is keep it negated."""
    if not unit or np.isinf(setting):
        return "never" if unit else ""
    unit, setting = (unit.removeprefix("minus "), -setting) if unit.startswith("minus ") else (unit, setting)
    return f"{unit} {setting:.4g}"


def _saved_of(spent: Array, usual: Array) -> Statistic:
    """1 - tokens spent / tokens usually spent."""
    return lambda counts: 1 - (counts @ spent) / np.maximum(counts @ usual.astype(float), 1e-300)


# --- the policies -------------------------------------------------------------------------------------------------


def policies(db: Database, run_id: str, traces: Traces, p: Probed | None, answers: list) -> Iterator[Policy]:
    """Every policy that the run's data allow. A signal that some trace lacks is left out: nothing is imputed."""
    whole = {s.name: s for s in usable(traces)}
    for score in whole.values():
        yield _abstain(score, traces, _price(score, traces, p))
    if p is not None and p.there.all():
        yield from _stops(traces, p)
    if _several(traces):
        vote = _voting(traces, answers, np.ones(len(traces.wrong)))
        yield Policy("majority vote", "vote", (0.0,), lambda _, among: vote(among), "")
        for score in (whole[name] for name in VOTERS if name in whole):
            yield from _votes(score, traces, answers, _price(score, traces, p))
        yield _deepconf(db, run_id, traces, answers)


def usable(traces: Traces) -> list[Score]:
    """The signals that every trace has and that consult no true answer. Rollouts cost too much to act on."""
    fit = (s for s in traces.scores if s.name not in ORACLES and s.family != "rollouts")
    return [s for s in fit if not np.isnan(s.values).any()]


def _whole(traces: Traces) -> Callable[[Array], Play]:
    """Every trace to its end, its own answer taken."""
    nothing = np.zeros(len(traces.wrong))
    return lambda among: _play(~traces.wrong, nothing == 0, traces.n_tokens, nothing, traces.problems, among)


def _play(right: Array, answered: Array, tokens: Array, fed: Array, problems: Array, among: Array) -> Play:
    return Play(right[among].astype(float), answered[among], tokens[among], fed[among], problems[among])


def _thresholds(values: Array) -> tuple[float, ...]:
    """Quantiles of what was seen; no label enters."""
    finite = values[np.isfinite(values)]
    return tuple(np.unique(np.quantile(finite, np.linspace(0, 1, N_THRESHOLDS))).tolist()) if len(finite) else (0.0,)


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
    return np.nansum(p.n_fed, 1) if place is None else at_position(p.trajectory(p.n_fed), place)


def _abstain(score: Score, traces: Traces, fed: Array) -> Policy:
    """Answer only where the signal is at most the threshold."""

    def play(threshold: float, among: Array) -> Play:
        return _play(~traces.wrong, score.values <= threshold, traces.n_tokens, fed, traces.problems, among)

    return Policy(f"abstain by {score.name}", "abstain", _thresholds(score.values), play, "at most")


def _stops(traces: Traces, p: Probed) -> Iterator[Policy]:
    """Stop a trace after some step and take the leading answer of the probe there."""
    never = (-np.inf,)
    rules = {
        "entropy threshold (HALT-CoT)": (lambda x: p.entropy <= x, _thresholds(p.entropy), "nats"),
        "EAT": (lambda x: ema_variance(p.entropy) <= x, _thresholds(ema_variance(p.entropy)), "nats²"),
        "certain leader": (lambda x: p.p_leader >= -x, _thresholds(-p.p_leader), "minus p"),
        "answer convergence": (lambda x: unchanged(p.leader) >= -x, tuple(-r for r in range(6, 0, -1)), "minus steps"),
    }
    for name, (rule, settings, unit) in rules.items():
        yield Policy(name, "stop", never + settings, _stopping(traces, p, rule), unit)
    yield _length_cap(traces, p)


def _length_cap(traces: Traces, p: Probed) -> Policy:
    """Cut traces longer than the cap at the last step within it: the baseline of all early stops."""

    def rule(cap: float) -> Array:
        fits = p.n_tokens <= -cap
        last_fit = fits & ~np.c_[fits[:, 1:], np.zeros((len(fits), 1), bool)]
        return last_fit & (traces.n_tokens[:, None] > -cap)

    settings = tuple(-x for x in _thresholds(traces.n_tokens.astype(float))[::-1])
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
    """For how many steps the leader has been the same: (n, K + 1) int. Source: arXiv 2506.02536."""
    found = np.zeros(leader.shape, int)
    for k in range(1, leader.shape[1]):
        found[:, k] = np.where(leader[:, k] == leader[:, k - 1], found[:, k - 1] + 1, 0)
    return found


# --- votes --------------------------------------------------------------------------------------------------------


def _voting(
    traces: Traces,
    answers: Sequence[str | None],
    weights: Array,
    tokens: Array | None = None,
    fed: Array | None = None,
) -> Callable[[Array], Play]:
    """Weighted vote of the samples of each problem: a function of which traces take part -> Play by problem."""
    index, names = problem_index(traces.problems), np.unique(traces.problems)
    tokens = traces.n_tokens if tokens is None else tokens
    fed = np.zeros(len(index)) if fed is None else fed
    given = np.array([answer is not None for answer in answers], bool)
    pairs = np.stack([index, np.unique([answer or "" for answer in answers], return_inverse=True)[1].ravel()], 1)
    cells, cell = np.unique(pairs, axis=0, return_inverse=True)
    cell, is_right = cell.ravel(), np.zeros(len(cells))
    is_right[cell] = ~traces.wrong

    def play(among: Array) -> Play:
        votes = np.bincount(cell, weights * given * among, len(cells))
        best = np.zeros(len(names))
        np.maximum.at(best, cells[:, 0], votes)
        wins = ((votes >= best[cells[:, 0]] * (1 - 1e-12)) & (votes > 0)).astype(float)
        n_wins, won = (np.bincount(cells[:, 0], w, len(names)) for w in (wins, wins * is_right))
        asked = np.unique(index[among])
        right = won[asked] / np.maximum(n_wins[asked], 1)
        spent, price = (np.bincount(index, x * among, len(names))[asked] for x in (tokens, fed))
        return Play(right, np.ones(len(asked), bool), spent, price, names[asked])

    return play


def _votes(score: Score, traces: Traces, answers: Sequence, fed: Array) -> Iterator[Policy]:
    """Best of n by a signal, and the vote weighted by it. The signal's scale is that of the run, without labels."""
    index, values = problem_index(traces.problems), score.values
    best = np.full(int(index.max()) + 1, np.inf)
    np.minimum.at(best, index, values)
    lowest = _voting(traces, answers, (values == best[index]).astype(float), fed=fed)
    yield Policy(f"best of n by {score.name}", "vote", (0.0,), lambda _, among: lowest(among), "")
    z = (values - values.mean()) / (values.std() or 1.0)

    def play(sharpness: float, among: Array) -> Play:
        return _voting(traces, answers, np.exp(np.clip(-sharpness * z, -50, 50)), fed=fed)(among)

    yield Policy(f"vote weighted by {score.name}", "vote", SHARPNESS, play, "sharpness")


def _deepconf(db: Database, run_id: str, traces: Traces, answers: Sequence) -> Policy:
    """End a trace where the mean entropy of its last tokens exceeds the threshold, and leave it out of the vote.

    Where all samples of a problem are ended, all vote, at full length. Source: DeepConf online, arXiv 2508.15260,
    with full-vocabulary entropy in place of its top-k confidence.
    """
    h = scores.padded(db.tokens(run_id, ("entropy",))["entropy"], traces.n_tokens)
    means, index = scores.window_means(h), problem_index(traces.problems)

    def play(threshold: float, among: Array) -> Play:
        over = means > threshold
        ended = over.any(1)
        survives = np.bincount(index, ~ended)[index] > 0
        ended &= survives
        tokens = np.where(ended, over.argmax(1) + 1, traces.n_tokens)
        return _voting(traces, answers, (~ended).astype(float), tokens)(among)

    name = f"vote, ended above a {scores.WINDOW}-token entropy (DeepConf)"
    return Policy(name, "vote", (np.inf, *_thresholds(scores.worst_window(h))[::-1]), play, "nats")
