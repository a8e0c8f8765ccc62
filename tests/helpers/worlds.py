"""Runs whose truth is known: null worlds, in which no claim may be supported, and planted effects, which must be found.

Arrays as the analysis sees them, without a database.

A world is a few numbers; `draw` makes a run of it, `supported` judges many.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from helpers.simulated import labelled
from localent.analysis import readings, trace_signals
from localent.analysis.claims import SUPPORTED, Verdict
from localent.analysis.contrasts import Sample
from localent.analysis.intervals import Resampling
from localent.analysis.probed import Probed, only
from localent.analysis.trace_signals import Score
from localent.analysis.verdicts import judge

N_OPTIONS = 4
FEW = Resampling(300)


@dataclass(frozen=True)
class World:
    """The sizes of a run, and how its traces come about. Arrays of traces are (n,), of probes (n, K_max + 1)."""

    n_problems: int = 100
    n_samples: int = 1
    share_wrong: float = 0.4
    steps: tuple[int, int] = (2, 7)  # of a trace: from, below
    heavy: bool = False  # lengths with a heavy tail
    by_steps: str = ""  # "linear" | "u": entropy and being wrong follow the number of steps
    by_tokens: str = ""  # the same for the number of tokens
    fate_by_tokens: bool = False  # being wrong follows the tokens, while entropy follows the steps
    by_question: float = 0.0  # entropy and being wrong follow the question, in sd
    apart: float = 0.0  # entropy follows the question, and being wrong does by another draw, in sd
    dominant: int = 1  # traces of the first problem, whatever the others have
    unprobed: float = 0.0  # share of traces without any probe
    path: str = "noise"  # of the entropy: "noise" | "walk" | "ar" | "falls" | "saturates" | "rises late"
    level: float = 0.7  # nats
    spread: float = 0.2  # nats
    ties: bool = False
    planted: float = 0.0  # nats that wrong traces have more, growing over the first half
    leader: tuple[float, float] = (0.5, 0.5)  # accuracy of the leading answer at the start and at the end
    peak: tuple[float, float] = (0.7, 0.7)  # its probability
    se: float = 0.0  # nats: standard error of each entropy
    n_variants: int = 1  # problems that are one question with other numbers: nearly the same entropies, fate, steps
    grouped: bool = True  # that they are variants is known


def shape(x: np.ndarray, how: str) -> np.ndarray:
    """Standardised x, or its U: (n,) -> (n,), mean about 0."""
    ranks = np.argsort(np.argsort(x, kind="stable"), kind="stable") / max(len(x) - 1, 1) if how[-1:] == "r" else None
    z = (x - x.mean()) / (x.std() or 1.0) if ranks is None else 3.4 * (ranks - 0.5)
    return z if how.startswith("linear") else np.abs(z) * 1.6 - 1.3


def draw(w: World, rng: np.random.Generator) -> tuple[Probed, np.ndarray]:
    """(probes, tokens of each trace) of one run."""
    if w.n_variants > 1:
        return varied(w, *draw(replace(w, n_problems=w.n_problems // w.n_variants, n_variants=1), rng), rng)
    problems = np.r_[np.zeros(max(w.dominant - w.n_samples, 0), int), np.repeat(np.arange(w.n_problems), w.n_samples)]
    n = len(problems)
    n_steps = rng.integers(*w.steps, n)
    per_step = rng.lognormal(3, 1.0, n) if w.heavy else rng.uniform(15, 25, n)
    n_tokens = np.ceil(n_steps * per_step)
    push = w.by_question * rng.normal(size=w.n_problems)[problems]
    push += shape(n_steps.astype(float), w.by_steps) if w.by_steps else 0.0
    push += shape(n_tokens, w.by_tokens + "r") if w.by_tokens else 0.0
    base = np.log(w.share_wrong / (1 - w.share_wrong))
    fate = shape(n_tokens, "linear r") if w.fate_by_tokens else push
    push = shape(n_steps.astype(float), "linear") if w.fate_by_tokens else push
    if w.apart:
        fate, push = (x + w.apart * rng.normal(size=w.n_problems)[problems] for x in (fate, push))
    wrong = rng.random(n) < 1 / (1 + np.exp(-base - 1.5 * fate))
    k = np.arange(w.steps[1] - 0.0)
    position = np.where(k <= n_steps[:, None], k / n_steps[:, None], np.nan)
    entropy = paths(w, position, rng) + w.spread * push[:, None]
    entropy = entropy + w.planted * wrong[:, None] * np.minimum(2 * position, 1)
    entropy = entropy + w.se * rng.normal(size=entropy.shape)
    entropy = np.maximum(np.round(entropy, 1) if w.ties else entropy, 0.0)
    found = probed(w, problems, wrong, position, entropy, rng)
    read = rng.random((n, 1)) >= w.unprobed
    return only(found, read & ~np.isnan(position)) if w.unprobed else found, n_tokens


def varied(w: World, p: Probed, n_tokens: np.ndarray, rng: np.random.Generator) -> tuple[Probed, np.ndarray]:
    """The run with each problem in `n_variants` forms: entropies and lengths differ a little, one outcome in ten."""
    index = np.repeat(np.arange(len(p.wrong)), w.n_variants)
    found, groups = p.among(index), p.problems[index]
    problems = groups * w.n_variants + np.arange(len(index)) % w.n_variants
    entropy = np.maximum(found.entropy + 0.3 * w.spread * rng.normal(size=found.entropy.shape), 0.0)
    wrong = found.wrong ^ (rng.random(len(index)) < 0.1)
    known = dict(problems=problems, groups=groups if w.grouped else None, trace_ids=np.arange(len(index)))
    tokens = np.ceil(n_tokens[index] * rng.uniform(0.5, 1.5, len(index)))
    return replace(found, entropy=entropy, wrong=wrong, **known), tokens


def paths(w: World, position: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Entropies along each trace before anything else is added: (n, K_max + 1) nats."""
    noise, t = rng.normal(size=position.shape), position
    if w.path == "tails":
        return w.level * rng.lognormal(-0.5, 1.0, position.shape)
    if w.path in ("walk", "ar"):
        kept, found = (1.0 if w.path == "walk" else 0.7), np.cumsum(noise, 1)
        if w.path == "ar":
            found = noise.copy()
            for j in range(1, noise.shape[1]):
                found[:, j] = kept * found[:, j - 1] + np.sqrt(1 - kept**2) * noise[:, j]
        return w.level + w.spread * found
    trend = {"noise": 0 * t, "falls": -0.6 * t, "saturates": -0.6 * (1 - np.exp(-6 * t)), "rises late": 0.6 * t**3}
    return w.level + w.spread * noise + trend[w.path]


