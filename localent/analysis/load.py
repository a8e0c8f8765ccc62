"""Stored runs as arrays: the only module of the analysis that knows the store."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from localent.analysis import possible
from localent.analysis.as_json import from_json
from localent.analysis.calibration import Calibration
from localent.analysis.metrics import Array
from localent.analysis.probed import Listed, Probed, codes, moved
from localent.analysis.recorded import POWERS, Ideal, Probes, Recorded, Solutions, Traces
from localent.analysis.scores import padded
from localent.errors import UsageError
from localent.records import MEASURES, TOP_K_MEASURES, Problem
from localent.store import Database
from localent.tasks import hesitation
from localent.tasks.kinds import KINDS, Kind

OF_TRACES: tuple[str, ...] = ("trace_id", "problem_id", "sample", "correct", "finish", "answer")
OF_TRACES += ("n_tokens", "n_steps", "problem_steps", "mean_entropy", "mean_surprisal")
OF_PROBES = ("trace_id", "estimator", "control", "n_rollouts", "leader")
NUMBERS: tuple[str, ...] = ("k", "position", "entropy", "entropy_se", "next_entropy", "p_true", "residual", "invalid")
NUMBERS += ("n_tokens", "n_fed")  # of a probe
EARLY = "early"  # Trace.finish, as the writer of traces has it
MOST_STEPS = 2**32  # more than a trace has
Columns = dict[str, Array]


def run(db: Database, run_id: str) -> Recorded:
    """Everything that signals and policies need of a run."""
    found = traces(db, run_id)
    return Recorded(
        traces=found,
        probes=probes(db, run_id),
        tokens=_tokens(db, found),
        step_entropy=_of_steps(db, found, "mean_entropy"),
    )


def calibration(db: Database, run_id: str) -> Calibration:
    """The calibration of a run. Raises UsageError for one that was not calibrated."""
    row, whole = db.calibration(run_id), db.run(run_id).run_id
    if row is None:
        raise UsageError(f"Run {whole} is not calibrated: 'localent calibrate {whole} --db {db.path}' does that.")
    found: Calibration = from_json(Calibration, json.loads(row["figures"]))
    return found


def solutions(db: Database, run_id: str) -> Solutions:
    """A run of worked solutions that a model read."""
    found = traces(db, run_id)
    return Solutions(
        traces=found,
        own=probes(db, run_id).own,
        step_surprisal=_of_steps(db, found, "mean_surprisal"),
        step_entropy=_of_steps(db, found, "mean_entropy"),
    )


def traces(db: Database, run_id: str) -> Traces:
    """The traces of a run; a unique prefix of its id is enough."""
    of = db.run(run_id)
    model, rows = db.model(of.model_sha256), db.traces(of.run_id, OF_TRACES)
    asked = _Asked.of(db, of.task, rows["problem_id"])
    return Traces(
        run_id=of.run_id,
        model=model.name,
        quant=model.quant,
        task=of.task,
        trace_ids=np.array(rows["trace_id"], np.int64),
        problems=np.array(rows["problem_id"]),
        samples=np.array(rows["sample"], int),
        wrong=~np.array(rows["correct"], bool),
        truncated=np.array([finish == "length" for finish in rows["finish"]], bool),
        looped=np.array([finish == "loop" for finish in rows["finish"]], bool),
        failed=np.array([answer is None for answer in rows["answer"]], bool),
        answers=np.array(rows["answer"], object),
        n_tokens=np.array(rows["n_tokens"], int),
        n_steps=np.array(rows["n_steps"], int),
        chance=asked.chance,
        difficulty=np.array(rows["problem_steps"], float),  # None -> NaN
        mean_entropy=np.array(rows["mean_entropy"], float),
        mean_surprisal=np.array(rows["mean_surprisal"], float),
        token_f1=_token_f1(db, of.task, rows),
        groups=asked.groups,
    )


def early(db: Database, run_id: str) -> Array:
    """The traces of a run that a rule stopped: (n,) bool, in the order of `traces`."""
    finish = db.traces(db.run(run_id).run_id, ("finish",))["finish"]
    return np.array([why == EARLY for why in finish], bool)


def _token_f1(db: Database, task: str, rows: Mapping[str, Any]) -> Array | None:
    """(n,) token F1 of each trace's answer; None for a kind whose answers are right or wrong, no more."""
    kind = KINDS.get(db.kind(task))
    if kind is None or kind.overlap("", "") is None:
        return None
    golds = {problem.problem_id: problem.answer for problem in db.problems(task, traced=True)}
    pairs = zip(rows["answer"], rows["problem_id"], strict=True)
    return np.array([kind.overlap(value, golds[name]) for value, name in pairs], float)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is known about the problem of each trace: arrays (n,)."""

    chance: Array  # the probability that a blind guess is right; NaN: the kind of answer is not known
    groups: Array | None  # each problem with its variants; None: each is by itself

    @classmethod
    def of(cls, db: Database, task: str, problem_ids: list[str]) -> _Asked:
        """The problems of a task with these ids."""
        kind, problems = KINDS.get(db.kind(task)), {p.problem_id: p for p in db.problems(task, traced=True)}
        levels = {} if kind is None else {name: _guess(kind, p) for name, p in problems.items()}
        chance = np.array([levels.get(name, np.nan) for name in problem_ids], float)
        if all(p.variant_of is None for p in problems.values()):
            return cls(chance, None)
        return cls(chance, np.array([problems[name].cluster for name in problem_ids]))


def _guess(kind: Kind, problem: Problem) -> float:
    """The probability that a blind guess is right: one among the answers that are possible at first, where known."""
    return 1 / len(problem.ideal_answers[0]) if problem.ideal_answers else kind.chance(problem)


def _tokens(db: Database, of: Traces) -> Columns:
    measured = db.run(of.run_id).settings.get("measure_top_k")
    rows = db.generated(of.run_id, ("text", *MEASURES, *(TOP_K_MEASURES if measured else ())))
    rows["hesitation"] = _hesitations([text.encode() for text in rows.pop("text")], of.n_tokens)
    return {name: padded(values, of.n_tokens) for name, values in rows.items()}


def _hesitations(pieces: list[bytes], n_tokens: Array) -> list[float]:
    """1 where a hesitation word begins, else 0, for the tokens of all traces one after another."""
    found, start = [0.0] * len(pieces), 0
    for n in n_tokens.tolist():
        for place in hesitation.places(pieces[start : start + n]):
            found[start + place.start] = 1.0
        start += n
    return found


def _of_steps(db: Database, of: Traces, measure: str) -> Array:
    """A column of the reasoning steps: (n, most steps), NaN after a trace's end."""
    steps = db.steps(of.run_id, ("kind", measure))
    values = [value for kind, value in zip(steps["kind"], steps[measure], strict=True) if kind == "reasoning"]
    return padded(values, of.n_steps)


