"""Several databases into one: the parts of a run that was cut up, or runs of different machines.

Merging is idempotent and can be interrupted: each batch of traces is one transaction, what is there is not written
again, and the order of the files does not matter. A trace that two files hold with other bits is reported; the first
stays. Verdicts and calibrations are left out: they are judgements on the traces of one file, and cost no model to make
again on all of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from localent.errors import LocalentError, UsageError
from localent.store.connect import explained
from localent.store.db import Database, open_db

BATCH = 200  # traces written in one transaction
SHARED = {  # table -> (its key, columns in which files may differ: the first stays)
    "models": (("sha256",), ("name", "path")),
    "tasks": (("task",), ("source",)),
    "problems": (("task", "problem_id"), ("source_id", "solution", "n_steps", "variant_of")),
    "runs": (("run_id",), ()),
}
OF_TRACE = {  # table -> its key; parents first
    "traces": ("trace_id",),
    "tokens": ("trace_id", "token_index"),
    "steps": ("trace_id", "step_index"),
    "probes": ("trace_id", "k", "estimator"),
    "answers": ("trace_id", "k", "estimator", "answer_rank"),
    "alternatives": ("trace_id", "token_index", "alternative_rank"),
}
GROUPS = (  # what is known in any file
    "update main.problems as a set variant_of = b.variant_of from src.problems b"
    " where a.task = b.task and a.problem_id = b.problem_id and a.variant_of is null"
)
GROWING = ("probes", "answers")  # a trace may have more of them in one file than in another
ALONE = (  # (table, its key, the table of its rows): of no trace
    ("comparisons", "comparison_id", "divergences"),
    ("texts", "text_id", "text_tokens"),
)
SESSION = ("run_id", "host", "started")  # tells sessions of different files apart; their numbers do not

Report = Callable[[str, int, int], object]  # (file, traces done, traces to do)


@dataclass(frozen=True, slots=True)
class Conflict:
    """A trace that two files hold with other bits."""

    trace_id: int
    run_id: str
    path: Path  # of the file whose trace was left out
    hosts: tuple[str, ...]  # machines that worked on the run in that file
    kept_hosts: tuple[str, ...]  # and in what was merged before it


@dataclass(slots=True)
class Merged:
    """What one file brought."""

    path: Path
    n_new: int = 0  # traces
    n_there: int = 0  # traces that were there already, to the last bit
    n_grown: int = 0  # of these, those that gained probes
    conflicts: list[Conflict] = field(default_factory=list)
    n_verdicts: int = 0  # left out
    n_calibrations: int = 0  # left out


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a run is there: every problem of its task that any file knows, times its samples."""

    run_id: str
    model: str
    task: str
    n_problems: int
    samples: int
    n_traces: int
    hosts: tuple[str, ...]

    @property
    def n_missing(self) -> int:
        return self.n_problems * self.samples - self.n_traces


def merge(
    sources: Sequence[Path], target: Path, *, apart: bool = False, report: Report = lambda *_: None
) -> list[Merged]:
    """Bring the rows of every source into the target, which is made where it is not there.

    apart: keep runs of one model and task apart that no file holds together, instead of refusing them. Files of an
    older version are brought to the newest one first. Raises UsageError before anything is written where a file is no
    database of ours, is named twice, or the runs do not belong together.
    """
    check_files(sources, target)
    found = {source: runs_of(source) for source in sources}
    if not apart:
        refuse_strangers(found)
    with open_db(target) as store:
        return [_one(store, source, report) for source in sources]


def check_files(sources: Sequence[Path], target: Path) -> None:
    """Raise where a file is named twice, or is the target too."""
    resolved = [path.resolve() for path in sources]
    twice = next((p for p, r in zip(sources, resolved, strict=True) if resolved.count(r) > 1), None)
    if twice:
        raise UsageError(f"{twice} is named twice: name each file once.")
    if target.resolve() in resolved:
        raise UsageError(f"{target} is to be read and written: name another file with -o.")


# ── do the runs belong together? ──────────────────────────────────────────────────────────────────────────────────


def runs_of(path: Path) -> dict[str, dict[str, object]]:
    """run_id -> everything that makes it this run, flat: model, task, settings, build."""
    sql = """select r.run_id, m.name, m.sha256, r.task, r.settings, r.build
      from runs r join models m on m.sha256 = r.model_sha256"""
    found = {}
    with open_db(path, readonly=True) as store:
        for row in store.query(sql):
            run_id, settings, build = (row.pop(name) for name in ("run_id", "settings", "build"))
            found[run_id] = row | json.loads(settings) | json.loads(build)
    return found


