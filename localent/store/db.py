"""The database: records in, records and columns out. Writing the same thing twice changes nothing."""

from __future__ import annotations

import platform
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from localent.errors import LocalentError, UsageError
from localent.records import Model, Probe, Problem, Run, Trace
from localent.store import rows
from localent.store.connect import columns_of, explained, reader, writer, writing
from localent.store.frames import Frames
from localent.store.rows import Rows
from localent.store.schema import MIGRATIONS, version

ORDER = {  # within one trace
    "traces": "trace_id",
    "tokens": "token_index",
    "alternatives": "token_index, alternative_rank",
    "steps": "step_index",
    "probes": "k, estimator",
    "answers": "k, estimator, answer_rank",
}
GROWING = ("probes", "answers")  # tables that a trace may gain rows of after it was stored: see add_probes
CAME_WITH = "select source_id, solution, n_steps from problems where task = ? and problem_id = ?"
IN_TRACES = "traces cross join {} using (trace_id)"  # cross: SQLite keeps this order, so that nothing is sorted


def open_db(path: str | Path, *, create: bool = True, readonly: bool = False) -> Database:
    """Open a database, bring it to the newest version, or make a new one.

    Several processes may write to one file: each transaction is one trace, and the others wait for it.
    `readonly` leaves the file as it is and works in a read-only folder.
    """
    path = Path(path)
    with explained(path):
        if not readonly:
            return Database(writer(path, create=create), path)
        conn = reader(path)
        if version(conn) == len(MIGRATIONS):
            return Database(conn, path)
        conn.close()
    raise UsageError(f"{path} was made by an older localent; open it once where it may be written.")


