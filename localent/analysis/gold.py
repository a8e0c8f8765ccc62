"""Worked solutions that a model read: the cost of each step in nats, and what it tells the model about the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from localent.analysis import signatures
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
    information: Estimate  # ln p(true answer) after it minus before it, nats
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
    gain: Estimate  # slope of the information gain, nats per whole solution
    share_positive: Estimate  # share of steps that make the true answer more likely
    steps: tuple[HumanStep, ...]
    variants: tuple[str, ...] = ()  # the sentence on problems that are variants of one another, if some are


def gold(found: Solutions) -> Gold:
    """Summarize a run of worked solutions; intervals are clustered by problem."""
    traces, p = found.traces, found.own

    def mean(values: Array) -> Estimate:
        return estimate(mean_of, values, problems=traces.clusters, resampling=RESAMPLING)

    nothing = np.full(len(traces), np.nan)
    return Gold(
        run_id=traces.run_id,
        n_traces=len(traces),
        n_tokens=int(traces.n_tokens.sum()),
        surprisal=mean(traces.mean_surprisal),
        entropy=mean(traces.mean_entropy),
        gain=mean(nothing if p is None else signatures.slope(p.gain, p.position)),
        share_positive=mean(nothing if p is None else signatures.share_positive(p.gain)),
        steps=tuple(_steps(found, mean)),
        variants=traces.variants,
    )


def _steps(found: Solutions, mean: Mean) -> Iterator[HumanStep]:
    for k in range(1, int(found.traces.n_steps.max(initial=0)) + 1):
        read = (found.step_surprisal[:, k - 1], found.step_entropy[:, k - 1], *_after(found, k))
        means = [mean(values) for values in read]
        yield HumanStep(k, means[0].n, *means)


def _after(found: Solutions, k: int) -> tuple[Array, Array, Array]:
    """Information, answer entropy and p(true) after step k: each (n,), NaN where there is no such step or no probe."""
    p = found.own
    if p is None:
        nothing = np.full(len(found.traces), np.nan)
        return nothing, nothing, nothing
    return p.log_true[:, k] - p.log_true[:, k - 1], p.entropy[:, k], p.p_true[:, k]
