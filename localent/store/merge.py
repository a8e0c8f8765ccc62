"""Several databases into one: the parts of a run that was cut up, or runs of different machines.

Merging is idempotent and can be interrupted: each batch of traces is one transaction, what is there is not written
again, and the order of the files does not matter. A trace that two files hold with other bits is reported; the first
stays. Verdicts and calibrations are left out: they are judgements on the traces of one file, and cost no model to make
again on all of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from localent.errors import LocalentError, UsageError
from localent.store.connect import explained
from localent.store.db import Database, open_db
from localent.store.joining import Joined, joined, runs_of, runs_there
from localent.store.rows import trace_id as id_of
from localent.store.writer import now

BATCH = 1000  # traces written in one transaction, at most
BATCH_TOKENS = 200_000  # and about as many tokens
TOLD = 1000  # conflicts of a file that are kept; the others are counted
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
ATTEMPTS = (
    "insert into main.attempts (run_id, problem_id, samples)"
    " select j.as_id, problem_id, samples from src.attempts join joined j using (run_id) where true"
    " on conflict do update set samples = max(samples, excluded.samples)"
)
FILL = """insert into batch
select trace_id, as_id, run_id, as_id in (select trace_id from main.traces) from (
  select t.trace_id, j.as_id as run_id,
    case when j.as_id = t.run_id then t.trace_id else trace_id_of(j.as_id, t.problem_id, t.sample) end as as_id
  from src.traces t join joined j using (run_id) where t.trace_id > ? order by t.trace_id limit ?)"""
ORIGINS = (
    "insert into main.origins (trace_id, session_id) select b.as_id, s.here from batch b"
    " join src.origins o on o.trace_id = b.trace_id join session_of s on s.there = o.session_id where not b.is_known"
)
GROWING = ("probes", "answers")  # a trace may have more of them in one file than in another
ALONE = ("texts", "text_id", "text_tokens")  # a table of no trace, its key, the table of its rows
SESSION = ("run_id", "host", "started", "shard")  # tells sessions of different files apart; their numbers do not
TABLES = (  # of one file, while it is merged
    "create temp table joined (run_id text primary key, as_id text not null)",
    "create temp table session_of (there integer primary key, here integer not null)",
    "create temp table batch (trace_id integer primary key, as_id integer not null unique, run_id text not null,"
    " is_known integer not null)",
)
OF_FILE = ("joined", "session_of", "batch")

FAST = {  # for a connection that merges: 64 MB of cache, and a power cut may undo the last batches, which come again
    "cache_size": -64_000,
    "synchronous": "normal",
    "wal_autocheckpoint": 16_000,  # pages: 64 MB
}
PARENTS = {  # what foreign keys would look up row by row; the others follow from the batch
    "traces": ("problems", ("task", "problem_id")),
    "answers": ("probes", ("trace_id", "k", "estimator")),
    "alternatives": ("tokens", ("trace_id", "token_index")),
}

Report = Callable[[str, int, int], object]  # (file, traces done, traces to do)


@dataclass(frozen=True, slots=True)
class Conflict:
    """A trace that two files hold with other bits."""

    trace_id: int
    run_id: str
    path: Path  # of the file whose trace was left out
    hosts: tuple[str, ...]  # the machine that made it in that file; where the file does not say, all of the run
    kept_hosts: tuple[str, ...]  # and in what was merged before it


@dataclass(slots=True)
class Merged:
    """What one file brought."""

    path: Path
    n_new: int = 0  # traces
    n_there: int = 0  # traces that were there already, to the last bit
    n_grown: int = 0  # of these, those that gained probes
    n_conflicts: int = 0
    conflicts: list[Conflict] = field(default_factory=list)  # the first of them
    n_verdicts: int = 0  # left out
    n_calibrations: int = 0  # left out
    n_comparisons: int = 0  # left out: of runs that were joined
    skewed: tuple[str, ...] = ()  # machines whose clock is ahead, or went back


def merge(
    sources: Sequence[Path],
    target: Path,
    *,
    apart: bool = False,
    mixed: bool = False,
    report: Report = lambda *_: None,
) -> list[Merged]:
    """Bring the rows of every source into the target, which is made where it is not there.

    apart, mixed: what becomes of runs that differ, instead of refusing them: see `joining.joined`. Files of an older
    version are brought to the newest one first. Raises UsageError before anything is written where a file is no
    database of ours, is named twice, or the runs do not belong together.
    """
    check_files(sources, target)
    files = {target: runs_there(target)} | {source: runs_of(source) for source in sources}
    runs = joined(files, apart=apart, mixed=mixed)
    with open_db(target) as store:
        store.conn.create_function("trace_id_of", 3, id_of, deterministic=True)
        for name, value in FAST.items():
            store.conn.execute(f"pragma {name} = {value}")
        return [_one(store, source, runs, report) for source in sources]


def check_files(sources: Sequence[Path], target: Path) -> None:
    """Raise where a file is named twice, or is the target too."""
    resolved = [os.path.realpath(path) for path in sources]  # Path.resolve fails where links lead round in a circle
    twice = next((p for p, r in zip(sources, resolved, strict=True) if resolved.count(r) > 1), None)
    if twice:
        raise UsageError(f"{twice} is named twice: name each file once.")
    if os.path.realpath(target) in resolved:
        raise UsageError(f"{target} is to be read and written: name another file with -o.")


# ── one file ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _one(store: Database, source: Path, runs: Joined, report: Report) -> Merged:
    done = Merged(source)
    with _attached(store, source):
        with store.writing():
            _name_runs(store, runs)
            for table, (key, lax) in SHARED.items():
                _share(store, source, table, key, lax)
            _add_joined(store, runs)
            store.conn.execute(ATTEMPTS)
            done.skewed = _bring_sessions(store, runs)
        with _parents_checked_here(store):
            _bring_traces(store, done, report)
        done.n_comparisons = _bring_comparisons(store)
        _bring_alone(store, *ALONE)
        done.n_verdicts = _count(store, "select count(*) from src.verdicts")
        done.n_calibrations = _count(store, "select count(*) from src.calibrations")
    return done


@contextmanager
def _attached(store: Database, source: Path) -> Iterator[None]:
    """Context: the source as schema `src`, read-only; a batch of its traces, and their rows as the views their_*."""
    with explained(source):
        store.conn.execute("attach database ? as src", (f"{source.absolute().as_uri()}?mode=ro",))
        for statement in (*TABLES, *(_view(store, table) for table in OF_TRACE)):
            store.conn.execute(statement)
        try:
            yield
        finally:
            for table in OF_TRACE:
                store.conn.execute(f"drop view temp.their_{table}")
            for table in OF_FILE:
                store.conn.execute(f"drop table temp.{table}")
            store.conn.execute("detach database src")


def _view(store: Database, table: str) -> str:
    """The rows of the batch in a table of the source, under the ids that they get here."""
    renamed = {"trace_id": "b.as_id as trace_id", "run_id": "b.run_id as run_id"}
    names = ", ".join(renamed.get(name, f"a.{name}") for name in store.schema[table])
    rows = f"from batch b cross join src.{table} a on a.trace_id = b.trace_id"
    return f"create temp view their_{table} as select {names}, b.is_known as is_known {rows}"


def _columns(store: Database, table: str) -> str:
    return ", ".join(store.schema[table])


def _count(store: Database, sql: str) -> int:
    number: int = store.conn.execute(sql).fetchone()[0]
    return number


# ── what traces refer to ──────────────────────────────────────────────────────────────────────────────────────────


def _name_runs(store: Database, runs: Joined) -> None:
    """Note what each run of the source becomes; a run that came into the file after it was first read stays itself."""
    there = [run_id for (run_id,) in store.conn.execute("select run_id from src.runs")]
    pairs = [(run_id, runs.becomes.get(run_id, run_id)) for run_id in there]
    store.conn.executemany("insert into joined values (?, ?)", pairs)


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
    kept = " where run_id in (select as_id from joined)" if table == "runs" else ""
    store.conn.execute(f"insert or ignore into main.{table} ({names}) select {names} from src.{table}{kept}")
    if table == "problems":
        store.conn.execute(GROUPS)


def _add_joined(store: Database, runs: Joined) -> None:
    """Insert the runs that runs of the source are joined to, which may stand in a later file."""
    missing = "select distinct as_id from joined where as_id not in (select run_id from main.runs)"
    for (run_id,) in store.conn.execute(missing).fetchall():
        store.put_run(runs.runs[run_id].run)


def _bring_sessions(store: Database, runs: Joined) -> tuple[str, ...]:
    """Insert sessions under numbers of their own, with what doctor found; one that went on is brought up to date.

    Returns the machines whose clock is ahead of this one's, or went back: times are kept as they were told.
    """
    names = [name for name in store.schema["sessions"] if name != "session_id"]
    becomes, skewed = dict(store.conn.execute("select run_id, as_id from joined").fetchall()), []
    for there, *values in store.conn.execute(f"select session_id, {', '.join(names)} from src.sessions").fetchall():
        row = dict(zip(names, values, strict=True))
        if row["ended"] < row["started"] or row["started"] > now():
            skewed.append(row["host"])
        if becomes[row["run_id"]] != row["run_id"]:
            row["made_as"] = row["made_as"] or runs.runs[row["run_id"]].as_made
            row["run_id"] = becomes[row["run_id"]]
        store.conn.execute("insert into session_of values (?, ?)", (there, _session(store, there, row)))
    return tuple(dict.fromkeys(skewed))


def _session(store: Database, there: int, row: dict[str, object]) -> int:
    """The number of a session here, inserted or brought up to date."""
    where = " and ".join(f"{name} is ?" for name in SESSION)
    known = store.first(f"select * from main.sessions where {where}", *(row[name] for name in SESSION))
    if known is None:
        marks = ", ".join("?" * len(row))
        made = store.conn.execute(f"insert into main.sessions ({', '.join(row)}) values ({marks})", [*row.values()])
        _bring_checks(store, there, made.lastrowid or 0)
        return made.lastrowid or 0
    if (row["n_traces"], row["closed"], row["ended"]) > (known["n_traces"], known["closed"], known["ended"]):
        sets = ", ".join(f"{name} = ?" for name in row)
        where = f"update main.sessions set {sets} where session_id = ?"
        store.conn.execute(where, (*row.values(), known["session_id"]))
    return int(known["session_id"])


def _bring_checks(store: Database, there: int, here: int) -> None:
    names = ", ".join(name for name in store.schema["checks"] if name != "session_id")
    sql = f"insert into main.checks (session_id, {names}) select ?, {names} from src.checks where session_id = ?"
    store.conn.execute(sql, (here, there))


# ── traces ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _bring_traces(store: Database, done: Merged, report: Report) -> None:
    """Compare the traces that both files have, bit by bit, and insert the others, a batch in each transaction."""
    n_todo, n_tokens = store.conn.execute("select count(*), sum(n_tokens + n_given) from src.traces").fetchone()
    size, n_done, last = min(BATCH, max(1, BATCH_TOKENS * n_todo // (n_tokens or 1))), 0, -1
    while n_done < n_todo:
        with store.writing():  # the batch is chosen in it: another merge may write into the same file
            store.conn.execute("delete from batch")
            n_done += store.conn.execute(FILL, (last, size)).rowcount
            last = _count(store, "select coalesce(max(trace_id), 1 << 62) from batch")
            new = (_insert(store, done.path), *_compare(store, done))
        done.n_new, done.n_there, done.n_grown = (
            a + b for a, b in zip((done.n_new, done.n_there, done.n_grown), new, strict=True)
        )
        report(done.path.name, n_done, n_todo)
        if last == 1 << 62:
            return


@contextmanager
def _parents_checked_here(store: Database) -> Iterator[None]:
    """Context: SQLite does not look up the parent of every row; `_insert` does so for a batch at once."""
    store.conn.execute("pragma foreign_keys = off")
    try:
        yield
    finally:
        store.conn.execute("pragma foreign_keys = on")


def _insert(store: Database, source: Path) -> int:
    """Insert the traces of the batch that are not there, with everything that belongs to them; returns how many."""
    for table in OF_TRACE:
        names = _columns(store, table)
        rows = f"select {names} from their_{table} where not is_known"
        store.conn.execute(f"insert into main.{table} ({names}) {rows}")
    _check_parents(store, source)
    store.conn.execute(ORIGINS)
    return _count(store, "select count(*) from batch where not is_known")


def _check_parents(store: Database, source: Path) -> None:
    """Raise where a row that was just inserted refers to one that is not there."""
    for table, (parents, key) in PARENTS.items():
        of_batch = f"batch b cross join main.{table} a on a.trace_id = b.as_id and not b.is_known"
        there = " and ".join(f"p.{name} = a.{name}" for name in key)
        orphan = (
            f"select a.trace_id as id from {of_batch} where not exists (select 1 from main.{parents} p where {there})"
        )
        if found := store.first(f"{orphan} limit 1"):
            raise LocalentError(
                f"Trace {found['id']} of {source} has {table} without their {parents}: 'localent check {source}' tells"
                " more, leave the file out."
            )


def _compare(store: Database, done: Merged) -> tuple[int, int]:
    """Compare the traces of the batch that are there, and bring their probes that only the source has.

    Returns how many are the same, and how many of these gained probes.
    """
    if not _count(store, "select count(*) from batch where is_known"):
        return 0, 0
    for trace_id in _conflicting(store):
        done.n_conflicts += 1
        if len(done.conflicts) < TOLD:
            done.conflicts.append(_conflict(store, done.path, trace_id))
        store.conn.execute("delete from batch where as_id = ?", (trace_id,))
    return _count(store, "select count(*) from batch where is_known"), _grow(store)


def _conflicting(store: Database) -> list[int]:
    """Traces of the batch of which the two files hold other rows; probes count where both have read them."""
    found: set[int] = set()
    for table in OF_TRACE:
        names = _columns(store, table)
        ours = f"select {names} from main.{table} a where trace_id in (select as_id from batch where is_known)"
        theirs = f"select {names} from their_{table} a where is_known"
        if table in GROWING:
            ours += f" and exists (select 1 from their_probes b where {_same(OF_TRACE['probes'])})"
            theirs += f" and exists (select 1 from main.probes b where {_same(OF_TRACE['probes'])})"
        for one, other in ((ours, theirs), (theirs, ours)):
            found |= {row[0] for row in store.conn.execute(f"select trace_id from ({one} except {other})")}
    return sorted(found)


def _grow(store: Database) -> int:
    """Insert the probes, with their answers, that traces of the batch have in the source alone; returns the traces."""
    key = OF_TRACE["probes"]
    lacking = f"not exists (select 1 from main.probes b where {_same(key)}) and is_known"
    n = _count(store, f"select count(distinct trace_id) from their_probes a where {lacking}")
    if n:
        names = ", ".join(key)
        store.conn.execute(f"create temp table lacked as select {names} from their_probes a where {lacking}")
        for table in GROWING:
            columns = _columns(store, table)
            rows = f"select {columns} from their_{table} a where exists (select 1 from lacked b where {_same(key)})"
            store.conn.execute(f"insert into main.{table} ({columns}) {rows}")
        store.conn.execute("drop table temp.lacked")
    return n


def _same(key: Sequence[str]) -> str:
    return " and ".join(f"a.{name} = b.{name}" for name in key)


def _conflict(store: Database, path: Path, trace_id: int) -> Conflict:
    there, run_id = store.conn.execute("select trace_id, run_id from batch where as_id = ?", (trace_id,)).fetchone()
    return Conflict(trace_id, run_id, path, _hosts(store, "src", there), _hosts(store, "main", trace_id))


def _hosts(store: Database, schema: str, trace_id: int) -> tuple[str, ...]:
    """The machine that made a trace; where the file does not say, all that worked on its run."""
    made = f"select host from {schema}.origins join {schema}.sessions using (session_id) where trace_id = ?"
    worked = (
        f"select distinct host from {schema}.sessions join {schema}.traces using (run_id) where trace_id = ?"
        " order by host"
    )
    found = store.conn.execute(made, (trace_id,)).fetchall() or store.conn.execute(worked, (trace_id,)).fetchall()
    return tuple(host for (host,) in found)


# ── comparisons and texts ───────────────────────────────────────────────────────────────────────────────────────────


def _bring_comparisons(store: Database) -> int:
    """Insert the comparisons that are not there, each with its positions in one transaction.

    Those of runs that were joined are left out, as judgements on other traces; returns how many.
    """
    of_joined = (
        "exists (select 1 from joined j where j.run_id in (c.run_id, c.candidate_run_id) and j.as_id <> j.run_id)"
    )
    new = f"""select comparison_id from src.comparisons c
      where comparison_id not in (select comparison_id from main.comparisons) and not {of_joined}"""
    for (comparison_id,) in store.conn.execute(new).fetchall():
        with store.writing():
            for table in ("comparisons", "divergences"):
                names = _columns(store, table)
                sql = f"insert or ignore into main.{table} ({names}) select {names} from src.{table}"
                store.conn.execute(f"{sql} where comparison_id = ?", (comparison_id,))
    return _count(store, f"select count(*) from src.comparisons c where {of_joined}")


def _bring_alone(store: Database, table: str, key: str, rows: str) -> None:
    """Insert what is there by itself, each with its rows in one transaction."""
    new = f"select {key} from src.{table} where {key} not in (select {key} from main.{table})"
    for (found,) in store.conn.execute(new).fetchall():
        with store.writing():
            for name in (table, rows):
                names = _columns(store, name)
                sql = f"insert or ignore into main.{name} ({names}) select {names} from src.{name} where {key} = ?"
                store.conn.execute(sql, (found,))
