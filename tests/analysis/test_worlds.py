"""Whole families of claims on runs whose truth is known (helpers/worlds.py). More draws: scripts/coverage.py."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import worlds
from helpers.simulated import probed
from scipy import optimize, stats

from localent.analysis import claims, contrasts, information, saturation, sensitivity
from localent.analysis.claims import LENGTH, QUESTION, REPORTED, SUPPORTED
from localent.analysis.contrasts import Sample
from localent.analysis.held import Compared, by_length
from localent.analysis.sensitivity import KNOBS
from localent.analysis.verdicts import judge

N = 12
MOST = int(stats.binom.isf(0.002, N, 0.075))  # of so many draws of a claim that is supported in 7.5 %

SMALL_NULL = (
    "trendless", "near the ceiling", "heavy tails of entropy", "ties", "random walk", "steps alone, U-shaped",
    "steps and tokens", "difficulty and steps", "confidence rises", "confidence falls", "few wrong",
    "variants of 15", "tokens decide, steps spread", "one dominating question", "a third unprobed",
)  # fmt: skip


@pytest.mark.parametrize("name", SMALL_NULL)
def test_in_a_null_world_no_claim_is_supported_more_often_than_chance(name):
    rates = worlds.supported(worlds.NULL[name], range(N))
    assert all(round(rate * N) <= MOST for rate in rates.values()), rates


def test_a_leader_that_is_right_twice_as_often_has_gained_information_however_sure_it_is():
    """The raw log probability of the same traces says less of it: they are sure from the start."""
    found = [worlds.judged(worlds.PLANTED["leader's accuracy doubles"], seed) for seed in range(8)]
    assert [one[claims.GAIN_RISES.key].verdict for one in found] == [SUPPORTED] * 8
    assert {one[claims.CALIBRATION.key].verdict for one in found} == {REPORTED}
    assert all(one[claims.GAIN_RISES.key].note.startswith("by Fano") for one in found)


def test_information_is_that_of_the_best_use_of_the_leader():
    """A leader of accuracy a, always as sure: recalibrated it is worth ln 4 - h(a) - (1 - a) ln 3, Fano's bound."""
    w = worlds.World(4000, leader=(0.28, 0.58), peak=(0.99, 0.99))
    p, _ = worlds.draw(w, np.random.default_rng(0))
    start, end = (stats.entropy([a, *[(1 - a) / 3] * 3]) for a in (0.28, 0.58))
    assert p.at_end(information.gain(p)).mean() == pytest.approx(start - end, abs=0.04)
    assert (p.at_end(p.log_true) - p.log_true[:, 0]).mean() > 2 * (start - end)  # raw: the wrong were punished more


def test_two_noisy_readings_are_not_taken_for_a_gain():
    """The leader is drawn anew at each probe: a mean of two readings would be worth more than one."""
    rng = np.random.default_rng(0)
    p, _ = worlds.draw(worlds.World(1500), rng)
    right = rng.random(p.position.shape) < 0.6
    p = replace(p, p_true=np.where(right, 0.8, 0.2 / 3), leader_true=right * 1.0)
    assert abs(p.at_end(information.gain(p)).mean()) < 0.03


def numbers(n_problems, accuracy, first, rng):
    """Traces of number answers that settle, always sure, and rightly with this accuracy; before the first step nothing
    leads and `first` is on the true answer."""
    position = np.tile([0, 0.5, 1.0], (n_problems, 1))
    right = rng.random((n_problems, 1)) < accuracy
    p_true = np.where(position == 0, first, np.where(right, 0.99, 1e-4))
    p = probed(p_true, position, ~right[:, 0], np.arange(n_problems))
    return replace(p, leader_true=(position > 0) * right * 1.0, guess=np.zeros(n_problems), residual=0 * p_true)


