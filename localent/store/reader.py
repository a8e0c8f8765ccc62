"""Reading: records and columns of the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from localent.errors import UsageError
from localent.records import Model, Problem, Run, Trace
from localent.store import rows
from localent.store.connect import explained
from localent.store.file import File, Row

ORDER = {  # within one trace
    "traces": "trace_id",
    "tokens": "token_index",
    "alternatives": "token_index, alternative_rank",
    "steps": "step_index",
    "probes": "k, estimator",
    "answers": "k, estimator, answer_rank",
}
IN_TRACES = "traces cross join {} using (trace_id)"  # cross: SQLite keeps this order, so that nothing is sorted
TRACED = "exists (select 1 from traces t where t.task = p.task and t.problem_id = p.problem_id)"
Columns = dict[str, list[Any]]


class Reader(File):
    """The reading methods of a database. A run id may be shortened to any unique beginning."""

    # --- records ------------------------------------------------------------------------------------------

    def model(self, sha256: str) -> Model:
        """The model file with this hash."""
        return rows.model_of(self.known("models", "sha256", sha256))

    def kind(self, task: str) -> str:
        """The kind of a task's answers."""
        return str(self.known("tasks", "task", task)["kind"])

    def problems(self, task: str, *, traced: bool = False) -> list[Problem]:
        """The problems of a task, in the order in which they were added. traced: those that have a trace."""
        sql = "select * from problems p where task = ? {} order by rowid"
        found = self.query(sql.format(f"and {TRACED}" if traced else ""), task)
        return [rows.problem_of(row) for row in found]

    def run(self, run_id: str) -> Run:
        """The run with this id, or with this unique beginning of one."""
        found = self.query("select * from runs where substr(run_id, 1, length(?1)) = ?1 order by run_id", run_id)
        if len(found) > 1:
            raise UsageError(f"{len(found)} runs in {self.path} begin with '{run_id}'; give more of the id.")
        if not found:
            raise UsageError(f"No run '{run_id}' in {self.path}; 'localent runs --db {self.path}' lists all.")
        return rows.run_of(found[0])

    def has_run(self, run_id: str) -> bool:
        """True for the full id of a run that is here."""
        return self.first("select 1 from runs where run_id = ?", run_id) is not None

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
        found = self.query(
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
            return set(self.conn.execute("select problem_id, sample from traces where run_id = ?", (run_id,)))

    def trace(self, trace_id: int) -> Trace:
        """One trace with its tokens, steps and probes."""
        found = self.known("traces", "trace_id", trace_id)
        parts = {table: self.query(of_trace(table, ["*"]), trace_id) for table in ORDER if table != "traces"}
        return rows.trace_of(found, **parts)

    # --- rows -----------------------------------------------------------------------------------------------

    def runs(self) -> list[Row]:
        """The rows of the view run_summary, oldest first."""
        return self.query("select * from run_summary order by started, run_id")

    def comparisons(self) -> list[Row]:
        """The rows of the table comparisons, by source and candidate."""
        return self.query("select * from comparisons order by source, source_name, comparison_id")

    def has_divergences(self, comparison_id: str) -> bool:
        """True if a comparison's positions are stored, too."""
        return self.first("select 1 from divergences where comparison_id = ? limit 1", comparison_id) is not None

    def verdicts(self) -> list[Row]:
        """The rows of the table verdicts."""
        return self.query("select * from verdicts order by study_id, task, subject, claim")

    def checks(self, run_id: str) -> list[Row]:
        """The rows of the table checks for all sessions of a run."""
        sql = "select checks.* from checks join sessions using (session_id) where run_id = ? order by 1, 2, 3"
        return self.query(sql, self.run(run_id).run_id)

    def calibration(self, run_id: str) -> Row | None:
        """The row of the table calibrations for a run; None where it was not calibrated."""
        return self.first("select * from calibrations where run_id = ?", self.run(run_id).run_id)

    # --- columns ------------------------------------------------------------------------------------------

    def traces(self, run_id: str, columns: Sequence[str] = ()) -> Columns:
        """Columns of the view trace_summary, all unless named, ordered by problem and sample."""
        return self._columns("trace_summary", columns, "trace_summary", "problem_id, sample", run_id)

    def probes(self, run_id: str, columns: Sequence[str] = ()) -> Columns:
        """Columns of the view step_entropy, all unless named, ordered by problem, sample and k."""
        return self._columns("step_entropy", columns, "step_entropy", "problem_id, sample, k, estimator", run_id)

    def steps(self, run_id: str, columns: Sequence[str] = ()) -> Columns:
        """Columns of the table steps, all unless named, ordered by problem, sample and step_index."""
        return self._in_traces("steps", columns, run_id)

    def tokens(self, run_id: str, columns: Sequence[str] = ()) -> Columns:
        """Columns of the table tokens, all unless named, ordered by problem, sample and token_index."""
        return self._in_traces("tokens", columns, run_id)

    def generated(self, run_id: str, columns: Sequence[str] = ()) -> Columns:
        """The same without the tokens that came from outside."""
        return self._in_traces("tokens", columns, run_id, "and given = 0")

    def given(self, run_id: str) -> Columns:
        """The columns trace_id and token_index of the tokens that came from outside."""
        sql = f"select trace_id, token_index from {IN_TRACES.format('tokens')} where run_id = ? and given = 1"
        if not self.first("select 1 from traces where run_id = ? and n_given limit 1", self.run(run_id).run_id):
            return {"trace_id": [], "token_index": []}
        return self.query_columns(sql, ["trace_id", "token_index"], self.run(run_id).run_id)

    def probe_rows(self, run_id: str, columns: Sequence[str] = ()) -> Columns:
        """Columns of the table probes, all unless named, in the order of `probes`: without the view's joins."""
        return self._in_traces("probes", columns, run_id)

    def answers(self, run_id: str, columns: Sequence[str] = ()) -> Columns:
        """Columns of the table answers, all unless named, ordered by problem, sample, k, estimator and answer_rank."""
        return self._in_traces("answers", columns, run_id)

    def _in_traces(self, table: str, columns: Sequence[str], run_id: str, also: str = "") -> Columns:
        source, order = IN_TRACES.format(table), f"problem_id, sample, {ORDER[table]}"
        return self._columns(table, columns, source, order, run_id, also)

    def _columns(
        self, relation: str, wanted: Sequence[str], source: str, order: str, run_id: str, also: str = ""
    ) -> Columns:
        names, known = list(wanted or self.schema[relation]), self.schema[relation]
        if unknown := [name for name in names if name not in known]:
            raise UsageError(f"{relation} has no column '{unknown[0]}'; it has {', '.join(known)}.")
        found = ", ".join(f"{relation}.{name}" for name in names)
        sql = f"select {found} from {source} where run_id = ? {also} order by {order}"
        return self.query_columns(sql, names, self.run(run_id).run_id)


def of_trace(table: str, columns: Sequence[str]) -> str:
    """Rows of one trace, in the order of their key."""
    return f"select {', '.join(columns)} from {table} where trace_id = ? order by {ORDER[table]}"


def essence(settings: Mapping[str, object], ignoring: Sequence[str]) -> str:
    """Settings as text that is equal where all but the ignored ones are."""
    return rows.canonical({name: value for name, value in settings.items() if name not in ignoring})
