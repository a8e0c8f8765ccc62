"""The signals of a trace: one number each, higher = more uncertain. A new one is a line in a table here.

No signal uses the true answer, except the baseline marked as oracle. Signals from other samples leave out the trace
that they judge (see scores.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from localent.analysis import scores
from localent.analysis.curves import HALF, TOUCH
from localent.analysis.metrics import Array
from localent.analysis.probed import Probed, until
from localent.analysis.profile import bend, path_length, switches
from localent.analysis.recorded import Recorded, Traces
from localent.analysis.signatures import coherence, last, lock_time, modal_lock, slope, violations
from localent.stopping import falls

BASELINE, TOKEN, TRACE, STEP, ANSWER, ROLLOUTS, SAMPLES = (
    "baseline", "token", "trace", "step", "answer", "rollouts", "samples",
)  # fmt: skip
NO_TOKENS, NO_STEPS, NOT_PROBED = "the trace has no token", "the trace has no reasoning step", "not probed"
ONE_SAMPLE, NO_TOP_K = "one sample a problem: run with --samples", "not measured: run with --measure-top-k"
NOT_ROLLED = "not rolled out: 'localent study --rolled' continues traces"


@dataclass(frozen=True, slots=True)
class Evidence:
    """The part of a run that signals may use: the first share of each trace. Rows are traces; NaN after that share."""

    traces: Traces
    tokens: dict[str, Array]  # token measure -> (n, n_longest)
    steps: Array  # (n, most steps): mean entropy of each reasoning step, nats
    own: Probed | None
    rolled: Probed | None

    @classmethod
    def of(cls, run: Recorded, at: float) -> Evidence:
        """The tokens, steps and probes of a run up to share `at` of each trace."""
        steps, n_steps = run.step_entropy.copy(), run.traces.n_steps
        steps[np.arange(1, steps.shape[1] + 1) > at * n_steps[:, None] + TOUCH] = np.nan
        tokens = {name: scores.first(values, at) for name, values in run.tokens.items()}
        own, rolled = (p and until(p, at) for p in (run.probes.own, run.probes.rolled))
        return cls(run.traces, tokens, steps, own, rolled)

    @property
    def nothing(self) -> Array:
        """No value for any trace: (n,)."""
        return np.full(len(self.traces), np.nan)

    def token(self, name: str) -> Array:
        """A measure of every token, (n, n_longest); NaN where the run did not measure it."""
        return self.tokens.get(name, np.full_like(self.tokens["entropy"], np.nan))


Of = Callable[[Evidence], Array]


@dataclass(frozen=True, slots=True)
class Signal:
    """The definition of one number per trace. The key identifies it; the title is displayed."""

    key: str
    title: str
    family: str  # BASELINE, ...
    of: Of  # -> (n,)
    missing: str = ""  # why a trace may lack it
    at: float | None = None  # of probes: the one position that it needs; None: all of them
    calibrated: bool = False  # 1 - value is a stated probability of being right
    mirrors: bool = False  # leaves out the trace that it judges, and so mirrors its label within a question
    oracle: bool = False  # consults the true answer: nothing to act on
    se: Callable[[Evidence], Array] | None = None  # -> (n,) nats, its standard errors; None: exact, or not in nats
    of_run: bool = False  # relative to the other traces of the run: a single trace has none


@dataclass(frozen=True, slots=True)
class Score:
    """A signal's values for the traces of a run."""

    signal: Signal
    values: Array  # (n_traces,); NaN: the trace lacks it
    se: Array | None = None  # (n_traces,) nats: its standard errors; None: exact, or not in nats

    def among(self, kept: Array) -> Score:
        """The same for some of the traces: kept (n,) bool."""
        return replace(self, values=self.values[kept], se=None if self.se is None else self.se[kept])


def read(run: Recorded, at: float = 1.0) -> list[Score]:
    """Every signal of a run's traces, from the first share `at` of each trace."""
    seen = Evidence.of(run, at)
    return [Score(one, one.of(seen), one.se and one.se(seen)) for one in signals_of(seen, at)]


def signals_of(seen: Evidence, at: float = 1.0) -> tuple[Signal, ...]:
    """The signals that there are at share `at` of each trace."""
    answers = NO_ANSWERS if seen.own is None else (ANSWER_AT_START, *_answers_at(at), *ANSWERS)
    rolled = NO_ROLLOUTS if seen.rolled is None else _rollouts_at(at)
    return (*BASELINES, *TOKENS, *SEQUENCES, *TOP_K, *STEPS, *answers, ROLLOUTS_AT_START, *rolled, *OTHERS)


# --- baselines without entropy ----------------------------------------------------------------------------------------


def _fails(x: Evidence) -> Array:
    return 1 - scores.pass_rate_of_others(~x.traces.wrong, x.traces.problems)


BASELINES = (
    Signal("length", "length in tokens", BASELINE, lambda x: x.traces.n_tokens.astype(float)),
    Signal("n_steps", "reasoning steps", BASELINE, lambda x: x.traces.n_steps.astype(float)),
    Signal("difficulty", "difficulty: other samples wrong", BASELINE, _fails, ONE_SAMPLE, mirrors=True, oracle=True),
)


