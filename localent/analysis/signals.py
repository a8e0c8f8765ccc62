"""Signals judged by how well they separate wrong from right traces, beside length and difficulty, with intervals.

A reading rests on p-values alone, each adjusted by Holm's rule over all signals: that the signal separates at all, that
it does with length held fixed, that it does among traces of one question (held.py). `run`, `show` and `signals` say the
same, since they take it from `readings`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from localent.analysis import held, metrics
from localent.analysis.chance import Chance, against_chance
from localent.analysis.family import caveat
from localent.analysis.held import ALPHA, LENGTH, QUESTION, Compared, Held
from localent.analysis.intervals import MIN_TOLD, Estimate, Resampling, n_rarer, separation
from localent.analysis.metrics import Array, UndefinedError
from localent.analysis.recorded import Recorded, Traces
from localent.analysis.significance import holm, separation_shift
from localent.analysis.trace_signals import BASELINE, Score, read
from localent.analysis.validity import Validity, validity
from localent.errors import UsageError

RESAMPLING = Resampling(1000)
AT_CHANCE = "at chance"  # in place of every reading: right and wrong are guesses
NO_ANSWER = "no answer"  # likewise: too often none follows the cue
BEYOND_BOTH, BEYOND_LENGTH = "beyond length and question", "beyond length, question open"
OPEN_LENGTH, OPEN_QUESTION = "undecided beyond length", "undecided beyond the question"
TOO_FEW, NOT_SHOWN, NOISE = "too few", "not shown", "inside the noise"

MIRRORS = "it leaves out the trace that it judges, and so mirrors its label within a question"
SELECTED = (
    "Right and wrong are known only at the end, so a signal read late in a trace is close to the outcome itself:"
    " for early warning compare the signals 'at half'."
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What one signal is shown to tell of the outcome. p-values are two-sided and adjusted over all signals."""

    key: str  # of the signal
    title: str
    family: str
    auroc: float | None
    p: float | None  # None: undefined, or too few
    p_holm: float | None  # that it separates nothing
    length: Held
    p_length_holm: float | None  # that nothing is left with length held fixed
    question: Held
    p_question_holm: float | None  # that nothing is left among traces of one question
    noise: float  # nats: root mean square standard error of the signal; 0: exact, or not in nats
    gap: float  # nats: mean of wrong minus mean of right traces; 0 where the signal has no standard error
    n_rarer: int  # problems with a right trace, or with a wrong one, whichever is smaller
    n_signals: int = 0  # in the family
    reading: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """Metrics of one signal that is to separate wrong from right traces, over the traces that have it."""

    name: str  # the title
    key: str
    family: str
    auroc: Estimate
    p: float | None  # two-sided, clustered; None: undefined
    p_holm: float | None  # adjusted over all signals shown
    within_length: Estimate  # AUROC over pairs of equally many steps and like numbers of tokens
    p_length_holm: float | None  # that it is 0.5; adjusted over all signals shown
    within_question: Estimate  # AUROC over pairs of one question
    p_question_holm: float | None  # that it is 0.5, length held fixed as well; adjusted over all signals shown
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


def signals(
    run: Recorded, *, finished_only: bool = False, at: float = 1.0, resampling: Resampling = RESAMPLING
) -> Signals:
    """Every signal of one run. Traces that repeat themselves are left out.

    finished_only: leave out the traces that ran into the token limit. at: take signals from this share of each trace
    only, its first tokens, steps and probes; baselines and what other samples say are of whole traces.
    """
    if not 0 <= at <= 1:
        raise UsageError(f"Expected a share of the trace from 0 to 1, got {at:g}.")
    traces, scores, valid = _kept(run, finished_only, at)
    chance = against_chance(traces)
    instead, why = _instead(chance, valid)
    found = _family(scores, traces)
    rows = [judge(score, traces, r, resampling) for score, r in zip(scores, found, strict=True)]
    rows = [replace(row, reading=instead or row.reading) for row in rows]
    rows.sort(key=lambda row: (row.family != BASELINE, -abs((row.auroc.value or 0.5) - 0.5)))
    n_wrong = int(traces.wrong.sum())
    counts = len(traces), len(np.unique(traces.problems)), n_wrong
    notes = (*([why] if why else []), *traces.variants, SELECTED, *caveat([traces.model]))
    return Signals(traces.run_id, *counts, finished_only, at, tuple(rows), notes, chance, valid)


def readings(run: Recorded) -> dict[str, Reading]:
    """Key -> reading of every signal of a run's whole traces, as `signals` gives it."""
    traces, scores, valid = _kept(run, False, 1.0)
    instead = _instead(against_chance(traces), valid)[0]
    return {r.key: replace(r, reading=instead or r.reading) for r in _family(scores, traces)}