@pytest.mark.parametrize(("accuracy", "first"), [(0.28, 0.02), (0.15, 0.02), (0.5, 0.1)])
def test_a_reader_who_keeps_the_start_in_mind_gains_what_is_there(accuracy, first):
    """The most that any mean of start and leader is worth, by scipy, at the accuracy that was drawn."""
    p = numbers(6000, accuracy, first, np.random.default_rng(0))
    drawn = 1 - p.wrong.mean()

    def loss(w):
        return -drawn * np.log(w + (1 - w) * first) - (1 - drawn) * np.log((1 - w) * first) + np.log(first)

    gained = -optimize.minimize_scalar(loss, bounds=(0.001, 0.999), method="bounded").fun
    for reader in (information.POOLING, information.OPTIMIST):
        assert p.at_end(information.gain(p, reader=reader)).mean() == pytest.approx(gained, abs=0.02)
    assert abs(p.at_end(information.gain(p)).mean()) < gained - 0.1  # who forgets it sees less


def redrawn(accuracy, rng, n=200):
    """Traces of number answers: after each step another leader, surer than before, right with its accuracy."""
    position = np.tile([0, 0.25, 0.5, 0.75, 1.0], (n, 1))
    right = rng.random((n, 5)) < np.array([0, *accuracy])
    rest = np.minimum(1e-3 * np.exp(rng.normal(0, 1.5, (n, 5))), 0.01)
    p_true = np.where(right, [0.3, 0.4, 0.6, 0.8, 0.98], rest)
    p_true[:, 0] = np.minimum(0.02 * np.exp(rng.normal(0, 1, n)), 0.9)
    p = probed(p_true, position, ~right[:, -1], np.arange(n))
    return replace(p, leader_true=(position > 0) * right * 1.0, guess=np.zeros(n), residual=0 * p_true)


def supported_later(accuracy, n_runs=40):
    """How often the claim of a rise, pooled with the start, is supported, after Holm's rule."""
    n = 0
    for seed in range(n_runs):
        p = redrawn(accuracy, np.random.default_rng(seed))
        found = {v.key: v for v in judge(Sample("m", p, np.full(len(p.wrong), 50.0), worlds.FEW), {})}
        n += found[claims.GAIN_RISES_POOLED.key].verdict == SUPPORTED
    return n


def test_a_leader_that_becomes_right_has_gained_information_though_it_is_mostly_wrong():
    """As Qwen2.5-Coder-0.5B on gsm8k: right in 2, 3, 6 and 19 of 100 after each quarter, and sure of itself."""
    assert supported_later((0.02, 0.03, 0.06, 0.19)) >= 34


def test_a_leader_that_is_only_drawn_anew_has_gained_nothing():
    """Each reading beside the start is worth something, but the last no more than the first."""
    assert supported_later((0.1, 0.1, 0.1, 0.1)) <= 4  # P(more) < 0.05 at a rate of 5 %


@pytest.mark.parametrize("n_problems", [11, 30, 100])
def test_information_that_a_cautious_reader_misses_is_not_called_small(n_problems):
    """The leader's accuracy rises from none to .28: 0.5 nats for a reader who keeps the start in mind."""
    for seed in range(12):
        p = numbers(n_problems, 0.28, 0.02, np.random.default_rng(seed))
        found = {v.key: v for v in judge(Sample("m", p, np.full(n_problems, 50.0), worlds.FEW), {})}
        for key in (claims.GAIN_RISES.key, claims.GAIN_BY_HALF.key):
            assert not found[key].is_smaller


def test_what_no_reader_gains_is_called_small():
    found = [worlds.judged(worlds.World(200), seed)[claims.GAIN_RISES.key] for seed in range(4)]
    assert all(v.is_smaller for v in found)


def test_a_reader_may_ignore_what_made_it_sure_of_the_wrong_answer():
    """Nine of ten are right at the start, and in the end nearly all are sure of a wrong answer."""
    p, _ = worlds.draw(worlds.World(1000, leader=(0.9, 0.02), peak=(0.9, 0.99)), np.random.default_rng(0))
    assert abs(p.at_end(information.gain(p)).mean()) < 0.03
    assert (p.at_end(p.log_true) - p.log_true[:, 0]).mean() < -3


