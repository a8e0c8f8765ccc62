"""The order of candidates under repeated looks: levels that sum to 5 %, and an error rate that holds."""

from itertools import pairwise

import coverage_choose
import numpy as np
import pytest
import scipy.stats
from coverage_choose import World

from localent.analysis import sequential


@pytest.mark.parametrize("n", [1, 7, 10, 11, 100, 160, 1000])
def test_looks_double_up_to_all_and_their_levels_sum_to_the_whole(n):
    at = sequential.looks(n)
    assert at[0] == (12 if n == 1000 else min(n, 10))  # 2^-11 is the first below the level of so small a share
    assert at[-1] == n
    assert all(a < b <= 2 * a for a, b in pairwise(at))
    levels = sequential.levels(at)
    assert sum(levels) == pytest.approx(0.05)
    assert min(levels) > 0


def test_levels_follow_the_spending_function_by_hand():
    """0.05·ln(1 + 1.71828·t) at t = 0.1, 0.2, 0.4, 0.8, 1: 0.00793, 0.01476, 0.02614, 0.04328, 0.05."""
    assert np.cumsum(sequential.levels([10, 20, 40, 80, 100])) == pytest.approx(
        [0.00793, 0.01476, 0.02614, 0.04328, 0.05], abs=5e-4
    )


def test_p_is_the_larger_of_t_and_sign_flips():
    rng = np.random.default_rng(0)
    values = rng.exponential(size=(12, 2)) + np.array([0.0, 0.7])
    standing = sequential.standing(list(values.T), 0.01)
    found = standing.p[1]
    t = scipy.stats.ttest_rel(values[:, 1], values[:, 0]).pvalue
    flips = np.array([[1 if i >> j & 1 else -1 for j in range(12)] for i in range(4096)]) @ (
        values[:, 1] - values[:, 0]
    )
    exact = (np.abs(flips) >= abs((values[:, 1] - values[:, 0]).sum()) - 1e-12).mean()
    assert (standing.leader, standing.p[0]) == (0, None)
    assert found == pytest.approx(max(t, exact))


def test_equal_candidates_and_few_texts_are_open():
    rng = np.random.default_rng(1)
    one = rng.exponential(size=20)
    assert sequential.standing([one, one], 0.01).open == (1,)
    assert not sequential.standing([one[:5], 100 * one[:5]], 0.01).decided  # five texts settle nothing
    assert sequential.standing([one, 100 * one], 0.01).decided


def test_the_level_is_shared_by_the_others():
    values = np.random.default_rng(2).exponential(size=(20, 5))
    assert sequential.standing(list(values.T), 0.02).level == pytest.approx((0.005,) * 5)


def test_who_is_told_apart_is_out_and_stays_out():
    """Even where it would be told apart no more, or would lead: what it reads later is not looked at."""
    rng = np.random.default_rng(3)
    one = rng.exponential(size=40)
    close, far = one * np.exp(0.01 * rng.normal(size=40)), 3 * one
    first = sequential.standing([one[:20], close[:20], far[:20]], 0.01)
    assert first.racing == (0, 1)
    worse = sequential.standing([3 * one, close, np.zeros(40)], 0.03, first)
    assert (worse.leader, worse.open, worse.racing) == (1, (), (1,))
    assert (worse.p[2], worse.level) == (first.p[2], (0.015, 0.015, 0.005))


@pytest.mark.parametrize(("n_candidates", "first"), [(2, 10), (5, 10), (6, 11), (20, 12), (200, 16)])
def test_the_first_look_is_where_sign_flips_can_tell(n_candidates, first):
    at = sequential.looks(100, n_candidates)
    assert at[0] == first
    assert 2 / 2**first <= sequential.levels([first, 100])[0] / (n_candidates - 1)


@pytest.mark.parametrize("world", [World((1.0, 1.0), 1.0, 0.5, 40), World((1.0,) * 5, 1.0, 1.0, 40)])
def test_equal_candidates_are_seldom_put_in_order(world):
    """5 % of worlds at most, in all looks together; without the levels it would be 10 to 15 %."""
    _, wrong, _, _ = coverage_choose.outcomes(world, 200)
    assert wrong <= 0.07


def test_clear_orders_are_found_early_and_are_those_of_all_texts():
    decided, wrong, same, n = coverage_choose.outcomes(World((1.0, 1.7, 3.0, 9.0), 1.0, 0.3, 40), 100)
    assert decided > 0.85
    assert wrong <= 0.03
    assert same >= 0.97
    assert n < 40
