"""Variants of one problem count as one: where it is not known which they are, noise passes for an effect."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import synthetic, worlds
from helpers.simulated import labelled

from localent.analysis import chance, held, information, load, readings, signals, significance
from localent.analysis.contrasts import Sample
from localent.analysis.summary import summarise
from localent.analysis.trace_signals import ANSWERS, Score
from localent.analysis.verdicts import judge
from localent.store import open_db


def test_without_their_groups_variants_make_noise_an_effect():
    """Sixteen forms of each of 15 problems: noise is read as beyond length ten times as often."""
    known, unknown = (worlds.beyond(some["variants of 15"], range(30)) for some in (worlds.NULL, worlds.UNKNOWN))
    assert known <= 0.1
    assert unknown >= 0.2


def grouped(path, n_groups):
    """A run whose i-th problem is a variant of the (i mod n_groups)-th template."""
    law = synthetic.Law(gain=2, control_gain=0.2)
    run_id = synthetic.write(path, law, n_problems=40, n_samples=2)
    with open_db(path) as db:
        problems = [replace(p, variant_of=str(i % n_groups)) for i, p in enumerate(db.problems("made"))]
        db.add_problems("made", problems)
    return run_id


def test_a_stored_run_knows_its_groups(tmp_path):
    path = tmp_path / "made.db"
    run_id = grouped(path, 12)
    with open_db(path, readonly=True) as db:
        run = load.run(db, run_id)
    assert len(np.unique(run.traces.clusters)) == 12
    for p in (run.probes.own, *run.probes.controls.values()):
        assert (p.clusters == run.traces.clusters).all()
    found = summarise(run.traces, run.probes.own)
    assert (found.n_problems, found.answers.gain_end.n_problems) == (40, 12)
    told = "The 40 problems are variants of 12; variants count as one in every interval and p-value."
    assert found.variants == (told,)
    assert told in signals.signals(run).notes
    alone = replace(run.traces, groups=None)
    assert not alone.variants
    assert (alone.clusters == alone.problems).all()


def test_a_group_with_one_problem_each_changes_no_digit(tmp_path):
    """The names of the clusters decide which half recalibrates the other, and nothing else here."""
    p, n_tokens = worlds.draw(worlds.World(60, 2, planted=0.3), np.random.default_rng(0))
    one, other = (judge(Sample("m", x, n_tokens, worlds.FEW), {}) for x in (p, replace(p, groups=p.problems)))
    assert one == other


def test_questions_are_held_fixed_and_groups_are_independent():
    """The pairs within questions stay as they are; what is resampled are the groups."""
    p, n_tokens = worlds.draw(worlds.World(60, 4, planted=0.3), np.random.default_rng(0))
    wide = replace(p, groups=p.problems // 3)
    half = p.at(p.entropy, 0.5)
    one, other = (held.by_question(held.Compared.of(half, x, n_tokens)) for x in (p, wide))
    assert one.left.value == other.left.value
    assert (one.left.n_problems, other.left.n_problems) == (60, 20)
    expected = significance.separation_shift(half, p.wrong, p.problems // 3, p.problems).p_above()
    assert other.p >= expected


def test_copies_of_a_trace_under_one_group_are_one_trace():
    """Five exact copies of 80 problems: p with the groups is that of the 80, without it is far smaller."""
    rng = np.random.default_rng(0)
    wrong = rng.random(80) < 0.4
    values, alone = rng.normal(size=80) + 0.5 * wrong, np.arange(80)
    copies = np.repeat(alone, 5)
    traces = labelled(wrong[copies], np.arange(400), rng.permutation(400))
    score = Score(ANSWERS[0], values[copies])
    known, unknown = (readings.family([readings.tested(score, x)])[0] for x in (replace(traces, groups=copies), traces))
    assert known.p == pytest.approx(significance.separation_p(values, wrong, alone), rel=0.02)
    assert unknown.p < known.p**2
    assert known.n_rarer == min(wrong.sum(), (~wrong).sum())


def test_variants_are_in_one_half_of_what_is_recalibrated():
    p, _ = worlds.draw(worlds.NULL["variants"], np.random.default_rng(0))
    half = information.halves(p.clusters)
    assert all(len(set(half[p.groups == g])) == 1 for g in np.unique(p.groups))


def test_chance_counts_a_group_once():
    traces = labelled(np.zeros(40, bool), np.arange(40), np.ones(40))
    traces = replace(traces, chance=np.full(40, 0.5))
    assert chance.against_chance(traces).n == 40
    assert chance.against_chance(replace(traces, groups=np.arange(40) // 10)).n == 4
