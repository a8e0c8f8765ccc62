"""The metrics against scikit-learn, scipy and brute force; the intervals against identities and planted effects."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from helpers.simulated import Simulated, probed

from localent.analysis import curves, intervals, load, metrics
from localent.analysis.intervals import Estimate, Resampling, estimate
from localent.analysis.metrics import UndefinedError
from localent.analysis.summary import summarise
from localent.records import Extraction, Probe, Problem, Step, Token, Trace
from localent.store import open_db


def sample(n=200, effect=0.7, seed=0, decimals=1, share_wrong=0.4):
    """Scores with many ties, and labels: (n,) each."""
    r = np.random.default_rng(seed)
    wrong = r.random(n) < share_wrong
    return np.round(r.normal(size=n) + effect * wrong, decimals), wrong


# --- metrics against outside truth --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_auroc_and_average_precision_are_scikit_learns(seed, decimals):
    """With ties and without, and the precision also with weights."""
    scores, wrong = sample(97 + seed, seed=seed, decimals=decimals)
    counts = np.random.default_rng(seed).integers(0, 4, len(scores))
    auroc, precision = sklearn.metrics.roc_auc_score, sklearn.metrics.average_precision_score
    assert metrics.auroc(scores, wrong) == pytest.approx(auroc(wrong, scores), abs=1e-12)
    assert metrics.average_precision(scores, wrong) == pytest.approx(precision(wrong, scores), abs=1e-12)
    weighted = precision(wrong, scores, sample_weight=counts)
    assert metrics.average_precision(scores, wrong, counts) == pytest.approx(weighted, abs=1e-12)


def test_auroc_is_mann_whitneys_u():
    scores, wrong = sample()
    u = scipy.stats.mannwhitneyu(scores[wrong], scores[~wrong]).statistic
    assert metrics.auroc(scores, wrong) == pytest.approx(u / (wrong.sum() * (~wrong).sum()), abs=1e-12)


def test_auroc_keeps_infinite_scores():
    assert metrics.auroc([math.inf, 1.0, -math.inf], [True, False, False]) == 1.0


def mean_over_orders(scores, wrong, area):
    """The mean of `area` (labels, most certain first) over every order of the traces that leaves scores sorted."""
    orders = [p for p in itertools.permutations(range(len(scores))) if all(np.diff(np.array(scores)[list(p)]) >= 0)]
    return np.mean([area(np.array(wrong, float)[list(order)]) for order in orders])


def kept_risks(labels, n_rejected):
    """Mean share of wrong over rejecting 0 to n_rejected - 1 of the least certain."""
    risk = np.cumsum(labels) / np.arange(1, len(labels) + 1)
    return risk[len(labels) - n_rejected :].mean()


CASES = [
    ([1, 1, 2, 2, 2, 3], [0, 1, 0, 1, 1, 0]),
    ([5, 5, 5, 5, 5, 5], [1, 0, 0, 1, 0, 0]),
    ([1, 2, 3, 4, 5, 6], [0, 1, 0, 0, 1, 1]),
    ([2, 1, 2, 1, 2], [1, 1, 0, 0, 0]),
]


@pytest.mark.parametrize(("scores", "wrong"), CASES)
def test_aurc_is_the_mean_over_all_orders_of_ties(scores, wrong):
    expected = mean_over_orders(scores, wrong, lambda labels: kept_risks(labels, len(labels)))
    assert metrics.aurc(scores, wrong) == pytest.approx(expected, abs=1e-12)
    coverage, risk = metrics.risk_coverage(scores, wrong)
    assert risk.mean() == pytest.approx(expected, abs=1e-12)
    assert coverage[-1] == 1
    assert risk[-1] == np.mean(wrong)


@pytest.mark.parametrize(("scores", "wrong"), CASES)
@pytest.mark.parametrize("max_rejection", [1.0, 0.5])
def test_prr_is_the_definition_over_all_orders_of_ties(scores, wrong, max_rejection):
    n = int(max_rejection * len(scores))
    mine = mean_over_orders(scores, wrong, lambda labels: kept_risks(labels, n))
    oracle = kept_risks(np.sort(np.array(wrong, float)), n)
    expected = (np.mean(wrong) - mine) / (np.mean(wrong) - oracle)
    assert metrics.prr(scores, wrong, max_rejection=max_rejection) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("max_rejection", [1.0, 0.5])
def test_prr_of_an_oracle_is_1_and_of_a_constant_0_in_any_row_order(seed, max_rejection):
    wrong = np.random.default_rng(seed).permutation([True] * 30 + [False] * 71)
    assert metrics.prr(wrong * 2.0, wrong, max_rejection=max_rejection) == pytest.approx(1, abs=1e-12)
    assert metrics.prr(np.full(101, 3.0), wrong, max_rejection=max_rejection) == pytest.approx(0, abs=1e-12)
    assert metrics.prr(-1.0 * wrong, wrong) < -0.5


def test_excess_aurc_is_zero_for_an_oracle_and_aurc_of_a_constant_is_the_error_rate():
    scores, wrong = sample()
    assert metrics.excess_aurc(wrong * 1.0, wrong) == pytest.approx(0, abs=1e-12)
    assert metrics.excess_aurc(scores, wrong) > 0.01
    assert metrics.aurc(np.zeros(200), wrong) == pytest.approx(wrong.mean(), abs=1e-12)


def test_selective_accuracy_by_hand():
    wrong = np.array([0, 0, 0, 1, 1], bool)
    assert metrics.selective_accuracy([1, 2, 3, 4, 5], wrong, 0.6) == 1.0
    assert metrics.selective_accuracy([1, 2, 3, 4, 5], wrong, 0.61) == 0.75  # four of five
    assert metrics.selective_accuracy([5, 4, 3, 2, 1], wrong, 0.4) == 0.0
    assert metrics.selective_accuracy([1, 1, 1, 1, 1], wrong, 0.4) == pytest.approx(0.6)


def test_brier_is_scikit_learns():
    r = np.random.default_rng(0)
    probs, correct = r.random(100), r.random(100) < 0.5
    assert metrics.brier(probs, correct) == pytest.approx(sklearn.metrics.brier_score_loss(correct, probs), abs=1e-12)


def test_ece_is_the_loop_over_bins():
    r = np.random.default_rng(0)
    probs = np.r_[0.0, 0.1, 0.3, 1.0, r.random(200)]
    correct = r.random(204) < probs**2
    total = 0.0
    for low in range(10):
        inside = (probs > low / 10) & (probs <= (low + 1) / 10) | ((probs == 0) & (low == 0))
        total += inside.sum() * abs(correct[inside].mean() - probs[inside].mean())
    assert metrics.ece(probs, correct) == pytest.approx(total / 204, abs=1e-12)


def test_ece_bins_are_closed_on_the_right():
    """0.1 and 0.15 are in different bins, 0.7 and 0.65 in one, whatever 10 x 0.7 is in floating point."""
    assert metrics.ece([0.1, 0.15], [True, False]) == pytest.approx((0.9 + 0.15) / 2, abs=1e-12)
    assert metrics.ece([0.7, 0.65], [True, False]) == pytest.approx(abs(0.3 - 0.65) / 2, abs=1e-12)


def test_ece_with_equal_mass_puts_equal_probabilities_together():
    probs, correct = np.repeat([0.2, 0.8], 50), np.r_[np.arange(50) < 10, np.arange(50) < 40]
    assert metrics.ece(probs, correct, equal_mass=True) == pytest.approx(0, abs=1e-12)
    assert metrics.ece(probs, ~correct, equal_mass=True) == pytest.approx(0.6, abs=1e-12)
    spread = np.linspace(0.01, 0.99, 100)
    bins = np.split(np.arange(100), 10)
    expected = np.mean([abs(correct[b].mean() - spread[b].mean()) for b in bins])
    assert metrics.ece(spread, correct, equal_mass=True) == pytest.approx(expected, abs=1e-12)


METRICS = [
    metrics.average_precision,
    metrics.aurc,
    metrics.excess_aurc,
    metrics.prr,
    lambda *a: metrics.prr(*a[:2], *a[2:], max_rejection=0.5),
    lambda scores, wrong, *c: metrics.selective_accuracy(scores, wrong, 0.8, *c),
    lambda scores, wrong, *c: metrics.ece(1 / (1 + np.exp(scores)), ~wrong, *c),
    lambda scores, wrong, *c: metrics.brier(1 / (1 + np.exp(scores)), ~wrong, *c),
]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("decimals", [0, 8])
def test_counting_a_trace_twice_is_having_it_twice(metric, decimals):
    """The identity behind the bootstrap: counts (2, n) give the metrics of the two samples written out."""
    scores, wrong = sample(60, decimals=decimals)
    counts = np.random.default_rng(1).integers(0, 4, (2, 60))
    written_out = [metric(np.repeat(scores, row), np.repeat(wrong, row)) for row in counts]
    assert metric(scores, wrong, counts) == pytest.approx(written_out, abs=1e-12)


@pytest.mark.parametrize("metric", [metrics.auroc, metrics.average_precision, metrics.prr])
def test_one_class_is_undefined_and_says_which(metric):
    with pytest.raises(UndefinedError, match="all traces are right"):
        metric([1, 2], [False, False])
    with pytest.raises(UndefinedError, match="all traces are wrong"):
        metric([1, 2], [True, True])
    with pytest.raises(UndefinedError, match="no traces"):
        metric([], [])


@pytest.mark.parametrize("metric", [metrics.average_precision, metrics.prr])
def test_a_resample_of_one_class_is_nan(metric):
    both = metric([1.0, 2.0, 3.0], [False, True, False], [[1, 1, 1], [1, 0, 2]])
    assert not np.isnan(both[0])
    assert np.isnan(both[1])


def test_a_missing_score_is_an_error_in_a_metric():
    with pytest.raises(ValueError, match="got 1 NaN"):
        metrics.auroc([1.0, math.nan], [True, False])
    with pytest.raises(ValueError, match="of one length"):
        metrics.auroc([1.0, 2.0], [True])
    with pytest.raises(ValueError, match="probabilities"):
        metrics.brier([1.2], [True])


# --- intervals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_right", "n"), [(0, 5), (3, 5), (70, 100), (100, 100)])
def test_wilson_is_scipys(n_right, n):
    theirs = scipy.stats.binomtest(n_right, n).proportion_ci(method="wilson")
    assert intervals.wilson(n_right, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    flags = np.arange(n) < n_right
    found = intervals.share(flags, range(n))
    assert found.value == n_right / n
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_a_share_over_repeated_attempts_is_as_wide_as_over_problems():
    """Ten identical attempts at each of 50 problems are 50 observations, also where all are right."""
    flags = np.arange(50) < 35
    once, ten = (intervals.share(np.repeat(flags, m), np.repeat(np.arange(50), m)) for m in (1, 10))
    assert (ten.low, ten.high) == pytest.approx((once.low, once.high), abs=1e-12)
    all_right = intervals.share(np.ones(500), np.repeat(np.arange(50), 10))
    assert (all_right.low, all_right.high) == pytest.approx(intervals.wilson(50, 50))


def test_bca_is_scipys_for_one_trace_per_problem(monkeypatch):
    """Up to simulation noise, once the widening for few problems is taken off."""
    monkeypatch.setattr(intervals, "_wide_z", lambda *_: scipy.stats.norm.ppf(0.975))
    values = np.random.default_rng(0).exponential(size=200)
    theirs = scipy.stats.bootstrap((values,), np.mean, n_resamples=20_000, rng=1, method="BCa").confidence_interval
    low, high = intervals.bootstrap(metrics.mean_of(values), range(200), Resampling(20_000, seed=2))
    width = theirs.high - theirs.low
    assert low == pytest.approx(theirs.low, abs=0.03 * width)
    assert high == pytest.approx(theirs.high, abs=0.03 * width)
    assert high - values.mean() > 1.05 * (values.mean() - low)  # skewed, as BCa must see


def test_intervals_widen_where_few_problems_carry_the_metric():
    """Equal pulls of n problems: Student's t with n - 1 degrees of freedom; one of twenty that pulls alone: few."""
    equal = np.tile([1.0, -1.0], 10)
    expected = math.sqrt(20 / 19) * scipy.stats.t.ppf(0.975, 19)
    assert intervals._wide_z(0.95, equal) == pytest.approx(expected, abs=1e-9)
    lone = np.r_[1.0, np.full(19, -1 / 19)]
    kurtosis = 20 * (lone**4).sum() / (lone**2).sum() ** 2
    few = 2 * 20 / (kurtosis - 1)
    expected = math.sqrt((few + 1) / few) * scipy.stats.t.ppf(0.975, few)
    assert expected > 3
    assert intervals._wide_z(0.95, lone) == pytest.approx(expected, abs=1e-9)


