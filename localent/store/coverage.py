"""How much of each run is there: which attempts that were asked for have a trace, who made them, and on what."""

from __future__ import annotations

import json
from dataclasses import dataclass

from localent.store.db import Database

ORDER = "select problem_id from problems where task = ? order by rowid"
ASKED = "select problem_id, samples from attempts where run_id = ?"
ALL = (  # of a run of an older file, which does not say what was asked for: all that any file knows
    "select problem_id, (select coalesce(max(sample) + 1, 0) from traces where run_id = r.run_id) as samples"
    " from runs r join problems using (task) where run_id = ?"
)
MADE = """select s.host, s.made_as as build, count(o.trace_id) as n_traces
from sessions s left join origins o using (session_id) where s.run_id = ? group by 1, 2 order by 1, 2"""


@dataclass(frozen=True, slots=True)
class Maker:
    """A machine that worked on a run."""

    host: str
    build: str | None  # JSON: id, settings and build of its own run, where that was joined to this one
    n_traces: int  # that it made; 0: it made none, or its file does not say


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a run is there."""

    run_id: str
    model: str
    task: str
    n_problems: int  # that were asked for
    samples: int  # of a problem, at most
    n_traces: int
    missing: tuple[tuple[str, int], ...]  # (problem_id, sample), in the order in which problems were added
    shards: tuple[str, ...]  # parts that were worked on: "3/16"
    makers: tuple[Maker, ...]

    @property
    def n_missing(self) -> int:
        return len(self.missing)

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(maker.host for maker in self.makers))

    @property
    def builds(self) -> tuple[str | None, ...]:
        """More than one: a mixed run."""
        return tuple(dict.fromkeys(maker.build for maker in self.makers))

    @property
    def is_mixed(self) -> bool:
        return len(self.builds) > 1


def coverage(store: Database) -> list[Coverage]:
    """How much of each run is there, by model and task."""
    sql = """select r.run_id, m.name || ' ' || m.quant as model, r.task from runs r
      join models m on m.sha256 = r.model_sha256 order by m.name, r.task, r.run_id"""
    return [_of_run(store, **row) for row in store.query(sql)]


def _of_run(store: Database, run_id: str, model: str, task: str) -> Coverage:
    order = {row["problem_id"]: i for i, row in enumerate(store.query(ORDER, task))}
    asked = store.query(ASKED, run_id) or store.query(ALL, run_id)
    done = store.finished(run_id)
    wanted = ((row["problem_id"], sample) for row in asked for sample in range(row["samples"]))
    missing = sorted((one for one in wanted if one not in done), key=lambda one: (order.get(one[0], -1), one[1]))
    shards = "select distinct shard from sessions where run_id = ? and shard is not null order by shard"
    return Coverage(
        *(run_id, model, task, len(asked)),
        samples=max((row["samples"] for row in asked), default=0),
        n_traces=len(done),
        missing=tuple(missing),
        shards=tuple(row["shard"] for row in store.query(shards, run_id)),
        makers=tuple(Maker(**row) for row in store.query(MADE, run_id)),
    )


def mixed_runs(store: Database) -> dict[str, int]:
    """Runs that were joined from machines of different builds -> how many builds."""
    sql = """select run_id, count(distinct coalesce(made_as, '')) as n from sessions
      group by run_id having n > 1"""
    return {row["run_id"]: row["n"] for row in store.query(sql)}


def described(build: str | None) -> str:
    """The processor and threads of a build that was joined, in words; "" for the run's own."""
    made = json.loads(build) if build else {}
    settings, built = made.get("settings", {}), made.get("build", {})
    threads = settings.get("threads")
    return ", ".join(filter(None, [built.get("processor"), f"{threads} threads" if threads else ""]))
