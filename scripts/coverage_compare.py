"""Do comparisons keep their promises? Null candidates that are called different, and intervals along a text.

    python scripts/coverage_compare.py                 # all rows, some minutes
    python scripts/coverage_compare.py --repetitions 100

A null candidate is the reference with another seed: the same difficulty, lengths, entropies and information of each
problem, with noise of its own. A text is a series of positions in chunks; positions, and chunks, follow their
neighbours with a correlation (AR 1). One interval in twenty may miss the mean.

Results. Null candidates that differ in something, of 600, 300, 300: 30 problems 5.0 %, 100 problems 5.0 %, 30 problems
with 4 samples 5.0 %; without Holm's rule 19 to 23 %. Texts, 1,000 each, AR 0 or 0.3
of positions: 95.2 to 96.9 % covered from a single chunk on; AR 0.3 of chunks, too: 93.0 (10 chunks) to 95.8 %; fewer
than 10 chunks do not show how much chunks differ (3: 77 %).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from scipy.signal import lfilter

from localent.analysis import divergence, neighbours, quantities
from localent.analysis.divergence import TeacherForced
from localent.analysis.pairs import Pair, free_running
from localent.analysis.prefixes import Prefix, trajectory
from localent.compare import verdict

PROGRESS = (0.0, 0.25, 0.5, 0.75, 1.0)


# --- null candidates --------------------------------------------------------------------------------------------------


def null_candidate(n_problems: int, n_samples: int, rng: np.random.Generator) -> SimpleNamespace:
    """A candidate that differs from its reference by noise alone, in everything that a sentence speaks of."""
    pairs: list[Pair] = []
    prefixes: list[Prefix] = []
    changes: list[np.ndarray] = []
    for i in range(n_problems):
        difficulty, length, along, shift = rng.normal(), rng.normal(), rng.normal(size=5), 0.02 * rng.standard_t(3)
        for _ in range(n_samples):
            pairs.append(_pair(str(i), difficulty, length, rng))
            prefixes += _path(len(pairs), str(i), difficulty, along, rng)
            changes.append(shift + 0.05 * rng.standard_t(4, size=len(pairs[-1].tokens[0])))
    forced = _forced(changes, [pair.problem for pair in pairs])
    model = SimpleNamespace(quant="null", sha256="null")
    return SimpleNamespace(model=model, forced=forced, free=free_running(pairs), trajectory=trajectory(prefixes))


def _pair(problem: str, difficulty: float, length: float, rng: np.random.Generator) -> Pair:
    first, second = (range(int(np.exp(4 + 0.4 * length + 0.3 * rng.normal()))) for _ in range(2))
    right = bool(rng.random() < _share(-difficulty)), bool(rng.random() < _share(-difficulty))
    return Pair(problem, right, ("1", "1"), (first, second))


def _path(trace: int, problem: str, difficulty: float, along: np.ndarray, rng: np.random.Generator) -> Iterator[Prefix]:
    """Both models' entropy and p(true) along one trace: shared by problem and trace, with noise of each model."""
    own, each = 0.3 * rng.normal(), 0.4 * rng.normal(size=2)
    for k, position in enumerate(PROGRESS):
        noise = 0.4 * rng.normal(size=(2, 2))
        h = [float(np.exp(0.5 * along[k] + own - 0.3 * k + 0.2 * x + y)) for x, y in zip(each, noise[0], strict=True)]
        p = [_share(0.5 * k - difficulty + x + y) for x, y in zip(each, noise[1], strict=True)]
        leads = float(p[0] > 0.5), float(p[1] > 0.5)
        yield Prefix(trace, problem, position, (h[0], h[1]), (p[0], p[1]), ("1", "1"), leads)


def _share(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


def _forced(changes: list[np.ndarray], problems: list[str]) -> TeacherForced:
    """The mean change of the token entropy, and a KLD that is above 0 in the plain way of another kernel."""
    values, owners = np.concatenate(changes), np.repeat(problems, [len(x) for x in changes])
    found = divergence.clustered(values, owners)
    zero = (quantities.KLD, quantities.KLD_MIN, quantities.KLD_MAX, quantities.DP_RMS)
    figures = [one.figure(0.001, 0.0, 0.001, 0.001) for one in zero]
    change = quantities.ENTROPY_CHANGE.figure(float(values.mean()), None, found.low, found.high)
    return TeacherForced(len(values), (*figures, divergence.tested(change, values, owners)), (), ())


def called_different(n_problems: int, n_samples: int, n: int, seed: int = 0) -> tuple[float, float]:
    """Share of n null candidates that differ in something tested: after Holm's rule, and by any p alone."""
    found = []
    for rng in np.random.default_rng(seed).spawn(n):
        one = null_candidate(n_problems, n_samples, rng)
        (said,) = verdict.verdicts([one], None)
        alone = [check.p for check in verdict.checks(one, None) if check.p is not None]
        found.append((any(c.p is not None for c in said.differs), min(alone) < verdict.ALPHA))
    after, before = np.mean(found, 0)
    return float(after), float(before)


# --- intervals along a text -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Series:
    """A text of n_chunks with so many positions each; correlations of chunks and positions with their neighbours."""

    n_chunks: int
    n_positions: int
    of_chunks: float = 0.0
    of_positions: float = 0.0


ALONE = [Series(n, 256, 0.0, of) for n in (1, 3) for of in (0.0, 0.3)]
SERIES = [*ALONE, *(Series(n, 64, *of) for n in (10, 20, 100) for of in ((0.0, 0.0), (0.0, 0.3), (0.3, 0.3)))]


def made(series: Series, rng: np.random.Generator) -> np.ndarray:
    """One text of mean 0: (n_chunks * n_positions,)."""
    own = _follows(series.n_chunks * series.n_positions, series.of_positions, rng)
    share = 0.5 if series.of_chunks else 0.0
    return own + share * np.repeat(_follows(series.n_chunks, series.of_chunks, rng), series.n_positions)


def _follows(n: int, correlation: float, rng: np.random.Generator) -> np.ndarray:
    start = 50  # left out: the series begins anywhere
    drawn = rng.normal(size=n + start)
    found: np.ndarray = lfilter([np.sqrt(1 - correlation**2)], [1, -correlation], drawn)[start:]
    return found


def covered(series: Series, n: int, seed: int = 0) -> float:
    """Share of n texts whose interval holds the mean."""
    n_cosines = neighbours.cosines(series.n_chunks)
    ends = (neighbours.interval(made(series, rng), n_cosines) for rng in np.random.default_rng(seed).spawn(n))
    return float(np.mean([low <= 0 <= high for low, high in ends if low is not None and high is not None]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=300)
    n = parser.parse_args().repetitions
    for design in ((30, 1), (100, 1), (30, 4)):
        after, before = called_different(*design, n)
        name = f"{design[0]:>4} problems x {design[1]}"
        print(f"{name}: {100 * after:.1f} % differ, {100 * before:.1f} % without Holm's rule")
    for series in SERIES:
        print(f"{series}: {100 * covered(series, 5 * n):.1f} % covered", flush=True)


if __name__ == "__main__":
    main()