def test_resamples_are_samples_written_out():
    scores, wrong = sample(60)
    index = np.repeat(np.arange(20), 3)
    drawn = intervals.resample(20, 50, seed=3)
    assert (drawn.sum(1) == 20).all()
    expected = []
    for row in drawn:
        taken = np.concatenate([np.flatnonzero(index == p) for p in np.repeat(np.arange(20), row)])
        expected.append(sklearn.metrics.average_precision_score(wrong[taken], scores[taken]))
    found = intervals.replicates(partial(metrics.average_precision, scores, wrong), index, drawn)
    assert found == pytest.approx(expected, abs=1e-12)


def test_memory_is_bounded_without_changing_the_result(monkeypatch):
    scores, wrong = sample(60)
    statistic, index, drawn = metrics.auroc_of(scores, wrong), np.arange(60), intervals.resample(60, 40, seed=3)
    whole = intervals.replicates(statistic, index, drawn)
    monkeypatch.setattr(intervals, "CHUNK", 100)
    assert intervals.replicates(statistic, index, drawn) == pytest.approx(whole, abs=1e-14)


@pytest.mark.parametrize("make", [metrics.auroc_of, metrics.gap_of, metrics.prr_of])
def test_repeating_every_attempt_does_not_narrow_the_interval(make):
    """Five copies of a trace in the same problem are no more evidence than one; as new problems they would be."""
    scores, wrong = sample(80)
    once = estimate(make, scores, wrong, problems=np.arange(80))
    copies = [np.repeat(x, 5) for x in (scores, wrong, np.arange(80))]
    clustered = estimate(make, *copies[:2], problems=copies[2])
    naive = estimate(make, *copies[:2], problems=np.arange(400))
    assert (clustered.low, clustered.high) == pytest.approx((once.low, once.high), rel=0.02)
    assert naive.high - naive.low < 0.6 * (once.high - once.low)
    assert (clustered.n, clustered.n_problems) == (400, 80)


