"""Policies: stops, votes and abstentions recounted by hand; settings that never see the half they are reported on."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from helpers import synthetic
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from localent import stopping
from localent.analysis import learned, load, policies, profile, signals, trace_signals
from localent.analysis import replay as replaying
from localent.analysis.intervals import Resampling
from localent.analysis.replay import replay
from localent.analysis.votes import voting
from localent.errors import UsageError
from localent.store import open_db

LAW = synthetic.Law(gain=4, against=8, token_gap=0.2)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(database, run id) of a run with three samples a problem."""
    path = tmp_path_factory.mktemp("policies") / "made.db"
    return path, synthetic.write(path, LAW, n_problems=80, n_samples=3)


@pytest.fixture(scope="module")
def parts(made):
    """Its traces, their own probes, and all of it."""
    with open_db(made[0]) as db:
        run = load.run(db, made[1])
    return run.traces, run.probes.own, run


def found(made, **options):
    with open_db(made[0]) as db:
        return replay(load.run(db, made[1]), resampling=Resampling(100), **options)


def test_a_stop_takes_the_leader_at_the_first_probe_that_allows_it(parts):
    traces, p, _ = parts
    policy = next(x for x in policies.stops(traces, p) if x.key == "entropy_threshold")
    play = policy.apply(0.6, np.ones(len(traces.wrong), bool))
    for i in range(40):
        ks = [k for k in range(int(p.n_steps[i]) + 1) if p.entropy[i, k] <= 0.6]
        expected = (p.leader_true[i, ks[0]], p.n_tokens[i, ks[0]]) if ks else (not traces.wrong[i], traces.n_tokens[i])
        assert (play.right[i], play.tokens[i]) == expected
        n_probes = ks[0] + 1 if ks else int(p.n_steps[i]) + 1
        assert play.probe_tokens[i] == 3 * n_probes


def test_no_stop_where_no_answer_leads(parts):
    """However certain the rule is there: it waits for an answer to take, or lets the trace end."""
    traces, p, _ = parts
    stopped = [next(x for x in policies.stops(traces, q) if x.key == "entropy_threshold") for q in (p, led_late(p))]
    first, late = (policy.apply(np.inf, np.ones(len(traces.wrong), bool)) for policy in stopped)
    assert (first.tokens == p.n_tokens[:, 0]).all()
    assert (late.tokens == p.n_tokens[:, 1]).all()
    assert (late.right == p.leader_true[:, 1]).all()


def led_late(p):
    """The same probes, but none at the start knows which answer leads."""
    leader = p.leader.copy()
    leader[:, 0] = -2
    return replace(p, leader=leader)


def test_a_length_cap_cuts_at_the_last_step_within_it(parts):
    traces, p, _ = parts
    play = policies.length_cap(traces, p).apply(-13.0, np.ones(len(traces.wrong), bool))
    for i in range(40):
        assert play.tokens[i] == (12 if traces.n_tokens[i] > 13 else traces.n_tokens[i])


def test_unchanged_and_moving_variance_follow_their_definitions():
    leader = np.array([[3, 3, 5, 5, 5], [-2, -2, 3, 3, -1], [3, -2, -2, 3, 3]])  # -2: no answer leads
    assert stopping.unchanged(leader).tolist() == [[0, 1, 0, 1, 2], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1]]
    h, s = [1.0, 0.2, 0.2, 0.1], stopping.SMOOTHING
    m, v, expected = h[0], 0.0, [np.nan]
    for x in h[1:]:
        m = (1 - s) * m + s * x
        v = (1 - s) * v + s * (x - m) ** 2
        expected.append(v)
    expected[1] = np.nan
    assert stopping.ema_variance(np.array([h]))[0] == pytest.approx(expected, nan_ok=True)


def test_the_majority_vote_is_a_count_with_ties_at_random(parts):
    traces, answers = parts[0], parts[0].answers
    play = voting(traces, np.ones(len(traces)))(np.ones(len(traces), bool))
    for problem, right in zip(play.problems, play.right, strict=True):
        at = np.flatnonzero(traces.problems == problem)
        votes = Counter(answers[i] for i in at)
        winners = [a for a, n in votes.items() if n == max(votes.values())]
        truths = {answers[i] for i in at if not traces.wrong[i]}
        assert right == pytest.approx(sum(w in truths for w in winners) / len(winners))


def test_traces_without_an_answer_do_not_vote(parts):
    silent = replace(parts[0], answers=np.full(len(parts[0]), None))
    play = voting(silent, np.ones(len(silent)))(np.ones(len(silent), bool))
    assert not play.right.any()


def test_the_setting_is_blind_to_the_half_that_it_is_reported_on(parts):
    """Turning every label of that half around changes what is reported, not what was chosen."""
    traces, p, run = parts
    fit, scored = replaying.half(traces.problems), trace_signals.read(run)
    turned = replace(traces, wrong=np.where(fit, traces.wrong, ~traces.wrong))
    every = (policies.policies(replace(run, traces=some), scored) for some in (traces, turned))
    fields = [replaying.Baselines(some, p, fit, {}) for some in (traces, turned)]
    for one, other in zip(*every, strict=True):
        assert fields[0].choose(one) == fields[1].choose(other)