def probed(w: World, problems: np.ndarray, wrong: np.ndarray, position: np.ndarray, entropy: np.ndarray, rng) -> Probed:
    """Probes with a leader that is right as often as the world says, whatever the entropy."""
    n, shape_ = len(wrong), position.shape
    there = ~np.isnan(position)
    accuracy, peak = (a + (b - a) * np.nan_to_num(position) for a, b in (w.leader, w.peak))
    right = rng.random((n, 1)) < accuracy  # the same draw along a trace: it is won once
    p_true = np.where(right, peak, (1 - peak) / (N_OPTIONS - 1)) * np.exp(0.02 * rng.normal(size=shape_))
    columns = dict(
        k=np.where(there, np.arange(shape_[1]), np.nan), entropy=entropy, entropy_se=np.full(shape_, w.se),
        next_entropy=entropy,
        residual=np.zeros(shape_), p_true=p_true, leader_true=right * 1.0, p_leader=peak,
        invalid=np.zeros(shape_), n_tokens=np.ones(shape_), n_fed=np.ones(shape_),
    )  # fmt: skip
    columns = {name: np.where(there, values, np.nan) for name, values in columns.items()}
    leader = np.where(there, np.where(right, 0, 1 + rng.integers(0, N_OPTIONS - 1, (n, 1))), -1)
    return Probed(
        estimator="choice", control=None, trace_ids=np.arange(n), problems=problems, wrong=wrong,
        n_rollouts=np.zeros(n, int), position=position, leader=leader,
        guess=np.full(n, 1 / N_OPTIONS),
        motion=np.where(there[:, 1:], 0.0, np.nan), net_motion=np.zeros(n), **columns,
    )  # fmt: skip


