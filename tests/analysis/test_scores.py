"""Trace scores against plain loops over each trace, and sample scores against counting by hand."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from localent.analysis import scores

RNG = np.random.default_rng(0)
LENGTHS = [1, 0, 7, 40, 33, 32, 2, 100]
TRACES = [RNG.gamma(1.0, 1.0, n) for n in LENGTHS]
X = scores.padded(np.concatenate(TRACES), LENGTHS)


def by_hand(function):
    """The function of each trace's own list; NaN for the empty one."""
    return np.array([function(list(trace)) if len(trace) else np.nan for trace in TRACES])


def edis_by_hand(h, lag=4):
    bursts = sum(h[t + lag] - h[t] > 1.36 for t in range(len(h) - lag))
    rebounds = sum(h[t] - min(h[:t]) > 1.33 for t in range(1, len(h)))
    return (bursts + rebounds) / 2 * (1 + float(np.var(h)))


def windows_by_hand(h, width=32):
    return [np.mean(h[i : i + width]) for i in range(len(h) - width + 1)] or [np.mean(h)]


FORK_LEVEL = np.quantile(np.concatenate(TRACES), 0.8)
CASES = {
    "mean": (scores.mean, np.mean),
    "total": (scores.total, math.fsum),
    "largest": (scores.largest, max),
    "std": (scores.std, np.std),
    "median": (lambda x: scores.quantile(x, 0.5), np.median),
    "q90": (lambda x: scores.quantile(x, 0.9), lambda h: np.quantile(h, 0.9)),
    "spikes": (scores.spike_count, lambda h: sum(abs(b - a) > 0.7 for a, b in pairwise(h))),
    "forking": (scores.forking_share, lambda h: np.mean([v >= FORK_LEVEL for v in h])),
    "edis": (scores.edis, edis_by_hand),
    "envelope": (scores.envelope_area, lambda h: np.mean([max(h[t:]) for t in range(len(h))])),
    "worst window": (scores.worst_window, lambda h: max(windows_by_hand(h))),
    "tail": (scores.tail, lambda h: np.mean(h[-32:])),
}


@pytest.mark.parametrize("name", CASES)
def test_a_score_equals_a_loop_over_each_trace(name):
    ours, reference = CASES[name]
    assert ours(X) == pytest.approx(by_hand(reference), nan_ok=True, abs=1e-12)


def test_edis_counts_a_burst_and_its_rebound():
    """A jump of 2 nats at token 6: four lagged differences see it, and every later token is above the minimum."""
    h = scores.padded([0.0] * 6 + [2.0] * 4, [10])
    assert scores.edis(h)[0] == pytest.approx((4 + 4) / 2 * (1 + np.var([0.0] * 6 + [2.0] * 4)))


def test_a_run_without_tokens_has_no_scores():
    empty = scores.padded([], [0, 0])
    for ours, _ in CASES.values():
        assert np.isnan(ours(empty)).all()


ANSWERS = ["7", "7", "8", None, None, "3", "1"]
PROBLEMS = ["a", "a", "a", "a", "a", "b", "c"]


def test_samples_are_judged_by_the_others_only():
    """Five samples of problem a; b and c have one each, so nothing can be said of them."""
    nan = math.nan
    share, n = scores.disagreement(ANSWERS, PROBLEMS), scores.n_distinct(ANSWERS, PROBLEMS)
    assert share == pytest.approx([3 / 4, 3 / 4, 1, 1, 1, nan, nan], nan_ok=True)
    assert n == pytest.approx([4, 4, 3, 3, 3, nan, nan], nan_ok=True)
    right = np.array([1, 1, 0, 0, 0, 1, 0])
    expected = [0.25, 0.25, 0.5, 0.5, 0.5, nan, nan]
    assert scores.pass_rate_of_others(right, PROBLEMS) == pytest.approx(expected, nan_ok=True)


def test_semantic_entropy_is_the_entropy_of_the_clusters():
    found = scores.semantic_entropy(ANSWERS, PROBLEMS)
    assert found[0] == pytest.approx(stats.entropy([1, 1, 1, 1]))
    assert found[2] == pytest.approx(stats.entropy([2, 1, 1]))
    weighted = scores.semantic_entropy(ANSWERS, PROBLEMS, [0.5, 0.25, 1.0, 0.1, 0.2, 1, 1])
    assert weighted[3] == pytest.approx(stats.entropy([0.75, 1.0, 0.2]))


def test_a_sample_does_not_enter_its_own_score():
    changed = ["99", *ANSWERS[1:]]
    assert scores.semantic_entropy(changed, PROBLEMS)[0] == scores.semantic_entropy(ANSWERS, PROBLEMS)[0]


def test_semantic_entropy_is_undefined_without_weights(recwarn):
    """Two samples of no weight say nothing of the third; one of no weight beside others is as if it were not there."""
    problems, answers = ["p"] * 4, ["1", "2", "1", "3"]
    weighted = scores.semantic_entropy(answers, problems, [0.0, 0.0, 0.0, 1.0])
    assert weighted == pytest.approx([0, 0, 0, np.nan], nan_ok=True)
    unknown = scores.semantic_entropy(answers, problems, [np.nan, 1.0, 1.0, 2.0])
    assert unknown == pytest.approx([stats.entropy([1, 1, 2]), np.nan, np.nan, np.nan], nan_ok=True)
    assert not recwarn.list
