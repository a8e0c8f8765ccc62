"""The study: a planted effect is supported, none is refuted, length alone is called by its name; it can say no."""

import json

import numpy as np
import pytest
import synthetic
from click.testing import CliRunner
from scipy import stats
from test_runs import query

from localent import study, tasks
from localent.analysis import verdicts
from localent.analysis.intervals import Estimate
from localent.analysis.probed import probed
from localent.analysis.verdicts import LENGTH, REFUTED, SUPPORTED, UNDECIDED
from localent.cli import main
from localent.report.science import mechanism_table, sentences, stage_table, verdict_table
from localent.runs import Settings
from localent.store import open_db

PLANTED = synthetic.Law(gain=5, gain_wrong=1, noise=0.2, control_gain=0.0)
EVERY = "exceeds every control"
GAIN = "information gain rises with steps"
EARLY, WITHIN = "early separability, t = 0.5", "within-question separability, t = 0.5"


def judged(tmp_path, law, *, n_problems=120, n_samples=2, seed=0, name="made"):
    """Claim -> verdict of a made-up run."""
    path = tmp_path / f"{name}-{seed}.db"
    run_id = synthetic.write(path, law, n_problems=n_problems, n_samples=n_samples, seed=seed, name=name)
    with open_db(path) as db:
        found = study.analyse(db, [(name, "made", run_id)], n_resamples=300)
    return {v.claim: v for _, v in found.verdicts}


def test_a_planted_effect_is_supported(tmp_path):
    found = judged(tmp_path, PLANTED)
    wanted = (GAIN, EVERY, EARLY, WITHIN, "separability: wrong traces stay uncertain")
    assert {claim: found[claim].verdict for claim in wanted} == dict.fromkeys(wanted, SUPPORTED)
    assert found[GAIN].p < 1e-6
    assert (found[EARLY].selected, found[GAIN].selected) == (True, False)


def test_two_seeds_give_the_same_verdicts_on_what_was_planted(tmp_path):
    one, two = (judged(tmp_path, PLANTED, seed=seed) for seed in (1, 2))
    for claim in (GAIN, EVERY, EARLY, "separability: wrong traces stay uncertain"):
        assert one[claim].verdict == two[claim].verdict == SUPPORTED
        assert max(v.effect.low for v in (one[claim], two[claim])) < min(
            v.effect.high for v in (one[claim], two[claim])
        )


def test_no_effect_is_refuted_or_undecided(tmp_path):
    found = judged(tmp_path, synthetic.Law(control_gain=0.0))
    assert found[GAIN].verdict == REFUTED
    assert found[EVERY].verdict == REFUTED
    assert SUPPORTED not in {v.verdict for v in found.values()}


def test_a_gain_that_the_controls_have_too_is_refuted(tmp_path):
    """Entropy falls and the true answer rises, but as much under any text: not gathered by this reasoning."""
    found = judged(tmp_path, synthetic.Law(gain=3, control_gain=3))
    assert found[GAIN].verdict == SUPPORTED
    assert found[EVERY].verdict == REFUTED


def test_an_effect_of_length_alone_is_explained_by_length(tmp_path):
    law = synthetic.Law(by_length=1.2, entropy_by_length=0.5, gain=2.0)
    found = judged(tmp_path, law, n_problems=200)
    assert found[EARLY].verdict == LENGTH
    assert not found[EARLY].given_length.excludes(0)


def test_reasoning_replaced_by_filler_is_refuted(tmp_path):
    """The same run as if every trace had been filler: what a model gains that way is not gathered by reasoning."""
    path = tmp_path / "made.db"
    run_id = synthetic.write(path, PLANTED, n_samples=2)
    with open_db(path) as db:
        found = probed(db, run_id)
    own, filler = found["choice"], found["choice:filler"]
    as_if = verdicts.replaced(own, filler)
    lengths = np.ones(len(own.wrong))
    by_claim = {v.claim: v for v in verdicts.judge("filler", as_if, {}, lengths, n_resamples=300)}
    assert by_claim[GAIN].verdict == REFUTED
    assert as_if.n_steps.max() == 2
    assert as_if.p_true[:, 0] == pytest.approx(own.p_true[:, 0])


def test_training_is_judged_between_stages_over_the_same_problems(tmp_path):
    path = tmp_path / "stages.db"
    laws = {"early": synthetic.Law(), "base": synthetic.Law(gain=1.5), "tuned": synthetic.Law(gain=1.5)}
    runs = [(name, "made", synthetic.write(path, law, name=name)) for name, law in laws.items()]
    with open_db(path) as db:
        found = study.analyse(db, runs, n_resamples=300)
    training = {v.subject: v for _, v in found.verdicts if v.claim == "training increases the gain"}
    assert list(training) == ["early -> base", "base -> tuned", "early -> tuned"]
    assert training["early -> base"].verdict == SUPPORTED
    assert training["base -> tuned"].verdict in (REFUTED, UNDECIDED)
    text = verdict_table(found.verdicts), stage_table(found.subjects), mechanism_table(found.subjects)
    assert all(len(row) == len(columns) for columns, rows in text for row in rows)
    assert any("exp(-" in line for line in sentences(found.subjects))


