"""A study in limited time: every part gets its share, what is left out is told, and the next call goes on.

A clock that ticks once a decode stands in for the real one.
"""

import json
import math
import re

import pytest
from helpers.clock import Clock
from helpers.runs import query

from localent import study, tasks
from localent.errors import LocalentError
from localent.runs import Settings
from localent.study import Design, making

SETTINGS = Settings(
    lanes=4,
    threads=1,
    max_tokens=16,
    temperature=1.0,
    max_fed=4,
    answer_by="letter",
    cue="label",
    shots=0,
    gpu_layers=0,
)


@pytest.fixture
def task(tmp_path):
    rows = [{"question": f"Which is {i}?", "choices": [str(i), "x", "y"], "answer": "ABC"[i % 3]} for i in range(16)]
    (tmp_path / "made.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tasks.load("made", tmp_path / "made.jsonl")


@pytest.fixture
def made(random_model, tmp_path, task):
    """(seconds, names of models, options) -> (the works, the clock after them); in the same database unless named."""

    def make(seconds, names=("tiny-qwen2",), db="runs.db", **options):
        clock, design = Clock(0.0), Design(settings=SETTINGS, **dict(samples=2, at="ends", m=16, n_rolled=3) | options)
        works = design.works([str(random_model(name)) for name in names], [task], tmp_path / db)
        making.make(works, clock.listener(seconds))
        return works, clock

    return make


COUNTS = """
select count(distinct trace_id), count(distinct case when control is not null then trace_id end),
count(distinct case when n_rollouts is not null then trace_id end) from probes"""
ROLLED = "select trace_id, k, p_true from probes where n_rollouts is not null order by 1, 2"


def test_every_part_gets_its_share_and_what_is_left_out_is_told(made, tmp_path):
    (work,), clock = made(150)
    ((n_traces, n_controlled, n_rolled),) = query(tmp_path / "runs.db", COUNTS)
    assert 3 < n_traces < 32
    assert n_controlled >= 2
    assert 1 <= n_rolled <= 3
    assert clock.now <= 150
    assert re.fullmatch(
        rf".* on made: {n_traces} of 32 traces(, controls missing for \d+ of them)?"
        r"(, rollouts missing for \d of them)?, done in 2\.5 min; run the same command again to go on\.",
        work.unfinished(clock.listener(150).time),
    )


def test_the_same_command_goes_on_until_all_is_there(made, tmp_path):
    """Nothing is made twice: rollouts are of the same traces as without a limit."""
    for _ in range(30):
        (work,), clock = made(150)
        if not work.unfinished(clock.listener(150).time):
            break
    (at_once,), _ = made(math.inf, db="once.db")
    assert (work.run_id, work.n_traces, set(work.n_left.values())) == (at_once.run_id, 32, {0})
    assert query(tmp_path / "runs.db", ROLLED) == query(tmp_path / "once.db", ROLLED)
    assert query(tmp_path / "runs.db", COUNTS) == query(tmp_path / "once.db", COUNTS)


def test_time_that_a_part_does_not_use_goes_to_the_others(made):
    """Attempts need a part of their half, and rollouts all that is left over."""
    _, clock = made(math.inf, db="once.db", n=6)
    (work,), within = made(clock.now + 40, n=6)
    assert set(work.n_left.values()) == {0}
    assert within.now <= clock.now + 40


def test_time_is_shared_between_models(made, tmp_path):
    works, clock = made(300, names=("tiny-qwen2", "tiny-llama"))
    assert clock.now <= 300
    assert min(work.n_traces for work in works) > 3
    (one,), (other,) = query(tmp_path / "runs.db", "select count(*) from traces group by run_id")
    assert {one, other} == {work.n_traces for work in works}


def test_the_forecast_of_the_whole_is_about_what_it_takes(made):
    """Told after the first traces; the clock does not count prompts and texts, which are read in chunks."""
    _, clock = made(math.inf)
    (sentence,) = clock.notes
    told = re.fullmatch(
        r"About (\d+) min for \S+ on made \(attempts .*, controls .*, rollouts .*\) on this machine; --minutes M"
        r" stops in time\.",
        sentence,
    )
    assert 0.8 < 60 * int(told[1]) / clock.now < 2  # controls that a short trace does not have are counted in


def test_a_study_that_was_cut_short_judges_every_claim_or_names_its_lack(random_model, task, tmp_path):
    clock = Clock(0.0)
    design = Design(settings=SETTINGS, samples=2, at="ends", m=16, n_rolled=3)
    model = str(random_model("tiny-qwen2"))
    found = study.study([model], [task], design, db=tmp_path / "runs.db", listener=clock.listener(150))
    assert len(found.unfinished) == 1
    assert all(v.effect.known or v.effect.reason or v.note for _, v in found.verdicts)
    with pytest.raises(LocalentError, match=r"No trace was finished in 0\.05 min: give more --minutes, or lower"):
        study.study([model], [task], design, db=tmp_path / "none.db", listener=Clock(0.0).listener(3))
