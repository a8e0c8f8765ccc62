"""Do calibrated probabilities hold on other problems, and do null worlds gain nothing? Planted worlds.

    python scripts/coverage_calibration.py [--worlds 30]

A problem has a difficulty that moves a signal and, by a planted law, the probability of being right; six other signals
are noise. The map is chosen among all seven and both methods. Printed: the calibration error of its probabilities on
4,000 new traces, worlds in which it is said to be better than the share of right traces, and how often the 95 %
interval at seven quantiles of the signal holds the planted probability.

Results of 30 worlds a row, calibration error on new traces (mean) / said to help / interval:

    law      100 problems        300 problems        100 problems x 4    1,000 problems
    steep    0.048 / 100 % / 92  0.027 / 100 % / 87  0.027 / 100 % / 91  0.018 / 100 %
    step     0.071 /  63 % / 92  0.049 / 100 % / 95  0.042 / 100 % / 99  0.029 / 100 %
    line     0.063 /  13 % / 91  0.042 /  80 % / 85  0.034 /  97 % / 97  0.029 / 100 %
    null     0.052 /   0 % / 95  0.035 /   0 % / 93  0.043 /   0 % / 91

The last two columns, and null at 300, are of a version that had no level map among its choices.

With 100 problems the error is that of few labels, not of the form of the map. Percentiles of the resampled isotonic map
alone cover 46 to 94 %: hence Wilson's interval of its steps (calibration._Data.band).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from localent.analysis import metrics
from localent.analysis.calibration import Calibration, fit
from localent.analysis.intervals import Resampling
from localent.analysis.trace_signals import TOKEN, Score, Signal

N_NEW, N_NOISE = 4000, 6
QUANTILES = (0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95)
LAWS: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # signal -> probability of being right
    "steep": lambda s: 1 / (1 + np.exp(3 * (s - 0.3))),
    "step": lambda s: np.where(s < 0, 0.9, 0.35),
    "line": lambda s: np.clip(0.9 - 0.15 * (s + 2), 0.05, 0.95),
    "null": lambda s: np.full(np.shape(s), 0.4),
}


@dataclass(frozen=True)
class World:
    """Traces with a known law."""

    scores: list[Score]  # the first one tells
    right: np.ndarray
    problems: np.ndarray


def signal(name: str) -> Signal:
    """A signal of which nothing but the name is asked."""
    return Signal(name, name, TOKEN, lambda _: np.array([]))


def world(law: str, n_problems: int, n_samples: int, rng: np.random.Generator) -> World:
    """A run that follows a law."""
    n = n_problems * n_samples
    telling = 0.7 * rng.normal(size=n_problems).repeat(n_samples) + 0.71 * rng.normal(size=n)
    noise = [Score(signal(f"noise {i}"), rng.normal(size=n)) for i in range(N_NOISE)]
    right = rng.random(n) < LAWS[law](telling)
    return World([Score(signal("telling"), telling), *noise], right, np.arange(n_problems).repeat(n_samples))


def error_on_new(law: str, found: Calibration, rng: np.random.Generator) -> float:
    """Calibration error of the map on new traces of the law."""
    telling = rng.normal(size=N_NEW)
    right = rng.random(N_NEW) < LAWS[law](telling)
    read = telling if found.signal == "telling" else rng.normal(size=N_NEW)
    return float(metrics.ece(found.map(read), right.astype(float), equal_mass=True))


def held(law: str, found: Calibration, made: World) -> list[bool]:
    """True where the interval holds the planted probability, at the quantiles of the telling signal."""
    if found.signal != "telling":
        return []
    at = np.quantile(made.scores[0].values, QUANTILES)
    ends = [found.at(float(value))[1:] for value in at]
    return [low <= p <= high for (low, high), p in zip(ends, LAWS[law](at), strict=True)]


def row(law: str, n_problems: int, n_samples: int, n_worlds: int, seed: int = 0) -> tuple[float, float, float]:
    """(mean calibration error on new traces, share of worlds where it is said to help, coverage)."""
    errors, helps, holds = [], [], list[bool]()
    for rng in np.random.default_rng(seed).spawn(n_worlds):
        made = world(law, n_problems, n_samples, rng)
        found = fit(made.scores, made.right, made.problems, resampling=Resampling(400))
        errors.append(error_on_new(law, found, rng))
        helps.append(found.helps)
        holds += held(law, found, made)
    return float(np.mean(errors)), float(np.mean(helps)), float(np.mean(holds)) if holds else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--worlds", type=int, default=30)
    n_worlds = parser.parse_args().worlds
    for n_problems, n_samples in ((100, 1), (300, 1), (100, 4), (1000, 1)):
        for law in LAWS:
            error, helps, holds = row(law, n_problems, n_samples, n_worlds)
            name = f"{n_problems:>5} problems x {n_samples}  {law:<6}"
            print(f"{name} ECE {error:.3f}, helps {100 * helps:.0f} %, covered {100 * holds:.0f} %", flush=True)


if __name__ == "__main__":
    main()
