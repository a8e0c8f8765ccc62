"""A signal turned into a probability of being right, fitted on one run and judged on problems it was not fitted to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence, Set
from dataclasses import asdict, dataclass, replace

import numpy as np

from localent.analysis import metrics
from localent.analysis.as_json import plain
from localent.analysis.family import caveat
from localent.analysis.folds import FOLDS, folds
from localent.analysis.intervals import DEFAULT, SEED, Estimate, Resampling, estimate, problem_index, resample, wilson
from localent.analysis.metrics import Array, Names, Statistic, mean_of
from localent.analysis.probability_maps import ISOTONIC, LEVEL, PLATT, TITLES, ProbabilityMap, fitted
from localent.analysis.recorded import Recorded, Traces
from localent.analysis.trace_signals import ROLLOUTS, SAMPLES, Score, read
from localent.errors import LocalentError, UsageError

LEAST = 10  # problems with a right trace, and with a wrong one, below which nothing is fitted
N_RESAMPLES, N_CHANCE = 200, 400  # of the interval of the map; of the calibration error of a perfect map
N_PLACES = 101  # of the signal, at which the interval of the map is kept
BASE, CHOSEN = "share of right traces", "calibrated"
MAPS = (PLATT, ISOTONIC)  # of a signal
Way = tuple[int, str]  # index of a signal, method of its map


@dataclass(frozen=True, slots=True)
class Judged:
    """Probabilities of being right, judged by what came out: cross-fitted, unless the signal states them itself."""

    name: str
    brier: Estimate
    ece: Estimate
    ece_by_chance: float  # mean calibration error of as many traces if every probability were true
    gain: Estimate  # Brier of the share of right traces minus this one; above 0: better


@dataclass(frozen=True, slots=True)
class Band:
    """The map and its 95 % interval at places of the signal, from resampled problems."""

    at: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Bin:
    """Traces of like probability: a tenth of the run."""

    n: int
    stated: float  # mean probability
    right: float  # share


@dataclass(frozen=True, slots=True)
class Calibration:
    """A map from one signal to the probability of being right, and how well it holds."""

    run_id: str
    signal: str  # its key
    title: str
    map: ProbabilityMap
    band: Band
    chosen: bool  # by its cross-fitted Brier, the choice repeated within each fold; False: named by the user
    n_signals: int  # that the choice was among
    n: int  # traces
    n_problems: int
    n_wrong: int
    left_out: int  # traces without an answer, which repeat themselves, or lack the signal
    judged: tuple[Judged, ...]  # the base rate; what the signal states itself, if it does; each method; the choice
    bins: tuple[Bin, ...]
    notes: tuple[str, ...] = ()

    @property
    def helps(self) -> bool:
        """True if the map is better than the share of right traces alone, by the interval of the difference."""
        return self.map.method != LEVEL and self.judged[-1].gain.above(0)

    def at(self, value: float) -> tuple[float, float, float]:
        """(probability of being right, low, high) of a trace with this value of the signal."""
        p = float(self.map(np.array(value)))
        low, high = (float(np.interp(value, self.band.at, ends)) for ends in (self.band.low, self.band.high))
        return p, min(p, low), max(p, high)

    def row(self) -> dict[str, object]:
        """The row of the table calibrations."""
        figures, base, final = asdict(self), self.judged[0], self.judged[-1]
        return dict(
            run_id=self.run_id,
            signal=self.signal,
            method=self.map.method,
            n=self.n,
            n_problems=self.n_problems,
            n_wrong=self.n_wrong,
            brier=final.brier.value,
            brier_base=base.brier.value,
            ece=final.ece.value,
            figures=json.dumps(plain(figures), ensure_ascii=False, allow_nan=False),
        )


def calibrate(
    run: Recorded, *, signal: str | None = None, method: str | None = None, resampling: Resampling = DEFAULT
) -> Calibration:
    """Fit the map of a signal, by default of the one with the best cross-fitted Brier score, by the better method.

    signal: a key or title. method: of probability_maps. Figures are of problems that neither the map nor the choice has
    seen. Raises UsageError for a signal that the run does not have, LocalentError for too few right or wrong traces.
    """
    answered = ~run.traces.looped & ~run.traces.failed
    scores = [score.among(answered) for score in _named(alone(read(run)), signal, run.traces.run_id)]
    traces = run.traces.among(answered)
    if signal is not None:
        traces, scores = _that_have(traces, scores)
    _refuse_few(traces)
    there = [s for s in scores if np.isfinite(s.values).all()]
    if not there:
        raise LocalentError(f"Run {traces.run_id} has no signal that all of its traces have: choose with --signal.")
    found = fit(there, ~traces.wrong, traces.clusters, method=method, resampling=resampling)
    left_out, notes = len(run.traces) - len(traces), (*traces.variants, *caveat([traces.model]))
    n_problems = len(np.unique(traces.problems))
    found = replace(found, n_problems=n_problems, left_out=left_out, notes=notes)
    return replace(found, run_id=traces.run_id, chosen=signal is None)


def fit(
    scores: Sequence[Score],
    right: Array,
    problems: Names,
    *,
    method: str | None = None,
    resampling: Resampling = DEFAULT,
) -> Calibration:
    """The map of the best of the signals to right (n,) bool, with problems (n,); every score is known and finite."""
    data = _Data(scores, right, np.asarray(problems), folds(problems))
    maps = [(i, way) for i in range(len(scores)) for way in ([method] if method else MAPS)]
    ways = maps if method or len(scores) == 1 else [*maps, (0, LEVEL)]
    everything = np.ones(len(right), bool)
    i, shape = data.best(maps, everything)
    _, way = data.best([(i, shape), *ways[len(maps) :]], everything)
    probs = {name: data.crossed([(i, name)]) for name in MAPS} | {CHOSEN: data.crossed(ways)}
    signal = scores[i].signal
    return Calibration(
        run_id="",
        signal=signal.key,
        title=signal.title,
        map=fitted(way, scores[i].values, right),
        band=data.band(i, {way, shape}),
        chosen=True,
        n_signals=len(scores),
        n=len(right),
        n_problems=len(np.unique(data.problems)),
        n_wrong=int((~right).sum()),
        left_out=0,
        judged=tuple(_judged(data, i, probs, resampling)),
        bins=tuple(_bins(probs[CHOSEN], right)),
    )


def value_of(run: Recorded, key: str) -> float:
    """The signal of the first trace of a run; NaN where the trace lacks it."""
    score = next((s for s in alone(read(run)) if s.signal.key == key), None)
    return float("nan") if score is None else float(score.values[0])


def alone(scores: Sequence[Score]) -> list[Score]:
    """The signals of one trace alone, with no other traces, rollouts or true answer: those that `ask` can read."""
    return [
        s for s in scores if not (s.signal.oracle or s.signal.of_run) and s.signal.family not in (SAMPLES, ROLLOUTS)
    ]


def _named(scores: Sequence[Score], name: str | None, run_id: str) -> list[Score]:
    if name is None:
        return list(scores)
    if found := [s for s in scores if name in (s.signal.key, s.signal.title)]:
        return found
    keys = ", ".join(s.signal.key for s in scores)
    raise UsageError(f"No signal '{name}' of single traces in run {run_id}. Choose one of: {keys}.")


def _that_have(traces: Traces, scores: Sequence[Score]) -> tuple[Traces, list[Score]]:
    """The traces that have a finite value of the one signal that was named."""
    there = np.isfinite(scores[0].values)
    if not there.any():
        raise UsageError(f"No trace of run {traces.run_id} has '{scores[0].signal.title}': {scores[0].signal.missing}.")
    return traces.among(there), [scores[0].among(there)]


def _refuse_few(traces: Traces) -> None:
    """Raise LocalentError for too few right or wrong traces."""
    problems = [len(np.unique(traces.clusters[side])) for side in (~traces.wrong, traces.wrong)]
    if min(problems) < LEAST:
        raise LocalentError(
            f"Too few right or wrong traces to calibrate run {traces.run_id}: problems with a right one: {problems[0]},"
            f" with a wrong one: {problems[1]}; {LEAST} of each are needed. Extend the run with a larger -n, or take a"
            " task that the model solves more or less often."
        )


@dataclass(frozen=True, slots=True)
class _Data:
    """The traces that are fitted to: signals, labels, and the fold of each problem."""

    scores: Sequence[Score]
    right: Array  # (n,) bool
    problems: Array
    fold: Array  # (n,) int

    def crossed(self, ways: Sequence[Way]) -> Array:
        """Probabilities of each fold from the best of the ways on the other folds: (n,)."""
        found = np.empty(len(self.right))
        for fold in range(FOLDS):
            others = self.fold != fold
            i, way = self.best(ways, others)
            values = self.scores[i].values
            found[~others] = fitted(way, values[others], self.right[others])(values[~others])
        return found

    def best(self, ways: Sequence[Way], among: Array) -> Way:
        """The way of the lowest Brier score, cross-fitted by the folds of the traces among.

        A level map, if it is one of the ways, unless the lowest is better by more than the difference's standard error:
        the lowest of many is low by luck too. After the rule of Breiman and others (1984), Classification and
        Regression Trees, section 3.4.3.
        """
        if len(ways) == 1:
            return ways[0]
        errors = {way: self._errors(way, among) for way in ways}
        lowest = min(ways, key=lambda way: float(errors[way].mean()))
        level = next((way for way in ways if way[1] == LEVEL), lowest)
        excess = errors[level] - errors[lowest]
        return level if excess.mean() <= self._standard_error(excess, among) else lowest

    def _errors(self, way: Way, among: Array) -> Array:
        """The squared error of each trace among, from the map of the other folds."""
        (i, method), p = way, np.empty(len(self.right))
        values = self.scores[i].values
        for fold in np.unique(self.fold[among]):
            held, others = among & (self.fold == fold), among & (self.fold != fold)
            p[held] = fitted(method, values[others], self.right[others])(values[held])
        return (p[among] - self.right[among]) ** 2

    def _standard_error(self, values: Array, among: Array) -> float:
        """Of the mean of the values of the traces among, problems being drawn."""
        index = problem_index(self.problems[among])
        sums = np.bincount(index, values - values.mean())
        return float(np.sqrt((sums**2).sum()) / len(values))

    def base(self) -> Array:
        """The share of right traces in the other folds: (n,)."""
        return np.array([self.right[self.fold != fold].mean() for fold in range(FOLDS)])[self.fold]

    def band(self, i: int, methods: Set[str]) -> Band:
        """Percentiles of the maps of resampled problems, on the isotonic map's steps at least as wide as Wilson's.

        The percentiles of a step function alone are too narrow (Kosorok, 2008): scripts/coverage_calibration.py. Of
        several methods: wide enough for each, since a level map leaves open how much the signal tells.
        """
        values = self.scores[i].values
        at = np.unique(np.quantile(values, np.linspace(0, 1, N_PLACES)))
        ends = np.array([self._ends(values, method, at) for method in methods])
        low, high = ends[:, 0].min(axis=0), ends[:, 1].max(axis=0)
        return Band(tuple(at.tolist()), tuple(low.tolist()), tuple(high.tolist()))

    def _ends(self, values: Array, method: str, at: Array) -> Array:
        """The interval of one map at places of the signal: (2, n_places)."""
        index = problem_index(self.problems)
        counts = resample(int(index.max()) + 1, N_RESAMPLES, SEED)
        drawn = np.array([fitted(method, values, self.right, c[index])(at) for c in counts])
        low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
        if method == ISOTONIC:
            least, most = self._of_steps(fitted(method, values, self.right), values, at)
            low, high = np.minimum(low, least), np.maximum(high, most)
        return np.array([low, high])

    def _of_steps(self, steps: ProbabilityMap, values: Array, at: Array) -> Array:
        """Wilson's interval of the share of right traces on the step of each place, a problem counted once: (2, n)."""
        step = np.cumsum(np.diff(steps.p, prepend=steps.p[0]) != 0)
        of_traces = step[np.searchsorted(steps.at, values)]
        ends = []
        for which in range(int(step[-1]) + 1):
            among = of_traces == which
            n = len(np.unique(self.problems[among]))
            ends.append(wilson(self.right[among].mean() * n, n))
        return np.array(ends)[step[np.searchsorted(steps.at, at)]].T


