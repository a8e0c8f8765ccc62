"""What one run says: accuracy, how uncertain right and wrong traces were, and whether that tells them apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from localent.analysis import curves, intervals
from localent.analysis.curves import ByClass, Curve
from localent.analysis.intervals import SEED, Estimate, estimate
from localent.analysis.metrics import Array, Statistic, auroc_of, gap_of, mean_of
from localent.analysis.probed import Probed
from localent.analysis.recorded import Traces

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
    """How well a score tells wrong traces from right ones, and the trace-length baseline beside it."""

    auroc: Estimate  # positive class: wrong
    length: Estimate  # AUROC of the number of tokens, over the same traces
    advantage: Estimate  # AUROC of the score minus that of length, in whichever direction length tells more


@dataclass(frozen=True, slots=True)
class Answers:
    """The answer distribution along the traces. Entropies and information in nats."""

    estimator: str  # "number" | "choice"
    n_probed: int  # traces with probes
    half: Contrast  # answer entropy at t = 0.5
    signal_half: Signal  # the answer entropy at t = 0.5, over the traces that were probed
    signal_half_equal: Signal  # the same over pairs of traces with equally many steps
    by_position: ByClass  # answer entropy at t = 0, 0.1, ..., 1
    by_step: ByClass  # answer entropy after k steps
    p_true_by_step: Curve  # probability of the true answer, all traces
    residual_by_step: Curve  # probability that the search left unexplored, all traces
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
    accuracy_finished: Estimate  # without truncated traces
    extraction_failures: Estimate  # share of traces in which no answer was found
    truncated: Estimate  # share of traces that ran into the token limit
    accuracy_by_difficulty: tuple[Accuracy, ...]  # empty: difficulty is not known
    token_entropy: Contrast  # mean entropy of a trace's tokens
    signal: Signal  # the mean token entropy
    answers: Answers | None  # None: not probed


def summarise(traces: Traces, p: Probed | None, *, seed: int = SEED, level: float = intervals.LEVEL) -> Summary:
    """Summary of one run. p: the probes of its own prefixes; None: not probed.

    A run with no traces, one class or no probes gives reasons, not errors.
    """
    options = dict(seed=seed, level=level)
    return Summary(
        run_id=traces.run_id,
        model=traces.model,
        quant=traces.quant,
        task=traces.task,
        level=level,
        n_traces=len(traces),
        n_problems=len(np.unique(traces.problems)),
        n_tokens=int(traces.n_tokens.sum()),
        **_outcomes(traces, level),
        token_entropy=contrast(traces.mean_entropy, traces.wrong, traces.problems, **options),
        signal=signal(traces.mean_entropy, traces.n_tokens, traces.wrong, traces.problems, **options),
        answers=None if p is None else _answers(p, traces, options),
    )


def contrast(values: Sequence, wrong: Array, problems: Sequence, **options) -> Contrast:
    """Means of right and wrong traces, and their gap: values (n,), NaN or None for missing."""
    values, problems = np.array(values, float), np.asarray(problems)
    right, wrong_ = (estimate(mean_of, values[m], problems=problems[m], **options) for m in (~wrong, wrong))
    if right.value is None or wrong_.value is None:
        return Contrast(right, wrong_, Estimate(None, reason="needs right and wrong traces"))
    gap, known = estimate(gap_of, values, wrong, problems=problems, **options), ~np.isnan(values)
    return Contrast(right, wrong_, intervals.if_enough(gap, problems[known], wrong[known]))


def signal(
    scores: Sequence, n_tokens: Sequence, wrong: Array, problems: Sequence, *, strata: Array | None = None, **options
) -> Signal:
    """Separation by a score and by length, over the traces that have the score: all (n,).

    With `strata` (n,), only pairs of a right and a wrong trace from one stratum count.
    """
    scores, problems = np.array(scores, float), np.asarray(problems)
    options = dict(problems=problems, **options)
    n_tokens = np.where(np.isnan(scores), np.nan, np.asarray(n_tokens, float))
    labels = (wrong, problems) if strata is None else (wrong, problems, strata)
    length = intervals.separation(n_tokens, wrong, strata=strata, **options)
    direction = -1 if length.value is not None and length.value < 0.5 else 1
    advantage = estimate(_advantage_of, scores, direction * n_tokens, *labels, **options)
    kept = intervals.in_pair(scores, wrong, np.zeros(len(wrong)) if strata is None else strata)
    return Signal(
        auroc=intervals.separation(scores, wrong, strata=strata, **options),
        length=length,
        advantage=intervals.if_enough(advantage, problems[kept], wrong[kept]),
    )


def _advantage_of(scores: Array, baseline: Array, wrong: Array, problems: Array, *strata: Array) -> Statistic:
    """AUROC of the scores minus that of the baseline."""
    mine, theirs = (auroc_of(values, wrong, *strata, problems=problems) for values in (scores, baseline))
    return lambda counts: mine(counts) - theirs(counts)


def _outcomes(traces: Traces, level: float) -> dict[str, object]:
    """Accuracy and the rates that stand beside it."""
    problems, finished = traces.problems, ~traces.truncated
    return dict(
        accuracy=intervals.share(~traces.wrong, problems, level),
        accuracy_finished=intervals.share(~traces.wrong[finished], problems[finished], level),
        extraction_failures=intervals.share(traces.failed, problems, level),
        truncated=intervals.share(traces.truncated, problems, level),
        accuracy_by_difficulty=_by_difficulty(traces, level),
    )


def _by_difficulty(traces: Traces, level: float) -> tuple[Accuracy, ...]:
    known = np.unique(traces.difficulty[~np.isnan(traces.difficulty)]).astype(int).tolist()
    groups = [traces.among(traces.difficulty == n) for n in known]
    found = [intervals.share(~some.wrong, some.problems, level) for some in groups]
    return tuple(Accuracy(n, one) for n, one in zip(known, found, strict=True))


def _answers(p: Probed, traces: Traces, options: dict) -> Answers:
    """The part that needs probes, over the traces that have some."""
    n_tokens = dict(zip(traces.trace_ids.tolist(), traces.n_tokens.tolist(), strict=True))
    p = p.by_id()
    lengths = [n_tokens[trace_id] for trace_id in p.trace_ids.tolist()]
    entropy, p_true, residual = (p.trajectory(values) for values in (p.entropy, p.p_true, p.residual))
    half = curves.at_position(entropy, curves.HALF)
    about = (half, lengths, p.wrong, p.problems)
    return Answers(
        estimator=p.estimator,
        n_probed=len(p.wrong),
        half=contrast(half, p.wrong, p.problems, **options),
        signal_half=signal(*about, **options),
        signal_half_equal=signal(*about, strata=p.n_steps, **options),
        by_position=curves.by_position(entropy, **options),
        by_step=curves.by_step(entropy, **options),
        p_true_by_step=curves.mean_by_step(p_true, **options),
        residual_by_step=curves.mean_by_step(residual, **options),
        gain_half=curves.mean_gain_half(p_true, **options),
        gain_end=curves.mean_gain(p_true, **options),
    )