def test_halves_do_not_move_and_split_by_problem(parts):
    problems = parts[0].problems
    fit = replaying.half(problems)
    turned = replaying.half(problems[::-1])
    assert dict(zip(problems, fit, strict=True)) == dict(zip(problems[::-1], turned, strict=True))
    assert len(set(problems[fit])) == 40
    assert len(set(problems[~fit])) == 40
    assert (replaying.half(problems, seed=1) != fit).any()


def test_a_planted_signal_gains_and_a_null_one_does_not(made):
    outcomes = {o.policy: o for o in found(made).outcomes}
    assert outcomes["abstain by mean entropy"].change.low > 0
    assert outcomes["abstain by mean entropy"].coverage.value == pytest.approx(0.8, abs=0.1)
    assert not outcomes["abstain by mean varentropy"].change.excludes(0)
    assert outcomes["majority vote"].change.value == 0
    assert outcomes["majority vote"].tokens_saved.value == 0
    assert outcomes["vote weighted by mean entropy"].change.value > 0


def test_a_signal_has_its_price(made, parts):
    """Each probe was fed three tokens; the answers of other samples cost what these samples cost."""
    outcomes, (traces, p, _) = {o.policy: o for o in found(made).outcomes}, parts
    test = ~replaying.half(traces.problems)
    usual = traces.n_tokens[test].sum()
    one, all_ = 3 * test.sum(), 3 * (p.n_steps[test] + 1).sum()
    others = sum(traces.n_tokens[test & (traces.problems == name)].sum() * 2 for name in set(traces.problems[test]))
    for name, price in (
        ("abstain by mean entropy", 0),
        ("abstain by answer entropy at half", one),
        ("abstain by lock-in time", all_),
        ("abstain by 1 - share of others that agree", others),
        ("vote weighted by answer entropy at end", one),
        ("vote weighted by mean entropy", 0),
    ):
        assert outcomes[name].tokens_saved.value == 0
        assert outcomes[name].tokens_saved_net.value == pytest.approx(-price / usual)


def test_what_consults_the_true_answer_is_no_policy(made):
    assert not any("difficulty" in o.policy for o in found(made).outcomes)


def test_results_of_a_bundled_model_say_what_they_are_about(made, tmp_path):
    path = tmp_path / "abacus.db"
    run_id = synthetic.write(path, LAW, n_problems=20, name="abacus-made")
    with open_db(path) as db:
        run = load.run(db, run_id)
    notes = (
        replay(run, policy="stop", resampling=Resampling(20)).notes,
        signals.signals(run, resampling=Resampling(20)).notes,
    )
    assert all(any("about the mechanism" in note for note in some) for some in notes)
    assert not any("about the mechanism" in note for note in found(made, policy="EAT").notes)


