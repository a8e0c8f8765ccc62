"""Titles are for people: with every one of them reworded, the same claims, figures, prices and signs are found."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import synthetic

from localent import study
from localent.analysis import claims, divergence, load, policies, quantities, trace_signals, verdicts
from localent.analysis.claims import Claim
from localent.analysis.intervals import Resampling
from localent.analysis.quantities import Quantity
from localent.analysis.replay import Outcome, replay
from localent.analysis.signals import Judged, signals
from localent.analysis.trace_signals import Signal
from localent.compare.result import Candidate
from localent.compare.stored import _columns
from localent.store import open_db
from localent.store.migrations import CLAIM_KEYS


def titled(module, kind):
    """The constants of a module that have a title: name -> record."""
    return {name: value for name, value in vars(module).items() if isinstance(value, kind)}


@pytest.fixture
def reworded(monkeypatch):
    """Function: every title of claims, quantities, signals and stops becomes another."""

    def reword():
        for name, table in vars(trace_signals).items():
            if isinstance(table, tuple) and table and isinstance(table[0], Signal):
                monkeypatch.setattr(trace_signals, name, tuple(replace(one, title=f"X {one.key}") for one in table))
        monkeypatch.setattr(policies, "STOPS", tuple(replace(one, title=f"X {one.key}") for one in policies.STOPS))
        for module, kind in ((claims, Claim), (quantities, Quantity)):
            for name, one in titled(module, kind).items():
                monkeypatch.setattr(module, name, replace(one, title=f"{one.title}, in other words"))
        monkeypatch.setattr(quantities, "QUANTITIES", {
            key: replace(one, title=f"{one.title}, in other words") for key, one in quantities.QUANTITIES.items()
        })  # fmt: skip
        original = claims.exceeds
        monkeypatch.setattr(verdicts, "exceeds", lambda *a, **k: replace(original(*a, **k), title=f"beats {a[0]}"))

    return reword


def test_keys_are_one_to_a_claim_and_know_the_wording_of_older_files():
    found = titled(claims, Claim).values()
    keys = {one.key for one in found}
    assert len(keys) == len(found)
    assert set(CLAIM_KEYS.values()) - keys == {"gain_rises_no_floor"}  # no longer judged


def test_reworded_claims_are_the_same_claims(tmp_path, reworded):
    """The same verdicts, study and rows but for the wording; a study that was kept before is still the same study."""
    law = synthetic.Law(gain=5, gain_wrong=1, noise=0.2, control_gain=0.0)
    with open_db(tmp_path / "made.db") as db:
        runs = {}
        for seed in (1, 2):
            run_id = synthetic.write(tmp_path / "made.db", law, n_samples=2, seed=seed, name="m", run_id=f"seed{seed}")
            runs[seed] = [study.ModelRun("m", "made", run_id)]
        before = {seed: study.analyse(db, found, resampling=Resampling(200)) for seed, found in runs.items()}
        study.keep(db, before[1], runs[1])
        study.keep(db, before[2], runs[2])
        rows = db.verdicts()
        reworded()
        after = study.analyse(db, runs[1], resampling=Resampling(200))
        others = study.other_seeds(db, runs[1])
        study.keep(db, after, runs[1])
        mine = [row for row in db.verdicts() if row["study_id"] == after.study_id]
    assert after.study_id == before[1].study_id
    assert not {v.claim for _, v in after.verdicts} & {v.claim for _, v in before[1].verdicts}
    assert [replace(v, claim="") for _, v in after.verdicts] == [replace(v, claim="") for _, v in before[1].verdicts]
    assert others[0].agreement(after.verdicts)[2] == len(after.verdicts)
    old = [row for row in rows if row["study_id"] == after.study_id]
    by_key = [{row["claim_key"]: row | {"claim": ""} for row in some} for some in (mine, old)]
    assert by_key[0] == by_key[1]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "made.db"
    run_id = synthetic.write(path, synthetic.Law(gain=4, against=8, token_gap=0.2), n_problems=30, n_samples=3)
    with open_db(path, readonly=True) as db:
        return load.run(db, run_id)


FIGURES = {  # column of comparisons -> key of the figure that it holds, as files, --json and scripts know it
    "mean_kld": "Mean KLD",
    "noise_kld": "Mean KLD",
    "rms_delta_p": "RMS Δp",
    "same_top": "Same top p",
    "ppl_reference": "Mean PPL(base)",
    "ppl_candidate": "Mean PPL(Q)",
    "delta_entropy": "Mean ΔH",
    "delta_varentropy": "Mean Δvarentropy",
}


def compared(seed):
    """A candidate with figures of random columns: 50 positions."""
    rng = np.random.default_rng(seed)
    sides = [{name: rng.random(50) for name in ("surprisal", "entropy", "varentropy", "margin")} for _ in range(2)]
    of_both = {name: rng.random(50) for name in ("kld", "kld_cut", "kld_reverse", "jsd", "tv")}
    of_both["same_top"] = (rng.random(50) < 0.9).astype(float)
    return Candidate(None, divergence.teacher_forced(sides[0], sides[1] | of_both, cut=False))


def test_columns_of_a_comparison_hold_the_figures_of_these_keys_however_they_are_titled(reworded):
    candidate, floor = compared(1), compared(2)
    before = _columns(candidate, floor)
    expected = {column: candidate.forced[key].value for column, key in FIGURES.items()}
    expected["noise_kld"] = floor.forced[FIGURES["noise_kld"]].value
    assert {column: before[column] for column in FIGURES} == expected
    assert len(set(expected.values())) == len(FIGURES)
    reworded()
    assert _columns(compared(1), compared(2)) == before


def test_reworded_signals_are_judged_alike(run, reworded):
    before = {row.key: row for row in signals(run, resampling=Resampling(50)).rows}
    reworded()
    after = {row.key: row for row in signals(run, resampling=Resampling(50)).rows}
    assert len(after) > 40
    assert after["mean_entropy"].name == "X mean_entropy"
    assert untitled(after, name="") == untitled(before, name="")


def test_reworded_policies_have_the_same_prices_signs_and_gains(run, reworded):
    """A price comes from what a signal needs, a sign from the rule, a voter by its key: none from a title."""
    before = {one.key: one for one in replay(run, resampling=Resampling(50)).outcomes}
    reworded()
    after = {one.key: one for one in replay(run, resampling=Resampling(50)).outcomes}
    assert untitled(after, policy="") == untitled(before, policy="")
    assert after["abstain:mean_entropy"].policy == "abstain by X mean_entropy"
    assert after["abstain:answer_entropy_half"].tokens_saved_net.value < 0 == after["length_cap"].setting.count("-")
    assert after["weighted_vote:mean_entropy"].change == before["weighted_vote:mean_entropy"].change
    assert replay(run, policy="eat", resampling=Resampling(50)).outcomes == (after["eat"],)


def untitled(found: dict[str, Outcome | Judged], **titles):
    return {key: replace(one, **titles) for key, one in found.items()}
