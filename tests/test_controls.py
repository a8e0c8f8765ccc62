"""Control probes: what stands in the prefix, that traces stay as they are, and that they are stored like any other."""

import json
from dataclasses import replace

import numpy as np
import pytest
from test_runs import SETTINGS, content, query

from localent import tasks
from localent.controls import CONTROLS, Written, compared_at, control_prefix
from localent.errors import LocalentError
from localent.later import add_probes
from localent.rollout import ESTIMATOR
from localent.runs import run
from localent.store import open_db

OWN = Written(1, "a", 0, True, (10, 11, 12, 20, 21, 30, 40), (0, 3, 5, 6))
SAME_WRONG = Written(2, "a", 1, False, (50, 51, 52, 53), (0, 1, 2, 3))
SAME_RIGHT = Written(3, "a", 2, True, (60, 61, 62), (0, 1, 2, 3))
OTHER = Written(4, "b", 0, True, (70, 71), (0, 1, 2))
ALL = [OWN, SAME_WRONG, SAME_RIGHT, OTHER]


def prefix(control, k, others=ALL, seed=0):
    return control_prefix(control, OWN, k, others, (7, 8), np.random.default_rng(seed))


def test_each_control_puts_what_its_name_says_before_the_cue():
    assert prefix("none", 2) == ()
    assert prefix("other-question", 2) == (70, 71)
    assert prefix("wrong-trace", 2) == (50, 51)
    assert prefix("filler", 2) == (7, 8, 7, 8, 21)  # as long as the prefix, its last token kept
    assert prefix("shuffled", 2) == (20, 21, 10, 11, 12)


def test_shuffling_uses_every_step_once_and_never_leaves_them_as_they_were():
    for seed in range(50):
        mixed = prefix("shuffled", 3, seed=seed)
        assert sorted(mixed) == sorted(OWN.prefix(3))
        assert mixed != OWN.prefix(3)


def test_a_control_that_does_not_exist_is_left_out_not_replaced():
    assert prefix("other-question", 3) is None  # the only other question has two steps
    assert prefix("wrong-trace", 2, [OWN, SAME_RIGHT, OTHER]) is None
    assert prefix("shuffled", 1) is None
    assert control_prefix("shuffled", Written(9, "c", 0, True, (1, 1), (0, 1, 2)), 2, [], (7,), None) is None


def test_controls_are_read_half_way_and_at_the_end():
    assert [compared_at(n) for n in (0, 1, 2, 5)] == [[], [1], [1, 2], [2, 5]]


@pytest.fixture
def made(random_model, tmp_path):
    """(model, task, database, run id): a small run of random weights, two samples a problem."""
    path = tmp_path / "sums.jsonl"
    rows = [{"question": f"What is {i} + {i * i}?", "answer": i + i * i} for i in range(6)]
    path.write_text("\n".join(map(json.dumps, rows)))
    model, task, db = str(random_model("tiny-qwen2")), tasks.load("sums", path), tmp_path / "runs.db"
    return model, task, db, run(model, task, db=db, samples=2, settings=SETTINGS).run_id


def add(made, **options):
    model, task, db, run_id = made
    return add_probes(model, task, run_id, db=db, **options)


def test_traces_stay_as_they_are(made):
    before = content(made[2])
    add(made, controls=CONTROLS, m=16, n_rolled=3)
    after = content(made[2])
    for table in ("runs", "traces", "tokens", "steps"):
        assert before[table] == after[table]
    assert set(before["probes"]) < set(after["probes"])
    assert set(before["answers"]) < set(after["answers"])


def test_no_prefix_reads_what_the_probe_before_the_first_step_read(made):
    add(made, controls=("none",))
    numbers = "entropy, entropy_lower, entropy_upper, residual, invalid, p_true, leader, n_fed"
    own = {row[0]: row[1:] for row in query(made[2], f"select trace_id, {numbers} from probes where k = 0")}
    none = query(made[2], f"select trace_id, {numbers} from probes where estimator = 'number:none'")
    assert len(none) > 5
    assert all(own[row[0]] == row[1:] for row in none)


def test_probes_are_added_once_and_in_pieces_or_at_once_alike(made, tmp_path):
    model, task, db, run_id = made
    n = add(made, controls=CONTROLS, m=16, n_rolled=4)
    assert n > 0
    assert add(made, controls=CONTROLS, m=16, n_rolled=4) == 0
    other = tmp_path / "other.db"
    run(model, task, db=other, samples=2, settings=SETTINGS)
    for controls in (("filler",), ("shuffled", "none"), CONTROLS):
        add_probes(model, task, run_id, db=other, controls=controls)
    add_probes(model, task, run_id, db=other, m=16, n_rolled=4)
    assert content(other) == content(db)


def test_a_run_goes_on_beside_added_probes(made):
    """The same traces again are recognised though they have more probes now; `trace_summary` reads its own."""
    model, task, db, run_id = made
    before = query(db, "select * from trace_summary order by trace_id")
    add(made, controls=CONTROLS)
    assert query(db, "select * from trace_summary order by trace_id") == before
    with open_db(db) as store:
        key = query(db, "select min(trace_id) from traces")[0][0]
        whole = store.trace(key)
        plain = tuple(p for p in whole.probes if p.estimator == "number")
        assert len(plain) < len(whole.probes)
        store.add_trace(run_id, replace(whole, probes=plain))
    assert run(model, task, db=db, samples=2, settings=SETTINGS).n_new == 0


def test_a_trace_that_differs_is_still_refused(made):
    with open_db(made[2]) as store:
        key = query(made[2], "select min(trace_id) from traces")[0][0]
        whole = store.trace(key)
        changed = tuple(replace(p, p_true=0.5) for p in whole.probes)
        with pytest.raises(LocalentError, match="with other probes"):
            store.add_trace(made[3], replace(whole, probes=changed))


def test_rollouts_are_stored_for_the_traces_asked_for(made):
    add(made, m=16, n_rolled=2)
    (n,) = query(made[2], f"select count(distinct trace_id) from probes where estimator = '{ESTIMATOR}'")[0]
    assert n == 2
