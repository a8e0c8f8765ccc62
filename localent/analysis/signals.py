"""Which signals tell wrong traces from right ones, beside length and difficulty, with intervals.

No signal knows the true answer, and none that counts samples counts the trace that it judges (see scores.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from localent.analysis import metrics, scores
from localent.analysis.curves import HALF, TOUCH
from localent.analysis.family import caveat
from localent.analysis.intervals import Estimate, Resampling, estimate, separation
from localent.analysis.metrics import Array, UndefinedError
from localent.analysis.probed import Probed, until
from localent.analysis.profile import path_length, switches
from localent.analysis.recorded import Recorded, Traces
from localent.analysis.signatures import coherence, last, lock_time, modal_lock, slope, violations
from localent.analysis.significance import correlation_p, holm, length_bins, partial_rank_of, separation_p
from localent.errors import UsageError

RESAMPLING = Resampling(1000)  # three intervals for each of some forty signals
ALPHA = 0.05  # of the whole family

NO_TOKENS, NO_STEPS, NOT_PROBED = "the trace has no token", "the trace has no reasoning step", "not probed"
ONE_SAMPLE, NO_TOP_K = "one sample a problem: run with --samples", "not measured: run with --measure-top-k"
NOT_ROLLED = "not rolled out: 'localent study --rolled' plays traces on"
MIRRORS = "it leaves out the trace that it judges, so that within a question it mirrors the label"
SELECTED = (
    "Right and wrong are known only at the end, so what a signal reads late in a trace is close to the outcome itself:"
    " compare the signals 'at half' for early warning."
)


@dataclass(frozen=True, slots=True)
class Score:
    """One number per trace, higher = more uncertain; NaN: the trace lacks it, for the reason in `why`."""

    name: str
    family: str  # "baseline" | "token" | "trace" | "step" | "answer" | "rollouts" | "samples"
    values: Array  # (n_traces,)
    why: str
    calibrated: bool = False  # 1 - values is a stated probability of being right
    mirrors: bool = False  # leaves out the trace that it judges, and so mirrors its label within a question

    def among(self, kept: Array) -> Score:
        """The same for some of the traces: kept (n,) bool."""
        return replace(self, values=self.values[kept])


@dataclass(frozen=True, slots=True)
class Signal:
    """How well one score tells wrong traces from right ones. Metrics are over the traces that have it."""

    name: str
    family: str
    auroc: Estimate
    p: float | None  # two-sided, clustered; None: undefined
    p_holm: float | None  # adjusted over all signals shown
    given_length: Estimate  # rank correlation with being wrong, length held fixed
    given_length_p_holm: float | None  # that it is 0; adjusted over all signals shown
    within_length: Estimate  # AUROC over pairs of like length
    within_question: Estimate  # AUROC over pairs of one question
    prr: float | None
    prr_half: float | None  # up to 50 % rejection
    aurc: float | None
    excess_aurc: float | None
    average_precision: float | None  # its base rate is the share of wrong traces
    ece: float | None  # None: states no probability
    ece_equal_mass: float | None
    brier: float | None
    accuracy_at_80: float | None  # of the 80 % most certain traces
    accuracy_at_90: float | None
    missing: str | None  # why some traces lack it
    reading: str  # "beyond length" | "explained by length" | "undecided beyond length" | "not shown" | ...


@dataclass(frozen=True, slots=True)
class Signals:
    """All signals of one run: baselines first, then by how far their AUROC is from one half."""

    run_id: str
    n_traces: int
    n_problems: int
    n_wrong: int
    finished_only: bool  # truncated traces are left out
    at: float  # share of each trace that the signals were taken from
    rows: tuple[Signal, ...]
    notes: tuple[str, ...]


def signals(
    run: Recorded, *, finished_only: bool = False, at: float = 1.0, resampling: Resampling = RESAMPLING
) -> Signals:
    """Every signal of one run.

    finished_only: leave out the traces that ran into the token limit. at: take signals from this share of each trace
    only, its first tokens, steps and probes; baselines and what other samples say are of whole traces.
    """
    if not 0 <= at <= 1:
        raise UsageError(f"Expected a share of the trace from 0 to 1, got {at:g}.")
    traces, scores_ = run.traces, read(run, at)
    if finished_only:
        kept = ~traces.truncated
        traces, scores_ = traces.among(kept), [score.among(kept) for score in scores_]
    found = [judge(score, traces, resampling) for score in scores_]
    adjusted, given = holm([row.p for row in found]), holm([correlation_p(row.given_length) for row in found])
    found = [replace(r, p_holm=p, given_length_p_holm=q) for r, p, q in zip(found, adjusted, given, strict=True)]
    rows = [replace(row, reading=_reading(row)) for row in found]
    rows.sort(key=lambda row: (row.family != "baseline", -abs((row.auroc.value or 0.5) - 0.5)))
    n_wrong = int(traces.wrong.sum())
    counts = len(traces), len(np.unique(traces.problems)), n_wrong
    return Signals(traces.run_id, *counts, finished_only, at, tuple(rows), (SELECTED, *caveat([traces.model])))


def judge(score: Score, traces: Traces, resampling: Resampling = RESAMPLING) -> Signal:
    """One score against the outcome."""
    has = ~np.isnan(score.values)
    values, wrong, problems = (array[has] for array in (score.values, traces.wrong, traces.problems))
    length = np.asarray(traces.n_tokens, float)
    given = estimate(
        partial_rank_of, score.values, traces.wrong, length, problems=traces.problems, resampling=resampling
    )

    def apart(strata: Array) -> Estimate:
        return separation(score.values, traces.wrong, traces.problems, strata, resampling)

    point = partial(_defined, values, wrong)
    stated = partial(_defined, 1 - values, ~wrong) if score.calibrated else lambda metric: None
    return Signal(
        name=score.name,
        family=score.family,
        auroc=auroc(score, traces, resampling),
        p=_defined(values, wrong, lambda s, w: separation_p(s, w, problems)),
        p_holm=None,
        given_length=given,
        given_length_p_holm=None,
        within_length=apart(length_bins(length)),
        within_question=Estimate(None, reason=MIRRORS) if score.mirrors else apart(traces.problems),
        prr=point(metrics.prr),
        prr_half=point(partial(metrics.prr, max_rejection=0.5)),
        aurc=point(metrics.aurc),
        excess_aurc=point(metrics.excess_aurc),
        average_precision=point(metrics.average_precision),
        ece=stated(metrics.ece),
        ece_equal_mass=stated(partial(metrics.ece, equal_mass=True)),
        brier=stated(metrics.brier),
        accuracy_at_80=point(partial(metrics.selective_accuracy, coverage=0.8)),
        accuracy_at_90=point(partial(metrics.selective_accuracy, coverage=0.9)),
        missing=score.why if not has.all() else None,
        reading="",
    )


def auroc(score: Score, traces: Traces, resampling: Resampling = RESAMPLING) -> Estimate:
    """How often a wrong trace scores above a right one: all that a figure of the signals needs."""
    return separation(score.values, traces.wrong, traces.problems, resampling=resampling)


def _defined(values: Array, labels: Array, metric: Callable) -> float | None:
    try:
        return float(metric(values, labels))
    except UndefinedError:
        return None


def _reading(row: Signal) -> str:
    """What the row shows, once it tells right from wrong: is anything left with length held fixed?

    Beyond length: the partial correlation points the same way as the AUROC, and is not 0 by Holm's rule. Explained by
    length: its interval reaches 0, or lies on the other side. Undecided: neither is shown. Too few: no p, see beyond.
    """
    if row.family == "baseline" or row.auroc.value is None:
        return "baseline" if row.family == "baseline" else "undefined"
    if row.p_holm is None:
        return "too few"
    if row.p_holm >= ALPHA:
        return "not shown"
    given = row.given_length
    if given.known and not (given.above(0) if row.auroc.value > 0.5 else given.below(0)):
        return "explained by length"
    shown = row.given_length_p_holm is not None and row.given_length_p_holm < ALPHA
    return "beyond length" if shown else "undecided beyond length"


# --- the scores of a run ------------------------------------------------------------------------------------------


def read(run: Recorded, at: float = 1.0) -> list[Score]:
    """All scores of a run's traces, from the first share `at` of each trace."""
    measures = {name: scores.first(values, at) for name, values in run.tokens.items()}
    own, rolled = (p and until(p, at) for p in (run.probes.own, run.probes.rolled))
    return [
        *_baselines(run.traces),
        *_of_tokens(measures),
        *_of_steps(run, at),
        *_of_answers(own, len(run.traces), at),
        *_of_rollouts(rolled, len(run.traces), at),
        *_of_samples(run.traces),
    ]


