"""Rollouts: the shares of continuations, their entropies, and streams of their own."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from localent import tasks
from localent.engine import Prompt, drive
from localent.engine.scripted import ScriptedEngine, ScriptedVocab
from localent.errors import UsageError
from localent.measure.meter import Meter
from localent.measure.sampling import Sampler
from localent.records import Problem
from localent.tasks import NUMBER, ThoughtFormat
from localent.tracing.attempt import Question
from localent.tracing.controls import Written
from localent.tracing.generate import Limits
from localent.tracing.rollout import (
    Rollouts,
    continuations,
    miller_madow,
    parts,
    plug_in_entropy,
    rollout_probe,
    rollouts_of,
)

PIECES = [b"The answer is ", b"1", b"2", b"3", b".", b"go\n", b"?", b""]
VOCAB = ScriptedVocab(PIECES, eog=frozenset({7}))
SHARES = {1: 0.6, 2: 0.3, 6: 0.1}  # what follows "The answer is "; "?" is no answer
PROBLEM = Problem("p", "1", "q", "2")
QUESTION = Question(PROBLEM, Prompt([5]), lambda written: [0], None)
ROOM = Limits(12)
OWN = Written(1, "p", 0, True, (5, 5, 0, 1, 4, 7), (0, 1, 2))


def logits(tokens):
    """A step, then "The answer is ", a number by SHARES, a full stop, the end."""
    mass = np.zeros(len(PIECES))
    last = tokens[-1]
    if last == 5 and len(tokens) < 4:
        mass[5] = 1
    elif last == 5:
        mass[0] = 1
    elif last == 0:
        for token, share in SHARES.items():
            mass[token] = share
    else:
        mass[7 if last in (4, 6) else 4] = 1
    with np.errstate(divide="ignore"):
        return np.log(mass)


def play(ks=(0, 1, 2), m=64, seed=0, n_lanes=1, limits=ROOM, own=OWN, question=QUESTION):
    """The probes of all parts, which end in another order in several lanes."""
    engine, how = ScriptedEngine(VOCAB, logits, n_lanes=n_lanes), Rollouts(m, Sampler(1.0), seed, limits, NUMBER)

    def job(part):
        done = yield from continuations(question, own, part, how, VOCAB, Meter(len(PIECES)))
        return part, done

    ended = {k: {} for k in ks}
    for part, done in drive(engine, map(job, parts(ks, m))):
        ended[part.k] |= dict(zip(part.js, done, strict=True))
    return rollouts_of(
        own, {k: [js[j] for j in sorted(js)] for k, js in ended.items()}, question.problem.answer, tasks.NUMBER
    )


def test_shares_of_continuations_are_the_models_own():
    """600 continuations against the known distribution: within four standard errors; the unreadable are counted."""
    (probe,) = play(ks=(1,), m=600)
    answered = 1 - probe.invalid
    for token, share in SHARES.items():
        given = {a.value: a.prob for a in probe.answers}.get(PIECES[token].decode())
        seen = probe.invalid if given is None else given * answered
        assert abs(seen - share) < 4 * math.sqrt(share * (1 - share) / 600)
    assert probe.p_true == {a.value: a.prob for a in probe.answers}["2"]
    assert probe.log_p_true == math.log(probe.p_true)
    assert (probe.estimator, probe.k, probe.n_tokens, probe.position, probe.leader) == ("rollout", 1, 1, 0.5, "1")


def test_entropy_stands_between_plug_in_and_ln_m():
    for probe in play():
        n = round(64 * (1 - probe.invalid))
        assert probe.entropy_lower <= probe.entropy <= probe.entropy_upper == pytest.approx(math.log(n))
        assert probe.entropy_se > 0


def test_continuations_do_not_depend_on_lanes_or_on_which_prefixes_are_asked():
    assert play(n_lanes=3) == play()
    assert play(ks=(1,))[0] == play(ks=(0, 1, 2))[1]


def test_another_seed_or_sample_draws_other_continuations():
    other = Written(2, "p", 1, True, OWN.tokens, OWN.ends)
    assert play(seed=1) != play()
    assert play(own=other) != play()


def test_a_prefix_without_room_to_answer_is_unparseable():
    """Two tokens are left after one: a step and "The answer is "."""
    (probe,) = play(ks=(2,), limits=Limits(3), m=16)
    assert probe.invalid == 1.0
    assert (probe.leader, probe.entropy, probe.entropy_se) == (None, None, None)
    assert probe.log_p_true == math.log(1 / 32)


@pytest.mark.parametrize(("max_tokens", "opens_thought", "answered"), [(5, False, 1), (5, True, 0), (12, True, 1)])
def test_a_thought_that_the_limit_cuts_off_has_no_answer(max_tokens, opens_thought, answered):
    """Five tokens hold the number and not the end; what ended by itself is read as it is."""
    (probe,) = play(
        ks=(1,), limits=Limits(max_tokens), question=replace(QUESTION, thought=ThoughtFormat(opened=opens_thought))
    )
    assert bool(probe.answers) == bool(answered)


def test_stop_texts_end_a_continuation():
    (probe,) = play(ks=(1,), limits=Limits(12, (b"answer",)), m=16)
    assert probe.invalid == 1.0


def test_miller_madow_removes_most_of_the_bias_that_science_states():
    """Uniform over 4, true 1.386: the mean plug-in entropy is 1.013 at m = 5 and 1.286 at m = 16 (SCIENCE.md 4)."""
    rng = np.random.default_rng(0)
    for m, plug_in in ((5, 1.013), (16, 1.286)):
        drawn = [list(Counter(rng.integers(4, size=m).tolist()).values()) for _ in range(4000)]
        assert np.mean([plug_in_entropy(c) for c in drawn]) == pytest.approx(plug_in, abs=0.01)
        corrected = np.mean([miller_madow(c) for c in drawn])
        assert plug_in < corrected < math.log(4) + 0.02
    assert miller_madow([1] * 16) == math.log(16)  # capped


def test_few_rollouts_are_refused():
    with pytest.raises(UsageError, match="at least 16 rollouts, got 8"):
        Rollouts(8, Sampler(1.0), 0, Limits(10), NUMBER)


def test_ties_of_the_leader_are_settled_by_value_not_by_order():
    a, b = (rollout_probe(0, 1, 0, values, "2", 0) for values in (["2", "1"] * 8, ["1", "2"] * 8))
    assert a == b
    assert a.leader == "1"


@pytest.mark.parametrize("name", tasks.BUNDLED)
def test_agreement_with_the_computed_estimator_on_the_bundled_model(bundled, tmp_path, name):
    """After the last step only the answer is left to say: both ways of reading it must tell the same.

    Averaged over traces, since 16 continuations know a probability to about 0.12.
    """
    from localent.analysis import load
    from localent.runs import Settings, run
    from localent.runs.extend import Wanted, add_probes
    from localent.store import open_db

    task, db = tasks.load(name), tmp_path / "runs.db"
    settings = Settings(lanes=8, threads=1, temperature=1.0, max_tokens=120)
    outcome = run(str(bundled), task.first(6), db=db, settings=settings)
    add_probes(str(bundled), task, outcome.run_id, db=db, wanted=Wanted(m=16))
    with open_db(db, readonly=True) as store:
        found = load.probes(store, outcome.run_id)
    rolled, computed = found.rolled, found.own
    ended = [p.at_end(p.p_true) for p in (rolled, computed)]
    valid = ~np.isnan(ended[0])
    if np.nanmean(rolled.at_end(rolled.p_leader)) < 0.5:
        pytest.skip("the bundled model is the provisional one: it hardly ever states an answer")
    assert np.mean(np.abs(ended[0] - ended[1])[valid]) < 0.2
