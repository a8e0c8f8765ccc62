"""The study: a planted effect is supported, none is refuted, length alone is called by its name; it can say no."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from helpers import synthetic
from helpers.runs import query
from scipy import stats

from localent import study, tasks
from localent.analysis import beyond_controls, claims, contrasts, information, load, scores, verdicts
from localent.analysis.claims import LENGTH, REPORTED, SUPPORTED, UNDECIDED, WITHHELD, Ps
from localent.analysis.curves import Curve
from localent.analysis.intervals import Estimate, Resampling
from localent.analysis.probed import Probed
from localent.cli import main
from localent.errors import UsageError
from localent.report.science import mechanism_table, sentences, stage_table, verdict_table
from localent.runs import Listener, Settings
from localent.runs.extend import Wanted
from localent.store import open_db
from localent.study import Design, ModelRun
from localent.study.subjects import gain_of_control

FEW = Resampling(300)
SMALL = "smaller than 0.05 in AUROC"
PLANTED = synthetic.Law(gain=5, gain_wrong=1, noise=0.2, control_gain=0.0)
EVERY, EVERY_HALF = claims.EXCEEDS_ALL.key, claims.EXCEEDS_ALL_HALF.key
GAIN, BY_HALF, ROLLED = claims.GAIN_RISES.key, claims.GAIN_BY_HALF.key, claims.GAIN_RISES_ROLLOUTS.key
PLAIN, BEYOND = claims.EARLY_ANY.key, claims.EARLY_GAIN.key
EARLY, WITHIN, APART = claims.EARLY.key, claims.WITHIN.key, claims.SEPARABILITY.key


def judged(tmp_path, law, *, n_problems=120, n_samples=2, seed=0, name="made"):
    """Claim -> verdict of a made-up run."""
    path = tmp_path / f"{name}-{seed}.db"
    run_id = synthetic.write(path, law, n_problems=n_problems, n_samples=n_samples, seed=seed, name=name)
    with open_db(path) as db:
        found = study.analyse(db, [ModelRun(name, "made", run_id)], resampling=FEW)
    return {v.key: v for _, v in found.verdicts}


def claims_of(name, p, controls, n_tokens, rolled=None, m=0):
    """Key -> verdict of probes at hand. n_tokens: (n,)."""
    sample = contrasts.Sample(name, p, np.asarray(n_tokens, float), FEW)
    return {v.key: v for v in verdicts.judge(sample, controls, rolled, m)}


def test_a_planted_effect_is_supported(tmp_path):
    found = judged(tmp_path, PLANTED)
    wanted = (GAIN, EVERY, EARLY, WITHIN, APART)
    assert {claim: found[claim].verdict for claim in wanted} == dict.fromkeys(wanted, SUPPORTED)
    assert found[GAIN].p < 1e-3
    assert (found[EARLY].selected, found[GAIN].selected) == (True, False)


def test_two_seeds_give_the_same_verdicts_on_what_was_planted(tmp_path):
    one, two = (judged(tmp_path, PLANTED, seed=seed) for seed in (1, 2))
    for claim in (GAIN, EVERY, EARLY, APART):
        assert one[claim].verdict == two[claim].verdict == SUPPORTED
        assert max(v.effect.low for v in (one[claim], two[claim])) < min(
            v.effect.high for v in (one[claim], two[claim])
        )


def test_no_effect_is_refuted_or_undecided(tmp_path):
    found = judged(tmp_path, synthetic.Law(control_gain=0.0))
    assert found[GAIN].is_smaller
    assert found[EVERY].is_smaller
    assert SUPPORTED not in {v.verdict for v in found.values()}


def test_a_gain_that_the_controls_have_too_is_refuted(tmp_path):
    """Entropy falls and the true answer rises, but as much under any text: not gathered by this reasoning."""
    found = judged(tmp_path, synthetic.Law(gain=3, control_gain=3))
    assert found[GAIN].verdict == SUPPORTED
    assert found[EVERY].is_smaller


def test_an_effect_of_length_alone_is_explained_by_length(tmp_path):
    """Any trace with any other, length separates; among traces of equally many steps nothing is left."""
    law = synthetic.Law(by_length=1.2, entropy_by_length=0.5, gain=2.0)
    found = judged(tmp_path, law, n_problems=200)
    assert found[PLAIN].effect.low > 0.1
    assert not found[PLAIN].given_length.above(0)
    assert not found[EARLY].effect.excludes(0)
    assert found[PLAIN].verdict == found[EARLY].verdict == LENGTH


def test_short_traces_that_are_right_do_not_pass_for_uncertain(tmp_path):
    """Wrong traces are truly the less certain ones, but right ones are short, and of one step half-way is the start."""
    law = synthetic.Law(gain=5, gain_wrong=3, noise=0.2, by_length=2.5, steps=(1, 5), share_right=0.3)
    found = judged(tmp_path, law, n_problems=200)
    assert found[PLAIN].effect.high < found[EARLY].effect.low
    assert found[EARLY].verdict == SUPPORTED


def test_what_the_question_alone_tells_is_not_gained_by_reasoning(tmp_path):
    """Entropies that differ from the start on and then never move: early separability, none of it beyond the start."""
    path = tmp_path / "made.db"
    run_id = synthetic.write(path, synthetic.Law(noise=0.01, steps=(2, 6)), n_samples=2)
    with open_db(path) as db:
        p = load.probes(db, run_id).own
    level = np.random.default_rng(0).normal(size=p.entropy.shape[0]) + 1.0 * p.wrong
    noise = 0.01 * np.random.default_rng(1).normal(size=p.entropy.shape)
    told = replace(p, entropy=np.where(np.isnan(p.position), np.nan, level[:, None] + noise))
    found = claims_of("m", told, {}, np.ones(len(p.wrong)))
    assert found[EARLY].effect.low > 0.1
    assert found[BEYOND].is_smaller
    later = replace(p, entropy=np.where(p.position > 0, told.entropy, 1.0 + noise))
    found = claims_of("m", later, {}, np.ones(len(p.wrong)))
    assert found[BEYOND].verdict == SUPPORTED


def test_reasoning_replaced_by_filler_is_refuted(tmp_path):
    """The same run as if every trace had been filler: what a model gains that way is not gathered by reasoning."""
    path = tmp_path / "made.db"
    run_id = synthetic.write(path, PLANTED, n_samples=2)
    with open_db(path) as db:
        found = load.probes(db, run_id)
    own, filler = found.own, found.controls["filler"]
    as_if = synthetic.replaced(own, filler)
    lengths = np.ones(len(own.wrong))
    by_claim = claims_of("filler", as_if, {}, lengths)
    assert by_claim[GAIN].is_smaller
    assert (as_if.n_steps == own.n_steps).all()
    assert as_if.p_true[:, 0] == pytest.approx(own.p_true[:, 0])


def test_training_is_judged_between_stages_over_the_same_problems(tmp_path):
    path = tmp_path / "stages.db"
    laws = {"early": synthetic.Law(), "base": synthetic.Law(gain=1.5), "tuned": synthetic.Law(gain=1.5)}
    runs = [ModelRun(name, "made", synthetic.write(path, law, name=name)) for name, law in laws.items()]
    with open_db(path) as db:
        found = study.analyse(db, runs, resampling=FEW)
    training = {v.subject: v for _, v in found.verdicts if v.key == claims.TRAINING.key}
    assert list(training) == ["early -> base", "base -> tuned", "early -> tuned"]
    assert training["early -> base"].verdict == SUPPORTED
    assert training["base -> tuned"].is_smaller or training["base -> tuned"].verdict == UNDECIDED
    text = verdict_table(found.verdicts), stage_table(found.subjects), mechanism_table(found.subjects)
    assert all(len(row) == len(columns) for columns, rows in text for row in rows)
    assert any("exp(-" in line for line in sentences(found.subjects))


def test_problems_that_are_not_asked_for_do_not_count(tmp_path):
    """A run with more problems than the study is judged as the run that has no others."""
    law = synthetic.Law(gain=1.5, control_gain=0.2)
    more, fewer = tmp_path / "more.db", tmp_path / "fewer.db"
    runs = [
        ModelRun("made-up", "made", synthetic.write(path, law, n_problems=n)) for path, n in ((more, 80), (fewer, 50))
    ]
    wanted = {synthetic.problem(i).problem_id for i in range(50)}
    with open_db(more) as db, open_db(fewer) as other:
        found = study.analyse(db, runs[:1], replace(study.STORED, problems=wanted), resampling=Resampling(100))
        alone = study.analyse(other, runs[1:], resampling=Resampling(100))
    assert found.verdicts == alone.verdicts
    assert found.subjects[0].auroc_half == alone.subjects[0].auroc_half
    assert found.subjects[0].accuracy.n == 50


def test_traces_that_repeat_themselves_are_not_wrong_reasoning(tmp_path):
    """Every verdict and figure is that of the run without them, but the accuracy, which counts them."""
    found = {}
    for name, keep in (("looping", synthetic.looping), ("without", synthetic.without_looping)):
        path = tmp_path / f"{name}.db"
        run_id = synthetic.write(path, PLANTED, keep=keep, name="made")
        with open_db(path) as db:
            found[name] = study.analyse(db, [ModelRun("made", "made", run_id)], resampling=FEW)
    assert found["looping"].verdicts == found["without"].verdicts
    with_loops, without = (found[name].subjects[0] for name in ("looping", "without"))
    assert (with_loops.looped, without.looped) == (0.2, 0.0)
    assert with_loops.accuracy.value == pytest.approx(0.8 * without.accuracy.value)
    assert with_loops.auroc_half == without.auroc_half
    assert any("made on made: 20.0% of the traces repeat themselves" in line for line in sentences([with_loops]))
    assert not any("repeat" in line for line in sentences([without]))


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [((0.3, 0.2, 0.4), SUPPORTED), ((0.02, 0.01, 0.03), SMALL), ((-0.5, -0.6, -0.4), SMALL),
     ((0.1, -0.1, 0.3), UNDECIDED), ((0.06, 0.01, 0.2), SUPPORTED), ((0.04, 0.01, 0.2), UNDECIDED),
     ((0.3, None, None), UNDECIDED), ((None, None, None), UNDECIDED)],
)  # fmt: skip
def test_the_rule_of_verdicts(ends, verdict):
    """For AUROC - 0.5 an effect below 0.05 does not count, however certain it is."""
    assert claims.decide(Estimate(*ends), "AUROC - 0.5") == verdict


def test_a_claim_that_holms_rule_does_not_pass_is_undecided():
    effect = Estimate(0.3, 0.2, 0.4)
    family = [claims.judged(claims.GAIN_BY_HALF, "m", effect, Ps(p, 1.0)) for p in (0.001, 0.03, 0.04, None)]
    found = claims.settled(family)
    assert [v.verdict for v in found] == [SUPPORTED, UNDECIDED, UNDECIDED, SUPPORTED]
    assert [v.p_holm for v in found] == pytest.approx([0.003, 0.06, 0.06, None])


def test_that_an_effect_is_small_is_in_the_same_family():
    """By the p that it is the smallest that counts, not by the p that there is none."""
    small, large = Estimate(0.01, -0.02, 0.04), Estimate(0.3, 0.2, 0.4)
    family = [claims.judged(claims.GAIN_BY_HALF, "m", small, Ps(0.5, p)) for p in (0.001, 0.03)]
    family.append(claims.judged(claims.GAIN_BY_HALF, "m", large, Ps(0.04, 1.0)))
    found = claims.settled(family)
    assert [v.verdict for v in found] == ["smaller than 0.05 nats", UNDECIDED, UNDECIDED]
    assert [v.p_holm for v in found] == pytest.approx([0.003, 0.06, 0.06])


def test_gains_of_controls_are_read_at_their_last_k(tmp_path):
    path = tmp_path / "made.db"
    run_id = synthetic.write(path, PLANTED, n_problems=30)
    with open_db(path) as db:
        found = load.probes(db, run_id)
    own, control = found.own, found.controls["shuffled"]
    gains, before, after = (
        gain_of_control(own, control),
        information.readable(own, reader=information.POOLING),
        information.readable(control, start=own, reader=information.POOLING),
    )
    for i in range(10):
        k = int(own.n_steps[i])
        assert gains[i] == pytest.approx(after[i, k] - before[i, 0])


def test_agreement_of_an_estimator_with_itself_is_perfect(tmp_path):
    path = tmp_path / "made.db"
    run_id = synthetic.write(path, PLANTED, n_problems=20)
    with open_db(path) as db:
        p = load.probes(db, run_id).own
    found = study.agreement(p, p)
    assert (found.gap, found.gap_end, found.unparseable) == (0, 0, 0)
    assert found.correlation == pytest.approx(1)


def of_untrained(untrained, name, folder):
    settings = Settings(lanes=8, threads=1, temperature=1.0, max_tokens=24, max_fed=4)
    design = Design(settings=settings, n=300, samples=1, controls=("other-question", "filler"), at="ends")
    return study.study([str(untrained)], [tasks.load(name)], design, db=folder / "runs.db")


def test_an_untrained_checkpoint_that_guesses_among_options_has_no_verdicts(untrained, tmp_path):
    """At chance nothing says whether it lacks the answer or the format; the effects are shown all the same."""
    found = of_untrained(untrained, "demo-choice", tmp_path)
    assert {v.verdict for _, v in found.verdicts} == {WITHHELD}
    assert {v.note for _, v in found.verdicts} == {found.subjects[0].chance.sentence}
    assert "the format does not work for this model" in found.subjects[0].chance.sentence
    assert any(v.effect.known for _, v in found.verdicts)


def test_an_untrained_checkpoint_that_gives_no_answers_has_no_verdicts(untrained, tmp_path):
    """Nearly all probability after the cue is on no answer: the rest says nothing of what it knows."""
    found = of_untrained(untrained, "demo-number", tmp_path)
    assert found.subjects[0].validity.invalid > 0.5
    assert {v.verdict for _, v in found.verdicts} == {WITHHELD}
    assert {v.note for _, v in found.verdicts} == {found.subjects[0].validity.sentence}
    assert "No answer follows the cue with probability" in found.subjects[0].validity.sentence


def test_a_trained_model_whose_text_is_replaced_by_filler_is_refuted(bundled, tmp_path):
    """Its own traces, each step as many tokens of filler: the answer does not become clearer by length alone."""
    settings = Settings(lanes=8, threads=1, max_fed=16)
    design = Design(settings=settings, n=40, samples=1, controls=("filler",))
    found = study.study([str(bundled)], [tasks.load("demo-number")], design, db=tmp_path / "runs.db")
    with open_db(tmp_path / "runs.db") as db:
        read = load.probes(db, found.subjects[0].run_id)
    own, filler = read.own, read.controls["filler"]
    as_if = synthetic.replaced(own, filler)
    assert (filler.there_at_all == (own.n_steps > 0)).all()
    by_claim = claims_of("filler", as_if, {}, np.ones(len(own.wrong)))
    assert by_claim[GAIN].is_smaller
    assert by_claim[claims.P_TRUE_RISES.key].verdict == REPORTED


def test_a_study_is_kept_and_made_once(random_model, tmp_path):
    """Random weights: runs, controls, verdicts, rows; the second time nothing is run."""
    rows = [{"question": f"Which is {i}?", "choices": [str(i), "x", "y"], "answer": "ABC"[i % 3]} for i in range(12)]
    path, db = tmp_path / "made.jsonl", tmp_path / "runs.db"
    path.write_text("\n".join(map(json.dumps, rows)))
    task, model = tasks.load("made", path), str(random_model("tiny-qwen2"))
    settings = Settings(lanes=4, threads=1, max_tokens=16, temperature=1.0, max_fed=4, answer_by="letter")
    design = Design(settings=settings, n=None, samples=2)
    first = study.study([model], [task], design, db=db)
    stored = query(db, "select claim, verdict, effect, p, p_holm from verdicts order by claim")
    assert len(stored) == len(first.verdicts)
    in_order = sorted((v for _, v in first.verdicts), key=lambda v: v.claim)
    assert [tuple(row[-2:]) for row in stored] == [(v.p, v.p_holm) for v in in_order]
    ticks = []
    second = study.study([model], [task], design, db=db, listener=Listener(report=ticks.append))
    assert second.study_id == first.study_id
    assert not ticks
    assert query(db, "select claim, verdict, effect, p, p_holm from verdicts order by claim") == stored


@pytest.fixture(scope="module")
def asked(random_model, tmp_path_factory):
    """A study with random weights: (options) -> claim -> what was found, in the database named."""
    folder = tmp_path_factory.mktemp("asked")
    rows = [{"question": f"Which is {i}?", "choices": [str(i), "x", "y"], "answer": "ABC"[i % 3]} for i in range(8)]
    (folder / "made.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task, model = tasks.load("made", folder / "made.jsonl"), str(random_model("tiny-qwen2"))
    settings = Settings(lanes=4, threads=1, max_tokens=16, temperature=1.0, max_fed=4, answer_by="letter")

    def ask(name, **options):
        design = Design(settings=settings, **dict(samples=2, controls=("filler", "wrong-trace")) | options)
        found = study.study([model], [task], design, db=folder / f"{name}.db")
        return found, {v.key: v for _, v in found.verdicts}

    return ask


@pytest.mark.parametrize(
    "options",
    [dict(samples=1), dict(n=5), dict(control_samples=1), dict(at="ends"), dict(controls=("filler",)), dict(m=0),
     dict(m=16, n_rolled=3), dict(samples=1, n=5, m=16, n_rolled=3, at="ends", control_samples=1)],
)  # fmt: skip
def test_a_study_does_not_depend_on_what_else_the_database_holds(asked, options):
    """After one that asked for more, a study says to the last digit what it says in a database of its own.

    But for one thing: how many traces the run has beyond those that are judged.
    """
    asked("shared", control_samples=2, m=16, n_rolled=None)
    found, after = asked("shared", **options)
    name = "-".join(f"{key}{value}" for key, value in options.items())
    alone, fresh = asked(name, **options)
    assert after == fresh
    judged = [[replace(s, n_others=0) for s in one.subjects] for one in (found, alone)]
    assert str(judged[0]) == str(judged[1])
    assert found.study_id == alone.study_id


def test_studies_that_ask_for_different_things_have_different_names(asked):
    ways = [dict(), dict(samples=1), dict(n=5), dict(control_samples=2), dict(at="ends"), dict(controls=("filler",))]
    ways += [dict(m=16), dict(m=16, n_rolled=3)]
    assert len({asked("names", **options)[0].study_id for options in ways}) == len(ways)


def test_rollouts_are_judged_as_those_that_they_are(asked, monkeypatch):
    """Stored rollouts of another number are refused; judged are 16, by their floor of 1/32, or none."""
    monkeypatch.setattr(
        sys.modules["localent.study.study"], "_unless_unfit", lambda found, subjects: list(found)
    )  # the model is random
    claim = ROLLED
    found, first = asked("rolled", m=16, n_rolled=3)
    assert "16 rollouts a prefix" in first[claim].note
    with pytest.raises(UsageError, match=r"rollouts of 16 continuations a prefix, not 32: ask for --rollouts 16"):
        asked("rolled", m=32, n_rolled=3)
    none, without = asked("rolled", m=0)
    assert claim not in without
    assert none.subjects[0].agreement is None
    assert found.subjects[0].agreement is not None
    assert "32 rollouts a prefix" in asked("rolled32", m=32, n_rolled=3)[1][claim].note


def test_studies_under_other_seeds_are_laid_beside(tmp_path):
    """Two seeds in one database: each study finds the other one, counts what agrees and names what does not."""
    path = tmp_path / "made.db"
    with open_db(path) as db:
        studies = []
        for seed, law in ((1, PLANTED), (2, PLANTED), (3, synthetic.Law(control_gain=0.0))):
            run_id = synthetic.write(path, law, n_samples=2, seed=seed, name="made", run_id=f"seed{seed}")
            found = [ModelRun("made", "made", run_id)]
            judged = study.analyse(db, found, resampling=FEW)
            study.keep(db, judged, found)
            studies.append(judged)
        others = study.other_seeds(db, [ModelRun("made", "made", "seed1")])
    assert [other.seed for other in others] == [2, 3]
    same, null = (other.agreement(studies[0].verdicts) for other in others)
    assert same[0] > null[0]
    assert same[1] == 0 < null[1]
    assert same[2] == len(studies[0].verdicts)
    columns, rows = verdict_table(studies[0].verdicts, others)
    gain = dict(zip(columns, next(row for row in rows if row[2] == claims.GAIN_RISES.title), strict=True))
    assert (gain["verdict"], gain["seed 2"], gain["seed 3"]) == (SUPPORTED, "same", "smaller than 0.1 nats a trace")


def test_controls_are_exceeded_along_the_trace_not_only_at_its_end(tmp_path):
    """A gain in the last step alone: beyond the controls at the end, not by half of the steps."""
    path = tmp_path / "made.db"
    run_id = synthetic.write(path, replace(PLANTED, steps=(3, 7)), n_samples=2)
    with open_db(path) as db:
        found = load.probes(db, run_id)
    own, controls = found.own, {"filler": found.controls["filler"]}
    curve = beyond_controls.along(own, controls["filler"], resampling=FEW)
    assert curve.value[0] == 0
    assert (np.diff(curve.value[curve.n > 0]) > -0.2).all()
    assert beyond_controls.earliest_over([curve]) <= 0.5
    between = (own.position > 0) & (own.position < 1)
    p_true, leads = (np.where(between, x[:, :1], x) for x in (own.p_true, own.leader_true))
    late = replace(own, p_true=p_true, leader_true=leads)
    late_curve = beyond_controls.along(late, controls["filler"], resampling=FEW)
    assert beyond_controls.earliest_over([late_curve]) == 1.0
    lengths = np.ones(len(own.wrong))
    by_claim = claims_of("late", late, controls, lengths)
    assert by_claim[EVERY].verdict == SUPPORTED
    assert by_claim[EVERY_HALF].verdict != SUPPORTED


def test_a_control_that_was_not_read_at_a_step_is_missing_there(tmp_path):
    path = tmp_path / "made.db"
    run_id = synthetic.write(path, replace(PLANTED, steps=(4, 5)), n_problems=20)
    with open_db(path) as db:
        found = load.probes(db, run_id)
    read = np.isin(np.arange(5), (2, 4))  # half-way and at the end
    filler = replace(found.controls["filler"], p_true=np.where(read, found.controls["filler"].p_true, np.nan))
    gaps = beyond_controls.gap_to(found.own, filler)
    assert np.isnan(gaps[:, [1, 3]]).all()
    own = information.readable(found.own, reader=information.POOLING)
    control = information.readable(filler, start=found.own, reader=information.POOLING)
    assert gaps[:, 4] == pytest.approx(own[:, 4] - control[:, 4])
    assert scores.mean(gaps[:, 1:]) == pytest.approx(gaps[:, [2, 4]].mean(1))


def test_rollouts_are_judged_by_the_same_claim(tmp_path):
    path = tmp_path / "made.db"
    run_id = synthetic.write(path, PLANTED, n_problems=40)
    with open_db(path) as db:
        p = load.probes(db, run_id).own
    lengths = np.ones(len(p.wrong))
    found = claims_of("m", p, {}, lengths, p, 16)
    assert found[ROLLED].verdict == SUPPORTED
    below = np.where(p.position > 0, 0.01, 0.02)  # 1/32: sixteen samples cannot tell, and none of them leads
    floored = replace(p, p_true=below, leader_true=np.zeros_like(p.leader_true))
    found = claims_of("m", p, {}, lengths, floored, 16)
    assert found[ROLLED].verdict == UNDECIDED
    assert found[ROLLED].effect.reason == "nothing varies"


def drawn(wrong, entropy):
    """Probes of traces of equally many steps, one a problem, whose answer entropies are given: (n, K + 1) nats."""
    n, width = entropy.shape
    ids, nothing = np.arange(n), np.full(entropy.shape, np.nan)
    position = np.tile(np.linspace(0, 1, width), (n, 1))
    arrays = dict.fromkeys(("p_true", "leader_true", "p_leader", "invalid", "n_tokens", "n_fed"), 0.5 + 0 * entropy)
    arrays |= dict(
        k=np.tile(np.arange(float(width)), (n, 1)),
        position=position,
        entropy=entropy,
        leader=np.zeros(entropy.shape, int),
        residual=0 * entropy,
    )
    arrays |= dict(
        entropy_se=0 * entropy,
        next_entropy=entropy,
        motion=nothing[:, 1:],
        net_motion=nothing[:, 0],
        n_rollouts=np.zeros(n, int),
    )
    return Probed(estimator="choice", control=None, trace_ids=ids, problems=ids, wrong=wrong, **arrays)


def test_a_start_that_tells_all_leaves_nothing_to_refute():
    """Both AUROCs are 1 over the same pairs: a ceiling, no refutation; nor is a true answer that never moves."""
    wrong = np.arange(60) < 20
    entropy = wrong[:, None] + np.random.default_rng(0).uniform(0, 0.5, (60, 3))
    found = claims_of("m", drawn(wrong, entropy), {}, np.ones(60))
    assert (found[EARLY].effect.value, found[BEYOND].effect.value) == (0.5, 0.0)
    assert (found[BEYOND].verdict, found[BEYOND].effect.low) == (UNDECIDED, None)
    assert found[BEYOND].effect.reason == "AUROC 1 at k = 0 leaves nothing to gain or lose"
    assert (found[GAIN].verdict, found[GAIN].effect.reason) == (UNDECIDED, "nothing varies")


def test_traces_of_one_step_have_no_half_way():
    """Their gain by half is 0 by construction: it neither refutes nor dilutes what longer traces gain."""
    p, one = drawn(np.arange(40) % 2 < 1, np.ones((40, 3))), np.arange(40) < 20
    p_true = np.where(p.position > 0, 0.8, 0.1) + np.linspace(0, 0.1, 40)[:, None]
    short = p.position + np.where(one[:, None], [0, 0.5, np.nan], 0)  # one step: k = 0, 1
    k, p_true_there = (np.where(np.isnan(short), np.nan, values) for values in (p.k, p_true))
    p = replace(p, p_true=p_true_there, position=short, k=k)
    found = claims_of("m", p, {}, np.ones(40))[BY_HALF]
    assert found.effect.value == pytest.approx(information.gain(p)[~one, 1].mean())
    assert (found.effect.n, found.effect.n_missing) == (20, 20)


def test_gain_by_half_of_one_step_traces_alone_is_undecided(tmp_path):
    found = judged(tmp_path, replace(PLANTED, steps=(1, 2)), n_problems=40)[BY_HALF]
    assert (found.verdict, found.effect.value) == (UNDECIDED, None)


def test_an_effect_of_length_that_holms_rule_does_not_pass_is_undecided():
    """Nor does it then explain anything about traces of equally many steps."""
    effect, none = Estimate(0.2, 0.01, 0.4), Estimate(0.0, -0.2, 0.2)

    def family(p):
        found = [(claims.EARLY_ANY, effect, LENGTH, p), (claims.EARLY, none, UNDECIDED, 0.9)]
        found.append((claims.WITHIN, none, UNDECIDED, 0.8))
        made = [replace(claims.judged(c, "m", e, Ps(q, q)), verdict=told) for c, e, told, q in found]
        return [v.verdict for v in claims.by_length(claims.settled(made))]

    assert family(0.04) == [UNDECIDED, UNDECIDED, UNDECIDED]
    assert family(0.004) == [LENGTH, LENGTH, UNDECIDED]


def test_length_that_cannot_be_held_fixed_explains_nothing():
    """Length tells right from wrong without fail: what is left with it held fixed is 0 / 0."""
    wrong = np.arange(60) % 2 < 1
    entropy = (1.5 * wrong + np.random.default_rng(0).normal(0, 1, 60))[:, None] + np.zeros(3)
    found = claims_of("m", drawn(wrong, entropy), {}, 10 + 5.0 * wrong)
    assert found[PLAIN].effect.low > 0.05
    assert found[PLAIN].verdict == found[EARLY].verdict == UNDECIDED
    assert found[PLAIN].note == found[EARLY].note == "length cannot be held fixed"


def test_beyond_every_control_needs_every_control_at_the_end():
    """One that was never testable is named; a t on the way at which none was read says nothing."""
    t, nan = np.array([0.0, 0.5, 1.0]), np.nan
    above, never, gap, below = ([0, 1, 1.0], [0, nan, nan], [0, nan, 1.0], [0, 1, -1.0])
    curves = {name: Curve(t, np.zeros(3), np.array(low), np.ones(3), np.ones(3)) for name, low in
              (("above", above), ("never", never), ("gap", gap), ("below", below))}  # fmt: skip

    def of(*names):
        kept = {name: curves[name] for name in names}
        return beyond_controls.earliest_over(list(kept.values())), beyond_controls.untested(kept)

    assert of("above") == (0.5, [])
    assert of("gap") == of("above", "gap") == (1.0, [])
    assert of("above", "never") == (None, ["never"])
    assert of("above", "below") == of("below", "never") == (None, [])


def test_every_control_shows_the_one_that_decides():
    """The least effect of all may be undecided: what refutes is shown, what is not known has no say."""

    def one(name, told, *ends):
        found = claims.judged(claims.exceeds(name, selected=False), "m", Estimate(*ends), Ps(0.5, 0.01))
        return {name: replace(found, verdict=told)}

    def every(found):
        return verdicts.least_of(claims.EXCEEDS_ALL, found)

    wide, low = one("wide", UNDECIDED, -0.2, -0.9, 0.5), one("low", "smaller than 0.05 nats", 0.01, -0.01, 0.02)
    high, absent = one("high", SUPPORTED, 0.5, 0.4, 0.6), one("absent", UNDECIDED, None)
    found = every(wide | low | high | absent)
    assert (found.verdict, found.effect, found.key) == ("smaller than 0.05 nats", low["low"].effect, EVERY)
    assert found.note == "the least of 1 smaller than 0.05 nats: low; none to be had: absent"
    assert found.p_smaller == pytest.approx(0.03)  # three controls that have an effect
    assert every(wide | high).effect == wide["wide"].effect
    assert every(high | absent).verdict == UNDECIDED
    assert every(high).note == "the least of 1: high"


def test_a_control_that_could_be_read_nowhere_leaves_every_control_undecided(tmp_path):
    """With fewer data a claim gets no easier. Of one trace a problem no wrong sibling is asked for."""
    path = tmp_path / "made.db"
    run_id = synthetic.write(path, replace(PLANTED, share_right=1 - 1e-9), n_samples=2)
    with open_db(path) as db:
        problems = frozenset(p.problem_id for p in db.problems("made"))
        wanted = Wanted(problems=problems, samples=2, controls=("filler", "wrong-trace"))
        two = {v.key: v for _, v in study.analyse(db, [ModelRun("m", "made", run_id)], wanted, resampling=FEW).verdicts}
        wanted = replace(wanted, samples=1)
        one = {v.key: v for _, v in study.analyse(db, [ModelRun("m", "made", run_id)], wanted, resampling=FEW).verdicts}
    assert two["exceeds_control:filler"].verdict == two[GAIN].verdict == SUPPORTED
    assert two[EVERY].verdict == UNDECIDED
    assert "none to be had: wrong-trace" in two[EVERY].note
    assert one[EVERY].verdict == SUPPORTED


def test_two_wrong_traces_show_nothing_beyond_the_start():
    """However sure the right ones are among themselves: of two, either may lie anywhere by chance."""
    rng, wrong = np.random.default_rng(3), np.arange(100) < 2
    before, after = rng.normal(size=100), rng.normal(size=100) - 3.0 * wrong
    gain = contrasts.gain_of_separation(after, before, wrong, np.arange(100), np.zeros(100), resampling=FEW)
    assert gain.value is not None
    assert gain.reason == "too few right or wrong traces for an interval"
    five = contrasts.gain_of_separation(
        after, before, np.arange(100) < 5, np.arange(100), np.zeros(100), resampling=FEW
    )
    assert five.known


def test_a_start_near_1_leaves_nothing_to_gain_and_is_no_refutation():
    rng, wrong = np.random.default_rng(3), np.arange(300) < 100
    after = rng.normal(size=300) + 9.0 * wrong
    before = np.where(np.arange(300) == 0, -9.0, after)
    gain = contrasts.gain_of_separation(after, before, wrong, np.arange(300), np.zeros(300), resampling=FEW)
    assert 0 < gain.value < 0.02
    assert gain.reason == "AUROC 0.99 at k = 0 leaves nothing to gain or lose"


def questioned(n=100, seed=0):
    """Claims about made traces, 4 a question: what entropy and length follow is put in by the caller."""
    rng = np.random.default_rng(seed)
    problems, difficulty = np.repeat(np.arange(n), 4), np.repeat(rng.normal(size=n), 4)
    return rng, problems, difficulty, rng.normal(size=4 * n)


def made_of(wrong, problems):
    """What a contrast reads of traces of three steps: whether each is wrong, and its problem."""
    return type("Made", (), dict(wrong=wrong, problems=problems, clusters=problems, n_steps=np.full(len(wrong), 3.0)))


def within(scores, wrong, problems, length):
    """The within-question claim by its own function, on scores that are already those of half-way."""
    made = made_of(wrong, problems)
    sample = contrasts.Sample("m", made, length, FEW)
    return contrasts.contrast(claims.WITHIN, sample, contrasts.Scored(scores, problems, by_question=True))


def test_length_within_a_question_explains_what_it_explains_there():
    """Difficulty ties entropy to being wrong between questions; within one, only length does."""
    rng, problems, difficulty, length = questioned()
    wrong = rng.random(400) < 1 / (1 + np.exp(-2 * difficulty - 3 * length))
    by_length = difficulty + 0.6 * length + 0.02 * rng.normal(size=400)
    found = within(by_length, wrong, problems, length)
    assert found.effect.low > 0.1
    assert found.verdict == LENGTH
    by_outcome = difficulty + 1.0 * wrong + 0.5 * rng.normal(size=400)
    assert within(by_outcome, wrong, problems, length).verdict == SUPPORTED


def test_a_length_that_never_varies_explains_nothing():
    """A skewed score: the mean of the wrong traces is higher, most of them lie lower."""
    rng = np.random.default_rng(0)
    wrong = np.arange(200) < 100
    scores = np.where(wrong, np.where(np.arange(200) % 4 == 0, 2.5, 0.9), 1.0) + 0.01 * rng.normal(size=200)
    made = made_of(wrong, np.arange(200))
    sample = contrasts.Sample("m", made, np.full(200, 50.0), FEW)
    found = contrasts.contrast(claims.SEPARABILITY, sample, contrasts.Scored(scores, sample.anywhere))
    assert found.effect.low > 0
    assert (found.verdict, found.note) == (UNDECIDED, "by ranks nothing is left")
    assert found.test == "clustered t"
    by_hand = stats.ttest_ind(scores[wrong], scores[~wrong], equal_var=False)
    assert stats.t.isf(found.p / 2, 99) == pytest.approx(abs(by_hand.statistic), rel=0.01)


@pytest.mark.parametrize("claim", [claims.SEPARABILITY, claims.EARLY_ANY])
def test_four_wrong_traces_support_no_contrast(claim):
    """Neither by their mean nor by pairs, however far they lie from the right ones; a few more do."""

    def verdict(n_wrong):
        wrong = np.arange(200) < n_wrong
        scores = 5.0 * wrong + np.random.default_rng(0).normal(size=200)
        made = made_of(wrong, np.arange(200))
        sample = contrasts.Sample("m", made, np.random.default_rng(1).normal(size=200), FEW)
        return contrasts.contrast(claim, sample, contrasts.Scored(scores, sample.anywhere))

    four, twenty = verdict(4), verdict(20)
    assert (four.verdict, four.p, four.effect.low) == (UNDECIDED, None, None)
    assert four.effect.reason == "too few right or wrong traces for an interval"
    assert twenty.verdict == SUPPORTED


def test_a_refutation_is_not_overwritten_by_length():
    effect = Estimate(-0.2, -0.3, -0.1, 100, 0, 100)
    shown = claims.judged(claims.EARLY, "m", effect, Ps(0.001, 0.001))
    length = replace(shown, key=PLAIN, verdict=LENGTH)
    assert [v.verdict for v in claims.by_length([shown, length])] == [SMALL, LENGTH]
    nothing = replace(shown, effect=Estimate(0.0, -0.04, 0.04, 100, 0, 100))
    assert [v.verdict for v in claims.by_length([nothing, length])] == [LENGTH, LENGTH]


def test_training_is_paired_by_problem_however_many_traces_each_has(tmp_path):
    """Each problem gains the same in both stages; only the numbers of its traces change. Nothing is gained."""
    path = tmp_path / "made.db"
    run_id = synthetic.write(path, PLANTED, n_problems=40, n_samples=4)
    with open_db(path) as db:
        p = load.probes(db, run_id).own
    first = p.among(np.arange(160) % 4 == 0)
    number = np.unique(first.problems, return_inverse=True)[1]
    alike = replace(first, p_true=first.p_true[0] * np.where(number % 2, 1.0, 0.2)[:, None] ** first.position)
    often = [alike.among(np.repeat(np.arange(40), np.where(number % 2, *n))) for n in ((3, 1), (1, 3))]
    found = verdicts.training(("a", often[0]), ("b", often[1]), resampling=FEW)
    assert found.effect.value == pytest.approx(0, abs=1e-9)
    assert found.verdict == UNDECIDED


def test_study_on_the_command_line(random_model, tmp_path):
    rows = [{"question": f"Which is {i}?", "choices": [str(i), "x"], "answer": "AB"[i % 2]} for i in range(12)]
    path, model = tmp_path / "made.jsonl", str(random_model("tiny-qwen2"))
    path.write_text("\n".join(map(json.dumps, rows)))
    arguments = ["study", model, "--task", "made", "--data", str(path), "--db", str(tmp_path / "runs.db")]
    arguments += ["--samples", "1", "--max-tokens", "12", "--lanes", "4", "--rollouts", "0", "--max-fed", "4"]
    plain = CliRunner().invoke(main, arguments)
    assert plain.exit_code == 0, plain.output
    assert claims.EXCEEDS_ALL.title in plain.output
    assert "Under seed" not in plain.output
    other = CliRunner().invoke(main, [*arguments, "--seed", "1", "--json"])
    told = [json.loads(line) for line in other.stdout.splitlines() if line.startswith("{")]
    assert told
    assert {row["verdict_seed_0"] for row in told} <= {UNDECIDED, WITHHELD, REPORTED}
    assert "Under seed 0" in other.stderr
    chosen = ["--top-p", "0.9", "--top-k", "5", "--system", "Think."]
    more = CliRunner().invoke(main, [*arguments, *chosen, "--threads", "1", "--ctx", "1600", "--json"])
    assert more.exit_code == 0, more.output
    kept = [json.loads(settings) for (settings,) in query(tmp_path / "runs.db", "select settings from runs")]
    wanted = dict(top_p=0.9, top_k=5, threads=1, system="Think.")
    assert wanted in [{name: settings.get(name) for name in wanted} for settings in kept]
    variable = CliRunner().invoke(main, [*arguments, "--template-var", "enable_thinking=false"])
    assert "has no chat template, so --template-var enable_thinking has no effect" in variable.output
    curves = CliRunner().invoke(main, [*arguments, "--curves", "--csv"])
    assert "gain beyond filler,nats,0.5" in curves.stdout
    assert "Fano's bound on it" in curves.stdout


def test_signals_replay_and_study_speak_on_the_command_line(tmp_path):
    path = tmp_path / "made.db"
    run_id = synthetic.write(path, PLANTED, n_problems=40, n_samples=2)
    for arguments, said in (
        (["signals", run_id[:6]], "beyond length"),
        (["signals", run_id, "--json"], '"reading": "beyond length and question"'),
        (["replay", run_id, "--policy", "stop"], "length cap"),
    ):
        result = CliRunner().invoke(main, [*arguments, "--db", str(path)])
        assert result.exit_code == 0, result.output
        assert said in result.output
    unknown = CliRunner().invoke(main, ["signals", "zzz", "--db", str(path)])
    assert unknown.exit_code == 2
    assert "No run 'zzz'" in unknown.output