# --- probes -------------------------------------------------------------------------------------------------------


def probes(db: Database, run_id: str) -> Probes:
    """Every probe of a run: of the traces' own prefixes, of controls, by rollouts."""
    found = list(_each(db, run_id))
    computed = [p for p in found if p.control is None]
    own = next((p for p in computed if not p.n_rollouts.any()), None)
    return Probes(
        own=own,
        controls={p.control: p for p in found if p.control is not None},
        rolled=next((p for p in computed if p.n_rollouts.any()), None),
        ideal=None if own is None else _ideal(db, run_id, own),
    )


def _ideal(db: Database, run_id: str, own: Probed) -> Ideal | None:
    """What an ideal reader knows at the traces' own probes; None where no problem of the task says so."""
    known = {p.problem_id: p for p in db.problems(db.run(run_id).task, traced=True) if p.ideal_entropy}
    if not known:
        return None
    shape = own.p_true.shape
    entropy, excess, outside = (np.full(shape, np.nan) for _ in range(3))
    powers = np.full((*shape, len(POWERS)), np.nan)
    listed = _listed(db, run_id, own.estimator)
    for i, j in zip(*np.nonzero(~np.isnan(own.k)), strict=True):
        if (problem := known.get(str(own.problems[i]))) is None:
            continue
        k, trace_id = int(own.k[i, j]), int(own.trace_ids[i])
        at, answers = min(k, len(problem.ideal_entropy) - 1), problem.ideal_answers
        seen = possible.Found(
            listed.get((trace_id, k), {}), float(own.residual[i, j]), problem.answer, float(own.p_true[i, j])
        )
        entropy[i, j] = problem.ideal_entropy[at]
        excess[i, j] = possible.excess(seen, answers[at] if answers else ())
        outside[i, j] = possible.outside(seen, answers[0] if answers else ())
        powers[i, j] = possible.raised(seen)
    return Ideal(entropy=entropy, excess=excess, outside=outside, powers=powers)


def _listed(db: Database, run_id: str, estimator: str) -> dict[tuple[int, int], dict[str, float]]:
    """(trace_id, k) -> the answers found there, with their probabilities."""
    found: dict[tuple[int, int], dict[str, float]] = {}
    columns = db.answers(run_id, ("trace_id", "k", "estimator", "value", "prob"))
    for trace_id, k, of, value, prob in zip(*columns.values(), strict=True):
        if of == estimator:
            found.setdefault((trace_id, k), {})[value] = prob
    return found


