"""Summary of one run: accuracy, uncertainty of right and of wrong traces, and how well it separates them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from localent.analysis import information
from localent.analysis.chance import Chance, against_chance
from localent.analysis.curves import GRID, HALF, QUARTERS, ByClass, Curve, by_class, curve
from localent.analysis.intervals import (
    DEFAULT,
    Estimate,
    Resampling,
    estimate,
    if_enough,
    in_pair,
    separation,
    share,
)
from localent.analysis.judgement import Judgement
from localent.analysis.metrics import Array, Statistic, auroc_of, gap_of, mean_of
from localent.analysis.probed import Probed
from localent.analysis.recorded import Traces
from localent.analysis.validity import Validity, validity

SELECTION = "Right and wrong are known only at the end: both groups are selected on the outcome."


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Accuracy among problems of one difficulty."""

    n_steps: int  # of the problem, as the data set knows it
    share: Estimate


@dataclass(frozen=True, slots=True)
class Contrast:
    """One quantity of right and of wrong traces: means and their difference (wrong minus right)."""

    right: Estimate
    wrong: Estimate
    gap: Estimate


@dataclass(frozen=True, slots=True)
class Signal:
    """Separation of wrong from right traces by a score, and by trace length as the baseline."""

    auroc: Estimate  # positive class: wrong
    length: Estimate  # AUROC of the number of tokens, over the same traces
    advantage: Estimate  # AUROC of the score minus that of length, in whichever direction length tells more


@dataclass(frozen=True, slots=True)
class Answers:
    """The answer distribution along the traces. Entropies and information in nats."""

    estimator: str  # the kind of the answers, or "rollout"
    n_probed: int  # traces with probes
    half: Contrast  # answer entropy at t = 0.5
    signal_half: Signal  # the answer entropy at t = 0.5, over the traces that were probed
    signal_half_equal: Signal  # the same over pairs of traces with equally many steps
    by_position: ByClass  # answer entropy at t = 0, 0.1, ..., 1
    every_step: bool  # probed after every step: the next three are by step k, else by position, at QUARTERS
    along: ByClass  # answer entropy
    p_true_along: Curve  # probability of the true answer, all traces
    residual_along: Curve  # probability that the search left unexplored, all traces
    invalid_along: Curve  # probability that no answer follows, all traces
    gain_half: Estimate  # information gained about the true answer by t = 0.5, all traces of two steps or more
    gain_end: Estimate  # by the end of the reasoning


@dataclass(frozen=True, slots=True)
class Summary:
    """One run. Entropies in nats; intervals at `level`, clustered by problem."""

    run_id: str
    model: str
    quant: str
    task: str
    level: float
    n_traces: int
    n_problems: int
    n_tokens: int
    accuracy: Estimate
    chance: Chance | None  # None: no answer can be guessed
    validity: Validity | None  # None: not probed
    accuracy_finished: Estimate  # without truncated traces
    extraction_failures: Estimate  # share of traces in which no answer was found
    truncated: Estimate  # share of traces that ran into the token limit
    looped: Estimate  # share of traces that repeated themselves; they count for accuracy and tokens only
    accuracy_by_difficulty: tuple[Accuracy, ...]  # empty: difficulty is not known
    token_entropy: Contrast  # mean entropy of a trace's tokens
    signal: Signal  # the mean token entropy
    answers: Answers | None  # None: not probed
    judgement: Judgement | None = None  # what is shown about it; None: not judged
    token_f1: Estimate | None = None  # of short answers in words: mean overlap with the true ones, 0 to 1
    variants: tuple[str, ...] = ()  # the sentence on problems that are variants of one another, if some are


def summarise(
    traces: Traces, p: Probed | None, resampling: Resampling = DEFAULT, judgement: Judgement | None = None
) -> Summary:
    """Summary of one run. p: the probes of its own prefixes; None: not probed. judgement: its sentences rest on it.

    A run with no traces, one class or no probes gives reasons, not errors.
    """
    level, finished, judged = resampling.level, traces.among(~traces.truncated), traces.among(~traces.looped)
    labels = (judged.wrong, judged.clusters)
    return Summary(
        run_id=traces.run_id,
        model=traces.model,
        quant=traces.quant,
        task=traces.task,
        level=level,
        n_traces=len(traces),
        n_problems=len(np.unique(traces.problems)),
        n_tokens=int(traces.n_tokens.sum()),
        accuracy=share(~traces.wrong, traces.clusters, level),
        chance=against_chance(traces),
        validity=validity(p),
        accuracy_finished=share(~finished.wrong, finished.clusters, level),
        extraction_failures=share(traces.failed, traces.clusters, level),
        truncated=share(traces.truncated, traces.clusters, level),
        looped=share(traces.looped, traces.clusters, level),
        accuracy_by_difficulty=_by_difficulty(traces, level),
        token_entropy=contrast(judged.mean_entropy, *labels, resampling),
        signal=signal(judged.mean_entropy, judged.n_tokens, *labels, resampling=resampling),
        answers=None if p is None else _answers(p, traces, resampling),
        judgement=judgement,
        token_f1=None if traces.token_f1 is None else _token_f1(traces.token_f1, traces.clusters, resampling),
        variants=traces.variants,
    )