def test_the_seed_decides_and_order_of_names_does_not_matter():
    scores, wrong = sample(80)
    draws = (Resampling(seed=seed) for seed in (1, 1, 2))
    first, again, other = (intervals.separation(scores, wrong, range(80), resampling=drawn) for drawn in draws)
    assert first == again
    assert first != other


def test_missing_scores_are_counted_and_left_out():
    scores, wrong = sample(80)
    holed = [None if i % 4 == 0 else s for i, s in enumerate(scores)]
    kept = np.arange(80) % 4 != 0
    found = intervals.separation(holed, wrong, range(80))
    assert (found.n, found.n_missing) == (60, 20)
    assert found.value == pytest.approx(metrics.auroc(scores[kept], wrong[kept]))
    nothing = intervals.separation([None, math.nan], [True, False], list("ab"))
    assert nothing == Estimate(None, n_missing=2, reason="no trace has it")


def test_undefined_estimates_carry_their_reason():
    assert intervals.separation([1, 2], [False, False], list("ab")).reason == "all traces are right"
    assert intervals.separation([], [], []).reason == "no traces"
    few = intervals.separation([1, 2, 3], [True, False, False], list("abc"))
    assert few.value == 0.0
    assert few.low is None
    assert "too few problems" in few.reason
    assert not few.excludes(0.5)
    nine, ten = (estimate(metrics.mean_of, np.arange(n), problems=range(n)) for n in (9, 10))
    assert not nine.known
    assert ten.known


