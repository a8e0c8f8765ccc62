"""A model beside an ideal reader: every knob of a Bayesian reader is recovered; figures equal those of other means."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import scipy.stats
from helpers.bayesian import Reader, entropy
from helpers.simulated import probed

from localent.analysis import ideal, possible
from localent.analysis.claims import REFUTED, SUPPORTED
from localent.analysis.contrasts import Sample
from localent.analysis.curves import log_true
from localent.analysis.intervals import Resampling, estimate
from localent.analysis.metrics import mean_of
from localent.analysis.recorded import POWERS, Ideal
from localent.analysis.verdicts import judge

from clue_problems import CLUES, PUZZLE  # isort: skip - beside the helper
from demo_problems import clue_problems  # isort: skip

FEW = Resampling(300)


@cache
def problems(form, n=150):
    return clue_problems(n, 17, form)


def read(reader, form=CLUES, n=150):
    """(probes, ideal) of a reader after every step, as a run has them: what it believes is what a probe reads."""
    made = problems(form, n)
    width = max(len(one.course.left) for one in made)
    arrays = {
        name: np.full((n, width), np.nan) for name in ("entropy", "p_true", "leader_true", "p_leader", "position")
    }
    beside = {name: np.full((n, width), np.nan) for name in ("entropy", "excess", "outside")}
    powers = np.full((n, width, len(POWERS)), np.nan)
    for i, one in enumerate(made):
        clues, left = one.course.clues, one.course.left
        for k in range(len(left)):
            n_read = k if form == CLUES else k + reader.look_ahead
            believed = reader.believes(left[0], clues[:n_read])
            probs = {str(x): float(p) for x, p in zip(left[0], believed, strict=True)}
            leader, truth = max(probs, key=probs.__getitem__), one.problem.answer
            arrays["entropy"][i, k], arrays["p_true"][i, k] = entropy(believed), probs[truth]
            arrays["leader_true"][i, k], arrays["p_leader"][i, k] = leader == truth, probs[leader]
            arrays["position"][i, k] = k / (len(left) - 1)
            found = possible.Found(probs, 0.0, truth, probs[truth])
            beside["entropy"][i, k] = one.ideal_entropy[k]
            beside["excess"][i, k] = possible.excess(found, one.ideal_answers[k])
            beside["outside"][i, k] = possible.outside(found, one.ideal_answers[0])
            powers[i, k] = possible.raised(found)
    names, wrong = np.array([f"p{i}" for i in range(n)]), np.arange(n) % 3 == 0
    p = probed(arrays["entropy"], arrays["position"], wrong, names)
    sure = {name: np.where(np.isnan(p.position), np.nan, 0.0) for name in ("entropy_se", "residual", "invalid")}
    guess = np.array([1 / len(one.course.left[0]) for one in made])
    leads = np.where(np.isnan(p.position), -1, np.where(arrays["leader_true"] == 1, 0, 1))
    p = replace(p, **{name: arrays[name] for name in ("p_true", "leader_true", "p_leader")}, **sure)
    p = replace(p, guess=guess, leader=leads)
    return p, Ideal(**beside, powers=powers)


def figures(reader, form=CLUES, n=150):
    return ideal.beside(*read(reader, form, n), FEW)


def verdict(reader, key, form=CLUES):
    p, known = read(reader, form)
    found = judge(Sample("reader", p, np.full(len(p.wrong), 50.0), FEW), {}, beside=known)
    return {v.key: v for v in found}[key]


# ── the ideal reader itself ───────────────────────────────────────────────────────────────────────────────────────


def test_an_ideal_reader_gains_what_there_is_and_lacks_nothing():
    found = figures(Reader())
    for one in (found.raw, found.recalibrated):
        assert one.efficiency.value == pytest.approx(1, abs=0.01)
        assert one.slope.value == pytest.approx(1, abs=0.01)
        assert one.useless.value == pytest.approx(0, abs=0.003)
    assert found.correlation.value == pytest.approx(1, abs=1e-9)
    assert found.excess.value == pytest.approx(0, abs=1e-9)
    assert found.outside.value == 0
    assert found.ahead.value == pytest.approx(0, abs=0.01)
    assert found.available.value == pytest.approx(mean_available(CLUES), abs=1e-9)


def mean_available(form):
    gains = [a - b for one in problems(form) for a, b in zip(one.ideal_entropy, one.ideal_entropy[1:], strict=False)]
    return float(np.mean(gains))


@pytest.mark.parametrize("reader", [Reader(), Reader(temperature=0.4), Reader(overconfidence=3.0)], ids=repr)
def test_a_reader_of_every_clue_is_supported_on_both_claims(reader):
    """Also where it is too sure of one of the candidates left, or not sure enough."""
    assert verdict(reader, "gains_useful").verdict == SUPPORTED
    assert verdict(reader, "gains_nothing").verdict == SUPPORTED
    assert verdict(reader, "gains_nothing").p_holm < 0.05


# ── every knob is recovered ───────────────────────────────────────────────────────────────────────────────────────


def test_overconfidence_harms_raw_information_and_leaves_the_recalibrated_as_it_was():
    found, calm = figures(Reader(overconfidence=3.0)), figures(Reader())
    assert found.excess.value > 0.2
    assert found.raw.slope.value > 1.15
    for name in ("efficiency", "slope", "useful", "useless"):
        ours, theirs = (getattr(one.recalibrated, name).value for one in (found, calm))
        assert ours == pytest.approx(theirs, abs=0.02), name


def test_temperature_is_underconfidence():
    """The hotter, the less is gained; what was gained is read better when it is recalibrated."""
    cool, hot = figures(Reader(temperature=0.2)), figures(Reader(temperature=1.0))
    assert cool.raw.efficiency.value > hot.raw.efficiency.value
    assert hot.recalibrated.efficiency.value > hot.raw.efficiency.value + 0.05
    assert hot.excess.value > cool.excess.value + 0.1


def test_delay_moves_the_gain_to_later_steps():
    """The correlation of gain and what is available is lost at once, and comes back with the delay."""
    p, known = read(Reader(delay=1))
    s = ideal.steps(p, known, log_true(p.p_true))
    late = replace(s, available=np.c_[np.full(len(s.gained), np.nan), s.available[:, :-1]])
    late = replace(late, gained=np.where(np.isnan(late.available), np.nan, s.gained))
    assert ideal.gains(late, FEW).slope.value == pytest.approx(1, abs=1e-6)
    assert abs(ideal.gains(s, FEW).slope.value) < 0.3
    assert verdict(Reader(delay=1), "gains_nothing").verdict == REFUTED


def test_ignored_clues_are_the_share_that_is_not_gained():
    none = figures(Reader(ignores=1.0))
    assert none.recalibrated.efficiency.value == pytest.approx(0, abs=1e-6)
    half = figures(Reader(ignores=0.5))
    assert 0.3 < half.recalibrated.efficiency.value < 0.8
    assert verdict(Reader(ignores=1.0), "gains_useful").verdict != SUPPORTED
    assert verdict(Reader(ignores=1.0), "gains_nothing").verdict == SUPPORTED


def test_forgetting_loses_again_what_was_gained():
    found = figures(Reader(remembers=1))
    assert found.beyond.value < -0.3
    assert found.recalibrated.efficiency.high < 0.7
    assert found.recalibrated.useless.high < 0  # a clue that tells nothing takes the place of one that did
    assert found.correlation.value < 0.95


def test_look_ahead_is_information_before_its_step():
    """Of a puzzle: what the first clue tells is known before the first step, and nothing else is."""
    found = figures(Reader(look_ahead=1), PUZZLE)
    first = float(np.mean([one.ideal_entropy[0] - one.ideal_entropy[1] for one in problems(PUZZLE)]))
    assert found.ahead.value == pytest.approx(first, abs=0.06)
    assert figures(Reader(), PUZZLE).ahead.value == pytest.approx(0, abs=0.01)
    whole = figures(Reader(look_ahead=9), PUZZLE)
    assert whole.ahead.value > 1.5
    assert whole.recalibrated.efficiency.value < 0.05


# ── the formulas against other means ──────────────────────────────────────────────────────────────────────────────


def test_excess_is_the_divergence_of_scipy():
    rng = np.random.default_rng(0)
    for _ in range(50):
        p = rng.dirichlet(np.ones(6))
        left = rng.permutation(6)[: rng.integers(1, 7)]
        q = np.isin(np.arange(6), left) / len(left)
        found = possible.Found(dict(zip("abcdef", p.tolist(), strict=True)), 0.0, "a", float(p[0]))
        floored = np.maximum(p, 1e-3)
        expected = scipy.stats.entropy(q, floored) - math.log(floored.sum())  # scipy makes its argument sum to 1
        assert possible.excess(found, ["abcdef"[i] for i in left]) == pytest.approx(expected, abs=1e-9)


def test_an_answer_that_was_not_looked_at_is_not_guessed():
    found = possible.Found({"12": 0.5}, 0.3, "12", 0.5)
    assert math.isnan(possible.excess(found, ["12", "15"]))
    assert possible.excess(replace(found, residual=1e-4), ["12", "15"]) > 1
    assert possible.excess(found, ["12"]) == pytest.approx(math.log(2))
    assert math.isnan(possible.excess(found, []))
    assert math.isnan(possible.outside(found, []))
    assert possible.outside(replace(found, probs={"12": 0.5, "99": 0.2}), ["12", "15"]) == 0.2


def test_a_distribution_raised_to_a_power_sums_to_one():
    probs = {"a": 0.6, "b": 0.3, "c": 0.0999, "d": 0.0001}
    for power, p in zip(POWERS, possible.raised(possible.Found(probs, 0.0, "b", 0.3)), strict=True):
        kept = np.array([0.6, 0.3, 0.0999]) ** power
        assert p == pytest.approx(kept[1] / kept.sum())


def test_statistics_are_those_of_numpy():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 80))
    counts = rng.integers(0, 4, (3, 80)).astype(float)
    for row, r, b, ratio in zip(
        counts,
        ideal.correlation_of(x, y)(counts),
        ideal.slope_of(y, x)(counts),
        ideal.ratio_of(y, np.abs(x))(counts),
        strict=True,
    ):
        xs, ys = (np.repeat(one, row.astype(int)) for one in (x, y))
        assert r == pytest.approx(np.corrcoef(xs, ys)[0, 1])
        assert b == pytest.approx(np.polyfit(xs, ys, 1)[0])
        assert ratio == pytest.approx(ys.sum() / np.abs(xs).sum())


def test_intervals_hold_the_true_efficiency():
    """Of readers that ignore half of the clues, drawn anew each time: 95 % intervals miss the truth rarely."""
    truth = figures(Reader(ignores=0.5)).raw.useful.value
    rng, p, known = np.random.default_rng(3), *read(Reader(ignores=0.5))
    held = 0
    for _ in range(60):
        taken = rng.permutation(150)[:40]
        some = p.among(taken)
        useful = ideal.steps(some, known.among(taken), log_true(some.p_true)).useful
        found = estimate(mean_of, useful, problems=some.problems, resampling=FEW)
        held += found.low <= truth <= found.high
    assert held >= 54
