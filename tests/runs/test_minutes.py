"""Time that work may take: nothing is begun that cannot end, nothing is half stored, and more of it goes on.

A clock that ticks once a decode stands in for the real one, so that no test waits or measures.
"""

import json
import math
import random
from dataclasses import replace

import pytest
from helpers.clock import Clock
from helpers.runs import SETTINGS, call, content, query

from localent import compare, tasks
from localent.compare.on_traces import passes
from localent.engine import Prompt
from localent.engine.scripted import ScriptedEngine, ScriptedVocab
from localent.errors import LocalentError, UsageError
from localent.runs.clock import Time, in_words, limited
from localent.runs.extend import Wanted, add_probes
from localent.runs.gold import read_solutions
from localent.runs.progress import Tally
from localent.runs.run import run
from localent.runs.text import score_text

VOCAB = ScriptedVocab([b"a", b"b"])


def unit(n_decodes):
    yield Prompt([0])
    for _ in range(n_decodes):
        yield 0
    return n_decodes


def driven(lengths, seconds=math.inf, n_lanes=2):
    """(the lengths of the units that were done, the clock with what was said)."""
    clock = Clock()
    tally = Tally(clock.listener(seconds), len(lengths), n_lanes)
    done = []
    for found in tally.driven(ScriptedEngine(VOCAB, lambda tokens: [0.0, 0.0], n_lanes=n_lanes), map(unit, lengths)):
        done.append(found)
        tally.done()
    return done, clock


def test_nothing_is_begun_that_would_not_be_done_in_time():
    """Two lanes, units of ten decodes: three rounds fit into 35, and then work ends, before the time is up."""
    done, clock = driven([10] * 20, seconds=35)
    assert len(done) == 6
    assert clock.now == 130


def test_a_unit_that_takes_too_long_is_abandoned_when_the_time_is_up():
    done, clock = driven([10, 1000, 10, 10], seconds=35)
    assert done == [10, 10, 10]
    assert clock.now == 135


def test_without_a_limit_all_is_done():
    done, clock = driven([10, 1000, 10, 10])
    assert sorted(done) == [10, 10, 10, 1000]
    assert clock.now == 1100


def test_long_units_are_as_frequent_among_the_done_as_among_all():
    """Stopping by the longest until now does not select the short ones, as abandoning those under way would."""
    draw, shares = random.Random(0), []
    for _ in range(300):
        lengths = [draw.choice([5, 40]) for _ in range(60)]
        done, _ = driven(lengths, seconds=150, n_lanes=4)
        shares.append(sum(n == 40 for n in done) / len(done))
    assert sum(shares) / len(shares) == pytest.approx(0.5, abs=0.03)


def test_how_long_it_takes_is_said_once_after_the_first_traces():
    """40 units of ten decodes in four lanes are 100 seconds."""
    assert driven([10] * 40, n_lanes=4)[1].notes == [
        "About 2 min for 40 traces on this machine; --minutes M stops in time."
    ]
    assert driven([10] * 40, seconds=90, n_lanes=4)[1].notes == [
        "About 2 min for 40 traces on this machine; stops after 1.5 min."
    ]
    assert driven([10] * 40, seconds=200, n_lanes=4)[1].notes == ["About 2 min for 40 traces on this machine."]
    assert driven([3] * 8, n_lanes=4)[1].notes == []  # six seconds


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (40, "40 s"), (60, "1 min"), (840, "14 min"), (7800, "2 h 10 min"), (7200, "2 h"), (3599, "1 h")],
)
def test_durations_in_words(seconds, words):
    assert in_words(seconds) == words


@pytest.mark.parametrize("minutes", [0, -1, math.nan, math.inf, -math.inf])
def test_minutes_that_are_none_are_refused(minutes):
    with pytest.raises(UsageError, match=r"--minutes must be a positive number, got"):
        limited(minutes)


def test_a_share_of_the_time_is_one_of_what_is_left():
    clock = Clock()
    time = limited(2, clock)
    clock.now += 20
    half = time.share(0.5)
    assert (half.until, half.end, half.left) == (170, 220, 100)
    assert Time().share(0.5) == Time()


# ── runs ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def model(random_model):
    return str(random_model("tiny-qwen2"))


