"""Signals judged by how well they separate wrong from right traces, beside length and difficulty, with intervals.

What each is shown to tell is its reading: readings.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from localent.analysis import ideal, metrics, verdicts
from localent.analysis.calibration import ece_by_chance
from localent.analysis.chance import Chance
from localent.analysis.family import caveat
from localent.analysis.ideal import Beside
from localent.analysis.intervals import Estimate, Resampling, separation
from localent.analysis.metrics import Array, UndefinedError
from localent.analysis.readings import Reading, Seen
from localent.analysis.recorded import Recorded, Traces
from localent.analysis.trace_signals import BASELINE, Score
from localent.analysis.validity import Validity
from localent.errors import UsageError

RESAMPLING = Resampling(1000)
SELECTED = (
    "Right and wrong are known only at the end, so a signal read late in a trace is close to the outcome itself:"
    " for early warning compare the signals 'at half'."
)


@dataclass(frozen=True, slots=True)
class Judged:
    """Metrics of one signal that is to separate wrong from right traces, over the traces that have it."""

    name: str  # the title
    key: str
    family: str
    auroc: Estimate
    p: float | None  # two-sided, clustered; None: undefined
    p_holm: float | None  # of the reading, adjusted over its family
    over: str  # that family: "41 signals", or "14 claims" for a signal that a claim of `study` is about
    within_length: Estimate  # AUROC over pairs of equally many steps and like numbers of tokens
    p_length: float | None  # that it is 0.5
    within_question: Estimate  # AUROC over pairs of one question
    p_question: float | None  # that it is 0.5, length held fixed as well
    prr: float | None
    prr_half: float | None  # up to 50 % rejection
    aurc: float | None
    excess_aurc: float | None
    average_precision: float | None  # its base rate is the share of wrong traces
    ece: float | None  # None: states no probability
    ece_equal_mass: float | None
    ece_by_chance: float | None  # mean of `ece` if each stated probability were true: what so few traces show anyway
    brier: float | None
    accuracy_at_80: float | None  # of the 80 % most certain traces
    accuracy_at_90: float | None
    missing: str | None  # why some traces lack it
    reading: str  # "beyond length and question" | "explained by length" | "explained by the question" | ...


@dataclass(frozen=True, slots=True)
class Signals:
    """All signals of one run: baselines first, then by how far their AUROC is from one half."""

    run_id: str
    n_traces: int
    n_problems: int
    n_wrong: int
    finished_only: bool  # truncated traces are left out
    at: float  # share of each trace that the signals were taken from
    rows: tuple[Judged, ...]
    notes: tuple[str, ...]
    chance: Chance | None = None  # None: no answer can be guessed
    validity: Validity | None = None  # None: not probed
    beside: Beside | None = None  # whole traces beside an ideal reader; None: the data know of none


def signals(
    run: Recorded, *, finished_only: bool = False, at: float = 1.0, resampling: Resampling = RESAMPLING
) -> Signals:
    """Every signal of one run. Traces that repeat themselves are left out.

    finished_only: leave out the traces that ran into the token limit. at: take signals from this share of each trace
    only, its first tokens, steps and probes; baselines and what other samples say are of whole traces.
    """
    if not 0 <= at <= 1:
        raise UsageError(f"Expected a share of the trace from 0 to 1, got {at:g}.")
    seen = Seen.of(run, finished_only=finished_only, at=at)
    traces, whole = seen.traces, at == 1 and not finished_only
    found = seen.readings(verdicts.proposed_of(run) if whole else ())
    rows = [judge(score, traces, r, resampling) for score, r in zip(seen.scores, found, strict=True)]
    rows.sort(key=lambda row: (row.family != BASELINE, -abs((row.auroc.value or 0.5) - 0.5)))
    counts = len(traces), len(np.unique(traces.problems)), int(traces.wrong.sum())
    _, why = seen.instead
    notes = (*([why] if why else []), families(found), *traces.variants, SELECTED, *caveat([traces.model]))
    judged = Signals(traces.run_id, *counts, finished_only, at, tuple(rows), notes, seen.chance, seen.validity)
    return replace(judged, beside=_beside(run, resampling) if whole else None)


def _beside(run: Recorded, resampling: Resampling) -> Beside | None:
    """The whole traces beside an ideal reader, those that repeat themselves left out."""
    probes = run.among(~run.traces.looped).probes
    return ideal.beside(probes.own, probes.ideal, resampling) if probes.own and probes.ideal else None


def families(found: Sequence[Reading]) -> str:
    """The sentence on the families of tests that p-values are adjusted over."""
    of_claims = [r for r in found if r.over.endswith("claims")]
    told = f"p (Holm): of the reading, over {next(r.over for r in found if r not in of_claims)}."
    if not of_claims:
        return told
    titles = ", ".join(r.title for r in of_claims)
    return f"{told[:-1]}; {titles}: as 'localent study' judges them, over its {of_claims[0].over} about the model."


# --- metrics --------------------------------------------------------------------------------------------------------


Metric = Callable[[Array, Array], float | Array]
OF_SCORES: dict[str, Metric] = {  # field of Judged -> metric of (scores, wrong)
    "prr": metrics.prr,
    "prr_half": partial(metrics.prr, max_rejection=0.5),
    "aurc": metrics.aurc,
    "excess_aurc": metrics.excess_aurc,
    "average_precision": metrics.average_precision,
    "accuracy_at_80": partial(metrics.selective_accuracy, coverage=0.8),
    "accuracy_at_90": partial(metrics.selective_accuracy, coverage=0.9),
}
OF_PROBABILITIES: dict[str, Metric] = {  # the same of (stated probabilities, correct)
    "ece": metrics.ece,
    "ece_equal_mass": partial(metrics.ece, equal_mass=True),
    "brier": metrics.brier,
}


def judge(score: Score, traces: Traces, r: Reading, resampling: Resampling = RESAMPLING) -> Judged:
    """One signal against the outcome, given what it is shown to tell."""
    signal, has = score.signal, ~np.isnan(score.values)
    values, wrong = score.values[has], traces.wrong[has]
    points = {name: _defined(values, wrong, metric) for name, metric in OF_SCORES.items()}
    for name, metric in OF_PROBABILITIES.items():
        points[name] = _defined(1 - values, ~wrong, metric) if signal.calibrated else None
    points["ece_by_chance"] = _chance(1 - values) if points["ece"] is not None else None
    return Judged(
        name=signal.title,
        key=signal.key,
        family=signal.family,
        auroc=auroc(score, traces, resampling),
        p=r.p,
        p_holm=r.p_holm,
        over=r.over,
        within_length=as_auroc(r, r.length.left),
        p_length=r.length.p,
        within_question=as_auroc(r, r.question.left),
        p_question=r.question.p,
        missing=signal.missing if not has.all() else None,
        reading=r.reading,
        **points,
    )


def _chance(probs: Array) -> float:
    return ece_by_chance(probs, equal_mass=False)


def as_auroc(r: Reading, left: Estimate) -> Estimate:
    """AUROC minus 0.5 in the direction in which the signal separates -> its AUROC, in [0, 1]."""
    if left.value is None or left.low is None or left.high is None:
        return left
    sign = -1.0 if r.auroc is not None and r.auroc < 0.5 else 1.0
    low, high = sorted(min(max(0.5 + sign * end, 0.0), 1.0) for end in (left.low, left.high))
    return replace(left, value=0.5 + sign * left.value, low=low, high=high)


def auroc(score: Score, traces: Traces, resampling: Resampling = RESAMPLING) -> Estimate:
    """AUROC of a signal, wrong against right; plots need no more than this."""
    return separation(score.values, traces.wrong, traces.clusters, resampling=resampling)


def _defined(values: Array, labels: Array, metric: Metric) -> float | None:
    """The metric; None where it is undefined for these traces."""
    try:
        return float(metric(values, labels))
    except UndefinedError:
        return None