def test_problems_that_are_not_asked_for_do_not_count(tmp_path):
    """A run with more problems than the study is judged as the run that has no others."""
    law = synthetic.Law(gain=1.5, control_gain=0.2)
    more, fewer = tmp_path / "more.db", tmp_path / "fewer.db"
    runs = [("made-up", "made", synthetic.write(path, law, n_problems=n)) for path, n in ((more, 80), (fewer, 50))]
    wanted = {synthetic.problem(i).problem_id for i in range(50)}
    with open_db(more) as db, open_db(fewer) as other:
        found = study.analyse(db, runs[:1], problems=wanted, n_resamples=100)
        alone = study.analyse(other, runs[1:], n_resamples=100)
    assert found.verdicts == alone.verdicts
    assert found.subjects[0].auroc_half_equal == alone.subjects[0].auroc_half_equal
    assert found.subjects[0].accuracy.n == 50


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [((0.3, 0.2, 0.4), SUPPORTED), ((0.02, 0.01, 0.03), REFUTED), ((-0.5, -0.6, -0.4), REFUTED),
     ((0.1, -0.1, 0.3), UNDECIDED), ((0.06, 0.01, 0.2), SUPPORTED), ((0.04, 0.01, 0.2), UNDECIDED),
     ((0.3, None, None), UNDECIDED), ((None, None, None), UNDECIDED)],
)  # fmt: skip
def test_the_rule_of_verdicts(ends, verdict):
    """For AUROC - 0.5 an effect below 0.05 does not count, however certain it is."""
    assert verdicts.decide(Estimate(*ends), "AUROC - 0.5") == verdict


def test_a_claim_that_holms_rule_does_not_pass_is_undecided():
    effect = Estimate(0.3, 0.2, 0.4)
    family = [
        verdicts.Verdict(str(p), "m", effect, "nats", "t", p, SUPPORTED, None, False) for p in (0.001, 0.03, 0.04)
    ]
    family.append(verdicts.Verdict("without p", "m", effect, "nats", "t", None, SUPPORTED, None, False))
    found = verdicts.settled(family)
    assert [v.verdict for v in found] == [SUPPORTED, UNDECIDED, UNDECIDED, SUPPORTED]
    assert [v.p_holm for v in found] == pytest.approx([0.003, 0.06, 0.06, None])


def test_gains_of_controls_are_read_at_their_last_k(tmp_path):
    path = tmp_path / "made.db"
    run_id = synthetic.write(path, PLANTED, n_problems=30)
    with open_db(path) as db:
        found = probed(db, run_id)
    own, control = found["choice"], found["choice:shuffled"]
    gains = study._gain_of(own, control)
    for i in range(10):
        k = int(own.n_steps[i])
        assert gains[i] == pytest.approx(control.log_true()[i, k] - own.log_true()[i, 0])


def test_agreement_of_an_estimator_with_itself_is_perfect(tmp_path):
    path = tmp_path / "made.db"
    run_id = synthetic.write(path, PLANTED, n_problems=20)
    with open_db(path) as db:
        p = probed(db, run_id)["choice"]
    found = study.agreement(p, p)
    assert (found.gap, found.gap_end, found.unparseable) == (0, 0, 0)
    assert found.correlation == pytest.approx(1)


def test_signed_rank_p_is_scipys_over_problem_means():
    rng = np.random.default_rng(0)
    problems, values = np.repeat(np.arange(30), 2), rng.normal(0.3, 1, 60)
    means = values.reshape(30, 2).mean(1)
    expected = stats.wilcoxon(means, method="approx", zero_method="pratt").pvalue
    assert verdicts.signed_rank_p(values, problems) == pytest.approx(expected)
    assert verdicts.signed_rank_p(values[:10], problems[:10]) is None
    assert verdicts.signed_rank_p(np.zeros(60), problems) is None


def test_an_untrained_model_is_refuted_end_to_end(random_model, tmp_path):
    """Random weights: runs, controls, verdicts, rows; the second time nothing is run."""
    rows = [{"question": f"Which is {i}?", "choices": [str(i), "x", "y"], "answer": "ABC"[i % 3]} for i in range(12)]
    path, db = tmp_path / "made.jsonl", tmp_path / "runs.db"
    path.write_text("\n".join(map(json.dumps, rows)))
    task, model = tasks.load("made", path), str(random_model("tiny-qwen2"))
    settings = Settings(lanes=4, threads=1, max_tokens=16, temperature=1.0, max_fed=4)
    options = dict(db=db, n=None, samples=2, settings=settings)
    first = study.study([model], [task], **options)
    by_claim = {v.claim: v for _, v in first.verdicts}
    assert by_claim[GAIN].verdict in (REFUTED, UNDECIDED)
    assert by_claim[EVERY].verdict in (REFUTED, UNDECIDED)
    stored = query(db, "select claim, verdict, effect from verdicts order by claim")
    assert len(stored) == len(first.verdicts)
    ticks = []
    second = study.study([model], [task], **options, report=ticks.append)
    assert second.study_id == first.study_id
    assert not ticks
    assert query(db, "select claim, verdict, effect from verdicts order by claim") == stored


def test_signals_replay_and_study_speak_on_the_command_line(tmp_path):
    path = tmp_path / "made.db"
    run_id = synthetic.write(path, PLANTED, n_problems=40, n_samples=2)
    for arguments, said in (
        (["signals", run_id[:6]], "beyond length"),
        (["signals", run_id, "--json"], '"reading": "beyond length"'),
        (["replay", run_id, "--policy", "stop"], "length cap"),
    ):
        result = CliRunner().invoke(main, [*arguments, "--db", str(path)])
        assert result.exit_code == 0, result.output
        assert said in result.output
    unknown = CliRunner().invoke(main, ["signals", "zzz", "--db", str(path)])
    assert unknown.exit_code == 2
    assert "No run 'zzz'" in unknown.output
