"""Control probes: what stands in the prefix, that traces stay as they are, and that they are stored like any other."""

import json
from dataclasses import replace

import numpy as np
import pytest
from helpers.runs import SETTINGS, content, query

from localent import tasks
from localent.engine import Prompt, drive
from localent.engine.scripted import ScriptedEngine, ScriptedVocab
from localent.errors import LocalentError
from localent.measure.meter import Meter
from localent.measure.sampling import Sampler
from localent.records import Choice, Problem
from localent.runs.extend import Added, Wanted, add_probes
from localent.runs.run import run
from localent.store import open_db
from localent.tasks.kinds import CHOICE
from localent.tasks.kinds.choice_grammar import ChoiceGrammar
from localent.tracing.attempt import Question, Setup
from localent.tracing.controls import CONTROLS, ENDS, EVERY, Written, compared_at, control_probes, prefixes_of
from localent.tracing.generate import Limits
from localent.tracing.places import probed_at
from localent.tracing.probe import Effort
from localent.tracing.rollout import ESTIMATOR

OWN = Written(1, "a", 0, True, (10, 11, 12, 20, 21, 30, 40), (0, 3, 5, 6))
SAME_WRONG = Written(2, "a", 1, False, (50, 51, 52, 53), (0, 1, 2, 3))
SAME_RIGHT = Written(3, "a", 2, True, (60, 61, 62), (0, 1, 2, 3))
OTHER = Written(4, "b", 0, True, (70, 71), (0, 1, 2))
ALL = [OWN, SAME_WRONG, SAME_RIGHT, OTHER]


def prefixes(control, own=OWN, others=ALL, seed=0):
    """k -> the tokens that stand in the place of the first k steps."""
    draw = lambda name: np.random.default_rng([seed, *name.encode()])  # noqa: E731
    return {p.k: p.tokens for p in prefixes_of(control, own, others, (7, 8), draw)}


def test_each_control_puts_what_its_name_says_before_the_cue():
    assert prefixes("none") == {1: (), 2: (), 3: ()}
    assert prefixes("other-question") == {1: (70,), 2: (70, 71)}
    assert prefixes("wrong-trace") == {1: (50,), 2: (50, 51), 3: (50, 51, 52)}
    assert prefixes("filler") == {1: (7, 8, 12), 2: (7, 8, 12, 8, 21), 3: (7, 8, 12, 8, 21, 30)}
    assert prefixes("shuffled")[2] == (20, 21, 10, 11, 12)


def test_filler_is_as_long_as_the_trace_and_ends_its_steps_as_it_does():
    for k, tokens in prefixes("filler").items():
        assert len(tokens) == OWN.ends[k]
        assert all(tokens[end - 1] == OWN.tokens[end - 1] for end in OWN.ends[1 : k + 1])


def test_shuffling_uses_every_step_once_and_never_leaves_them_as_they_were():
    for seed in range(50):
        for k, mixed in prefixes("shuffled", seed=seed).items():
            assert sorted(mixed) == sorted(OWN.prefix(k))
            assert mixed != OWN.prefix(k)


def test_a_control_that_does_not_exist_is_left_out_not_replaced():
    assert 3 not in prefixes("other-question")  # the only other question has two steps
    assert prefixes("wrong-trace", others=[OWN, SAME_RIGHT, OTHER]) == {}
    assert 1 not in prefixes("shuffled")
    assert prefixes("shuffled", own=Written(9, "c", 0, True, (1, 1), (0, 1, 2))) == {}


def test_one_other_trace_stands_for_all_steps_and_a_longer_one_is_preferred():
    others = [OWN, OTHER, *(Written(i, "c", 0, True, (i,) * 5, (0, 1, 2, 4, 5)) for i in range(80, 90))]
    drawn = [prefixes("other-question", others=others, seed=seed) for seed in range(30)]
    assert all(set(found) == {1, 2, 3} and len({t for p in found.values() for t in p}) == 1 for found in drawn)
    assert len({found[1] for found in drawn}) > 3


