"""Writing: records into the database. Writing the same thing twice changes nothing."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from localent.errors import LocalentError
from localent.records import Model, Probe, Problem, Run, Trace
from localent.store import rows
from localent.store.file import File
from localent.store.reader import of_trace
from localent.store.rows import Rows

ASK = (
    "insert into attempts (run_id, problem_id, samples) values (?, ?, ?)"
    " on conflict do update set samples = max(samples, excluded.samples)"
)
GROWING = ("probes", "answers")  # tables that a trace may gain rows of after it was stored: see add_probes
CAME_WITH = "select source_id, solution, n_steps from problems where task = ? and problem_id = ?"
REGROUP = "update problems set variant_of = ? where task = ? and problem_id = ?"
COUNT = (
    "update sessions set n_traces = n_traces + 1, n_tokens = n_tokens + ?, n_probe_tokens = n_probe_tokens + ?"
    " where session_id = ?"
)
TOUCH = (
    "update sessions set ended = ?1, seconds = max(seconds, round((julianday(?1) - julianday(started)) * 86400, 3))"
    " where session_id = ?2"
)


class Writer(File):
    """The writing methods of a database; each call is one transaction."""

    # --- models, problems, runs -----------------------------------------------------------------------------

    def add_model(self, model: Model) -> None:
        """Add a model file. The first name of a file stays; its path follows the file."""
        with self.writing():
            known = self.first("select name from models where sha256 = ?", model.sha256)
            if known:
                self.conn.execute("update models set path = ? where sha256 = ?", (model.path, model.sha256))
                model = replace(model, name=known["name"])
            self._put(rows.model_row(model), key=1)

    def add_task(self, task: str, kind: str, *, source: str | None = None) -> None:
        """Add a task. kind: of its answers; source: where its problems come from."""
        with self.writing():
            self._put(rows.task_row(task, kind, source), key=1)

    def add_problems(self, task: str, problems: Iterable[Problem]) -> None:
        """Add all of them or none. A problem keeps what it first came with: in its file, its line may move.

        What it is a variant of moves nothing that is stored, so that the last that was given counts.
        """
        with self.writing():
            for problem in problems:
                came_with = self.first(CAME_WITH, task, problem.problem_id) or {}
                self._put(rows.problem_row(task, replace(problem, **came_with)), key=2)
                if problem.variant_of is not None:
                    self.conn.execute(REGROUP, (problem.variant_of, task, problem.problem_id))

    def add_run(self, run: Run) -> None:
        """Add a run."""
        with self.writing():
            self.put_run(run)

    def put_run(self, run: Run) -> None:
        """Add a run within a transaction."""
        self._put(rows.run_row(run), key=1)

    def ask(self, run_id: str, problem_ids: Iterable[str], samples: int) -> None:
        """Note that so many attempts at each of these problems are wanted of a run; more that were asked for stay."""
        with self.writing():
            self.conn.executemany(ASK, [(run_id, problem_id, samples) for problem_id in problem_ids])

    # --- traces -----------------------------------------------------------------------------------------------

    def add_trace(self, run_id: str, trace: Trace, *, session_id: int | None = None) -> bool:
        """Add a trace with all its tokens, steps, probes and answers. Returns False if it was there."""
        run = rows.run_of(self.known("runs", "run_id", run_id))
        tables = [self._checked(part) for part in rows.trace_rows(run, trace)]  # checked before they are summed up
        with self.writing():
            return self._added(tables[::-1], session_id)

    def add_rows(self, traces: Sequence[tuple[Sequence[Rows], int | None]]) -> list[bool]:
        """Add traces as rows (parents first, see rows.rows_of), each with its session, all in one transaction.

        Returns for each of them False if it was there.
        """
        checked = [([self._checked(part) for part in tables], session_id) for tables, session_id in traces]
        with self.writing():
            return [self._added(tables, session_id) for tables, session_id in checked]

    def _added(self, tables: Sequence[Rows], session_id: int | None) -> bool:
        if self._has(tables):
            return False
        for table in tables:
            self._insert(table)
        if session_id is not None:
            trace = dict(zip(tables[0].columns, tables[0].values[0], strict=True))
            self.conn.execute("insert into origins values (?, ?)", (trace["trace_id"], session_id))
            self._count(session_id, trace)
        return True

    def add_probes(self, run_id: str, trace_id: int, probes: Sequence[Probe]) -> None:
        """Add probes read after a trace was stored. Those that are there already stay as they are.

        `traces.n_probe_tokens` keeps the cost of the probes that were read along with the trace.
        """
        known = self.query("select k, estimator from probes where trace_id = ?", trace_id)
        there = {(row["k"], row["estimator"]) for row in known}
        new = sorted((p for p in probes if rows.probe_key(p) not in there), key=rows.probe_key)
        self._insert_all([rows.probe_rows(trace_id, new), rows.answer_rows(trace_id, new)])

    # --- texts ------------------------------------------------------------------------------------------------

    def add_text(self, row: Mapping[str, object], windows: Iterable[tuple[int, Sequence[rows.Seen]]]) -> None:
        """Add a row of `texts`, by column, and its tokens by window; they replace those of an earlier reading."""
        new = self._checked(rows.text_row(row))
        tokens = self._checked(rows.text_token_rows(str(row["text_id"]), windows))
        with self.writing():
            self.conn.execute("delete from texts where text_id = ?", (row["text_id"],))
            self._insert(new)
            self._insert(tokens)

    # --- comparisons, verdicts, checks ------------------------------------------------------------------------

    def add_comparison(self, **row: object) -> None:
        """Add a row of `comparisons`, by column; it replaces an earlier one and its positions."""
        new = self._checked(rows.comparison_row(row))
        with self.writing():
            self.conn.execute("delete from comparisons where comparison_id = ?", (row["comparison_id"],))
            self._insert(new)

    def add_divergences(self, comparison_id: str, positions: Iterable[tuple[object, ...]]) -> None:
        """Add rows of `divergences`, each in the order of rows.DIVERGENCE after the first: all of them or none."""
        values = [(comparison_id, *position) for position in positions]
        self._insert_all([Rows("divergences", rows.DIVERGENCE, values)])

    def add_verdicts(self, study_id: str, verdicts: Sequence[Mapping[str, object]]) -> None:
        """Replace the rows of `verdicts` of a study, by column."""
        new = [self._checked(rows.one("verdicts", {"study_id": study_id, **row})) for row in verdicts]
        with self.writing():
            self.conn.execute("delete from verdicts where study_id = ?", (study_id,))
            for row in new:
                self._insert(row)

    def add_checks(self, session_id: int, checks: Sequence[Mapping[str, object]]) -> None:
        """Add rows of `checks`, by column, for one session: findings about its machine."""
        self._insert_all([rows.one("checks", {"session_id": session_id, **row}) for row in checks])

    def add_calibration(self, **row: object) -> None:
        """Add a row of `calibrations`, by column; it replaces an earlier one of the same run."""
        new = self._checked(rows.one("calibrations", row))
        with self.writing():
            self.conn.execute("delete from calibrations where run_id = ?", (row["run_id"],))
            self._insert(new)

    # --- sessions ---------------------------------------------------------------------------------------------

    def start_session(
        self, run_id: str, *, host: str | None = None, n_todo: int | None = None, shard: str | None = None
    ) -> int:
        """Note that a process begins to work on a run, this one unless a host is named; returns the session's id.

        n_todo: traces to be made. shard: the part of the run that they are, "3/16"; None: all of it.
        """
        row: dict[str, object] = {"run_id": run_id, "host": host or platform.node(), "shard": shard}
        row |= {"started": now(), "ended": now(), "closed": 0}
        row |= {"seconds": 0.0, "n_traces": 0, "n_tokens": 0, "n_probe_tokens": 0, "n_todo": n_todo}
        with self.writing():
            return self._insert(rows.one("sessions", row))

    def end_session(self, session_id: int) -> None:
        """Note its end. A session that was killed has no end, but still records what it wrote and until when."""
        with self.writing():
            self._touch(session_id)
            self.conn.execute("update sessions set closed = 1 where session_id = ?", (session_id,))

    def _count(self, session_id: int, trace: Mapping[str, Any]) -> None:
        self._touch(session_id)
        self.conn.execute(COUNT, (trace["n_tokens"], trace["n_probe_tokens"], session_id))

    def _touch(self, session_id: int) -> None:
        """Set when the session was last seen at work."""
        self.conn.execute(TOUCH, (now(), session_id))

    # --- rows -------------------------------------------------------------------------------------------------

    def _checked(self, new: Rows) -> Rows:
        return rows.checked(new, self.schema[new.table])

    def _insert_all(self, tables: Sequence[Rows]) -> None:
        new = [self._checked(table) for table in tables]
        with self.writing():
            for table in new:
                self._insert(table)

    def _put(self, new: Rows, *, key: int) -> None:
        """Insert rows whose first `key` columns are their key; one that is there must be the same."""
        self._checked(new)
        where = " and ".join(f"{column} = ?" for column in new.columns[:key])
        find = f"select {', '.join(new.columns)} from {new.table} where {where}"
        for row in new.values:
            found = self.conn.execute(find, row[:key]).fetchone()
            if found is None:
                self._insert(Rows(new.table, new.columns, [row]))
            elif found != row:
                raise self._clash(new, row[:key], found, row)

    def _clash(self, new: Rows, key: tuple[Any, ...], found: tuple[Any, ...], row: tuple[Any, ...]) -> LocalentError:
        differing = [name for name, a, b in zip(new.columns, found, row, strict=True) if a != b]
        return LocalentError(
            f"{self.path} has {new.table[:-1]} {'/'.join(map(str, key))} with another {' and '.join(differing)};"
            " use another file with --db."
        )

    def _has(self, tables: Sequence[Rows]) -> bool:
        """True if the trace is there; raise where it is there with other content."""
        key = tables[0].values[0][0]
        if not self.first("select 1 from traces where trace_id = ?", key):
            return False
        for new in tables:
            found = self.conn.execute(of_trace(new.table, new.columns), (key,)).fetchall()
            if found != new.values and of_estimators(new, found, tables) != new.values:
                raise LocalentError(
                    f"{self.path} has trace {key} with other {new.table}, but a run must repeat to the last bit:"
                    " see 'localent doctor', or use another file with --db."
                )
        return True

    def _insert(self, new: Rows) -> int:
        """Insert the rows; returns the id of the last one, where the table counts its rows."""
        marks = ", ".join("?" * len(new.columns))
        cursor = self.conn.cursor()
        insert = f"insert into {new.table} ({', '.join(new.columns)}) values ({marks})"
        if len(new.values) == 1:
            cursor.execute(insert, new.values[0])
        else:
            cursor.executemany(insert, new.values)
        return cursor.lastrowid or 0


def of_estimators(new: Rows, found: list[tuple[Any, ...]], tables: Sequence[Rows]) -> list[tuple[Any, ...]]:
    """The rows found, without those of estimators that the new trace does not have: such probes were added later."""
    if new.table not in GROWING:
        return found
    probes = next(table for table in tables if table.table == "probes")
    mine = {row[probes.columns.index("estimator")] for row in probes.values}
    return [row for row in found if row[new.columns.index("estimator")] in mine]


def now() -> str:
    """The time of day, UTC, as the database has it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