# --- figures ----------------------------------------------------------------------------------------------------------


def _judged(data: _Data, i: int, probs: dict[str, Array], resampling: Resampling) -> Iterator[Judged]:
    signal = data.scores[i].signal
    yield judge(BASE, data.base(), data, resampling)
    if signal.calibrated:
        yield judge("as the signal states it", 1 - data.scores[i].values, data, resampling)
    for name in MAPS:
        yield judge(f"{TITLES[name]} map of it", probs[name], data, resampling)
    yield judge(CHOSEN, probs[CHOSEN], data, resampling)


def judge(name: str, p: Array, data: _Data, resampling: Resampling = DEFAULT) -> Judged:
    """Brier score and calibration error of probabilities (n,) of being right, clustered by problem."""
    right, problems = data.right.astype(float), data.problems
    gain = (data.base() - right) ** 2 - (p - right) ** 2
    return Judged(
        name,
        brier=estimate(mean_of, (p - right) ** 2, problems=problems, resampling=resampling),
        ece=estimate(_ece_of, p, right, problems=problems, resampling=resampling),
        ece_by_chance=ece_by_chance(p),
        gain=estimate(mean_of, gain, problems=problems, resampling=resampling),
    )


def _ece_of(p: Array, right: Array) -> Statistic:
    """The calibration error over bins of equal mass: see metrics.ece."""
    return lambda counts: metrics.ece(p, right, counts, equal_mass=True)  # type: ignore[return-value]


def ece_by_chance(p: Array, seed: int = SEED, *, equal_mass: bool = True) -> float:
    """Mean calibration error if every probability (n,) were true: a few traces show one even then."""
    draws = np.random.default_rng(seed).random((N_CHANCE, len(p))) < p
    return float(np.mean([metrics.ece(p, drawn.astype(float), equal_mass=equal_mass) for drawn in draws]))


def _bins(p: Array, right: Array, n_bins: int = 10) -> Iterator[Bin]:
    """Tenths of the traces by probability, lowest first; equal probabilities share one."""
    order = np.argsort(p, kind="stable")
    ordered = p[order]
    middle = (np.searchsorted(ordered, p, "left") + np.searchsorted(ordered, p, "right") - 1) / 2
    place = (middle * n_bins // len(p)).astype(int)
    for bin_ in np.unique(place):
        among = place == bin_
        yield Bin(int(among.sum()), float(p[among].mean()), float(right[among].mean()))