@pytest.fixture
def sums(tmp_path):
    path = tmp_path / "sums.jsonl"
    rows = [{"question": f"What is {i} + {i * i}?", "answer": f"So.\n#### {i + i * i}"} for i in range(12)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return tasks.load("sums", path)


def test_a_run_that_is_out_of_time_goes_on_where_it_stopped(model, sums, tmp_path):
    db, left = tmp_path / "pieces.db", []
    for _ in range(20):
        outcome = run(model, sums, db=db, samples=2, settings=SETTINGS, listener=Clock().listener(150))
        left.append(outcome.n_left)
        assert outcome.n_before + outcome.n_new + outcome.n_left == 24
        assert len(content(db)["traces"]) == 24 - outcome.n_left
        if not outcome.n_left:
            break
    assert len(left) > 2
    assert left == sorted(left, reverse=True)
    run(model, sums, db=tmp_path / "once.db", samples=2, settings=SETTINGS)
    assert content(db) == content(tmp_path / "once.db")


def test_a_run_without_time_for_one_trace_says_so_and_stores_none(model, sums, tmp_path):
    outcome = run(model, sums, db=tmp_path / "runs.db", settings=SETTINGS, listener=Clock().listener(3))
    assert (outcome.n_new, outcome.n_left) == (0, 12)
    assert content(tmp_path / "runs.db")["traces"] == []


def test_worked_solutions_are_read_in_pieces(model, sums, tmp_path):
    settings = replace(SETTINGS, lanes=2)
    outcome = read_solutions(model, sums, db=tmp_path / "a.db", settings=settings, listener=Clock().listener(120))
    assert 0 < outcome.n_new < 12
    assert outcome.n_left == 12 - outcome.n_new
    again = read_solutions(model, sums, db=tmp_path / "a.db", settings=settings)
    assert (again.n_before, again.n_new, again.n_left) == (outcome.n_new, outcome.n_left, 0)
    read_solutions(model, sums, db=tmp_path / "b.db", settings=settings)
    assert content(tmp_path / "a.db") == content(tmp_path / "b.db")


def test_a_text_is_read_as_far_as_there_is_time(model):
    text = "Two and two is four. " * 20
    whole = score_text(model, text, window=8, settings=SETTINGS)
    part = score_text(model, text, window=8, settings=SETTINGS, listener=Clock().listener(40))
    assert whole.n_left == 0
    assert 0 < part.n_windows < whole.n_windows == part.n_windows + part.n_left
    with pytest.raises(LocalentError, match=r"No window was read in 0\.05 min: give more --minutes"):
        score_text(model, text, window=8, settings=SETTINGS, listener=Clock().listener(3))


def test_probes_are_added_to_whole_traces_only(model, sums, tmp_path):
    """Rollouts of one trace share the lanes; a trace has all of them or none, and a later call makes the rest."""
    db, once, wanted = tmp_path / "pieces.db", tmp_path / "once.db", Wanted(m=16, controls=("filler",))
    settings = replace(SETTINGS, max_tokens=12, probes=3)
    for path in (db, once):
        made = run(model, sums.first(4), db=path, settings=settings)
    seen = []
    for _ in range(30):
        listener = Clock().listener(130)
        added = add_probes(model, sums, made.run_id, db=db, wanted=wanted, listener=listener)
        ks = query(db, "select trace_id, count(*), sum(n_rollouts is not null) from probes group by trace_id")
        seen.append(added.n_left)
        assert sum(rolled > 0 for _, _, rolled in ks) == 4 - added.n_left
        if not added.n_left:
            break
    assert len(seen) > 1
    add_probes(model, sums, made.run_id, db=once, wanted=wanted)
    assert content(db) == content(once)


# ── the command line ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf"])
@pytest.mark.parametrize("command", [["run", "m", "demo-number"], ["score", "m", "notes.txt"], ["study", "m"]])
def test_nonsense_is_refused_in_one_sentence(command, minutes):
    code, out, err = call(*command, "--minutes", minutes)
    assert (code, out) == (2, "")
    assert err == f"localent: --minutes must be a positive number, got {float(minutes):g}.\n"


def test_a_command_that_is_out_of_time_says_what_it_left_out(bundled, tmp_path):
    arguments = ["run", bundled, "demo-number", "-n", 8, "--threads", 1, "--lanes", 8, "--cue", "sentence"]
    arguments += ["--db", tmp_path / "runs.db"]
    code, out, err = call(*arguments, "--minutes", "1e-6")
    assert code == 0
    assert "0 of 8 traces done in 1e-06 min; run the same command again to go on." in err.splitlines()
    assert "No trace is finished yet" in out
    assert "run the same command" not in call(*arguments)[2]


# ── comparisons ─────────────────────────────────────────────────────────────────────────────────────────────────


def compared(model, sums, db, seconds):
    """(the comparison of a model with itself on its traces, but for its speed; the clock after it)."""
    clock, settings = Clock(), replace(SETTINGS, probe=False)
    attempts, plan = compare.Attempts(settings=settings), compare.Plan(noise=False, threads=1)
    listener = clock.listener(seconds)
    found = compare.compare_task([model, model], sums, db=db, attempts=attempts, plan=plan, listener=listener)
    return replace(found, speed=None, candidates=tuple(replace(c, speed=None) for c in found.candidates)), clock


def test_a_comparison_is_of_as_many_traces_as_there_is_time_for(model, sums, tmp_path):
    """Both run free on the same problems; what was left out is told, and the same command goes on."""
    db, said = tmp_path / "runs.db", []
    for _ in range(20):
        found, clock = compared(model, sums, db, 150)
        said.append(found.n_texts)
        ((n,),) = query(db, "select count(*) from traces")
        assert n == found.n_texts
        assert clock.now <= 250
        if found.n_texts == 12:
            break
        assert clock.notes[-1] == f"{n} of 12 traces done in 2.5 min; run the same command again to go on."
    assert len(said) > 1
    assert compared(model, sums, tmp_path / "once.db", math.inf)[0] == found
    with pytest.raises(LocalentError, match=r"No trace was finished in 0\.05 min: give more --minutes"):
        compared(model, sums, tmp_path / "none.db", 3)


def test_a_comparison_counts_what_all_models_do():
    """With one candidate: two free runs and one in other lanes, two readings, two times probes."""
    plan = compare.Plan()
    assert passes(plan, 2) == pytest.approx(1 + 1.5 + 1 + 2 * (0.3 + 0.5))
    assert passes(replace(plan, free=False), 3) == pytest.approx(1 + 3 * 0.3)