def _each(db: Database, run_id: str) -> Iterator[Probed]:
    """The probes of each estimator and each control."""
    of = db.traces(run_id, ("trace_id", "problem_id", "correct", "true_answer"))
    asked, ids = _Asked.of(db, db.run(run_id).task, of["problem_id"]), np.array(of["trace_id"], np.int64)
    rows = _arrays(db.probe_rows(run_id, (*OF_PROBES, *NUMBERS)))
    rows["n_tokens"] = _generated(rows, db.given(run_id))
    answers = _arrays(db.answers(run_id, ("trace_id", "k", "estimator", "value", "prob")))
    grid = _grid(ids, rows)
    rows, answers = (_placed(some, ids, grid) for some in (rows, answers))
    for name in np.unique(rows["estimator"].astype(str)):
        mine, of_mine = (_among(some, some["estimator"] == name) for some in (rows, answers))
        yield replace(_probed(of, mine, of_mine), guess=asked.chance, groups=asked.groups)


def _generated(rows: Columns, given: dict[str, list[Any]]) -> Array:
    """Tokens that the model generated in the prefix of each probe: (n_rows,), without those from outside."""
    places: dict[int, list[int]] = {}
    for trace_id, index in zip(given["trace_id"], given["token_index"], strict=True):
        places.setdefault(trace_id, []).append(index)
    if not places:
        return rows["n_tokens"]
    each = zip(rows["trace_id"].tolist(), rows["n_tokens"].tolist(), strict=True)
    return np.array([n - bisect_left(places.get(trace_id, ()), n) for trace_id, n in each], object)


def _grid(ids: Array, rows: Columns) -> Array:
    """Places where traces were probed themselves: sorted keys (n_own,); else where anything was read."""
    own = np.array([c is None and m is None for c, m in zip(rows["control"], rows["n_rollouts"], strict=True)], bool)
    return np.unique(_keys(ids, rows)[own if own.any() else slice(None)])


def _placed(columns: Columns, ids: Array, grid: Array) -> Columns:
    """The rows with their trace and, among its own probes, their column. Those at no probe of the trace have none."""
    keys = _keys(ids, columns)
    first = np.searchsorted(grid, keys - columns["k"].astype(np.int64))
    found = columns | {"row": keys // MOST_STEPS, "column": np.searchsorted(grid, keys) - first}
    return _among(found, np.isin(keys, grid))


def _keys(ids: Array, columns: Columns) -> Array:
    """A number for the trace and k of each row, in the order of both: (n_rows,)."""
    return _rows(ids, columns) * MOST_STEPS + columns["k"].astype(np.int64)


def _arrays(columns: dict[str, list[object]]) -> Columns:
    return {name: np.array(values, object) for name, values in columns.items()}


def _among(columns: Columns, kept: Array) -> Columns:
    return {name: values[kept] for name, values in columns.items()}


def _probed(of: dict[str, list[Any]], probes: Columns, answers: Columns) -> Probed:
    """A row per trace of the run, a column per probe."""
    ids, control = np.array(of["trace_id"], np.int64), probes["control"][0]
    row, column = probes["row"].astype(int), probes["column"].astype(int)
    shape = (len(ids), int(column.max(initial=0)) + 1)
    leader, leader_true, n_rollouts = np.full(shape, -1), np.full(shape, np.nan), np.zeros(len(ids), int)
    leader[row, column] = codes(probes["leader"])
    leader_true[row, column] = probes["leader"] == np.array(of["true_answer"], object)[row]
    n_rollouts[row] = [m or 0 for m in probes["n_rollouts"]]
    numbers = {name: _spread(shape, row, column, probes[name]) for name in NUMBERS}
    listed = Listed(answers["row"], answers["column"], codes(answers["value"]), answers["prob"])
    p_leader, motion, net_motion = moved(numbers["position"], listed)
    return Probed(
        estimator=probes["estimator"][0].removesuffix(f":{control}"),
        control=control,
        trace_ids=ids,
        problems=np.array(of["problem_id"]),
        wrong=~np.array(of["correct"], bool),
        n_rollouts=n_rollouts,
        leader=leader,
        leader_true=leader_true,
        p_leader=p_leader,
        motion=motion,
        net_motion=net_motion,
        **numbers,
    )


def _rows(ids: Array, columns: Columns) -> Array:
    """Index of the trace of each row: (n_rows,)."""
    order = np.argsort(ids)
    return order[np.searchsorted(ids[order], columns["trace_id"].astype(np.int64))]


def _spread(shape: tuple[int, int], row: Array, column: Array, values: Array) -> Array:
    found = np.full(shape, np.nan)
    found[row, column] = values.astype(float)  # None -> NaN
    return found
