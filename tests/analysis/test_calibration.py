"""Calibrated probabilities: the maps against other libraries, cross-fitting, planted and null worlds, the database."""

import json
from types import SimpleNamespace

import coverage_calibration as worlds
import numpy as np
import pytest
from click.testing import CliRunner
from helpers import made, synthetic
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from localent.analysis import calibration, load
from localent.analysis.calibration import CHOSEN, alone, calibrate, fit
from localent.analysis.folds import folds
from localent.analysis.intervals import Resampling
from localent.analysis.probability_maps import FITS, LEVEL, ProbabilityMap, fitted, softened
from localent.analysis.trace_signals import Score, read
from localent.cli import main
from localent.errors import LocalentError, UsageError
from localent.report import calibration as report
from localent.store import open_db

FAST = Resampling(200)


def traces(n=60, seed=0):
    rng = np.random.default_rng(seed)
    scores = np.round(rng.normal(size=n), 1)  # ties
    return scores, rng.random(n) < 1 / (1 + np.exp(2 * scores)), rng.integers(0, 4, n).astype(float)


def test_the_isotonic_map_is_scikit_learns():
    scores, right, weights = traces()
    there = weights > 0
    other = IsotonicRegression(increasing=False, out_of_bounds="clip")
    other.fit(scores[there], softened(right, weights)[there], sample_weight=weights[there])
    at = np.linspace(-4, 4, 81)
    assert fitted("isotonic", scores, right, weights)(at) == pytest.approx(other.predict(at), abs=1e-12)


def test_platts_map_is_scikit_learns_logistic_regression():
    """A soft label is a right and a wrong trace of that weight and the rest."""
    scores, right, weights = traces()
    label = softened(right, weights)
    both = np.r_[scores, scores][:, None], np.r_[np.ones(len(scores)), np.zeros(len(scores))]
    other = LogisticRegression(C=np.inf, tol=1e-10).fit(
        *both, sample_weight=np.r_[weights * label, weights * (1 - label)]
    )
    knots = np.unique(scores[weights > 0])
    found = fitted("platt", scores, right, weights)
    assert found(knots) == pytest.approx(other.predict_proba(knots[:, None])[:, 1], abs=1e-6)


@pytest.mark.parametrize("method", FITS)
def test_maps_never_rise_and_never_claim_certainty(method):
    scores = np.arange(40.0)
    for right in (scores < 20, scores >= 20, scores % 3 == 0):
        found = fitted(method, scores, right)
        assert (np.diff(found.p) <= 1e-12).all()
        assert min(found.p) > 0
        assert max(found.p) < 1
        assert found(np.array([-1e9, 1e9])).tolist() == [found.p[0], found.p[-1]]  # no extrapolation


def test_platts_map_of_a_signal_that_points_the_other_way_is_the_share():
    scores = np.arange(40.0)
    assert fitted("platt", scores, scores >= 20).p == pytest.approx((0.5,) * 40)


def test_a_problem_is_judged_by_maps_that_have_not_seen_it():
    """All labels of one problem turned round: nothing changes for it, something does for others."""
    made_up = worlds.world("steep", 40, 3, np.random.default_rng(1))
    one = made_up.problems == made_up.problems[50]

    def crossed(right):
        data = calibration._Data(made_up.scores[:2], right, made_up.problems, folds(made_up.problems))
        return data.crossed([(i, method) for i in range(2) for method in FITS])

    before, after = crossed(made_up.right), crossed(np.where(one, ~made_up.right, made_up.right))
    assert np.array_equal(before[one], after[one])
    assert not np.array_equal(before[~one], after[~one])


