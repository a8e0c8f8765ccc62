"""What one run says: accuracy, how uncertain right and wrong traces were, and whether that tells them apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from localent.analysis import curves, intervals
from localent.analysis.curves import ByClass, Curve
from localent.analysis.intervals import SEED, Estimate, estimate
from localent.analysis.metrics import Array, Statistic, auroc_of, gap_of, mean_of

if TYPE_CHECKING:
    from localent.store import Database

TRACE_COLUMNS = ("trace_id", "problem_id", "correct", "finish", "extraction_problem", "problem_steps", "n_tokens")
PROBE_COLUMNS = ("trace_id", "problem_id", "correct", "estimator", "k", "position", "entropy", "p_true")
PROBE_COLUMNS += ("residual", "control", "n_rollouts")

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


def summarise(db: Database, run_id: str, *, seed: int = SEED, level: float = intervals.LEVEL) -> Summary:
    """Summarise one run of an open database. A run with no traces, one class or no probes gives reasons, not errors."""
    run = db.run(run_id)
    model = db.model(run.model_sha256)
    traces = db.traces(run.run_id, (*TRACE_COLUMNS, "mean_entropy"))
    probes = db.probes(run.run_id, PROBE_COLUMNS)
    options = dict(seed=seed, level=level)
    return Summary(
        run_id=run.run_id,
        model=model.name,
        quant=model.quant,
        task=run.task,
        level=level,
        n_traces=len(traces["trace_id"]),
        n_problems=len(set(traces["problem_id"])),
        n_tokens=sum(traces["n_tokens"]),
        **_outcomes(traces, level),
        **_signals(traces, options),
        answers=_answers(probes, traces, options),
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


def _outcomes(traces: dict[str, list], level: float) -> dict[str, object]:
    """Accuracy and the rates that stand beside it."""
    correct, problems = np.array(traces["correct"], bool), np.array(traces["problem_id"])
    truncated = np.array([finish == "length" for finish in traces["finish"]], bool)
    failed = np.array([problem is not None for problem in traces["extraction_problem"]], bool)
    return dict(
        accuracy=intervals.share(correct, problems, level),
        accuracy_finished=intervals.share(correct[~truncated], problems[~truncated], level),
        extraction_failures=intervals.share(failed, problems, level),
        truncated=intervals.share(truncated, problems, level),
        accuracy_by_difficulty=_by_difficulty(correct, problems, traces["problem_steps"], level),
    )


def _by_difficulty(correct: Array, problems: Array, n_steps: list, level: float) -> tuple[Accuracy, ...]:
    known = sorted({n for n in n_steps if n is not None})
    masks = {n: np.array([n == other for other in n_steps]) for n in known}
    return tuple(Accuracy(n, intervals.share(correct[m], problems[m], level)) for n, m in masks.items())


def _signals(traces: dict[str, list], options: dict) -> dict[str, object]:
    """The mean token entropy, and the length of the trace beside it."""
    scores, wrong, problems = traces["mean_entropy"], ~np.array(traces["correct"], bool), traces["problem_id"]
    return dict(
        token_entropy=contrast(scores, wrong, problems, **options),
        signal=signal(scores, traces["n_tokens"], wrong, problems, **options),
    )


def own(probes: dict[str, list]) -> list[int]:
    """The rows that are of a trace's own prefix, computed from logits: neither controls nor rollouts."""
    labels = zip(probes["control"], probes["n_rollouts"], strict=True)
    return [i for i, label in enumerate(labels) if label == (None, None)]


def _answers(probes: dict[str, list], traces: dict[str, list], options: dict) -> Answers | None:
    """The part that needs probes."""
    kept = own(probes)
    if not kept:
        return None
    probes = {name: [column[i] for i in kept] for name, column in probes.items()}
    names = ("entropy", "p_true", "residual")
    entropy, p_true, residual = (curves.trajectories(probes, name) for name in names)
    n_tokens = dict(zip(traces["trace_id"], traces["n_tokens"], strict=True))
    lengths = [n_tokens[trace_id] for trace_id in entropy.trace_ids.tolist()]
    half, n_steps = curves.at_position(entropy, curves.HALF), curves.n_steps(entropy)
    about = (half, lengths, entropy.wrong, entropy.problems)
    return Answers(
        estimator=probes["estimator"][0],
        n_probed=len(entropy),
        half=contrast(half, entropy.wrong, entropy.problems, **options),
        signal_half=signal(*about, **options),
        signal_half_equal=signal(*about, strata=n_steps, **options),
        by_position=curves.by_position(entropy, **options),
        by_step=curves.by_step(entropy, **options),
        p_true_by_step=curves.mean_by_step(p_true, **options),
        residual_by_step=curves.mean_by_step(residual, **options),
        gain_half=curves.mean_gain_half(p_true, **options),
        gain_end=curves.mean_gain(p_true, **options),
    )
