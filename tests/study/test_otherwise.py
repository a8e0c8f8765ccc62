"""Verdicts under another cue or effort, where the database has such runs, and a sentence where it has none."""

import numpy as np
import pytest
from helpers import synthetic

from localent import study
from localent.analysis import claims, entropy_law
from localent.analysis.claims import SUPPORTED
from localent.analysis.intervals import Resampling
from localent.report.science import sensitivity_table, under_other_thresholds
from localent.store import open_db
from localent.study import ModelRun
from localent.study.otherwise import none_stored, otherwise
from localent.study.seeds import STORED
from localent.study.study import with_alternatives

BASE = dict(probe=True, cue="sentence", prompt="0", epsilon=0.01, max_fed=64, paths=12, probes=5)
PLANTED = synthetic.Law(gain=5, gain_wrong=1, noise=0.2)
RUNS = {  # run id -> what differs, and the law by which its probes came about
    "mine": ({}, PLANTED),
    "boxed": ({"cue": "boxed", "prompt": "1"}, synthetic.Law()),
    "rough": ({"max_fed": 8, "paths": 0}, PLANTED),
    "warm": ({"temperature": 1.0}, PLANTED),
    "both": ({"cue": "boxed", "prompt": "1", "paths": 0}, PLANTED),
    "unread": ({"probe": False, "cue": "boxed", "prompt": "1"}, PLANTED),
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("otherwise") / "made.db"
    for name, (changes, law) in RUNS.items():
        synthetic.write(path, law, name="made", run_id=name, n_samples=2, settings=BASE | changes)
    return path


def test_runs_that_differ_in_one_choice_alone_are_found(stored):
    with open_db(stored, readonly=True) as db:
        found = [(one.setting, one.value, one.run_id) for one in otherwise(db, ModelRun("made", "made", "mine"))]
        alone = list(otherwise(db, ModelRun("made", "made", "warm")))
    assert found == [("cue", "boxed", "boxed"), ("effort", "max_fed 8, paths 0", "rough")]
    assert not alone


def test_a_claim_that_hangs_on_the_cue_is_told(stored):
    """The same attempts, read after another cue, show nothing."""
    with open_db(stored, readonly=True) as db:
        runs = [ModelRun("made", "made", "mine")]
        judged = study.analyse(db, runs, resampling=Resampling(300))
        found = with_alternatives(db, judged, runs, STORED)
    (gain,) = (v for _, v in found.verdicts if v.key == claims.GAIN_RISES.key)
    told = under_other_thresholds(found, "made", gain)
    assert (gain.verdict, told["verdict_effort_max_fed 8, paths 0"]) == (SUPPORTED, SUPPORTED)
    assert told["verdict_cue_boxed"].startswith("smaller than")
    columns, rows = sensitivity_table(found)
    row = next(dict(zip(columns, row, strict=True)) for row in rows if row[2] == gain.claim and row[5] == "boxed")
    assert (row["if"], row["is"], row["then"]) == ("the cue", "boxed", told["verdict_cue_boxed"])
    assert not any("no run of it that differs" in note for note in found.notes)


def test_that_no_other_cue_was_tried_is_told(stored):
    with open_db(stored, readonly=True) as db:
        runs = [ModelRun("made", "made", "warm")]
        found = with_alternatives(db, study.analyse(db, runs, resampling=Resampling(100)), runs, STORED)
    assert none_stored("made", "made", "cue") in found.notes
    assert none_stored("made", "made", "effort") in found.notes


def test_the_price_of_entropy_is_that_which_was_planted():
    """accuracy = 0.9 - 0.4 (e^H - 1) at four stages; two stages, or stages alike, have no fit."""
    entropy = np.array([0.9, 0.6, 0.4, 0.3])
    found = entropy_law.fit(entropy, 0.9 - 0.4 * np.expm1(entropy))
    assert (found.n, found.ceiling, found.price, found.rmse) == pytest.approx((4, 0.9, 0.4, 0.0))
    assert "90% would be reached with no entropy left" in found.sentence
    assert "no less accurate" in entropy_law.fit(entropy, entropy).sentence
    assert entropy_law.fit(entropy[:2], entropy[:2]) is None
    assert entropy_law.fit(np.full(4, 0.3), entropy) is None
    assert entropy_law.fit(np.array([0.1, 0.2, np.nan]), entropy[:3]) is None