def _token_f1(values: Array, problems: Array, resampling: Resampling) -> Estimate:
    return estimate(mean_of, values, problems=problems, resampling=resampling)


def contrast(values: Array, wrong: Array, problems: Array, resampling: Resampling = DEFAULT) -> Contrast:
    """Means of right and wrong traces, and their gap: values (n,), NaN for missing."""

    def mean(among: Array) -> Estimate:
        return estimate(mean_of, values[among], problems=problems[among], resampling=resampling)

    right, wrong_ = mean(~wrong), mean(wrong)
    if right.value is None or wrong_.value is None:
        return Contrast(right, wrong_, Estimate(None, reason="needs right and wrong traces"))
    gap, known = estimate(gap_of, values, wrong, problems=problems, resampling=resampling), ~np.isnan(values)
    return Contrast(right, wrong_, if_enough(gap, problems[known], wrong[known]))


def signal(
    scores: Array,
    n_tokens: Array,
    wrong: Array,
    problems: Array,
    strata: Array | None = None,
    resampling: Resampling = DEFAULT,
) -> Signal:
    """Separation by a score and by length, over the traces that have the score: all (n,).

    With `strata` (n,), only pairs of a right and a wrong trace from one stratum count.
    """
    n_tokens = np.where(np.isnan(scores), np.nan, n_tokens.astype(float))
    length = separation(n_tokens, wrong, problems, strata, resampling)
    direction = -1 if length.value is not None and length.value < 0.5 else 1
    labels = (wrong, problems) if strata is None else (wrong, problems, strata)
    baseline = direction * n_tokens
    advantage = estimate(_advantage_of, scores, baseline, *labels, problems=problems, resampling=resampling)
    kept = in_pair(scores, wrong, np.zeros(len(wrong)) if strata is None else strata)
    return Signal(
        auroc=separation(scores, wrong, problems, strata, resampling),
        length=length,
        advantage=if_enough(advantage, problems[kept], wrong[kept]),
    )


def _advantage_of(
    scores: Array, baseline: Array, wrong: Array, problems: Array, strata: Array | None = None
) -> Statistic:
    """AUROC of the scores minus that of the baseline."""
    mine, theirs = (auroc_of(values, wrong, strata, problems) for values in (scores, baseline))
    return lambda counts: mine(counts) - theirs(counts)


def _by_difficulty(traces: Traces, level: float) -> tuple[Accuracy, ...]:
    known = np.unique(traces.difficulty[~np.isnan(traces.difficulty)]).astype(int).tolist()
    groups = [traces.among(traces.difficulty == n) for n in known]
    found = [share(~some.wrong, some.clusters, level) for some in groups]
    return tuple(Accuracy(n, one) for n, one in zip(known, found, strict=True))


def _answers(p: Probed, traces: Traces, resampling: Resampling) -> Answers:
    """The part of the summary that needs probes, over the probed traces."""
    n_tokens = dict(zip(traces.trace_ids.tolist(), traces.n_tokens.tolist(), strict=True))
    p = p.by_id()
    half, gain = p.at(p.entropy, HALF), information.gain(p)
    points = range(p.entropy.shape[1]) if p.every_step else QUARTERS

    def along(values: Array) -> Array:  # traces probed at other steps each have no step in common
        return values if p.every_step else p.at(values, QUARTERS)

    lengths, labels = np.array([n_tokens[trace_id] for trace_id in p.trace_ids.tolist()]), (p.wrong, p.clusters)

    def mean(values: Array) -> Estimate:
        return estimate(mean_of, values, problems=p.clusters, resampling=resampling)

    return Answers(
        estimator=p.estimator,
        n_probed=len(p.wrong),
        half=contrast(half, *labels, resampling),
        signal_half=signal(half, lengths, *labels, resampling=resampling),
        signal_half_equal=signal(half, lengths, *labels, p.n_steps, resampling),
        by_position=by_class(GRID, p.at(p.entropy, GRID), *labels, resampling),
        every_step=p.every_step,
        along=by_class(points, along(p.entropy), *labels, resampling),
        p_true_along=curve(points, along(p.p_true), p.clusters, resampling),
        residual_along=curve(points, along(p.residual), p.clusters, resampling),
        invalid_along=curve(points, along(p.invalid), p.clusters, resampling),
        gain_half=mean(p.half_way(gain)),
        gain_end=mean(p.at(gain, 1.0)),
    )