@pytest.mark.parametrize("peak", [(0.3, 0.99), (0.99, 0.45)])
def test_confidence_alone_is_no_information(peak):
    p, _ = worlds.draw(worlds.World(2000, leader=(0.4, 0.4), peak=peak), np.random.default_rng(0))
    assert abs(p.at_end(information.gain(p)).mean()) < 0.02
    assert abs((p.at_end(p.log_true) - p.log_true[:, 0]).mean()) > 0.3


def test_what_falls_early_and_flattens_saturates_and_what_falls_steadily_does_not():
    for path, wanted in (("saturates", True), ("falls", False), ("rises late", False)):
        found = [worlds.judged(worlds.World(path=path), seed)[claims.SATURATION.key] for seed in range(6)]
        assert [v.verdict == SUPPORTED for v in found] == [wanted] * 6, path


def test_random_orders_put_each_probe_anywhere():
    """Three different places of five, each as often as another; never one that does not exist."""
    u = np.random.default_rng(0).random((20_000, 2, 3))
    places = saturation._distinct(u, np.array([5, 3]))
    assert (np.sort(places[:, 1], 1) == [0, 1, 2]).all()
    assert all(len(set(row)) == 3 for row in places[:500, 0].tolist())
    for i in range(3):
        assert np.bincount(places[:, 0, i], minlength=5) / 20_000 == pytest.approx(np.full(5, 0.2), abs=0.015)


def test_what_explains_a_separation_is_named():
    """Steps alone: length. Difficulty alone: the question."""
    by_steps = [worlds.judged(worlds.NULL["steps alone, U-shaped"], seed) for seed in range(4)]
    assert [one[claims.SEPARABILITY.key].verdict for one in by_steps] == [LENGTH] * 4
    by_question = [worlds.judged(worlds.NULL["difficulty alone"], seed) for seed in range(4)]
    assert [one[claims.SEPARABILITY.key].verdict for one in by_question] == [QUESTION] * 4


def test_rough_entropies_decide_nothing():
    """A gap of 0.1 nats between traces whose entropies are each known to 0.5: the same gap, known exactly, is shown."""
    exact, rough = (
        worlds.judged(worlds.World(300, planted=0.1, spread=spread, se=se), 0)[claims.SEPARABILITY.key]
        for spread, se in ((0.2, 0.0), (0.05, 0.5))
    )
    assert exact.verdict == SUPPORTED
    assert "inside the standard error of the entropies" in rough.note


def test_a_threshold_moves_the_claims_that_rest_on_it_and_no_others():
    w = worlds.World(60, planted=0.3)
    p, n_tokens = worlds.draw(w, np.random.default_rng(0))
    sample = contrasts.Sample("made", p, n_tokens, worlds.FEW)
    base = {v.key: v for v in judge(sample, {})}
    found = {(one.setting, one.value, one.verdict.key): one.verdict for one in sensitivity.sensitivity(sample, {})}
    assert {(setting, value) for setting, value, _ in found} == {(k, v) for k, some in KNOBS.items() for v in some}
    assert found["lock", 0.5, "lock_in"].effect != base["lock_in"].effect
    assert found["lock", 0.5, "separability"].effect == base["separability"].effect
    assert found["scale", 2.0, "gain_rises"].verdict == "smaller than 0.2 nats a trace"
    assert found["floor", 1e-2, "gain_rises"] == base["gain_rises"]  # among four options a guess is right once in four


def test_an_effect_of_length_that_is_left_is_seen():
    rng = np.random.default_rng(0)
    steps = rng.integers(2, 7, 200)
    wrong = rng.random(200) < 0.4
    x = Compared(1.5 * wrong + steps + rng.normal(size=200), wrong, np.arange(200), np.arange(200), steps, 20.0 * steps)
    assert by_length(x).shown
