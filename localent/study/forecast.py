"""How long a run and its controls and rollouts will take, measured on its first traces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from localent import runs
from localent.records import Trace
from localent.runs.clock import in_words
from localent.runs.extend import Wanted
from localent.runs.progress import Progress, about, retold
from localent.tracing.controls import compared_at

PREFILL = 0.3  # time of a token that is read in a chunk, beside one that is fed by itself


def forecast(name: str, wanted: Wanted, listener: runs.Listener) -> runs.Listener:
    """The listener, for the run; where that would be told how long the run takes, it is told how long all takes."""

    def told(seen: Sequence[Progress], spent: float) -> str:
        parts = {part: seconds for part, seconds in seconds_of(seen, spent, wanted).items() if seconds}
        named = ", ".join(f"{part} {in_words(seconds)}" for part, seconds in parts.items())
        return about(sum(parts.values()), f"{name} ({named})", listener.time)

    return retold(listener, told)


def seconds_of(seen: Sequence[Progress], spent: float, wanted: Wanted) -> dict[str, float]:
    """Seconds of each part, in all. seen: the reports of the first traces; spent: seconds until the last of them."""
    traces, last = [p.trace for p in seen if p.trace is not None], seen[-1]
    a_token, n = spent / max(last.n_tokens or 0, 1), last.n_todo
    samples = wanted.samples or 1
    n_controlled = n * min(wanted.control_samples or samples, samples) / samples
    n_rolled = n if wanted.n_rolled is None else min(n, wanted.n_rolled)
    control, rollout = (float(np.mean([cost(t, wanted) for t in traces])) for cost in (_controls, _rollouts))
    attempts = spent * n / last.n_done
    return dict(attempts=attempts, controls=n_controlled * control * a_token, rollouts=n_rolled * rollout * a_token)


def _controls(trace: Trace, wanted: Wanted) -> float:
    """Tokens that the controls of a trace cost."""
    ks = compared_at([probe.k for probe in trace.probes], wanted.at) if trace.probes else []
    fed = sum(probe.n_fed for probe in trace.probes if probe.k in ks)
    return len(wanted.controls) * (fed + PREFILL * len(trace.tokens))


def _rollouts(trace: Trace, wanted: Wanted) -> float:
    """Tokens that the continuations from all prefixes of a trace cost."""
    return (wanted.m or 0) * sum(len(trace.tokens) - probe.n_tokens for probe in trace.probes)