def _kept(run: Recorded, finished_only: bool, at: float) -> tuple[Traces, list[Score], Validity | None]:
    """The traces that count, their signals, and the validity of their probes."""
    kept = ~run.traces.looped & ~(run.traces.truncated & finished_only)
    scores = [score.among(kept) for score in read(run, at)]
    return run.traces.among(kept), scores, validity(run.probes.own and run.probes.own.among(kept))


def _instead(chance: Chance | None, valid: Validity | None) -> tuple[str, str]:
    """(in place of every reading, the sentence that says why); both empty where readings can be judged."""
    if chance is not None and chance.at_chance:
        return AT_CHANCE, chance.sentence
    return (NO_ANSWER, valid.sentence) if valid is not None and valid.doubtful else ("", "")


# --- readings -------------------------------------------------------------------------------------------------------


def _family(scores: Sequence[Score], traces: Traces) -> list[Reading]:
    """The readings of all signals, judged together."""
    found = [tested(score, traces) for score in scores]
    families = [holm(ps) for ps in zip(*((r.p, r.length.p, r.question.p) for r in found), strict=True)] or [[], [], []]
    return [
        _read(replace(r, p_holm=p, p_length_holm=q, p_question_holm=s, n_signals=len(found)))
        for r, p, q, s in zip(found, *families, strict=True)
    ]


def tested(score: Score, traces: Traces) -> Reading:
    """One signal against the outcome, in the direction in which it separates; adjusted p and reading: see readings."""
    has = ~np.isnan(score.values)
    values, wrong, clusters = (array[has] for array in (score.values, traces.wrong, traces.clusters))
    auroc = _defined(values, wrong, metrics.auroc)
    sign = -1.0 if auroc is not None and auroc < 0.5 else 1.0
    x = Compared.of(sign * score.values, traces, traces.n_tokens.astype(float))
    nothing = Held(Estimate(None, reason=MIRRORS), None)
    both = bool(wrong.any()) and not wrong.all()
    noise = 0.0 if score.se is None or not has.any() else float(np.sqrt((np.nan_to_num(score.se[has]) ** 2).mean()))
    return Reading(
        key=score.signal.key,
        title=score.signal.title,
        family=score.signal.family,
        auroc=auroc,
        p=_defined(values, wrong, lambda s, w: separation_shift(s, w, clusters).p()),
        p_holm=None,
        length=held.by_length(x),
        p_length_holm=None,
        question=nothing if score.signal.mirrors else held.by_question(x),
        p_question_holm=None,
        noise=noise,
        gap=float(values[wrong].mean() - values[~wrong].mean()) if both and noise else 0.0,
        n_rarer=n_rarer(clusters, wrong) if both else 0,
    )


def _read(r: Reading) -> Reading:
    return replace(r, reading=_reading(r))


def _reading(r: Reading) -> str:
    """The conclusion: does the signal separate, and is anything left with length and with the question held fixed?

    Beyond length and question: both are shown by Holm's rule. Question open: length is, and too few questions have
    right and wrong traces. Explained by length, or by the question: with it held fixed nothing is shown, and less than
    the whole. Undecided: neither is shown. Inside the noise: right and wrong traces differ by less than the standard
    error of one estimate. Too few: right or wrong traces of fewer than MIN_TOLD problems.
    """
    if r.family == BASELINE or r.auroc is None:
        return "baseline" if r.family == BASELINE else "undefined"
    if r.p_holm is None or r.n_rarer < MIN_TOLD:
        return TOO_FEW
    if r.p_holm >= ALPHA:
        return NOT_SHOWN
    if 0 < abs(r.gap) <= r.noise:
        return NOISE
    return _beyond(r, abs(r.auroc - 0.5))


def _beyond(r: Reading, whole: float) -> str:
    if not _passes(r.p_length_holm):
        return LENGTH if r.length.explains(whole) else OPEN_LENGTH
    if r.question.p is None:
        return BEYOND_LENGTH
    if not _passes(r.p_question_holm):
        return QUESTION if r.question.explains(whole) else OPEN_QUESTION
    return BEYOND_BOTH


def _passes(p: float | None) -> bool:
    return p is not None and p < ALPHA


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
    return Judged(
        name=signal.title,
        key=signal.key,
        family=signal.family,
        auroc=auroc(score, traces, resampling),
        p=r.p,
        p_holm=r.p_holm,
        within_length=as_auroc(r, r.length.left),
        p_length_holm=r.p_length_holm,
        within_question=as_auroc(r, r.question.left),
        p_question_holm=r.p_question_holm,
        missing=signal.missing if not has.all() else None,
        reading=r.reading,
        **points,
    )


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
