"""Do the 95 % intervals hold the truth 95 % of the time? A simulation of clustered runs with known metrics.

    python scripts/coverage.py                   # all rows, some minutes
    python scripts/coverage.py --samples 200     # rough, but quick
    python scripts/coverage.py --problems 100 --metric "AUROC, strata"
    python scripts/coverage.py --worlds --samples 200   # how often claims are supported where there is nothing

A problem has a hidden difficulty, normal, that makes its traces wrong and raises their score; a wrong trace scores
higher by `--effect`. The truth is the same metric over 250,000 problems. One run in twenty may miss it; with
1,000 runs the standard error of the coverage is about 0.7 points.

Results of 1,000 runs per row: coverage in %, lowest and highest over all metrics:

    300 problems, 1 or 4 attempts, 30 % wrong    93.4 (AUROC b - a) to 95.6
    100 problems, 1 or 4 attempts, 30 % wrong    93.5 (gap) to 96.3
    100 problems, 1 attempt, 10 % wrong          92.1 (PRR) to 97.0 (accuracy)
     30 problems, 4 attempts, 30 % wrong         92.4 (gap) to 95.8
     30 problems, 1 attempt, 30 % wrong          92.5 (gap) to 98.8 (AUROC within strata: wider than necessary)

Of 200 runs per row, AUROC, gap, PRR, mean and accuracy (each +- 1.5 points): 30 problems, 1 attempt, 10, 30 and 50 %
wrong 91.5 (gap) to 95.6, 93.5 to 98.5 and 93.0 to 98.0; 100 problems, 1 attempt, 10 and 30 % wrong 93.0 to 98.0 and
93.5 to 95.0. Too low: 30 problems, 4 attempts, 10 % wrong, PRR 89.5, AUROC 90.5, gap 91.0, mean and accuracy 94 to 95.

AUROC misses equally often on both sides, for two reasons. Resampling pairs would count the noise of single pairs twice;
the first-order form (metrics.auroc_of) does not: in strata, 100 problems with one attempt, coverage went from 98.3 to
96.3. The arcsine scale (intervals._angle_of) keeps coverage for few wrong traces with an AUROC near 1: in 1,500 runs of
100 problems, 5 % wrong, effect 2, it went from 87.6 to 93.2.

In 400 other runs, the wider quantile for few problems (intervals._wide_z) raised the coverage of PRR, 100 problems with
10 % wrong, from 87.0 to 90.8; plain percentiles have 84.8.

Of the null worlds, 200 runs each: any claim supported in at most 3.5 % (steps and tokens), mostly in none, a single
one in at most 2.5 %; where variants are not known as such, 9.5 and 25 %. The pooled gain is not in these figures: by
itself, uncorrected, it is supported in none of them.
A signal by itself is called beyond length, or beyond the question, in 200 runs each: 4.0 % (steps alone, linear), 3.0
(U-shaped), 2.0 and 3.5 (tokens), 4.0 (both), 2.0 (difficulty alone), 1.0 (difficulty and steps); 100 where it is so.
Likewise: 1.0 where tokens decide and entropy follows the steps, 1.5 (heavy-tailed lengths), 4.0 (two values), 3.5 (a
third of the traces not probed), 2.0 of 400 (one question has 80 of 179 traces); 2.5 for 16 variants of each of 15
problems, 28.5 where it is not known that they are variants.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from localent.analysis import intervals, metrics
from localent.analysis.intervals import Estimate, Resampling, estimate

N_TRUTH = 250_000  # problems
HEAD = "problems attempts  wrong  metric                  truth covered %  below  above   width  none"


@dataclass(frozen=True)
class Design:
    """The shape of a simulated run: problems, attempts at each, share of wrong traces."""

    n_problems: int
    n_samples: int
    wrong: float


DESIGNS = [Design(n, samples, wrong) for n in (300, 100, 30) for samples in (1, 4) for wrong in (0.1, 0.3, 0.5)]
DESIGNS += [Design(15, 1, 0.4)]


@dataclass(frozen=True)
class Sample:
    """One simulated run: arrays of one entry per trace."""

    scores: np.ndarray
    other: np.ndarray  # a second, weaker score of the same traces
    wrong: np.ndarray
    problems: np.ndarray
    strata: np.ndarray  # as numbers of steps: more for harder problems


def simulate(design: Design, effect: float, rng: np.random.Generator) -> Sample:
    """Two scores that share the problem's difficulty; the second is a rounded one, with ties."""
    n = design.n_problems * design.n_samples
    problems = np.repeat(np.arange(design.n_problems), design.n_samples)
    difficulty = rng.normal(size=design.n_problems)[problems]
    wrong = rng.random(n) < 1 / (1 + np.exp(-1.5 * difficulty - np.log(design.wrong / (1 - design.wrong))))
    scores = np.exp(0.5 * (0.5 * difficulty + effect * wrong + rng.normal(size=n)))  # skewed, as entropies are
    other = np.round(0.5 * difficulty + 0.5 * effect * wrong + rng.normal(size=n), 1)
    strata = np.clip(np.round(difficulty + rng.normal(size=n)), -2, 2)
    return Sample(scores, other, wrong, problems, strata)


def advantage(s: Sample, resampling: Resampling) -> Estimate:
    """Paired: two runs over the same problems, AUROC of the second score minus that of the first."""
    first, second = (metrics.auroc_of(x, s.wrong, problems=s.problems) for x in (s.scores, s.other))
    return intervals.paired(first, s.problems, second, s.problems, resampling)


