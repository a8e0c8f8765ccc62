"""Traces for showing: found by what a person can type, read with their problems and runs."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from localent.errors import UsageError
from localent.records import Problem, Trace, token_texts
from localent.store import rows
from localent.store.db import Database
from localent.store.schema import importance as step_importance

LISTED: tuple[str, ...] = ("trace_id", "model", "quant", "task", "source_id", "sample", "correct")
LISTED += ("answer", "true_answer", "n_tokens", "mean_entropy")


@dataclass(frozen=True, slots=True)
class Importance:
    """What changes when a step, or steps first_k..k, are resampled: a row of the view step_importance."""

    trace_id: int
    first_k: int
    k: int
    n_before: int
    n_after: int
    shift: float
    shift_se: float
    p_true_change: float
    p_true_change_se: float
    step_text: str | None


@dataclass(frozen=True, slots=True)
class Seen:
    """One trace with its problem and where it came from."""

    trace_id: int
    run_id: str
    model: str
    quant: str
    task: str
    problem: Problem
    trace: Trace
    importance: tuple[Importance, ...]  # of its steps; empty: not rolled out
    texts: tuple[str, ...]  # the characters that each token completes


def find_trace(db: Database, given: str) -> int:
    """The id of a trace: the whole number or its first digits, where no other trace begins with them."""
    if not given.isascii() or not given.isdigit():
        raise UsageError(f"A trace is known by a number, got '{given}'; 'localent show --db {db.path}' lists them.")
    sql = "select trace_id from traces where cast(trace_id as text) like ? || '%' order by trace_id limit 2"
    found = [row["trace_id"] for row in db.query(sql, given)]
    if int(given) in found or len(found) == 1:
        return int(given) if int(given) in found else found[0]
    if found:
        raise UsageError(f"Several traces in {db.path} begin with {given}; give more digits.")
    raise UsageError(f"No trace {given} in {db.path}; 'localent show --db {db.path}' lists them.")


def seen(db: Database, trace_id: int) -> Seen:
    """One trace, read for showing."""
    found = db.query(
        "select t.run_id, m.name as model, m.quant, p.* from traces t join runs using (run_id)"
        " join models m on m.sha256 = model_sha256"
        " join problems p on p.task = t.task and p.problem_id = t.problem_id where trace_id = ?",
        trace_id,
    )[0]
    origin = {name: found.pop(name) for name in ("run_id", "model", "quant")}
    trace = db.trace(trace_id)
    texts = tuple(token_texts([token.text for token in trace.tokens]))
    steps = tuple(importance(db, trace_id))
    problem = rows.problem_of(found)
    return Seen(trace_id, **origin, task=found["task"], problem=problem, trace=trace, importance=steps, texts=texts)


def listing(db: Database, limit: int) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Columns and rows of some traces to choose from, taken from every run in turn."""
    turn = "row_number() over (partition by run_id order by problem_id, sample) as turn"
    sql = f"""with turns as (select trace_id, {turn} from traces)
        select {", ".join(LISTED)} from turns cross join trace_summary using (trace_id)
        where turn <= ? order by turn, run_id limit ?"""
    return LISTED, [tuple(row.values()) for row in db.query(sql, limit, limit)]


def drawn(db: Database, trace_id: int) -> dict[str, list[tuple[Any, ...]]]:
    """The plain rows that drawing one trace needs; 10 ms cheaper than records."""
    found = {name: db.conn.execute(sql, (trace_id,)).fetchall() for name, sql in DRAWN.items()}
    steps = importance(db, trace_id)
    shown = [(one.k, one.shift, one.shift_se, one.p_true_change, one.p_true_change_se) for one in steps]
    return found | {"importance": shown}


IMPORTANCE = ", ".join(field.name for field in fields(Importance))


def importance(db: Database, trace_id: int) -> list[Importance]:
    """The importance of each step of a trace; none where it was not rolled out."""
    sql = f"select {IMPORTANCE} from ({step_importance(f'trace_id = {trace_id:d}')}) order by k"
    return [Importance(**row) for row in db.query(sql)]


def importance_of_run(db: Database, run_id: str) -> list[Importance]:
    """The importance of each step of a run's traces, by trace and step."""
    mine = f"trace_id in (select trace_id from traces where run_id = '{db.run(run_id).run_id}')"
    return [Importance(**row) for row in db.query(f"select {IMPORTANCE} from ({step_importance(mine)}) order by 1, 3")]


OWN = "control is null and n_rollouts is null"
DRAWN = {
    "tokens": "select text, entropy, surprisal, varentropy, rank, given from tokens where trace_id = ?"
    " order by token_index",
    "alternatives": "select token_index, text, prob from alternatives where trace_id = ?"
    " order by token_index, alternative_rank",
    "steps": "select start_token, end_token, kind from steps where trace_id = ? order by step_index",
    "probes": "select k, n_tokens, entropy, entropy_lower, entropy_upper, p_true, leader, residual, invalid from probes"
    f" where trace_id = ? and {OWN} order by k",
    "answers": "select k, value, prob from probes join answers using (trace_id, k, estimator)"
    f" where trace_id = ? and {OWN} order by k, answer_rank",
}


def noise_floors(db: Database) -> dict[str, str]:
    """Run id -> the run whose noise floor it is: the same model, problems and seeds in other lanes."""
    found = db.query("select run_id, json_extract(settings, '$.noise_of') as own from runs")
    return {row["run_id"]: row["own"] for row in found if row["own"]}


COMPARED = """select r.name || ' ' || r.quant as reference, m.name || ' ' || m.quant as candidate, source,
      n_positions, mean_kld, noise_kld, rms_delta_p, same_top, ppl_reference, ppl_candidate, accuracy_reference,
      accuracy_candidate, right_to_wrong, wrong_to_right, mcnemar_p, length_ratio
    from comparisons c left join models r on r.sha256 = c.reference_sha256
      join models m on m.sha256 = c.candidate_sha256
"""


def comparisons(db: Database, models: list[str]) -> list[dict[str, object]]:
    """Comparisons among these models, as they are stored; none where no comparison was made."""
    if len(models) < 2 or "comparisons" not in db.schema:
        return []
    marks = ", ".join("?" * len(models))
    where = f"where c.reference_sha256 in ({marks}) and c.candidate_sha256 in ({marks})"
    return db.query(f"{COMPARED} {where}", *models, *models)


def all_comparisons(db: Database) -> list[dict[str, object]]:
    """All comparisons, as they are stored."""
    return db.query(f"{COMPARED} order by source, source_name, mean_kld")