@pytest.mark.parametrize("n", [2, 3, 8, 9])
def test_a_small_run_is_cut_in_the_middle(tmp_path, n, recwarn):
    path = tmp_path / "small.db"
    run_id = synthetic.write(path, LAW, n_problems=n, n_samples=2)
    with open_db(path) as db:
        result = replay(load.run(db, run_id), resampling=Resampling(20))
    assert (result.n_chosen_on, result.n_reported_on) == (n // 2, n - n // 2)
    assert not recwarn.list


def test_one_problem_cannot_be_replayed(tmp_path):
    path = tmp_path / "one.db"
    run_id = synthetic.write(path, LAW, n_problems=1, n_samples=3)
    with open_db(path) as db, pytest.raises(UsageError, match="Replay needs two problems"):
        replay(load.run(db, run_id))


def test_traces_that_repeat_themselves_are_in_no_policy(tmp_path):
    """Abstaining on a loop is no merit of a signal: what is replayed is the run without them."""
    runs = {}
    for name, keep in (("looping", synthetic.looping), ("without", synthetic.without_looping)):
        path = tmp_path / f"{name}.db"
        run_id = synthetic.write(path, LAW, n_problems=40, n_samples=3, keep=keep)
        with open_db(path) as db:
            runs[name] = replay(load.run(db, run_id), resampling=Resampling(20))
    assert runs["looping"].outcomes == runs["without"].outcomes
    coverage = {name: [(one.signal.key, one.accuracy) for one in run.risk_coverage] for name, run in runs.items()}
    assert coverage["looping"] == coverage["without"]
    assert "24 traces that repeat themselves are left out of everything." in runs["looping"].notes


def test_a_ranking_says_that_its_top_is_selected_on_the_outcome(made):
    every, one = found(made, policy="stop"), found(made, policy="EAT")
    n = len(every.outcomes)
    assert any(
        note.startswith(f"{n} policies are ranked") and "selected on the outcome" in note for note in every.notes
    )
    assert not any("ranked" in note for note in one.notes)
    assert all(any("quantiles over all traces" in note for note in some.notes) for some in (every, one))


def test_kinds_names_and_unknown_policies(made):
    assert {o.kind for o in found(made, policy="stop").outcomes} == {"stop"}
    assert [o.policy for o in found(made, policy="EAT").outcomes] == ["EAT"]
    with pytest.raises(UsageError, match="No policy 'x' for run"):
        found(made, policy="x")


def test_risk_coverage_rises_for_a_planted_signal(made):
    table = {one.signal.key: one.accuracy for one in found(made, policy="EAT").risk_coverage}
    assert list(table["mean_entropy"]) == sorted(table["mean_entropy"])
    assert table["mean_entropy"][0] == pytest.approx(table["length"][0])


def test_one_sample_a_problem_says_that_there_is_nothing_to_vote_on(tmp_path):
    path = tmp_path / "one.db"
    run_id = synthetic.write(path, LAW, n_problems=40)
    with open_db(path) as db:
        result = replay(load.run(db, run_id), resampling=Resampling(100))
    assert {o.kind for o in result.outcomes} == {"stop", "abstain"}
    assert result.outcomes[0].against_majority.reason == "one sample a problem: run with --samples"
    assert any("nothing to vote on" in note for note in result.notes)


def test_run_jumps_falls_and_bends_follow_their_definitions():
    leader = np.array([[3, 3, 5, 5, 5], [-2, -2, 3, 3, -1], [3, -2, -2, 3, 3]])  # -2: no answer leads
    assert stopping.run_jump(leader).tolist() == [[1, 2, -1, 0, 1], [0, 0, 1, 2, -2], [1, -1, -1, 0, 1]]
    h = [2.0, 2.2, 1.0, np.nan, 0.5, 1.9]
    reached, seen, expected = 0.0, [], []
    for x in h:
        if np.isnan(x):
            expected.append(np.nan)
            continue
        reached = max(0.0, reached + (np.mean(seen) if seen else x) - x - stopping.SLACK)
        seen.append(x)
        expected.append(reached)
    assert stopping.falls(np.array([h]))[0] == pytest.approx(expected, nan_ok=True)
    assert not stopping.falls(np.full((1, 9), 1.3)).any()  # no change, no alarm
    t = np.array([0, 0.25, 0.5, 0.75, 1.0, np.nan])
    values = np.array([2.0, 1.9, 1.0, 0.9, 0.1, np.nan])
    line = scipy.stats.linregress(t[:5], values[:5])
    short = np.where(np.arange(6) < 2, values, np.nan)
    both = profile.bend(np.stack([values, short, 2 - t]), np.stack([t, t, t]))
    assert both == pytest.approx([1 - line.rvalue**2, np.nan, 0.0], nan_ok=True, abs=1e-12)


def test_a_minimum_of_tokens_stops_at_the_first_probe_beyond_and_pays_for_that_one(parts):
    traces, p, _ = parts
    policy = next(x for x in policies.stops(traces, p) if x.key == "minimum_tokens")
    play = policy.apply(-9.0, np.ones(len(traces), bool))
    for i in range(40):
        ks = [k for k in range(int(p.n_steps[i]) + 1) if p.n_tokens[i, k] >= 9]
        expected = (p.n_tokens[i, ks[0]], p.n_fed[i, ks[0]]) if ks else (traces.n_tokens[i], 0)
        assert (play.tokens[i], play.probe_tokens[i]) == expected


def test_the_learned_stopper_is_scikit_learns_ridge_logistic_regression():
    rng = np.random.default_rng(3)
    x, new = rng.normal(size=(200, 4)) * [1, 5, 0.1, 1], rng.normal(size=(9, 4))
    y = rng.random(200) < 1 / (1 + np.exp(-x[:, 0] + 2 * x[:, 3]))
    scale = StandardScaler().fit(x)
    other = LogisticRegression(C=1.0, tol=1e-10).fit(scale.transform(x), y)
    assert learned.predicted(x, y, new) == pytest.approx(other.predict_proba(scale.transform(new))[:, 1], abs=1e-6)


def test_the_learned_stopper_never_sees_the_labels_of_its_own_problem(parts):
    _, p, _ = parts
    own = (p.problems == p.problems[7])[:, None]
    turned = replace(p, leader_true=np.where(own, 1 - p.leader_true, p.leader_true))
    before, after = learned.leader_is_right(p), learned.leader_is_right(turned)
    known = ~np.isnan(before)
    assert np.array_equal(known, ~np.isnan(after))
    assert np.array_equal(before[known & own], after[known & own])
    assert not np.array_equal(before[known & ~own], after[known & ~own])
    assert (known == (p.leader >= 0)).all()


def test_the_learned_stopper_knows_right_leaders_from_wrong_ones(parts):
    """In a world where the answer's entropy tells; of probes whose leader is wrong half of the time."""
    _, p, _ = parts
    score, right = learned.leader_is_right(p), p.leader_true == 1
    known = ~np.isnan(score)
    assert roc_auc_score(right[known], score[known]) > 0.7


def test_every_stop_has_a_row_of_its_own(made):
    rows = {one.key: one for one in found(made, policy="stop").outcomes}
    assert set(rows) == {"length_cap", *(stop.key for stop in policies.STOPS)}
    assert all(one.tokens_saved.value is not None for one in rows.values())