METRICS: dict[str, Callable[[Sample, Resampling], Estimate]] = {
    "AUROC": lambda s, r: intervals.separation(s.scores, s.wrong, s.problems, resampling=r),
    "AUROC, ties": lambda s, r: intervals.separation(s.other, s.wrong, s.problems, resampling=r),
    "AUROC, strata": lambda s, r: intervals.separation(s.scores, s.wrong, s.problems, s.strata, r),
    "AUROC within question": lambda s, r: intervals.separation(s.scores, s.wrong, s.problems, s.problems, resampling=r),
    "AUROC b - a": advantage,
    "PRR": lambda s, r: estimate(metrics.prr_of, s.scores, s.wrong, problems=s.problems, resampling=r),
    "AURC": lambda s, r: estimate(metrics.aurc_of, s.scores, s.wrong, problems=s.problems, resampling=r),
    "mean": lambda s, r: estimate(metrics.mean_of, s.scores, problems=s.problems, resampling=r),
    "gap": lambda s, r: estimate(metrics.gap_of, s.scores, s.wrong, problems=s.problems, resampling=r),
    "accuracy": lambda s, r: intervals.share(~s.wrong, s.problems),
}


def truth(design: Design, effect: float) -> dict[str, float]:
    """Each metric over a very large run of the same kind."""
    large = Design(N_TRUTH, design.n_samples, design.wrong)
    found = simulate(large, effect, np.random.default_rng(123))
    return {
        "AUROC": metrics.auroc(found.scores, found.wrong),
        "AUROC, ties": metrics.auroc(found.other, found.wrong),
        "AUROC, strata": metrics.auroc(found.scores, found.wrong, found.strata),
        "AUROC within question": metrics.auroc(found.scores, found.wrong, found.problems)
        if design.n_samples > 1
        else np.nan,
        "AUROC b - a": metrics.auroc(found.other, found.wrong) - metrics.auroc(found.scores, found.wrong),
        "PRR": metrics.prr(found.scores, found.wrong),
        "AURC": metrics.aurc(found.scores, found.wrong),
        "mean": found.scores.mean(),
        "gap": found.scores[found.wrong].mean() - found.scores[~found.wrong].mean(),
        "accuracy": 1 - found.wrong.mean(),
    }


def rows(n_runs: int, effect: float, seed: int, designs: list[Design], wanted: list[str]) -> Iterator[str]:
    """One line per design and metric: coverage, misses on either side, mean width, runs without an interval."""
    yield HEAD
    for design in designs:
        true = truth(design, effect)
        streams = np.random.default_rng(seed).spawn(n_runs)
        runs = [simulate(design, effect, stream) for stream in streams]
        for name, metric in ((name, METRICS[name]) for name in wanted if not np.isnan(true[name])):
            found = [metric(run, Resampling(1000, seed=i)) for i, run in enumerate(runs)]
            yield line(design, name, true[name], [one for one in found if one.known], n_runs)


def line(design: Design, name: str, true: float, known: list[Estimate], n_runs: int) -> str:
    low, high = (np.array([getattr(one, end) for one in known]) for end in ("low", "high"))
    below, above = (100 * misses.mean() for misses in (high < true, low > true))
    size = f"{design.n_problems:>8}{design.n_samples:>9}{design.wrong:>7}  {name:<22}{true:>7.3f}"
    width = (high - low).mean()
    return f"{size}{100 - below - above:>10.1f}{below:>7.1f}{above:>7.1f}{width:>8.3f}{n_runs - len(known):>6}"


def world_rows(n_runs: int, wanted: str = "") -> Iterator[str]:
    """One line per world, in %: draws in which any claim is supported, the one claim that most often is, and those in
    which `signals` would call the answer entropy half-way beyond length.
    """
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from helpers import worlds

    yield f"{'world':<28}{'any':>6}{'beyond':>8}{'most':>7}  claim"
    unknown = {f"{name}, not known": world for name, world in worlds.UNKNOWN.items()}
    every = worlds.NULL | unknown | worlds.PLANTED
    for name, world in ((name, world) for name, world in every.items() if wanted in name):
        rates = worlds.supported(world, range(n_runs))
        any_ = rates.pop("any")
        claim = max(rates, key=lambda key: rates[key])
        beyond = worlds.beyond(world, range(n_runs))
        most = f"{100 * rates[claim]:>7.1f}  {claim if rates[claim] else ''}"
        yield f"{name:<28}{100 * any_:>6.1f}{100 * beyond:>8.1f}{most}".rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--samples", type=int, default=1000, help="simulated runs per row")
    parser.add_argument("--effect", type=float, default=1.0, help="score of a wrong trace above a right one, in sd")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--problems", type=int, choices=sorted({d.n_problems for d in DESIGNS}), help="default: all")
    parser.add_argument("--attempts", type=int, choices=(1, 4), help="default: all")
    parser.add_argument("--metric", action="append", choices=list(METRICS), help="may be repeated; default: all")
    parser.add_argument("--worlds", action="store_true", help="claims on tests/helpers/worlds.py instead")
    parser.add_argument("--world", default="", help="with --worlds: only those with this in their names")
    args = parser.parse_args()
    start = time.monotonic()
    if args.worlds:
        for text in world_rows(args.samples, args.world):
            print(text, flush=True)
        return
    designs = [d for d in DESIGNS if args.problems in (None, d.n_problems) and args.attempts in (None, d.n_samples)]
    for text in rows(args.samples, args.effect, args.seed, designs, args.metric or list(METRICS)):
        print(text, flush=True)
    print(f"{time.monotonic() - start:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
