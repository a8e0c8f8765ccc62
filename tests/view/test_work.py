"""What is said of a run at work: how far, how fast, how many right so far, and whether it still works."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from helpers.made import made

from localent.store import open_db
from localent.view import work
from localent.view.traces import Arrivals, runs_of

NOON = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)


def at(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@pytest.fixture
def path(tmp_path):
    """A run of 20 traces, 13 of them right, and another one."""
    made(tmp_path / "runs.db", n_runs=2, n_problems=20)
    return tmp_path / "runs.db"


def session(path, silent: float = 1.0, **columns: object) -> None:
    """The first run's session: 20 traces in 10 s, the last one so many seconds ago."""
    last = NOON - timedelta(seconds=silent)
    row = {"n_traces": 20, "n_tokens": 800, "n_todo": 100, "seconds": 10.0, "closed": 0, "ended": at(last)} | columns
    sets = ", ".join(f"{name} = ?" for name in row)
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute(f"update sessions set {sets} where session_id = 1", list(row.values()))


def found(path) -> list[work.Work]:
    with open_db(path, readonly=True) as db:
        return work.going_on(db, tuple(run.run_id for run in runs_of(db)), NOON)


def test_a_run_at_work_tells_count_pace_time_left_and_accuracy(path):
    session(path)
    (one,) = found(path)
    assert one.sentence() == (
        "20 of 100 traces · 2.0 traces/s, 80 tokens/s · 40 s left · 65.0 % [43.3, 81.9] right so far"
    )
    assert (one.n_traces, one.n_asked) == (20, 100)
    assert work.state_of([one]) == "One run is at work."


def test_before_the_first_trace_there_is_no_pace(path):
    session(path, n_traces=0, n_tokens=0, seconds=0.0)
    (one,) = found(path)
    assert one.sentence().startswith("20 of 120 traces · 65.0 %")  # those of an earlier session count


def test_a_session_of_an_older_version_has_no_total(path):
    session(path, n_todo=None)
    (one,) = found(path)
    assert one.n_asked is None
    assert one.sentence().startswith("20 traces · 2.0 traces/s, 80 tokens/s · 65.0 %")


def test_two_processes_on_one_run_are_added_up(path):
    session(path)
    with closing(sqlite3.connect(path)) as conn, conn:
        names = "run_id, host, started, ended, closed, seconds, n_traces, n_tokens, n_probe_tokens, n_todo"
        values = "run_id, 'other', started, ended, 0, 10.0, 5, 100, 0, 50"
        conn.execute(f"insert into sessions ({names}) select {values} from sessions where session_id = 1")
    (one,) = found(path)
    assert one.n_asked == 20 + 80 + 45
    assert "2.5 traces/s, 90 tokens/s · 2 min left" in one.sentence()  # 45 traces at one in two seconds


@pytest.mark.parametrize(("silent", "said"), [(20, ""), (300, "nothing for 5 min: a long trace, or it was stopped")])
def test_a_long_silence_is_told(path, silent, said):
    session(path, silent)
    (one,) = found(path)
    assert ("nothing for" in one.sentence()) == bool(said)
    assert one.sentence().endswith(said)


@pytest.mark.parametrize(("silent", "closed", "said"), [(5, 1, "5 s"), (4000, 0, "1 h 7 min")])
def test_a_session_that_ended_is_not_at_work(path, silent, closed, said):
    """Also one that was killed: an hour of silence is enough."""
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("delete from sessions where session_id > 1")
    session(path, silent, closed=closed)
    (one,) = found(path)
    assert (one.at_work, one.n_asked) == (False, None)
    assert one.sentence() == f"20 traces · 2.0 traces/s, 80 tokens/s · the last {said} ago · 65.0 % [43.3, 81.9] right"
    assert work.state_of([one]) == "No run is at work on this database. The page follows it."


def test_of_one_run_the_sessions_of_others_do_not_count(path):
    session(path)
    with open_db(path, readonly=True) as db:
        other = runs_of(db)[1].run_id
        (one,) = work.going_on(db, (other,), NOON)
    assert (one.run_id, one.at_work) == (other, False)


def test_traces_come_in_the_order_in_which_they_were_seen(path):
    with open_db(path) as db:
        seen = Arrivals()
        assert seen.look(db, runs_of(db))
        first = [cells[0] for cells in seen.traces]
        assert len(first) == 40
        assert seen.look(db, runs_of(db))
        assert [cells[0] for cells in seen.traces] == first
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("pragma foreign_keys = on")
        conn.execute("delete from traces where trace_id = ?", (first[3],))
    with open_db(path) as db:
        assert not seen.look(db, runs_of(db))  # a reader has to begin again
