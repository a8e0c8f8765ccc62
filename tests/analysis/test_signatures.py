"""Signatures and profile by hand on small traces; Fano's bound against the table of SCIENCE.md and the definition."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from helpers import synthetic
from scipy import stats

from localent.analysis import load, profile, signatures
from localent.analysis.fano import fano_bound
from localent.analysis.intervals import Resampling
from localent.analysis.probed import Listed, Probed, codes, moved
from localent.store import open_db

NAN = math.nan
H = np.array([[1.0, 0.5, 0.05, 0.04], [1.0, 0.05, 0.5, 0.05], [0.05, 0.06, NAN, NAN], [NAN] * 4, [1.0, 1.0, 1.2, NAN]])
T = np.array([[0, 1 / 3, 2 / 3, 1], [0, 1 / 3, 2 / 3, 1], [0, 1, NAN, NAN], [NAN] * 4, [0, 0.5, 1, NAN]])


@pytest.mark.parametrize(
    ("n", "entropy", "bound"),
    [(4, 0.5, 0.120), (4, 1.0, 0.332), (4, 1.386, 0.739), (10, 0.5, 0.090), (10, 1.0, 0.217), (10, 1.386, 0.339),
     (100, 0.5, 0.060), (100, 1.0, 0.133), (100, 1.386, 0.194)],
)  # fmt: skip
def test_fano_equals_the_table(n, entropy, bound):
    assert fano_bound(entropy, n) == pytest.approx(bound, abs=6e-4)


@pytest.mark.parametrize("n", [2, 4, 10, 1000])
def test_fano_is_tight_where_the_wrong_answers_share_alike(n):
    """There H = h_b(P) + P ln(n - 1) exactly, so that the bound gives P back."""
    for error in (0.0, 0.01, 0.2, (n - 1) / n):
        p = [1 - error, *([error / (n - 1)] * (n - 1))]
        assert fano_bound(stats.entropy(p), n) == pytest.approx(error, abs=1e-6)


def test_fano_never_exceeds_the_error_of_the_best_guess():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(6, 0.5), 200)
    assert (fano_bound(stats.entropy(p, axis=1), 6) <= 1 - p.max(1) + 1e-9).all()
    assert math.isnan(fano_bound(NAN, 4))


def test_lock_in_is_the_first_probe_from_which_entropy_stays_low():
    assert signatures.lock_time(H, T) == pytest.approx([2 / 3, 1, 0, NAN, math.inf], nan_ok=True)


def test_modal_lock_is_the_first_probe_from_which_the_final_answer_leads():
    leader = np.array([[3, 5, 5, 5], [5, 3, 5, 5], [3, 3, -1, -1], [-1] * 4, [3, 3, 5, -1]])
    assert signatures.modal_lock(leader, T) == pytest.approx([1 / 3, 2 / 3, 0, NAN, 1], nan_ok=True)
    nobody = np.array([[3, -2, -2, -2], [5, -2, 5, 5], [-2, -2, -1, -1], [-1] * 4, [-2, 3, -2, -1]])
    assert signatures.modal_lock(nobody, T) == pytest.approx([math.inf, 2 / 3, math.inf, NAN, math.inf], nan_ok=True)


def test_violations_coherence_and_slope():
    assert signatures.violations(H) == pytest.approx([0, 1, 0, NAN, 1], nan_ok=True)
    assert signatures.coherence(H) == pytest.approx([0.96, 0.95, -0.01, NAN, -0.2], nan_ok=True)
    for row, found in zip(range(5), signatures.slope(H, T), strict=True):
        known = ~np.isnan(H[row])
        expected = stats.linregress(T[row, known], H[row, known]).slope if known.sum() > 1 else NAN
        assert found == pytest.approx(expected, nan_ok=True)


def test_decay_finds_the_parameters_of_an_exponential():
    t = np.linspace(0, 1, 11)
    found = signatures.decay(0.4 + 1.6 * np.exp(-3.0 * t))
    assert (found.start, found.plateau, found.rate) == pytest.approx((2.0, 0.4, 3.0), rel=1e-4)
    assert found.rmse < 1e-6
    assert signatures.decay(np.full(11, 0.7)) is None
    assert signatures.decay(1.3 + 0.02 * t) is None


def test_the_last_value_is_found_behind_gaps():
    assert signatures.last(np.array([[NAN, 1, NAN, 2, NAN], [NAN] * 5])) == pytest.approx([2, NAN], nan_ok=True)


def made(leads, wrong):
    """Probes in which only who leads matters: rows of 1 (the true answer leads), 0 and NaN."""
    leads = np.array(leads, float)
    n, width = leads.shape
    k = np.where(np.isnan(leads), NAN, np.arange(width))
    position = k / np.nanmax(k, axis=1)[:, None]
    leader = np.where(np.isnan(leads), -1, leads).astype(int)
    filled = dict.fromkeys(
        ("entropy", "entropy_se", "next_entropy", "residual", "p_true", "p_leader", "invalid", "n_tokens", "n_fed"),
        leads,
    )
    motion, ids = np.zeros((n, width - 1)), np.arange(n)
    labels = dict(
        estimator="choice",
        control=None,
        n_rollouts=np.zeros(n, int),
        trace_ids=ids,
        problems=ids,
        wrong=np.array(wrong),
    )
    probes = dict(k=k, position=position, leader=leader, leader_true=leads, motion=motion, net_motion=np.zeros(n))
    return Probed(**labels, **probes, **filled)


CASES = [
    ([1, 1, 1], False, "stable"), ([0, 0, 1], False, "rescue"), ([0, 1, 1], False, "rescue"),
    ([1, 0, 1], False, "detour"), ([1, 1, 0], False, "fragile"), ([0, 0, 0], False, "fragile"),
    ([0, 0, 0], True, "never-discovered"),
    ([1, 0, 0], True, "escape"), ([1, 1, 0], True, "escape"), ([0, 1, 0], True, "failed-rescue"),
    ([0, 0, 1], True, "stochastic-miss"), ([1, 1, 1], True, "stochastic-miss"), ([1, 0, NAN], True, "escape"),
]  # fmt: skip


@pytest.mark.parametrize(("leads", "wrong", "mechanism"), CASES)
def test_the_eight_mechanisms_follow_their_rules(leads, wrong, mechanism):
    assert profile.mechanisms(made([leads], [wrong])).tolist() == [mechanism]


def test_answered_then_abandoned_looks_before_the_end_only():
    leads = [row for row, _, _ in CASES]
    p = made(leads, [wrong for _, wrong, _ in CASES])
    gone = profile.before_end(p) & p.wrong
    assert gone.tolist() == [False] * 7 + [True, True, True, False, True, True]


def test_switches_and_returns():
    p = made([[1, 1, 1, 1], [0, 1, 0, 1], [0, 1, NAN, NAN]], [False] * 3)
    assert profile.switches(p).tolist() == [0, 3, 1]
    assert profile.returns(p).tolist() == [0, 2, 0]


def test_no_answer_is_no_leader_to_switch_or_return_to():
    """Against a plain count over the answers that lead, those without one dropped."""
    leaders = np.random.default_rng(0).choice([-2, 0, 1, 2], p=[0.5, 0.2, 0.2, 0.1], size=(200, 7))
    p = replace(made(np.ones((200, 7)), [False] * 200), leader=leaders)
    switched, returned = [], []
    for row in leaders.tolist():
        named = [code for code in row if code != -2]
        moves = [(named[:k], b) for k, (a, b) in enumerate(pairwise(named), 1) if a != b]
        switched.append(len(moves))
        returned.append(sum(b in before for before, b in moves))
    assert profile.switches(p).tolist() == switched
    assert profile.returns(p).tolist() == returned
    assert sum(returned) > 0


def test_motion_is_the_total_variation_between_neighbouring_probes(tmp_path):
    path = tmp_path / "made.db"
    run_id = synthetic.write(path, synthetic.Law(gain=3), n_problems=10)
    with open_db(path) as db:
        p = load.probes(db, run_id).own
        for i, trace_id in enumerate(p.trace_ids.tolist()):
            given = [{a.value: a.prob for a in probe.answers} for probe in db.trace(trace_id).probes]
            tv = [sum(abs(a[v] - b[v]) for v in a) / 2 for a, b in pairwise(given)]
            assert p.motion[i, : len(tv)] == pytest.approx(tv)
            assert p.net_motion[i] == pytest.approx(sum(abs(given[0][v] - given[-1][v]) for v in given[0]) / 2)
            assert p.p_leader[i, : len(given)] == pytest.approx([max(d.values()) for d in given])
    assert (profile.directness(p) <= 1 + 1e-9).all()


def test_answers_that_come_and_go_and_what_is_not_listed_count_as_motion():
    answers = codes(np.array(["7", "8", "7", "9"], object)), np.array([0.6, 0.3, 0.2, 0.5])
    _, motion, _ = moved(np.array([[0.0, 1.0]]), Listed(np.zeros(4, int), np.array([0, 0, 1, 1]), *answers))
    assert motion[0, 0] == pytest.approx((0.4 + 0.3 + 0.5 + abs(0.1 - 0.3)) / 2)


def test_a_run_has_all_signatures_and_a_floor_keeps_one_trace_from_ruling(tmp_path):
    path = tmp_path / "made.db"
    run_id = synthetic.write(path, synthetic.Law(gain=4, gain_wrong=0), n_problems=80)
    with open_db(path) as db:
        p = load.probes(db, run_id).own
    found = signatures.signatures(p, ln_others=math.log(3), resampling=Resampling(200))
    assert found.entropy.value[0] > found.entropy.value[-1]
    assert found.gain.value[0] == 0
    assert found.early_drop.known
    assert found.support.value[0] == pytest.approx(np.mean(np.exp(p.entropy[:, 0])))
    assert found.monotone_right.value is not None
    impossible = replace(p, p_true=np.where(np.arange(len(p.wrong))[:, None] == 0, 0.0, p.p_true))
    assert np.isfinite(impossible.gain[~np.isnan(p.position)]).all()