class Database(Frames):
    """One open file. Made by `open_db`; close it, or use it as a context manager."""

    def __init__(self, conn: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self._conn = conn
        self._schema = columns_of(conn)

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._conn.close()

    @property
    def utils(self):
        """The same connection as a `sqlite_utils.Database`, for work of one's own."""
        import sqlite_utils  # up to 0.6 s, since it loads pandas where there is one

        return sqlite_utils.Database(self._conn)

    # --- writing ------------------------------------------------------------------------------------------

    def add_model(self, model: Model) -> None:
        """The first name of a file stays; its path follows the file."""
        with self._writing():
            known = self._one("select name from models where sha256 = ?", model.sha256)
            if known:
                self._conn.execute("update models set path = ? where sha256 = ?", (model.path, model.sha256))
                model = replace(model, name=known["name"])
            self._put(rows.model_row(model), key=1)

    def add_task(self, task: str, kind: str, *, source: str | None = None) -> None:
        """`kind`: "number" or "choice"; `source`: where its problems come from."""
        with self._writing():
            self._put(rows.task_row(task, kind, source), key=1)

    def add_problems(self, task: str, problems: Iterable[Problem]) -> None:
        """All of them or none. A problem keeps what it first came with: in its file, its line may move."""
        with self._writing():
            for problem in problems:
                came_with = self._one(CAME_WITH, task, problem.problem_id) or {}
                self._put(rows.problem_row(task, replace(problem, **came_with)), key=2)

    def add_run(self, run: Run) -> None:
        with self._writing():
            self._put(rows.run_row(run), key=1)

    def add_trace(self, run_id: str, trace: Trace, *, session_id: int | None = None) -> bool:
        """One transaction: the trace with all its tokens, steps, probes and answers. Returns False if it was there."""
        parts = rows.trace_rows(self._run(run_id), trace)
        tables = [rows.checked(part, self._schema[part.table]) for part in parts][::-1]  # parents first
        with self._writing():
            if self._has(tables):
                return False
            for table in tables:
                self._insert(table)
            if session_id is not None:
                self._count(session_id, trace)
        return True

    def add_comparison(self, **row: object) -> None:
        """A row of `comparisons`, by column; one that is there, and its positions, give way to it."""
        new = rows.checked(rows.comparison_row(row), self._schema["comparisons"])
        with self._writing():
            self._conn.execute("delete from comparisons where comparison_id = ?", (row["comparison_id"],))
            self._insert(new)

    def add_divergences(self, comparison_id: str, positions: Iterable[tuple]) -> None:
        """Rows of `divergences`, each in the order of rows.DIVERGENCE after the first: all of them or none."""
        values = [(comparison_id, *position) for position in positions]
        with self._writing():
            self._insert(rows.checked(Rows("divergences", rows.DIVERGENCE, values), self._schema["divergences"]))

    def add_probes(self, run_id: str, trace_id: int, probes: Sequence[Probe]) -> None:
        """Probes read after a trace was stored: one transaction. Those that are there already stay as they are.

        `traces.n_probe_tokens` keeps the cost of the probes that were read along with the trace.
        """
        known = self._all("select k, estimator from probes where trace_id = ?", trace_id)
        there = {(row["k"], row["estimator"]) for row in known}
        new = sorted((p for p in probes if rows.probe_key(p) not in there), key=rows.probe_key)
        tables = [rows.probe_rows(trace_id, new), rows.answer_rows(trace_id, new)]
        with self._writing():
            for table in tables:
                self._insert(rows.checked(table, self._schema[table.table]))

    def add_verdicts(self, study_id: str, verdicts: Sequence[Mapping[str, object]]) -> None:
        """Rows of `verdicts`, by column: all of them or none, in the place of those that the study had."""
        tables = [rows.one("verdicts", {"study_id": study_id, **row}) for row in verdicts]
        new = [rows.checked(table, self._schema["verdicts"]) for table in tables]
        with self._writing():
            self._conn.execute("delete from verdicts where study_id = ?", (study_id,))
            for row in new:
                self._insert(row)

    def verdicts(self) -> list[dict[str, object]]:
        """The rows of the table verdicts."""
        return self._all("select * from verdicts order by study_id, task, subject, claim")

    def add_checks(self, session_id: int, checks: Sequence[Mapping[str, object]]) -> None:
        """Rows of `checks`, by column, for one session: what its machine was found to be like."""
        found = [rows.one("checks", {"session_id": session_id, **row}) for row in checks]
        new = [rows.checked(table, self._schema["checks"]) for table in found]
        with self._writing():
            for row in new:
                self._insert(row)

    def checks(self, run_id: str) -> list[dict[str, object]]:
        """The rows of the table checks for all sessions of a run."""
        sql = "select checks.* from checks join sessions using (session_id) where run_id = ? order by 1, 2, 3"
        return self._all(sql, self.run(run_id).run_id)

    def start_session(self, run_id: str, *, host: str | None = None) -> int:
        """Note that this process begins to work on a run; returns the session's id."""
        row = {"run_id": run_id, "host": host or platform.node(), "started": now(), "ended": now(), "closed": 0}
        row |= {"seconds": 0.0, "n_traces": 0, "n_tokens": 0, "n_probe_tokens": 0}
        with self._writing():
            return self._insert(rows.one("sessions", row))

    def end_session(self, session_id: int) -> None:
        """A session that is never ended, because it was killed, still says what it wrote and until when."""
        with self._writing():
            self._touch(session_id)
            self._conn.execute("update sessions set closed = 1 where session_id = ?", (session_id,))

    def _count(self, session_id: int, trace: Trace) -> None:
        self._touch(session_id)
        self._conn.execute(
            "update sessions set n_traces = n_traces + 1, n_tokens = n_tokens + ?, n_probe_tokens = n_probe_tokens + ?"
            " where session_id = ?",
            (len(trace.tokens), sum(probe.n_fed for probe in trace.probes), session_id),
        )

    def _touch(self, session_id: int) -> None:
        """Set when the session was last seen at work."""
        self._conn.execute(
            "update sessions set ended = ?1, seconds = round((julianday(?1) - julianday(started)) * 86400, 3)"
            " where session_id = ?2",
            (now(), session_id),
        )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with explained(self.path), writing(self._conn):
            yield

    def _put(self, new: Rows, *, key: int) -> None:
        """Insert rows whose first `key` columns are their key; one that is there must be the same."""
        rows.checked(new, self._schema[new.table])
        where = " and ".join(f"{column} = ?" for column in new.columns[:key])
        find = f"select {', '.join(new.columns)} from {new.table} where {where}"
        for row in new.values:
            found = self._conn.execute(find, row[:key]).fetchone()
            if found is None:
                self._insert(Rows(new.table, new.columns, [row]))
            elif found != row:
                raise self._clash(new, row[:key], found, row)

    def _clash(self, new: Rows, key: tuple, found: tuple, row: tuple) -> LocalentError:
        differing = [name for name, a, b in zip(new.columns, found, row, strict=True) if a != b]
        return LocalentError(
            f"{self.path} has {new.table[:-1]} {'/'.join(map(str, key))} with another {' and '.join(differing)};"
            " use another file with --db."
        )

    def _has(self, tables: Sequence[Rows]) -> bool:
        """Whether the trace is there; raise where it is there with other content."""
        key = tables[0].values[0][0]
        if not self._one("select 1 from traces where trace_id = ?", key):
            return False
        for new in tables:
            found = self._conn.execute(of_trace(new.table, new.columns), (key,)).fetchall()
            if found != new.values and of_estimators(new, found, tables) != new.values:
                raise LocalentError(
                    f"{self.path} has trace {key} with other {new.table}, but a run must repeat to the last bit:"
                    " see 'localent doctor', or use another file with --db."
                )
        return True

    def _insert(self, new: Rows) -> int:
        marks = ", ".join("?" * len(new.columns))
        cursor = self._conn.cursor()
        insert = f"insert into {new.table} ({', '.join(new.columns)}) values ({marks})"
        if len(new.values) == 1:
            cursor.execute(insert, new.values[0])
        else:
            cursor.executemany(insert, new.values)
        return cursor.lastrowid or 0

    # --- records ------------------------------------------------------------------------------------------

    def model(self, sha256: str) -> Model:
        return rows.model_of(self._known("models", "sha256", sha256))

    def problems(self, task: str) -> list[Problem]:
        """In the order in which they were added."""
        return [rows.problem_of(row) for row in self._all("select * from problems where task = ? order by rowid", task)]

    def run(self, run_id: str) -> Run:
        """The run with this id; its beginning will do where no other run has the same."""
        found = self._all("select * from runs where substr(run_id, 1, length(?1)) = ?1 order by run_id", run_id)
        if len(found) > 1:
            raise UsageError(f"{len(found)} runs in {self.path} begin with '{run_id}'; give more of the id.")
        if not found:
            raise UsageError(f"No run '{run_id}' in {self.path}; 'localent runs --db {self.path}' lists all.")
        return rows.run_of(found[0])

    def _run(self, run_id: str) -> Run:
        return rows.run_of(self._known("runs", "run_id", run_id))

    def find_run(
        self,
        model_sha256: str,
        task: str,
        settings: Mapping[str, object],
        build: Mapping[str, object] | None = None,
        *,
        ignoring: Sequence[str] = ("lanes",),
    ) -> Run | None:
        """The run last worked on that differs in nothing but the settings to ignore; `build` None: any build."""
        found = self._all(
            "select * from runs where model_sha256 = ? and task = ?"
            " order by (select max(ended) from sessions where run_id = runs.run_id) desc, run_id",
            *(model_sha256, task),
        )
        wanted = essence(settings, ignoring)
        for run in map(rows.run_of, found):
            same_build = build is None or rows.canonical(run.build) == rows.canonical(dict(build))
            if same_build and essence(run.settings, ignoring) == wanted:
                return run
        return None

    def finished(self, run_id: str) -> set[tuple[str, int]]:
        """(problem_id, sample) of the traces that the run has."""
        with explained(self.path):
            return set(self._conn.execute("select problem_id, sample from traces where run_id = ?", (run_id,)))

    def trace(self, trace_id: int) -> Trace:
        found = self._known("traces", "trace_id", trace_id)
        parts = {table: self._all(of_trace(table, ["*"]), trace_id) for table in ORDER if table != "traces"}
        return rows.trace_of(found, **parts)

    # --- columns ------------------------------------------------------------------------------------------

    def runs(self) -> list[dict[str, object]]:
        """The rows of the view run_summary, oldest first."""
        return self._all("select * from run_summary order by started, run_id")

    def comparisons(self) -> list[dict[str, object]]:
        """The rows of the table comparisons, by source and candidate."""
        return self._all("select * from comparisons order by source, source_name, comparison_id")

    def has_divergences(self, comparison_id: str) -> bool:
        """Whether a comparison's positions are stored, too."""
        return self._one("select 1 from divergences where comparison_id = ? limit 1", comparison_id) is not None

    def traces(self, run_id: str, columns: Sequence[str] = ()) -> dict[str, list]:
        """Columns of the view trace_summary, all unless named, ordered by problem and sample."""
        return self._columns("trace_summary", columns, "trace_summary", "problem_id, sample", run_id)

    def probes(self, run_id: str, columns: Sequence[str] = ()) -> dict[str, list]:
        """Columns of the view step_entropy, all unless named, ordered by problem, sample and k."""
        return self._columns("step_entropy", columns, "step_entropy", "problem_id, sample, k, estimator", run_id)

    def steps(self, run_id: str, columns: Sequence[str] = ()) -> dict[str, list]:
        """Columns of the table steps, all unless named, ordered by problem, sample and step_index."""
        return self._columns("steps", columns, IN_TRACES.format("steps"), "problem_id, sample, step_index", run_id)

    def tokens(self, run_id: str, columns: Sequence[str] = ()) -> dict[str, list]:
        """Columns of the table tokens, all unless named, ordered by problem, sample and token_index."""
        return self._columns("tokens", columns, IN_TRACES.format("tokens"), "problem_id, sample, token_index", run_id)

    def probe_rows(self, run_id: str, columns: Sequence[str] = ()) -> dict[str, list]:
        """Columns of the table probes, all unless named, in the order of `probes`: without the view's joins."""
        order = "problem_id, sample, k, estimator"
        return self._columns("probes", columns, IN_TRACES.format("probes"), order, run_id)

    def answers(self, run_id: str, columns: Sequence[str] = ()) -> dict[str, list]:
        """Columns of the table answers, all unless named, ordered by problem, sample, k, estimator and answer_rank."""
        order = "problem_id, sample, k, estimator, answer_rank"
        return self._columns("answers", columns, IN_TRACES.format("answers"), order, run_id)

    def _columns(self, relation: str, wanted: Sequence[str], source: str, order: str, run_id: str) -> dict[str, list]:
        names = list(wanted or self._schema[relation])
        if unknown := [name for name in names if name not in self._schema[relation]]:
            raise UsageError(f"{relation} has no column '{unknown[0]}'; it has {', '.join(self._schema[relation])}.")
        found = ", ".join(f"{relation}.{name}" for name in names)
        with explained(self.path):
            return by_column(
                self._conn.execute(
                    f"select {found} from {source} where run_id = ? order by {order}", (self.run(run_id).run_id,)
                ),
                names,
            )

    # --- plumbing -----------------------------------------------------------------------------------------

    def _all(self, sql: str, *values: object) -> list[dict[str, object]]:
        with explained(self.path):
            cursor = self._conn.execute(sql, values)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def _one(self, sql: str, *values: object) -> dict[str, object] | None:
        return next(iter(self._all(sql, *values)), None)

    def _known(self, table: str, key: str, value: object) -> dict[str, object]:
        found = self._one(f"select * from {table} where {key} = ?", value)
        if found is None:
            raise UsageError(f"No {table[:-1]} '{value}' in {self.path}.")
        return found


def of_estimators(new: Rows, found: list[tuple], tables: Sequence[Rows]) -> list[tuple]:
    """The rows found, without those of estimators that the new trace lacks: such probes were added later."""
    if new.table not in GROWING:
        return found
    probes = next(table for table in tables if table.table == "probes")
    mine = {row[probes.columns.index("estimator")] for row in probes.values}
    return [row for row in found if row[new.columns.index("estimator")] in mine]


def of_trace(table: str, columns: Sequence[str]) -> str:
    """Rows of one trace, in the order of their key."""
    return f"select {', '.join(columns)} from {table} where trace_id = ? order by {ORDER[table]}"


def by_column(cursor: sqlite3.Cursor, names: Sequence[str], chunk: int = 500) -> dict[str, list]:
    """Rows to columns in chunks: no second copy of all rows, and small ones stay out of the garbage collector."""
    columns: list[list] = [[] for _ in names]
    while some := cursor.fetchmany(chunk):
        for column, values in zip(columns, zip(*some, strict=True), strict=True):
            column.extend(values)
    return dict(zip(names, columns, strict=True))


def essence(settings: Mapping[str, object], ignoring: Sequence[str]) -> str:
    """Settings as text that is equal where all but the ignored ones are."""
    return rows.canonical({name: value for name, value in settings.items() if name not in ignoring})


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