# --- tokens ---------------------------------------------------------------------------------------------------------


def finite(x: Array) -> Array:
    """The values, with inf (only one token is possible) replaced by the largest finite one, which keeps the order."""
    most = x[np.isfinite(x)].max(initial=0.0)
    return np.where(np.isposinf(x), most, x)


def _mean(key: str, title: str, of: Of, missing: str = NO_TOKENS) -> Signal:
    """The mean over tokens of something that each token has, (n, n_longest)."""
    return Signal(key, title, TOKEN, lambda x: scores.mean(of(x)), missing)


def _sequence(key: str, title: str, of: Callable[[Array], Array], measure: str = "entropy") -> Signal:
    """A function of the sequence of one token measure."""
    return Signal(key, title, TRACE, lambda x: of(x.token(measure)), NO_TOKENS)


def _confidence(key: str, title: str, of: Callable[[Array], Array]) -> Signal:
    """One of DeepConf's scores, of the top-k confidence, negative."""
    return Signal(key, title, TRACE, lambda x: of(-x.token("topk_confidence")), NO_TOP_K)


TOKENS = (
    _mean("mean_entropy", "mean entropy", lambda x: x.token("entropy")),
    _mean("mean_surprisal", "mean surprisal", lambda x: x.token("surprisal")),
    _mean("mean_varentropy", "mean varentropy", lambda x: x.token("varentropy")),
    _mean("mean_renyi2", "mean Rényi-2", lambda x: x.token("renyi2")),
    _mean("mean_min_entropy", "mean min-entropy", lambda x: -np.log(x.token("top1_prob"))),
    _mean("mean_top1_doubt", "mean 1 - top-1 probability", lambda x: 1 - x.token("top1_prob")),
    _mean("mean_margin", "mean negative margin", lambda x: -finite(x.token("margin"))),
    _mean("mean_log_rank", "mean log rank", lambda x: np.log(x.token("rank"))),
    _mean("mean_self_certainty", "mean negative self-certainty", lambda x: -finite(x.token("self_certainty"))),
    _mean("mean_surprise", "mean surprise beyond entropy", lambda x: x.token("surprisal") - x.token("entropy")),
    _mean("hesitation", "hesitation words, 100 tokens", lambda x: 100 * x.token("hesitation")),
)
SEQUENCES = (
    _sequence("max_entropy", "max entropy", scores.largest),
    _sequence("std_entropy", "std of entropy", scores.std),
    _sequence("median_entropy", "median entropy", lambda h: scores.quantile(h, 0.5)),
    _sequence("entropy_q90", "90 % quantile of entropy", lambda h: scores.quantile(h, 0.9)),
    _sequence("log_prob", "-ln p(trace)", scores.total, "surprisal"),
    _sequence("spikes", f"spikes above {scores.SPIKE:g}", scores.spike_count),
    replace(_sequence("forking_share", "share of forking tokens", scores.forking_share), of_run=True),
    _sequence("edis", f"EDIS, lag {scores.LAG}", scores.edis),
    _sequence("envelope_area", "area under suffix maximum", scores.envelope_area),
    _sequence("worst_window", f"worst {scores.WINDOW}-token entropy", scores.worst_window),
    _sequence("tail_entropy", f"entropy of the last {scores.WINDOW}", scores.tail),
)
TOP_K = (  # measures that a top-k interface gives, and the bias of its truncation
    _mean("mean_topk_confidence", "mean negative top-k confidence", lambda x: -x.token("topk_confidence"), NO_TOP_K),
    _mean("mean_topk_bias", "mean top-k bias", lambda x: x.token("topk_bias"), NO_TOP_K),
    _confidence("lowest_group", f"lowest {scores.WINDOW}-group confidence, negative", scores.worst_window),
    _confidence("tail_confidence", f"tail {scores.WINDOW} confidence, negative", scores.tail),
)


# --- steps ----------------------------------------------------------------------------------------------------------


def _rise(x: Evidence) -> Array:
    """Slope of the step entropies over the steps, nats per whole trace."""
    place = np.arange(x.steps.shape[1]) / np.maximum(x.traces.n_steps - 1, 1)[:, None]
    return slope(x.steps, np.where(np.isnan(x.steps), np.nan, place))


STEPS = (
    Signal("worst_step", "worst step's entropy", STEP, lambda x: scores.largest(x.steps), NO_STEPS),
    Signal("first_step", "first step's entropy", STEP, lambda x: x.steps[:, 0], NO_STEPS),
    Signal("last_step", "last step's entropy", STEP, lambda x: last(x.steps), NO_STEPS),
    Signal("step_rise", "rise of entropy over steps", STEP, _rise, "fewer than two steps"),
)


# --- answers by probes ----------------------------------------------------------------------------------------------