def test_perfect_separation_of_few_is_not_certain():
    """All resamples agree on 1, yet six wrong traces cannot show that it is 1."""
    wrong = np.arange(40) < 12
    found = intervals.separation(wrong * 1.0, wrong, range(40))
    assert found.value == found.high == 1.0
    assert found.low == pytest.approx(12 / (12 + 3.841), abs=1e-3)  # Wilson's bound for 12 of 12


def test_all_attempts_at_one_problem_are_one():
    """A hundred tries at one question say of others what one try says."""
    flags = np.arange(100) < 50
    one = intervals.share(flags, np.zeros(100))
    assert (one.low, one.high) == pytest.approx(intervals.wilson(0.5, 1))


def test_few_wrong_traces_make_no_interval():
    """However many right ones there are; five do."""
    four, five = (
        intervals.separation(np.arange(40), np.isin(np.arange(40), at), range(40))
        for at in ([5, 30, 9, 14], [5, 30, 9, 14, 21])
    )
    assert four.reason == "too few right or wrong traces for an interval"
    assert four.value == pytest.approx(metrics.auroc(np.arange(40), np.isin(np.arange(40), [5, 30, 9, 14])))
    assert five.known


def test_the_interval_of_an_auroc_stays_inside_its_range():
    scores, wrong = sample(30, 3.0)
    found = intervals.separation(scores, wrong, range(30))
    assert estimate(metrics.auroc_of, scores, wrong, problems=range(30)).high > 1
    assert 0.5 < found.low < found.value < found.high <= 1
    assert found.value == pytest.approx(sklearn.metrics.roc_auc_score(wrong, scores), abs=1e-12)


