"""One story: what `run`, `show`, `signals` and `study` say of one run rests on the same p-values."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import synthetic, worlds
from helpers.simulated import labelled

from localent import study
from localent.analysis import claims, held, load, readings, signals, verdicts
from localent.analysis.contrasts import Sample
from localent.analysis.intervals import Resampling
from localent.analysis.judgement import judgement
from localent.analysis.readings import BEYOND, CLAIM_OF
from localent.analysis.significance import holm, holm_of
from localent.analysis.summary import summarise
from localent.analysis.trace_signals import Score, Signal
from localent.report import terminal
from localent.report.science import verdict_table
from localent.report.table import p_cell
from localent.store import open_db
from localent.study import ModelRun

LAWS = {
    "planted": synthetic.Law(gain=5, gain_wrong=1, noise=0.2, control_gain=0.0),
    "weak": synthetic.Law(gain=1.2, gain_wrong=0.9, noise=0.3, control_gain=0.2),
    "nothing": synthetic.Law(control_gain=0.0),
    "length": synthetic.Law(by_length=1.2, entropy_by_length=0.5, gain=2.0),
}


@pytest.fixture(scope="module", params=list(LAWS))
def told(request, tmp_path_factory):
    """One run as each command sees it: (study, judgement, signals, summary)."""
    path = tmp_path_factory.mktemp(request.param) / "made.db"
    run_id = synthetic.write(path, LAWS[request.param], n_problems=80, n_samples=2, name="made")
    with open_db(path) as db:
        found, run = study.analyse(db, [ModelRun("made", "made", run_id)]), load.run(db, run_id)
    judged = judgement(run)
    table = {row.key: row for row in signals.signals(run, resampling=Resampling(200)).rows}
    return found, judged, table, summarise(run.traces, run.probes.own, Resampling(200), judged)


def test_a_claim_has_one_verdict_and_one_p(told):
    found, judged, _, _ = told
    assert {v.key: (v.verdict, v.p, v.p_holm, v.n_family) for _, v in found.verdicts} == {
        key: (v.verdict, v.p, v.p_holm, v.n_family) for key, v in judged.verdicts.items()
    }


def test_a_signal_has_one_reading_and_one_p(told):
    _, judged, table, _ = told
    assert {key: (row.reading, row.p, row.p_holm, row.over) for key, row in table.items()} == {
        key: (r.reading, r.p, r.p_holm, r.over) for key, r in judged.readings.items()
    }


def test_a_signal_that_a_claim_is_about_is_judged_as_that_claim(told):
    found, _, table, _ = told
    of_claims = {v.key: v for _, v in found.verdicts}
    for key, claim in CLAIM_OF.items():
        row, v = table[key], of_claims[claim]
        assert row.over == f"{v.n_family} claims"
        assert row.p == pytest.approx(v.p, rel=1e-9) or row.reading in BEYOND
        if v.verdict == claims.SUPPORTED:
            assert (row.reading in BEYOND, row.p_holm) == (True, pytest.approx(v.p_holm))
        if v.verdict in (held.LENGTH, held.QUESTION):
            assert (row.reading, row.p_holm) == (v.verdict, pytest.approx(v.p_holm))


def test_the_other_signals_are_a_family_of_their_own(told):
    _, judged, table, _ = told
    others = {key: r for key, r in judged.readings.items() if key not in CLAIM_OF}
    entries = [r.p_entry for r in others.values()]
    n = sum(p is not None for p in entries)
    assert {row.over for key, row in table.items() if key in others and row.p is not None} == {f"{n} signals"}
    for (_, r), adjusted in zip(others.items(), holm(entries), strict=True):
        assert r.reading not in BEYOND or r.p_holm == adjusted < held.ALPHA


def test_sentences_say_the_p_of_the_tables_and_name_the_family(told):
    found, judged, table, seen = told
    said = " ".join(terminal.reading(seen))
    columns, rows = verdict_table(found.verdicts)
    by_claim = {row[columns.index("claim")]: row[columns.index("p (Holm)")] for row in rows}
    gain = judged.verdicts[claims.GAIN_RISES.key]
    assert f"{by_claim[gain.claim]} after Holm's rule over {gain.n_family} claims." in said
    for name, key in (("mean token entropy", "mean_entropy"), ("answer entropy half-way", "answer_entropy_half")):
        (sentence,) = [one for one in terminal.reading(seen) if name in one and "AUROC" in one]
        if table[key].reading in (*BEYOND, readings.NOT_SHOWN):
            assert f"{p_cell(table[key].p_holm)} after Holm's rule over {table[key].over}" in sentence


def test_of_another_part_of_the_traces_all_signals_are_one_family(tmp_path):
    """The claims are about whole traces."""
    run_id = synthetic.write(tmp_path / "made.db", LAWS["planted"], n_problems=60, name="made")
    with open_db(tmp_path / "made.db", readonly=True) as db:
        run = load.run(db, run_id)
    half = signals.signals(run, at=0.5, resampling=Resampling(100))
    assert {row.over.split()[1] for row in half.rows} == {"signals"}
    assert any(note.startswith("p (Holm): of the reading, over ") for note in half.notes)


@pytest.mark.parametrize(
    "world",
    [
        worlds.World(80, planted=0.15),
        worlds.World(80, planted=0.3),
        worlds.World(200, by_steps="u"),
        worlds.World(60, 4, by_question=1.0),
        worlds.World(40, planted=0.3, se=0.3),
        worlds.World(20, planted=0.5),
    ],
)
def test_no_world_makes_a_reading_and_a_verdict_contradict_each_other(world):
    """Supported where the reading is beyond, but for an effect too small to count; explained by the same."""
    for seed in range(4):
        p, n_tokens = worlds.draw(world, np.random.default_rng(seed))
        proposed = verdicts.proposed(Sample("made", p, n_tokens, worlds.FEW), {})
        v = {one.key: one for one in verdicts.in_family(proposed)}[claims.EARLY_ANY.key]
        traces = replace(labelled(p.wrong, p.problems, n_tokens), n_steps=p.n_steps)
        signal = Signal("answer_entropy_half", "", "answer", lambda _: np.array([]))
        score = Score(signal, p.at(p.entropy, 0.5), p.at(p.entropy_se, 0.5))
        (r,) = readings.family([readings.tested(score, traces)], proposed)
        if v.verdict == claims.SUPPORTED:
            assert r.reading in BEYOND
        if r.reading in BEYOND:
            assert v.verdict == claims.SUPPORTED or not (v.effect.above(0) and v.effect.value >= v.smallest)
        if v.verdict in (held.LENGTH, held.QUESTION):
            assert r.reading == v.verdict


def test_p_of_one_in_a_family_is_holms_with_it_in_place():
    ps = [0.001, None, 0.04, 0.02]
    assert [holm_of(ps, i, p) for i, p in enumerate(ps)] == holm(ps)
    assert holm_of(ps, 2, 0.0005) == pytest.approx(0.0015)
    assert holm_of(ps, 0, None) is None