# --- the worlds -----------------------------------------------------------------------------------------------------

NULL: dict[str, World] = {  # nothing here tells right from wrong beyond length and question, nor gathers information
    "trendless": World(),
    "trendless, 300 problems": World(300),
    "near the ceiling": World(level=1.38, spread=0.02),
    "near the floor": World(level=0.0, spread=0.02),
    "heavy tails of entropy": World(path="tails"),
    "ties": World(ties=True, level=0.2),
    "random walk": World(path="walk"),
    "autocorrelated": World(path="ar"),
    "steps alone, linear": World(300, by_steps="linear"),
    "steps alone, U-shaped": World(300, by_steps="u"),
    "tokens alone, linear": World(300, by_tokens="linear", heavy=True),
    "tokens alone, U-shaped": World(300, by_tokens="u", heavy=True),
    "steps and tokens": World(300, by_steps="linear", by_tokens="linear"),
    "difficulty alone": World(100, 4, by_question=1.0),
    "difficulty and steps": World(100, 4, by_question=1.0, by_steps="linear"),
    "four samples": World(60, 4),
    "few wrong": World(200, share_wrong=0.06),
    "few right": World(200, share_wrong=0.94),
    "confidence rises": World(200, leader=(0.4, 0.4), peak=(0.3, 0.99)),
    "confidence falls": World(200, leader=(0.4, 0.4), peak=(0.99, 0.45)),
    "thirty problems": World(30),
    "heavy-tailed lengths": World(200, heavy=True, steps=(2, 12)),
    "tokens decide, steps spread": World(300, fate_by_tokens=True, heavy=True),
    "one dominating question": World(100, dominant=80, apart=1.0),
    "questions of two kinds": World(100, 4, apart=1.5),
    "two values": World(150, ties=True, level=0.1, spread=0.05),
    "a third unprobed": World(150, unprobed=0.35),
    "variants": World(240, n_variants=6),
    "variants of 15": World(240, n_variants=16),
}
UNKNOWN = {  # what goes wrong where it is not known which problems are variants
    "variants": replace(NULL["variants"], grouped=False),
    "variants of 15": replace(NULL["variants of 15"], grouped=False),
}
PLANTED: dict[str, World] = {
    "leader's accuracy doubles": World(200, leader=(0.28, 0.58), peak=(0.99, 0.99)),
    "early separation": World(100, planted=0.4),
    "early separation, 4 samples": World(60, 4, planted=0.4),
    "saturates": World(100, path="saturates"),
}


def judged(w: World, seed: int, controls: bool = False) -> dict[str, Verdict]:
    """Key -> verdict of one draw."""
    p, n_tokens = draw(w, np.random.default_rng(seed))
    return {v.key: v for v in judge(Sample("made", p, n_tokens, FEW), {})}


def beyond(w: World, seeds: range) -> float:
    """Share of the draws in which `signals` would call the answer entropy half-way beyond length, shown alone."""
    found = [read_half(w, seed) for seed in seeds]
    return float(np.mean([reading.startswith("beyond") for reading in found]))


def read_half(w: World, seed: int) -> str:
    """The reading of the answer entropy half-way in one draw, with no other signal in its family."""
    p, n_tokens = draw(w, np.random.default_rng(seed))
    traces = replace(labelled(p.wrong, p.problems, n_tokens), n_steps=p.n_steps, groups=p.groups)
    return readings.family([readings.tested(Score(trace_signals.ANSWERS[0], p.at(p.entropy, 0.5)), traces)])[0].reading


def supported(w: World, seeds: range, of: Callable[[World, int], dict[str, Verdict]] = judged) -> dict[str, float]:
    """Key -> share of the draws in which the claim is supported; "any": of which at least one is."""
    found = [of(w, seed) for seed in seeds]
    keys = dict.fromkeys(key for one in found for key in one)
    rates = {key: float(np.mean([one[key].verdict == SUPPORTED for one in found])) for key in keys}
    return rates | {"any": float(np.mean([any(v.verdict == SUPPORTED for v in one.values()) for one in found]))}