def test_perfect_separation_counts_the_problems_that_are_in_a_pair():
    """Five wrong traces share a stratum with right ones; 200 others have no partner and prove nothing."""
    wrong = np.r_[np.ones(5), np.zeros(30), np.ones(100), np.zeros(100)].astype(bool)
    strata = np.r_[np.zeros(35), np.ones(100), np.full(100, 2)]
    found = intervals.separation(wrong + np.linspace(0, 0.5, 235), wrong, range(235), strata)
    theirs = scipy.stats.binomtest(5, 5).proportion_ci(method="wilson")
    assert (found.value, found.low, found.high) == pytest.approx((1, theirs.low, theirs.high), abs=1e-12)
    assert (found.n, found.n_problems, found.n_missing) == (35, 35, 0)
    one_missing = np.where(np.arange(235) == 0, np.nan, wrong + 0.0)
    assert intervals.separation(one_missing, wrong, range(235), strata).n == 34


def test_a_planted_effect_is_found_and_none_is_not():
    planted = [intervals.separation(*sample(300, 0.8, seed), range(300)).excludes(0.5) for seed in range(10)]
    null = [intervals.separation(*sample(300, 0.0, seed), range(300)).excludes(0.5) for seed in range(40)]
    assert all(planted)
    assert sum(null) <= 6  # 2 expected; P(more than 6) = 0.3 % at 95 % coverage


def test_paired_takes_the_same_problems_in_both_arms():
    r = np.random.default_rng(0)
    difficulty = r.normal(size=200)
    a, b = difficulty, difficulty + 0.1 + 0.01 * r.normal(size=200)
    order = r.permutation(200)
    names = np.array([f"p{i}" for i in range(200)])
    found = intervals.paired(metrics.mean_of(a), names, metrics.mean_of(b[order]), names[order])
    assert found.value == pytest.approx(b.mean() - a.mean())
    assert found.high - found.low < 0.01  # unpaired it would be 0.4
    assert found.low < 0.1 < found.high


def test_paired_uses_shared_problems_only():
    a, b = np.array([1.0, 2, 3, 4, 100]), np.array([2.0, 3, 4, 5, 900])
    found = intervals.paired(metrics.mean_of(a), list("abcdx"), metrics.mean_of(b), list("abcdy"))
    assert found.value == pytest.approx(1.0)
    assert (found.n, found.n_missing, found.n_problems) == (8, 2, 4)
    assert intervals.paired(metrics.mean_of(a), list("abcde"), metrics.mean_of(b), list("vwxyz")).value is None