def test_controls_are_read_after_every_step_or_half_way_and_at_the_end():
    probed = [probed_at(n, None) for n in (0, 1, 2, 5)]
    assert [compared_at(ks, EVERY) for ks in probed] == [[], [1], [1, 2], [1, 2, 3, 4, 5]]
    assert [compared_at(ks, ENDS) for ks in probed] == [[], [1], [1, 2], [2, 5]]
    assert compared_at(probed_at(9, 5), EVERY) == [2, 4, 6, 9]
    assert compared_at(probed_at(9, 5), ENDS) == [4, 9]


@pytest.mark.parametrize("control", CONTROLS)
def test_each_reading_is_that_of_its_own_prefix_alone(control):
    """From one lane, whichever are asked for, what a lane of its own gives each; rows depend on all tokens."""
    pieces = [b"A", b"B", b"x", b"y", b"z", b"\n", b"cue", b""]
    vocab, own = ScriptedVocab(pieces, eog=frozenset({7})), Written(1, "a", 0, True, (2, 5, 3, 5, 4, 5), (0, 2, 4, 6))
    others = [
        own,
        Written(2, "a", 1, False, (4, 5, 4, 4, 5, 2), (0, 2, 5, 6)),
        Written(3, "b", 0, True, (3, 5), (0, 2)),
    ]
    problem = Problem("a", "1", "q", "A", (Choice("A", "a"), Choice("B", "b")))
    question = Question(problem, Prompt([6]), lambda written: [6], ChoiceGrammar(pieces, ("A", "B")))

    def read(prefixes):
        engine = ScriptedEngine(vocab, lambda tokens: np.random.default_rng(tokens).normal(size=8), n_lanes=1)
        how = Setup(vocab, Meter(8), Sampler(), 0, Limits(0), CHOICE, Effort())
        job = control_probes(question, own, control, prefixes, how)
        return next(drive(engine, [job]))

    asked = list(prefixes_of(control, own, others, (2,), lambda name: np.random.default_rng(0)))
    alone = [read([replace(prefix, whole=prefix.tokens)])[0] for prefix in asked]
    assert list(read(asked)) == alone
    assert list(read(asked[::2])) == alone[::2]
    assert len({probe.entropy for probe in alone}) == (1 if control == "none" else len(asked))


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
    return add_probes(model, task, run_id, db=db, wanted=Wanted(**options))


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
    added = add(made, controls=CONTROLS, m=16, n_rolled=4)
    assert added.n_new > 0
    assert add(made, controls=CONTROLS, m=16, n_rolled=4) == Added(0, 0)
    other = tmp_path / "other.db"
    run(model, task, db=other, samples=2, settings=SETTINGS)
    add_probes(model, task, run_id, db=other, wanted=Wanted(controls=("filler", "other-question"), at=ENDS))
    add_probes(model, task, run_id, db=other, wanted=Wanted(controls=("shuffled", "none"), control_samples=1))
    add_probes(model, task, run_id, db=other, wanted=Wanted(controls=CONTROLS))
    add_probes(model, task, run_id, db=other, wanted=Wanted(m=16, n_rolled=4))
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
        plain = tuple(p for p in whole.probes if p.own)
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
    ids = f"select distinct trace_id from probes where estimator = '{ESTIMATOR}'"
    rolled = query(made[2], f"select problem_id, sample from traces where trace_id in ({ids})")
    assert len(rolled) == 2
    assert {sample for _, sample in rolled} == {0}  # two problems, not two samples of one


def test_controls_may_be_kept_to_the_first_samples(made):
    add(made, controls=("filler",), control_samples=1)
    sql = "select distinct sample from traces join probes using (trace_id) where estimator = 'number:filler'"
    assert query(made[2], sql) == [(0,)]


def test_controls_are_read_after_every_step_of_a_trace(made):
    add(made, controls=("filler",))
    sql = "select trace_id, k, n_tokens from probes where k > 0 and estimator = "
    assert query(made[2], sql + "'number:filler' order by 1, 2") == query(made[2], sql + "'number' order by 1, 2")