def refuse_strangers(files: dict[Path, dict[str, dict[str, object]]]) -> None:
    """Raise for two runs of one model and task in different files that no file holds together."""
    known = {run_id: (path, facts) for path, runs in files.items() for run_id, facts in runs.items()}
    together = {pair for runs in files.values() for pair in combinations(sorted(runs), 2)}
    for one, other in combinations(sorted(known), 2):
        (path, a), (elsewhere, b) = known[one], known[other]
        if (a["name"], a["task"]) == (b["name"], b["task"]) and (one, other) not in together:
            raise UsageError(
                f"{elsewhere} has run {other} and {path} run {one} of the same model and task, but they differ in"
                f" {differing(a, b)}: make all parts with the same settings, or keep both runs with --apart."
            )


def differing(a: dict[str, object], b: dict[str, object]) -> str:
    """The settings in which two runs differ, with their values: "threads (2, 8)"."""
    names = [name for name in dict.fromkeys([*a, *b]) if a.get(name) != b.get(name)]
    return ", ".join(
        f"{'the model file' if name == 'sha256' else name} ({_brief(a, name)}, {_brief(b, name)})" for name in names
    )


def _brief(facts: dict[str, object], name: str) -> str:
    text = str(facts.get(name, "none"))
    return text if len(text) <= 24 else f"{text[:12]}…"


# ── one file ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _one(store: Database, source: Path, report: Report) -> Merged:
    done = Merged(source)
    with _attached(store, source):
        with store.writing():
            for table, (key, lax) in SHARED.items():
                _share(store, source, table, key, lax)
        _compare_known(store, done)
        _bring_new(store, done, report)
        with store.writing():
            _bring_sessions(store)
        for tables in ALONE:
            _bring_alone(store, *tables)
        done.n_verdicts = _count(store, "select count(*) from src.verdicts")
        done.n_calibrations = _count(store, "select count(*) from src.calibrations")
    return done


@contextmanager
def _attached(store: Database, source: Path) -> Iterator[None]:
    """Context: the source as schema `src`, read-only, and a table for a batch of its traces."""
    with explained(source):
        store.conn.execute("attach database ? as src", (f"{source.absolute().as_uri()}?mode=ro",))
        store.conn.execute("create temp table batch (trace_id integer primary key)")
        try:
            yield
        finally:
            store.conn.execute("drop table temp.batch")
            store.conn.execute("detach database src")


def _columns(store: Database, table: str) -> str:
    return ", ".join(store.schema[table])


def _share(store: Database, source: Path, table: str, key: tuple[str, ...], lax: tuple[str, ...]) -> None:
    """Bring the rows of a table that traces refer to; one that is there must be the same."""
    strict = [name for name in store.schema[table] if name not in (*key, *lax)]
    same = " and ".join(f"a.{name} = b.{name}" for name in key)
    for name in strict:
        clash = store.first(
            f"select b.{key[-1]} as id from main.{table} a join src.{table} b on {same} where a.{name} is not b.{name}"
        )
        if clash:
            raise LocalentError(
                f"{source} has {table[:-1]} {clash['id']} with another {name} than the files before it: leave it out."
            )
    names = _columns(store, table)
    store.conn.execute(f"insert or ignore into main.{table} ({names}) select {names} from src.{table}")
    if table == "problems":
        store.conn.execute(GROUPS)


def _bring_new(store: Database, done: Merged, report: Report) -> None:
    """Insert the traces that are not there, with everything that belongs to them."""
    new = "select trace_id from src.traces where trace_id not in (select trace_id from main.traces) order by trace_id"
    n_todo = _count(store, f"select count(*) from ({new})")
    while _fill(store, f"{new} limit {BATCH}"):
        with store.writing():
            for table in OF_TRACE:
                names = _columns(store, table)
                rows = f"select {names} from src.{table} where trace_id in (select trace_id from batch)"
                store.conn.execute(f"insert into main.{table} ({names}) {rows}")
        done.n_new += _count(store, "select count(*) from batch")
        report(done.path.name, done.n_new, n_todo)


def _fill(store: Database, traces: str) -> int:
    """Put these traces into the batch; returns how many."""
    store.conn.execute("delete from batch")
    store.conn.execute(f"insert into batch {traces}")
    return _count(store, "select count(*) from batch")


def _count(store: Database, sql: str) -> int:
    number: int = store.conn.execute(sql).fetchone()[0]
    return number


# ── traces that both have ─────────────────────────────────────────────────────────────────────────────────────────


def _compare_known(store: Database, done: Merged) -> None:
    """Compare the traces that both files have, bit by bit, and bring the probes that only the source has."""
    both, last = "select trace_id from src.traces where trace_id in (select trace_id from main.traces)", -1
    while _fill(store, f"{both} and trace_id > {last} order by trace_id limit {BATCH}"):
        last = _count(store, "select max(trace_id) from batch")
        differing = _conflicting(store)
        done.conflicts += [_conflict(store, done.path, trace_id) for trace_id in differing]
        store.conn.executemany("delete from batch where trace_id = ?", [(trace_id,) for trace_id in differing])
        done.n_there += _count(store, "select count(*) from batch")
        with store.writing():
            done.n_grown += _grow(store)


