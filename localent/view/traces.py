"""The traces of a database in the order in which they came, as the page's script reads them.

The database does not hold that order, because a run repeats to the last bit in any order of finishing; so what was
there when the server began comes in the order of runs and problems, and each later look appends what is new.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import Any

from localent.report.page import INDEXED, problem_cells, trace_cells
from localent.report.panels import told_apart
from localent.report.table import cell_text
from localent.store import Database, following
from localent.store.traces import noise_floors

Cells = list[Any]


@dataclass(frozen=True, slots=True)
class Run:
    """A run as the page lists it."""

    run_id: str
    name: str
    task: str


def runs_of(db: Database, only: str | None = None) -> list[Run]:
    """The runs of a database, oldest first, without noise floors; only: this one."""
    floors = noise_floors(db)
    rows = [
        row for row in following.runs(db) if row["run_id"] == only or (only is None and row["run_id"] not in floors)
    ]
    settings = [{"task": row["task"]} | json.loads(row["settings"]) for row in rows]
    models = [cell_text(row["model"]) for row in rows]
    names = told_apart(models, settings, [row["run_id"] for row in rows])
    return [Run(row["run_id"], name, row["task"]) for row, name in zip(rows, names, strict=True)]


@dataclass(slots=True)
class Arrivals:
    """What has been seen of a database. It only grows; where something was removed, another one takes its place."""

    boot: str = field(default_factory=lambda: secrets.token_hex(8))
    runs: list[str] = field(default_factory=list)
    known: set[int] = field(default_factory=set)
    traces: list[Cells] = field(default_factory=list)
    problems: list[Cells] = field(default_factory=list)
    places: dict[tuple[str, str], int] = field(default_factory=dict)  # (task, problem_id) -> place in problems

    def look(self, db: Database, runs: list[Run]) -> bool:
        """Append what is new; False where something that was there is gone, or runs stand in another order."""
        ids = [run.run_id for run in runs]
        now = [trace_id for run_id in ids for trace_id in following.trace_ids(db, run_id)]
        if ids[: len(self.runs)] != self.runs or self.known - set(now):
            return False
        self.runs = ids
        self._append(db, [trace_id for trace_id in now if trace_id not in self.known])
        return True

    def _append(self, db: Database, new: list[int]) -> None:
        if not new:
            return
        rows = {row["trace_id"]: row for row in following.summaries(db, new, INDEXED)}
        self._meet(db, {(row["task"], row["problem_id"]) for row in rows.values()} - self.places.keys())
        for trace_id in new:
            row = rows[trace_id]
            cells, problem = [row[name] for name in INDEXED], self.places[row["task"], row["problem_id"]]
            self.traces.append(trace_cells(cells, self.runs.index(row["run_id"]), problem))
            self.known.add(trace_id)

    def _meet(self, db: Database, wanted: set[tuple[str, str]]) -> None:
        for task in sorted({task for task, _ in wanted}):
            for problem in db.problems(task, traced=True):
                if (task, problem.problem_id) in wanted:
                    self.places[task, problem.problem_id] = len(self.problems)
                    self.problems.append(problem_cells(problem))