def test_a_problem_is_in_one_fold_and_folds_are_of_like_size():
    problems = np.repeat([f"p{i}" for i in range(23)], 4)
    found = folds(problems)
    assert all(len(set(found[problems == p])) == 1 for p in set(problems))
    assert sorted(np.bincount(found) // 4) == [4, 4, 5, 5, 5]


def test_the_choice_of_the_signal_is_repeated_within_each_fold():
    """Brier of the best of 30 noise signals, chosen on all problems, looks good; cross-fitted with the choice, not."""
    rng = np.random.default_rng(5)
    right, problems = rng.random(100) < 0.5, np.arange(100)
    found = fit(
        [Score(worlds.signal(f"{i}"), rng.normal(size=100)) for i in range(30)], right, problems, resampling=FAST
    )
    *others, nested = found.judged
    assert min(one.brier.value for one in others) < nested.brier.value
    assert nested.name == CHOSEN
    assert not found.helps


def noise_signals(n, n_traces, rng):
    return [Score(worlds.signal(f"{i}"), rng.normal(size=n_traces)) for i in range(n)]


def test_where_no_signal_tells_the_share_of_right_traces_is_stated(quick):
    n_level, n_worlds = 0, 12
    for rng in np.random.default_rng(8).spawn(n_worlds):
        right = rng.random(60) < 0.4
        found = fit(noise_signals(8, 60, rng), right, np.arange(60), resampling=FAST)
        if found.map.method == LEVEL:
            n_level += 1
            share = (right.sum() * (right.sum() + 1) / (right.sum() + 2) + (~right).sum() / ((~right).sum() + 2)) / 60
            assert found.map.p == pytest.approx([share] * len(found.map.p))
            assert report.heading(found).endswith(f"none of 8 is shown to tell anything; the best is {found.title}.")
            assert report.sentences(found)[0].startswith("No signal is shown to tell more")
    assert n_level >= 4  # a level map is never chosen by the lowest score alone: it would be 0


def test_a_signal_that_was_asked_for_or_that_tells_has_a_map_of_its_own(quick):
    rng = np.random.default_rng(9)
    noise = noise_signals(3, 60, rng)
    right = rng.random(60) < 0.4
    assert fit(noise[:1], right, np.arange(60), resampling=FAST).map.method != LEVEL
    assert fit(noise, right, np.arange(60), method="platt", resampling=FAST).map.method == "platt"
    telling = Score(worlds.signal("telling"), rng.normal(size=60) - 3 * right)
    found = fit([*noise, telling], right, np.arange(60), resampling=FAST)
    assert (found.signal, found.map.method != LEVEL) == ("telling", True)


def test_an_answer_by_a_level_map_says_that_no_signal_told():
    rng = np.random.default_rng(8)
    found = next(
        one
        for _ in range(20)
        if (one := fit(noise_signals(8, 60, rng), rng.random(60) < 0.4, np.arange(60), resampling=FAST)).map.method
        == LEVEL
    )
    trace = SimpleNamespace(extraction=SimpleNamespace(value="5"))
    for value in (-2.0, 0.0, 2.0):
        said = report.belief(found, value, trace, "gsm8k")
        assert said.low <= said.p <= said.high
        assert said.sentence.endswith("the same for every trace: no signal was shown to tell more.")


@pytest.fixture
def quick(monkeypatch):
    """Few resamples of the map: its interval is rough."""
    monkeypatch.setattr(calibration, "N_RESAMPLES", 20)
    monkeypatch.setattr(calibration, "N_CHANCE", 10)
    monkeypatch.setattr(worlds, "N_NOISE", 2)


@pytest.mark.parametrize("law", ["steep", "step", "line"])
def test_probabilities_of_a_planted_law_hold_on_new_traces(law, quick):
    error, helps, _ = worlds.row(law, 800, 1, 1, seed=3)
    assert error <= 0.05
    assert helps == 1.0


def test_intervals_hold_the_planted_probability(monkeypatch, quick):
    monkeypatch.setattr(calibration, "N_RESAMPLES", 100)
    assert 0.88 <= np.mean([worlds.row(law, 100, 1, 3, seed=4)[2] for law in ("steep", "step")]) <= 1.0


def test_a_null_world_gains_nothing(quick):
    """Three signals, none of which tells: 2.5 % of worlds are said to help at most, of 8 none or one."""
    assert worlds.row("null", 60, 1, 8, seed=6)[1] <= 1 / 8


def test_the_calibration_error_by_chance_is_that_of_true_probabilities():
    """100 traces of probability one half in one bin: mean |share - 0.5| of a binomial."""
    expected = np.abs(np.random.default_rng(0).binomial(100, 0.5, 20_000) / 100 - 0.5).mean()
    assert calibration.ece_by_chance(np.full(100, 0.5)) == pytest.approx(expected, rel=0.1)


# --- runs -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """(path, run id) of 80 problems, of which token and answer entropy tell."""
    path = tmp_path_factory.mktemp("calibrate") / "runs.db"
    law = synthetic.Law(gain=2.0, gain_wrong=0.5, token_gap=0.3)
    return path, synthetic.write(path, law, n_problems=80, seed=2)


def test_every_signal_of_single_traces_is_the_same_in_a_run_of_one_trace(stored, tmp_path):
    """What `ask` reads is what was calibrated."""
    path, run_id = stored
    with open_db(path) as db, open_db(tmp_path / "one.db") as one:
        run = load.run(db, run_id)
        trace = db.trace(int(run.traces.trace_ids[3]))
        one.add_model(db.model(db.run(run_id).model_sha256))
        one.add_task("made", "choice")
        one.add_problems("made", db.problems("made"))
        one.add_run(db.run(run_id))
        one.add_trace(run_id, trace)
        asked = load.run(one, run_id)
    for score in alone(read(run)):
        assert calibration.value_of(asked, score.signal.key) == pytest.approx(score.values[3], nan_ok=True), (
            score.signal
        )
    dropped = {s.signal.key for s in read(run)} - {s.signal.key for s in alone(read(run))}
    assert {"forking_share", "difficulty", "disagreement"} <= dropped


def test_a_calibration_is_stored_and_read_back(stored):
    path, run_id = stored
    with open_db(path) as db:
        run = load.run(db, run_id)
        found = calibrate(run, resampling=FAST)
        db.add_calibration(**found.row())
        again = calibrate(run, signal="mean entropy", method="platt", resampling=FAST)
        assert load.calibration(db, run_id) == found
        db.add_calibration(**again.row())  # replaces it
        assert load.calibration(db, run_id[:5]) == again
        (row,) = db.query("select * from calibrations")
    assert (row["signal"], row["method"], row["n"]) == ("mean_entropy", "platt", 80)
    assert found.helps
    p, low, high = found.at(found.map.at[0])
    assert 0 < low <= p <= high <= 1


def test_what_cannot_be_calibrated_is_refused(stored, tmp_path):
    path, run_id = stored
    with open_db(path) as db:
        run = load.run(db, run_id)
        with pytest.raises(UsageError, match="No signal 'disagreement' of single traces"):
            calibrate(run, signal="disagreement")
        with pytest.raises(UsageError, match="run with --measure-top-k"):
            calibrate(run, signal="mean_topk_bias")
    few = tmp_path / "few.db"
    few_id = synthetic.write(few, synthetic.Law(share_right=0.03), n_problems=40)
    with open_db(few) as db:
        with pytest.raises(LocalentError, match="Too few right or wrong traces to calibrate"):
            calibrate(load.run(db, few_id))
        with pytest.raises(UsageError, match=f"Run {few_id} is not calibrated: 'localent calibrate {few_id} --db"):
            load.calibration(db, few_id)


def test_the_command_prints_what_it_stores(stored):
    path, run_id = stored
    run = CliRunner()
    said = run.invoke(main, ["calibrate", run_id, "--db", str(path)])
    assert said.exit_code == 0, said.output
    assert "It tells more than the share of right traces alone" in said.output
    found = json.loads(run.invoke(main, ["calibrate", run_id, "--db", str(path), "--json"]).output)
    with open_db(path) as db:
        kept = load.calibration(db, run_id)
    assert found["map"]["p"] == list(kept.map.p)
    assert found["helps"] is kept.helps
    assert f"Signal: {kept.title}" in said.output


def test_infinite_values_are_no_probability(tmp_path):
    """Lock-in is infinite for traces that never lock in: not chosen by itself, and left out where it is named."""
    path = tmp_path / "made.db"
    (run_id,) = made.made(path, n_problems=90)
    with open_db(path) as db:
        run = load.run(db, run_id)
    values = next(s.values for s in read(run) if s.signal.key == "lock_in")
    assert np.isinf(values).any()
    assert calibrate(run, resampling=FAST).signal != "lock_in"


def test_a_map_is_linear_between_its_knots():
    found = ProbabilityMap("isotonic", (0.0, 1.0, 3.0), (0.9, 0.5, 0.1))
    assert found(np.array([-1, 0.5, 2, 9])).tolist() == pytest.approx([0.9, 0.7, 0.3, 0.1])
