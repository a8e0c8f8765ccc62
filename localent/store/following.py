"""A database read again and again while runs write to it: sessions, and the traces that are new."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from localent.store.connect import explained
from localent.store.db import Database, open_db
from localent.store.file import Row

MINE = "select * from sessions where run_id in (select value from json_each(?))"
GRADED = """select correct, coalesce(p.variant_of, t.problem_id) as problem from traces t
  join problems p on p.task = t.task and p.problem_id = t.problem_id where run_id = ?"""
RUNS = """select r.run_id, m.name || ' ' || m.quant as model, r.task, r.settings from runs r
  join models m on m.sha256 = r.model_sha256
  left join (select run_id, min(started) as started from sessions group by run_id) s using (run_id)
  order by s.started, r.run_id"""
COUNTS = "select (select count(*) from runs) as runs, (select count(*) from traces) as traces"


@contextmanager
def snapshot(path: Path) -> Iterator[Database]:
    """Context: the database as it is now, whatever is written meanwhile."""
    with open_db(path, readonly=True) as db:
        with explained(path):
            db.conn.execute("begin")
        yield db


def open_sessions(db: Database, run_ids: Sequence[str]) -> list[Row]:
    """The sessions of these runs that have no end, oldest first."""
    return db.query(f"{MINE} and closed = 0 order by session_id", json.dumps(list(run_ids)))


def last_session(db: Database, run_ids: Sequence[str]) -> list[Row]:
    """The session of these runs that wrote last; none where there is none."""
    return db.query(f"{MINE} order by ended desc, session_id desc limit 1", json.dumps(list(run_ids)))


def graded(db: Database, run_id: str) -> list[Row]:
    """correct and problem, variants as one, of each trace of a run."""
    return db.query(GRADED, run_id)


def runs(db: Database) -> list[Row]:
    """run_id, model with its quant, task and settings as JSON of each run, oldest first; cheaper than run_summary."""
    return db.query(RUNS)


def trace_ids(db: Database, run_id: str) -> list[int]:
    """The traces of a run by problem and sample."""
    found = db.query("select trace_id from traces where run_id = ? order by problem_id, sample", run_id)
    return [row["trace_id"] for row in found]


def summaries(db: Database, trace_ids: Sequence[int], columns: Sequence[str]) -> list[Row]:
    """run_id, task and these columns of trace_summary for some traces, in any order."""
    names = ", ".join(dict.fromkeys(("run_id", "task", *columns)))
    where = "trace_id in (select value from json_each(?))"
    return db.query(f"select {names} from trace_summary where {where}", json.dumps(list(trace_ids)))


def counts(db: Database) -> Row:
    """How many runs and traces there are."""
    return db.query(COUNTS)[0]