def test_analysis_does_not_load_scipy_until_an_interval_is_asked_for():
    code = "import sys, localent.analysis.summary, localent.report.terminal; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- curves -------------------------------------------------------------------------------------------------------


def probes(*traces):
    """(wrong, values after k = 0, 1, ...) per trace, each its own problem."""
    width, problems = max(len(values) for _, values in traces), np.array([f"p{i}" for i in range(len(traces))])
    values, positions = np.full((2, len(traces), width), np.nan)
    for i, (_, given) in enumerate(traces):
        values[i, : len(given)] = given
        positions[i, : len(given)] = np.arange(len(given)) / max(1, len(given) - 1)
    return probed(values, positions, np.array([wrong for wrong, _ in traces]), problems)


def test_value_at_a_position_is_that_of_the_last_probe_so_far():
    p = probes((False, [9.0, 7, 5, 3]), (True, [8.0, 4]), (True, [6.0]))
    assert p.at(p.entropy, 0.5).tolist() == [7, 8, 6]
    assert p.at(p.entropy, [0.0, 1 / 3, 0.34, 2 / 3, 0.99, 1.0])[0].tolist() == [9, 7, 7, 5, 5, 3]
    assert p.at(p.entropy, [0.0, 0.99, 1.0])[1:].tolist() == [[8, 8, 4], [6, 6, 6]]
    assert p.half_way(p.entropy) == pytest.approx([7, np.nan, np.nan], nan_ok=True)


