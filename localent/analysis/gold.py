"""Worked solutions that a model read: the cost of each step in nats, and what it tells the model about the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from localent.analysis import signatures
from localent.analysis.information import gain, too_few
from localent.analysis.intervals import Estimate, Resampling, estimate
from localent.analysis.metrics import Array, mean_of
from localent.analysis.recorded import Solutions

RESAMPLING = Resampling(1000)
Mean = Callable[[Array], Estimate]  # of one value per solution: (n,)


@dataclass(frozen=True, slots=True)
class HumanStep:
    """The k-th step of the worked solutions: the cost of reading it, and the information it carries."""

    k: int
    n: int  # solutions that have it
    surprisal: Estimate  # nats per token
    entropy: Estimate  # nats per token
    log_prob: Estimate  # ln p(true answer) after it minus before it, nats: confidence counts in it
    information: Estimate  # the same, recalibrated on the other half of the problems
    answer_entropy: Estimate  # nats, after it
    p_true: Estimate  # after it


@dataclass(frozen=True, slots=True)
class Gold:
    """The worked solutions of a task, as a model reads them."""

    run_id: str
    n_traces: int
    n_tokens: int
    surprisal: Estimate  # mean of the solutions' means, nats per token
    entropy: Estimate
    log_prob: Estimate  # slope of ln p(true answer), nats per whole solution: confidence counts in it
    gain: Estimate  # slope of the information gain, recalibrated; unknown for too few problems
    share_positive: Estimate  # share of steps that make the true answer more likely
    steps: tuple[HumanStep, ...]
    variants: tuple[str, ...] = ()  # the sentence on problems that are variants of one another, if some are


def gold(found: Solutions) -> Gold:
    """Summarize a run of worked solutions; intervals are clustered by problem."""
    traces, p = found.traces, found.own

    def mean(values: Array) -> Estimate:
        return estimate(mean_of, values, problems=traces.clusters, resampling=RESAMPLING)

    nothing = np.full(len(traces), np.nan)
    few = too_few(traces.clusters)
    gains = nothing if p is None or few else signatures.slope(gain(p), p.position)
    return Gold(
        run_id=traces.run_id,
        n_traces=len(traces),
        n_tokens=int(traces.n_tokens.sum()),
        surprisal=mean(traces.mean_surprisal),
        entropy=mean(traces.mean_entropy),
        log_prob=mean(nothing if p is None else signatures.slope(p.gain, p.position)),
        gain=replace(mean(gains), reason=few) if few else mean(gains),
        share_positive=mean(nothing if p is None else signatures.share_positive(p.gain)),
        steps=tuple(_steps(found, mean)),
        variants=traces.variants,
    )


def _steps(found: Solutions, mean: Mean) -> Iterator[HumanStep]:
    gains = gain(found.own) if found.own is not None and not too_few(found.traces.clusters) else None
    for k in range(1, int(found.traces.n_steps.max(initial=0)) + 1):
        read = (found.step_surprisal[:, k - 1], found.step_entropy[:, k - 1], *_after(found, gains, k))
        means = [mean(values) for values in read]
        yield HumanStep(k, means[0].n, *means)


def _after(found: Solutions, gains: Array | None, k: int) -> tuple[Array, ...]:
    """Change of ln p(true) and of the information in step k, answer entropy and p(true) after it: each (n,).

    NaN where there is no such step or no probe. gains: of information since k = 0; None: it cannot be known.
    """
    p, nothing = found.own, np.full(len(found.traces), np.nan)
    if p is None:
        return nothing, nothing, nothing, nothing
    log_prob = p.log_true[:, k] - p.log_true[:, k - 1]
    return log_prob, nothing if gains is None else gains[:, k] - gains[:, k - 1], p.entropy[:, k], p.p_true[:, k]