def _baselines(traces: Traces) -> Iterator[Score]:
    """What needs no entropy: length, steps, and how often the other samples fail."""
    yield Score("length in tokens", "baseline", traces.n_tokens.astype(float), "")
    yield Score("reasoning steps", "baseline", traces.n_steps.astype(float), "")
    difficulty = 1 - scores.pass_rate_of_others(~traces.wrong, traces.problems)
    yield Score("difficulty: other samples wrong", "baseline", difficulty, ONE_SAMPLE, mirrors=True)


def _of_tokens(x: dict[str, Array]) -> Iterator[Score]:
    """Means of token measures, and what the sequence of entropies does."""
    h, surprisal = x["entropy"], x["surprisal"]
    means = {
        "mean entropy": h, "mean surprisal": surprisal, "mean varentropy": x["varentropy"], "mean Rényi-2": x["renyi2"],
        "mean min-entropy": -np.log(x["top1_prob"]), "mean 1 - top-1 probability": 1 - x["top1_prob"],
        "mean negative margin": -finite(x["margin"]), "mean log rank": np.log(x["rank"]),
        "mean negative self-certainty": -finite(x["self_certainty"]), "mean surprise beyond entropy": surprisal - h,
    }  # fmt: skip
    for name, values in means.items():
        yield Score(name, "token", scores.mean(values), NO_TOKENS)
    for name, values in _sequences(h, surprisal).items():
        yield Score(name, "trace", values, NO_TOKENS)
    yield from _of_top_k(x)