def _conflicting(store: Database) -> list[int]:
    """Traces of the batch of which the two files hold other rows; probes count where both have read them."""
    found: set[int] = set()
    for table in OF_TRACE:
        names = _columns(store, table)
        rows = f"select {names} from {{}}.{table} a where trace_id in (select trace_id from batch)"
        if table in GROWING:
            rows += " and exists (select 1 from {}.probes b where " + _same(("trace_id", "k", "estimator")) + ")"
        ours, theirs = rows.format("main", "src"), rows.format("src", "main")
        for one, other in ((ours, theirs), (theirs, ours)):
            found |= {row[0] for row in store.conn.execute(f"select trace_id from ({one} except {other})")}
    return sorted(found)


def _grow(store: Database) -> int:
    """Insert the probes, with their answers, that traces of the batch have in the source alone; returns the traces."""
    key = OF_TRACE["probes"]
    lacking = (
        f"not exists (select 1 from main.probes b where {_same(key)}) and trace_id in (select trace_id from batch)"
    )
    n = _count(store, f"select count(distinct trace_id) from src.probes a where {lacking}")
    if n:
        names = ", ".join(key)
        store.conn.execute(f"create temp table wanted as select {names} from src.probes a where {lacking}")
        for table in GROWING:
            columns = _columns(store, table)
            rows = f"select {columns} from src.{table} a where exists (select 1 from wanted b where {_same(key)})"
            store.conn.execute(f"insert into main.{table} ({columns}) {rows}")
        store.conn.execute("drop table temp.wanted")
    return n


def _same(key: Sequence[str]) -> str:
    return " and ".join(f"a.{name} = b.{name}" for name in key)


def _conflict(store: Database, path: Path, trace_id: int) -> Conflict:
    run_id = store.conn.execute("select run_id from main.traces where trace_id = ?", (trace_id,)).fetchone()[0]
    return Conflict(trace_id, run_id, path, _hosts(store, "src", run_id), _hosts(store, "main", run_id))


def _hosts(store: Database, schema: str, run_id: str) -> tuple[str, ...]:
    sql = f"select distinct host from {schema}.sessions where run_id = ? order by host"
    return tuple(host for (host,) in store.conn.execute(sql, (run_id,)))


# ── sessions, comparisons and texts ───────────────────────────────────────────────────────────────────────────────────


def _bring_sessions(store: Database) -> None:
    """Insert sessions under numbers of their own, with what doctor found; one that went on is brought up to date."""
    names = [name for name in store.schema["sessions"] if name != "session_id"]
    for session_id, *values in store.conn.execute(
        f"select session_id, {', '.join(names)} from src.sessions"
    ).fetchall():
        row = dict(zip(names, values, strict=True))
        where = " and ".join(f"{name} = ?" for name in SESSION)
        known = store.first(f"select * from main.sessions where {where}", *(row[name] for name in SESSION))
        if known is None:
            marks = ", ".join("?" * len(names))
            made = store.conn.execute(f"insert into main.sessions ({', '.join(names)}) values ({marks})", values)
            _bring_checks(store, session_id, made.lastrowid or 0)
        elif row["ended"] > known["ended"] or row["closed"] > known["closed"]:
            sets = ", ".join(f"{name} = ?" for name in names)
            store.conn.execute(f"update main.sessions set {sets} where session_id = ?", (*values, known["session_id"]))


def _bring_checks(store: Database, there: int, here: int) -> None:
    names = ", ".join(name for name in store.schema["checks"] if name != "session_id")
    sql = f"insert into main.checks (session_id, {names}) select ?, {names} from src.checks where session_id = ?"
    store.conn.execute(sql, (here, there))


def _bring_alone(store: Database, table: str, key: str, rows: str) -> None:
    """Insert what is there by itself, each with its rows in one transaction."""
    new = f"select {key} from src.{table} where {key} not in (select {key} from main.{table})"
    for (found,) in store.conn.execute(new).fetchall():
        with store.writing():
            for name in (table, rows):
                names = _columns(store, name)
                sql = f"insert into main.{name} ({names}) select {names} from src.{name} where {key} = ?"
                store.conn.execute(sql, (found,))


# ── coverage ──────────────────────────────────────────────────────────────────────────────────────────────────────

COVERAGE = """select r.run_id, m.name as model, m.quant, r.task,
  (select count(*) from problems p where p.task = r.task) as n_problems,
  coalesce((select max(sample) + 1 from traces t where t.run_id = r.run_id), 0) as samples,
  (select count(*) from traces t where t.run_id = r.run_id) as n_traces
from runs r join models m on m.sha256 = r.model_sha256 order by m.name, r.task, r.run_id"""


def coverage(store: Database) -> list[Coverage]:
    """How much of each run is there."""
    return [
        Coverage(
            **{name: row[name] for name in ("run_id", "task", "n_problems", "samples", "n_traces")},
            model=f"{row['model']} {row['quant']}",
            hosts=_hosts(store, "main", row["run_id"]),
        )
        for row in store.query(COVERAGE)
    ]