@pytest.mark.parametrize("n_steps", range(1, 41))
def test_grid_positions_meet_probes_at_the_same_share(n_steps):
    """k/K and i/10 are not the same float: 3/10 from the grid must still reach the third of ten steps."""
    p = probes((False, [float(k) for k in range(n_steps + 1)]))
    expected = [i * n_steps // 10 for i in range(11)]
    assert p.at(p.entropy, curves.GRID)[0].tolist() == expected
    assert p.at(p.entropy, [i * 0.1 for i in range(11)])[0].tolist() == expected
    assert p.at(p.entropy, [1 - i / 10 for i in range(11)])[0].tolist() == expected[::-1]  # 0.0999...98


def test_curves_by_class_are_means_and_their_gap():
    many = [(i % 2 == 1, [3.0, 2.0 + (i % 2), 1.0 + 0.01 * i]) for i in range(40)]
    p = probes(*many, (True, [5.0]))
    found = curves.by_class(range(3), p.entropy, p.wrong, p.problems)
    assert found.right.value == pytest.approx([3, 2, 1.19])
    assert found.wrong.value == pytest.approx([(60 + 5) / 21, 3, 1.2])
    assert found.gap.value == pytest.approx(found.wrong.value - found.right.value)
    assert found.wrong.n.tolist() == [21, 20, 20]
    assert (found.gap.low[2], found.gap.high[2]) != (0, 0)
    assert found.gap.low[1] == found.gap.high[1] == 1
    assert curves.curve(range(3), p.entropy, p.problems).value[1] == pytest.approx(2.5)
    by_position = curves.by_class(curves.GRID, p.at(p.entropy, curves.GRID), p.wrong, p.problems)
    assert by_position.wrong.n.tolist() == [21] * 11


def test_a_point_of_few_traces_has_no_interval():
    """Nine of 60 traces reach a second step: their mean is shown, but not how sure it is."""
    many = [(False, [1.0 + i, 2.0 + i % 7, 3.0 + i][: 3 if i < 9 else 2]) for i in range(60)]
    p = probes(*many)
    found = curves.curve(range(3), p.entropy, p.problems)
    assert found.value[2] == 7
    assert np.isnan(found.low).tolist() == [False, False, True]


def test_information_gain_by_hand():
    """A true answer that goes from 1/8 to 1/4 to 1 gains ln 2, then ln 8; one that dies counts as 1 in 1,000."""
    rising, dying = [1 / 8, 1 / 4, 1.0], [1 / 4, 1e-30, 0.0]
    p = probes((False, rising), (True, [None] * 3), (True, dying))
    gains = p.at(p.gain, (0.0, 0.5, 1.0))
    assert gains[0] == pytest.approx([0, math.log(2), math.log(8)])
    assert np.isnan(gains[1]).all()
    assert gains[2] == pytest.approx([0, math.log(4 / 1000), math.log(4 / 1000)])
    mean = estimate(metrics.mean_of, gains[:, -1], problems=p.problems)
    assert mean.value == pytest.approx((math.log(8) + math.log(4 / 1000)) / 2)
    assert (mean.n, mean.n_missing) == (2, 1)


def test_half_way_a_trace_of_one_step_has_gained_nothing_yet_and_is_left_out():
    p = probes((False, [1 / 8, 1 / 4, 1.0]), (False, [1 / 8, 1.0]))
    assert p.half_way(p.gain) == pytest.approx([math.log(2), np.nan], nan_ok=True)
    assert p.at(p.gain, 1.0) == pytest.approx([math.log(8)] * 2)


# --- a whole run --------------------------------------------------------------------------------------------------


def test_an_effect_on_entropy_is_seen_and_is_beyond_length():
    s = Simulated(entropy_effect=0.15).summary()
    assert s.signal.auroc.low > 0.6
    assert s.signal.advantage.low > 0
    assert not s.signal.length.excludes(0.5)
    assert s.token_entropy.gap.low < 0.15 < s.token_entropy.gap.high
    assert s.answers.half.gap.excludes(0)
    assert s.answers.signal_half.advantage.low > 0
    assert s.answers.gain_end.low > 0


def test_a_null_effect_is_not_seen():
    s = Simulated().summary()
    assert not s.signal.auroc.excludes(0.5)
    assert not s.signal.advantage.excludes(0)
    assert not s.token_entropy.gap.excludes(0)
    assert not s.answers.half.gap.excludes(0)


@pytest.mark.parametrize("length_effect", [20, -20])
def test_a_pure_length_effect_is_not_beyond_length(length_effect):
    """Entropy tells wrong from right only because it follows length, whether the wrong traces are long or short."""
    s = Simulated(length_effect=length_effect, by_length=True).summary()
    assert s.signal.length.excludes(0.5)
    assert (s.signal.length.value > 0.5) == (length_effect > 0)
    assert s.signal.auroc.low > 0.5
    assert not s.signal.advantage.low > 0


def test_half_way_is_compared_among_equal_steps_too():
    """Right traces have one step, wrong ones four: half-way of one step is its start, and looks uncertain."""
    run = Simulated(n_problems=80, share_wrong=0.5)
    traces, found = run.columns
    right = dict(zip(traces["trace_id"], traces["correct"], strict=True))
    kept = [i for i, k in enumerate(found["k"]) if k <= (1 if right[found["trace_id"][i]] else 4)]
    found |= {name: [column[i] for i in kept] for name, column in found.items()}
    last = dict(zip(found["trace_id"], found["k"], strict=True))
    found["position"] = [k / last[trace] for trace, k in zip(found["trace_id"], found["k"], strict=True)]
    rows = zip(found["k"], found["trace_id"], strict=True)
    found["entropy"] = [2 - 0.5 * k + 0.1 * (not right[trace]) for k, trace in rows]
    answers = run.summary().answers
    assert answers.signal_half.auroc.value < 0.5  # wrong ones look more certain
    assert answers.signal_half_equal.auroc.value == 1.0  # as many steps: every wrong one above every right one
    assert answers.signal_half_equal.auroc.low < 1.0  # which no interval takes for certain
    steps = np.array([last[trace] for trace in traces["trace_id"]])
    wrong = ~np.array(traces["correct"], bool)
    pairs = [(a, b) for a in np.flatnonzero(wrong) for b in np.flatnonzero(~wrong) if steps[a] == steps[b]]
    assert len(pairs) > 20
    lengths = np.array(traces["n_tokens"])
    won = np.mean([np.sign(lengths[a] - lengths[b]) / 2 + 0.5 for a, b in pairs])
    assert answers.signal_half_equal.length.value == pytest.approx(won, abs=1e-6)


def test_unexplored_probability_stands_beside_the_answer_entropy():
    """0.2 of it at k = 0, half of that after one step, ...: means of what the probes left open."""
    found = Simulated(n_problems=30).summary().answers.residual_along
    assert found.value[:3] == pytest.approx([0.2, 0.1, 0.2 / 3])
    assert found.n[0] == 30


def test_runs_that_lack_something_give_reasons():
    right = Simulated(share_wrong=0.0, n_problems=30).summary()
    assert right.signal.auroc.reason == "all traces are right"
    assert right.token_entropy.right.known
    assert right.token_entropy.gap.value is None
    assert right.answers.by_position.wrong.n.sum() == 0
    assert np.isnan(right.answers.by_position.wrong.value).all()
    none = Simulated(n_problems=0).summary()
    assert none.accuracy.reason == "no traces"
    assert none.answers is None
    assert Simulated(probed=False).summary().answers is None
    assert Simulated(n_problems=1).summary().n_traces == 1


def a_trace(problem_id, sample, correct, n_steps, rng):
    """A trace with probes at every step, made of random numbers."""
    measures = dict(varentropy=0.1, renyi2=0.2, top1_prob=0.5, margin=1.0, rank=1, self_certainty=2.0)
    tokens = tuple(Token(1, b"x", 0.5, float(rng.random()), **measures) for _ in range(4 * (n_steps + 1)))
    kinds = ["reasoning"] * n_steps + ["answer"]
    steps = tuple(Step(i, 4 * i, 4 * i + 4, "xxxx", kind) for i, kind in enumerate(kinds))
    numbers = rng.random((n_steps + 1, 2)).tolist()
    same = dict(estimator="number", answers=(), invalid=0.0, residual=0.0, leader="18", n_fed=3)
    found = tuple(
        Probe(
            **same, k=k, n_tokens=4 * k, position=k / n_steps, p_true=p, log_p_true=math.log(p),
            **dict.fromkeys(("entropy", "entropy_se", "entropy_lower", "entropy_upper"), h),
        )
        for k, (h, p) in enumerate(numbers)
    )  # fmt: skip
    read = Extraction("18" if sample else None, None, "last number", None if sample else "no number")
    finish = "stop" if sample else "length"
    return Trace(problem_id, sample, "x" * len(tokens), 5, finish, read, correct, tokens, steps, found)


def test_a_summary_of_a_stored_run_agrees_with_the_stores_own_view(tmp_path):
    r, source = np.random.default_rng(0), Simulated()
    run = source.run("")
    with open_db(tmp_path / "runs.db") as db:
        db.add_model(source.model(""))
        db.add_task("sums", "number")
        db.add_problems("sums", [Problem(f"p{i}", str(i), "?", "18", n_steps=i % 3) for i in range(30)])
        db.add_run(run)
        for i, sample_ in itertools.product(range(30), range(3)):
            db.add_trace(run.run_id, a_trace(f"p{i}", sample_, bool(r.random() < 0.6), 1 + int(r.integers(7)), r))
        s = summarise(load.traces(db, run.run_id[:5]), load.probes(db, run.run_id[:5]).own)
        view, rows = db.runs()[0], db.traces(run.run_id)
    assert s.accuracy.value == pytest.approx(view["accuracy"])
    assert s.extraction_failures.value == pytest.approx(1 / 3) == view["extraction_failure_rate"]
    assert s.truncated.value == pytest.approx(1 / 3) == view["truncation_rate"]
    assert s.accuracy_finished.n == 60
    assert s.token_entropy.right.value == pytest.approx(view["mean_entropy_right"])
    assert s.answers.half.right.value == pytest.approx(view["answer_entropy_half_right"])
    assert s.answers.half.wrong.value == pytest.approx(view["answer_entropy_half_wrong"])
    expected = sklearn.metrics.roc_auc_score(1 - np.array(rows["correct"]), rows["answer_entropy_half"])
    assert s.answers.signal_half.auroc.value == pytest.approx(expected, abs=1e-12)
    assert [a.n_steps for a in s.accuracy_by_difficulty] == [0, 1, 2]
    assert (s.n_traces, s.n_problems, s.accuracy.n_problems) == (90, 30, 30)
    assert s.run_id == run.run_id