def _sequences(h: Array, surprisal: Array) -> dict[str, Array]:
    return {
        "max entropy": scores.largest(h), "std of entropy": scores.std(h),
        "median entropy": scores.quantile(h, 0.5), "90 % quantile of entropy": scores.quantile(h, 0.9),
        "-ln p(trace)": scores.total(surprisal), "spikes above 0.7": scores.spike_count(h),
        "share of forking tokens": scores.forking_share(h), f"EDIS, lag {scores.LAG}": scores.edis(h),
        "area under suffix maximum": scores.envelope_area(h),
        f"worst {scores.WINDOW}-token entropy": scores.worst_window(h),
        f"entropy of the last {scores.WINDOW}": scores.tail(h),
    }  # fmt: skip


def _of_top_k(x: dict[str, Array]) -> Iterator[Score]:
    """DeepConf's scores, and what a top-k interface would have missed; NaN where it was not measured."""
    missing = np.full_like(x["entropy"], np.nan)
    confidence, bias = -x.get("topk_confidence", missing), x.get("topk_bias", missing)
    yield Score("mean negative top-k confidence", "token", scores.mean(confidence), NO_TOP_K)
    yield Score("mean top-k bias", "token", scores.mean(bias), NO_TOP_K)
    worst, tail = scores.worst_window(confidence), scores.tail(confidence)
    yield Score(f"lowest {scores.WINDOW}-group confidence, negative", "trace", worst, NO_TOP_K)
    yield Score(f"tail {scores.WINDOW} confidence, negative", "trace", tail, NO_TOP_K)


def finite(x: Array) -> Array:
    """inf, where one token alone is possible, as the largest finite value seen: it still orders as certain."""
    most = x[np.isfinite(x)].max(initial=0.0)
    return np.where(np.isposinf(x), most, x)