def _answer(key: str, title: str, of: Callable[[Probed], Array], at: float | None = None) -> Signal:
    """A function of a run's own probes."""
    return Signal(key, title, ANSWER, lambda x: x.nothing if x.own is None else of(x.own), NOT_PROBED, at)


def _rollout(key: str, title: str, of: Callable[[Probed], Array], at: float | None = None) -> Signal:
    """A function of a run's rollouts: other continuations of its prefixes, none of them the trace that is judged."""
    return Signal(key, title, ROLLOUTS, lambda x: x.nothing if x.rolled is None else of(x.rolled), NOT_ROLLED, at)


Make = Callable[[str, str, Callable[[Probed], Array], float | None], Signal]


def _by_position(make: Make, at: float, entropy: tuple[str, str], leader: tuple[str, str]) -> tuple[Signal, ...]:
    """The entropy and 1 - p(leader) half-way, if `at` reaches that far, and at `at`.

    entropy, leader: the beginnings of key and title.
    """
    end = ("end", "end") if at == 1 else (f"t{at:g}", f"t = {at:g}")
    places = ([(HALF, ("half", "half"))] if at > HALF else []) + [(at, end)]
    found: list[Signal] = []
    for t, (key, title) in places:
        spread = make(f"{entropy[0]}_{key}", f"{entropy[1]} at {title}", partial(_entropy_at, t=t), t)
        found.append(replace(spread, se=partial(_se_at, t=t) if make is _answer else None))
        doubt = make(f"{leader[0]}_{key}", f"{leader[1]} at {title}", partial(_doubt_at, t=t), t)
        found.append(replace(doubt, calibrated=True))
    return tuple(found)


def _entropy_at(p: Probed, t: float) -> Array:
    return p.at(p.entropy, t)


def _se_at(x: Evidence, t: float) -> Array:
    return x.nothing if x.own is None else x.own.at(x.own.entropy_se, t)


def _doubt_at(p: Probed, t: float) -> Array:
    return 1 - p.at(p.p_leader, t)


def _answers_at(at: float) -> tuple[Signal, ...]:
    leader = ("leader_doubt", "1 - leader's probability")
    return _by_position(_answer, at, ("answer_entropy", "answer entropy"), leader)


def _rollouts_at(at: float) -> tuple[Signal, ...]:
    leader = ("rollout_doubt", "1 - rollout leader's share")
    return _by_position(_rollout, at, ("rollout_entropy", "rollout entropy"), leader)


ANSWER_AT_START = _answer("answer_entropy_start", "answer entropy at start", lambda p: p.entropy[:, 0], 0.0)
ANSWERS = (
    _answer("answer_drop", "drop of answer entropy, negative", lambda p: -coherence(p.entropy)),
    _answer("answer_rises", "rises of answer entropy", lambda p: violations(p.entropy, p.entropy_se)),
    _answer("lock_in", "lock-in time", lambda p: lock_time(p.entropy, p.position)),
    _answer("leader_lock_in", "lock-in of the leader", lambda p: modal_lock(p.leader, p.position)),
    _answer("leader_switches", "switches of the leader", switches),
    _answer("answer_slope", "slope of answer entropy", lambda p: slope(p.entropy, p.position)),
    _answer("answer_bend", "bend of answer entropy", lambda p: bend(p.entropy, p.position)),
    _answer("answer_cusum", "CUSUM of falls, negative", lambda p: -scores.largest(falls(p.entropy))),
    _answer("answer_path", "path of the answer distribution", path_length),
)
NO_ANSWERS = (_answer("answer_entropy", "answer entropy", lambda p: p.entropy[:, 0]),)
ROLLOUTS_AT_START = _rollout("rollout_entropy_start", "rollout entropy at start", lambda p: p.entropy[:, 0], 0.0)
NO_ROLLOUTS = (
    _rollout("rollout_entropy", "rollout entropy", lambda p: p.entropy[:, 0]),
    _rollout("rollout_doubt", "1 - rollout leader's share", lambda p: p.p_leader[:, 0]),
)


# --- the other samples of the same problem --------------------------------------------------------------------------


def _other(key: str, title: str, of: Callable[[list[str | None], Array, Array], Array]) -> Signal:
    """A function of (answers, problems, likelihoods), each of all traces."""

    def values(x: Evidence) -> Array:
        return of(x.traces.answers.tolist(), x.traces.problems, np.exp(-x.traces.mean_surprisal))

    return Signal(key, title, SAMPLES, values, ONE_SAMPLE, mirrors=True)


_agreement = _other("disagreement", "1 - share of others that agree", lambda a, p, _: scores.disagreement(a, p))
OTHERS = (
    replace(_agreement, calibrated=True, mirrors=False),
    _other("n_answers", "distinct answers of others", lambda a, p, _: scores.n_distinct(a, p)),
    _other("semantic_entropy", "semantic entropy of others", lambda a, p, _: scores.semantic_entropy(a, p)),
    _other("semantic_entropy_likelihood", "semantic entropy, by likelihood", scores.semantic_entropy),
)
