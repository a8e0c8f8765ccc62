"""Signals judged by how well they separate wrong from right traces, beside length and difficulty, with intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from localent.analysis import metrics
from localent.analysis.chance import Chance, against_chance
from localent.analysis.family import caveat
from localent.analysis.intervals import Estimate, Resampling, estimate, separation
from localent.analysis.metrics import Array, UndefinedError
from localent.analysis.recorded import Recorded, Traces
from localent.analysis.significance import correlation_p, holm, length_bins, partial_rank_of, separation_p
from localent.analysis.trace_signals import BASELINE, Score, read
from localent.analysis.validity import Validity, validity
from localent.errors import UsageError

RESAMPLING = Resampling(1000)  # three intervals for each of some forty signals
ALPHA = 0.05  # of the whole family
AT_CHANCE = "at chance"  # in place of every reading: right and wrong are guesses
NO_ANSWER = "no answer"  # likewise: too often none follows the cue

MIRRORS = "it leaves out the trace that it judges, and so mirrors its label within a question"
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
    rows: tuple[Judged, ...]
    notes: tuple[str, ...]
    chance: Chance | None = None  # None: no answer can be guessed
    validity: Validity | None = None  # None: not probed


def signals(
    run: Recorded, *, finished_only: bool = False, at: float = 1.0, resampling: Resampling = RESAMPLING
) -> Signals:
    """Every signal of one run. Traces that repeat themselves are left out.

    finished_only: leave out the traces that ran into the token limit. at: take signals from this share of each trace
    only, its first tokens, steps and probes; baselines and what other samples say are of whole traces.
    """
    if not 0 <= at <= 1:
        raise UsageError(f"Expected a share of the trace from 0 to 1, got {at:g}.")
    kept = ~run.traces.looped & ~(run.traces.truncated & finished_only)
    traces = run.traces.among(kept)
    found = [judge(score.among(kept), traces, resampling) for score in read(run, at)]
    adjusted, given = holm([row.p for row in found]), holm([correlation_p(row.given_length) for row in found])
    found = [replace(r, p_holm=p, given_length_p_holm=q) for r, p, q in zip(found, adjusted, given, strict=True)]
    chance = against_chance(traces)
    valid = validity(run.probes.own and run.probes.own.among(kept))
    instead, why = _instead(chance, valid)
    rows = [replace(row, reading=instead or _reading(row)) for row in found]
    rows.sort(key=lambda row: (row.family != BASELINE, -abs((row.auroc.value or 0.5) - 0.5)))
    n_wrong = int(traces.wrong.sum())
    counts = len(traces), len(np.unique(traces.problems)), n_wrong
    notes = (*([why] if why else []), SELECTED, *caveat([traces.model]))
    return Signals(traces.run_id, *counts, finished_only, at, tuple(rows), notes, chance, valid)


def _instead(chance: Chance | None, valid: Validity | None) -> tuple[str, str]:
    """(in place of every reading, the sentence that says why); both empty where readings can be judged."""
    if chance is not None and chance.at_chance:
        return AT_CHANCE, chance.sentence
    return (NO_ANSWER, valid.sentence) if valid is not None and valid.doubtful else ("", "")


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


def judge(score: Score, traces: Traces, resampling: Resampling = RESAMPLING) -> Judged:
    """One signal against the outcome. p_holm and reading need all signals: see signals."""
    signal, has = score.signal, ~np.isnan(score.values)
    values, wrong, problems = (array[has] for array in (score.values, traces.wrong, traces.problems))
    length = np.asarray(traces.n_tokens, float)
    labels = (traces.wrong, traces.problems)
    points = {name: _defined(values, wrong, metric) for name, metric in OF_SCORES.items()}
    for name, metric in OF_PROBABILITIES.items():
        points[name] = _defined(1 - values, ~wrong, metric) if signal.calibrated else None
    given = (score.values, traces.wrong, length)
    return Judged(
        name=signal.title,
        key=signal.key,
        family=signal.family,
        auroc=auroc(score, traces, resampling),
        p=_defined(values, wrong, lambda s, w: separation_p(s, w, problems)),
        p_holm=None,
        given_length=estimate(partial_rank_of, *given, problems=traces.problems, resampling=resampling),
        given_length_p_holm=None,
        within_length=separation(score.values, *labels, length_bins(length), resampling),
        within_question=Estimate(None, reason=MIRRORS)
        if signal.mirrors
        else separation(score.values, *labels, traces.problems, resampling),
        missing=signal.missing if not has.all() else None,
        reading="",
        **points,
    )


def auroc(score: Score, traces: Traces, resampling: Resampling = RESAMPLING) -> Estimate:
    """AUROC of a signal, wrong against right; plots need no more than this."""
    return separation(score.values, traces.wrong, traces.problems, resampling=resampling)


def _defined(values: Array, labels: Array, metric: Metric) -> float | None:
    """The metric; None where it is undefined for these traces."""
    try:
        return float(metric(values, labels))
    except UndefinedError:
        return None


def _reading(row: Judged) -> str:
    """The conclusion from a row: does the signal separate, and is anything left with length held fixed?

    Beyond length: the partial correlation points the same way as the AUROC, and is not 0 by Holm's rule. Explained by
    length: its interval includes 0, or is on the other side. Undecided: neither is shown. Too few: there is no p.
    """
    if row.family == BASELINE or row.auroc.value is None:
        return "baseline" if row.family == BASELINE else "undefined"
    if row.p_holm is None:
        return "too few"
    if row.p_holm >= ALPHA:
        return "not shown"
    given = row.given_length
    if given.known and not (given.above(0) if row.auroc.value > 0.5 else given.below(0)):
        return "explained by length"
    shown = row.given_length_p_holm is not None and row.given_length_p_holm < ALPHA
    return "beyond length" if shown else "undecided beyond length"