def _of_steps(run: Recorded, at: float) -> Iterator[Score]:
    """Entropies of the reasoning steps: the worst, the first, the last, and how they change."""
    h, n_steps = run.step_entropy.copy(), run.traces.n_steps
    h[np.arange(1, h.shape[1] + 1) > at * n_steps[:, None] + TOUCH] = np.nan
    n_gaps = np.maximum(n_steps - 1, 1)
    place = np.where(np.isnan(h), np.nan, np.arange(h.shape[1]) / n_gaps[:, None])
    kinds = {"worst step's entropy": scores.largest(h), "first step's entropy": h[:, 0], "last step's entropy": last(h)}
    for name, found in kinds.items():
        yield Score(name, "step", found, NO_STEPS)
    yield Score("rise of entropy over steps", "step", slope(h, place), "fewer than two steps")


def _of_answers(p: Probed | None, n: int, at: float) -> Iterator[Score]:
    """What the probes say of the answer, the true one never consulted."""
    for name, (values, calibrated) in _answer_scores(p, n, at).items():
        yield Score(name, "answer", values, NOT_PROBED, calibrated)


def _answer_scores(p: Probed | None, n: int, at: float) -> dict[str, tuple[Array, bool]]:
    """Name -> (values, whether 1 - values is a stated probability of being right)."""
    if p is None:
        return {"answer entropy": (np.full(n, np.nan), False)}
    drop = coherence(p.entropy)
    return {
        "answer entropy at start": (p.entropy[:, 0], False),
        **_by_position(p, at, "answer entropy", "1 - leader's probability"),
        "drop of answer entropy, negative": (-drop, False),
        "rises of answer entropy": (violations(p.entropy), False),
        "lock-in time": (lock_time(p.entropy, p.position), False),
        "lock-in of the leader": (modal_lock(p.leader, p.position), False),
        "switches of the leader": (switches(p), False),
        "path of the answer distribution": (path_length(p), False),
    }


def _by_position(p: Probed, at: float, entropy: str, leader: str) -> dict[str, tuple[Array, bool]]:
    """The entropy and the leader's doubt half-way, where that is seen already, and at the end of what is seen."""
    places = {"end" if at == 1 else f"t = {at:g}": at} | ({"half": HALF} if at > HALF else {})
    found = {}
    for place, t in sorted(places.items(), key=lambda item: item[1]):
        found[f"{entropy} at {place}"] = p.at(p.entropy, t), False
        found[f"{leader} at {place}"] = 1 - p.at(p.p_leader, t), True
    return found


def _of_rollouts(p: Probed | None, n: int, at: float) -> Iterator[Score]:
    """What other continuations of the same prefix answered: none of them is the trace that is judged."""
    nothing = np.full(n, np.nan)
    found = {"rollout entropy at start": (nothing if p is None else p.entropy[:, 0], False)}
    if p is None:
        found |= {"rollout entropy": (nothing, False), "1 - rollout leader's share": (nothing, False)}
    else:
        found |= _by_position(p, at, "rollout entropy", "1 - rollout leader's share")
    for name, (values, calibrated) in found.items():
        yield Score(name, "rollouts", values, NOT_ROLLED, calibrated)


def _of_samples(traces: Traces) -> Iterator[Score]:
    """What the other samples of the same problem answered."""
    answers, problems, weights = traces.answers.tolist(), traces.problems, np.exp(-traces.mean_surprisal)
    share = scores.disagreement(answers, problems)
    yield Score("1 - share of others that agree", "samples", share, ONE_SAMPLE, calibrated=True)
    of_others = {
        "distinct answers of others": scores.n_distinct(answers, problems),
        "semantic entropy of others": scores.semantic_entropy(answers, problems),
        "semantic entropy, by likelihood": scores.semantic_entropy(answers, problems, weights),
    }
    for name, values in of_others.items():
        yield Score(name, "samples", values, ONE_SAMPLE, mirrors=True)
