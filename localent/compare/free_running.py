"""Traces of two models that generate freely, paired by problem and sample."""

from __future__ import annotations

import math
from dataclasses import dataclass

from localent.analysis import load
from localent.analysis.pairs import Pair
from localent.analysis.profile import before_end, mechanisms
from localent.records import Trace
from localent.store import Database

Key = tuple[str, int]  # problem, sample


@dataclass(frozen=True, slots=True)
class ProfiledTrace:
    """A stored trace, and the course of its leading answer."""

    trace_id: int
    trace: Trace
    mechanism: str  # "": not probed
    abandoned: float  # 1: wrong, though the true answer led at an earlier step; NaN: not probed
    variants: str = ""  # names the problem with its variants; "": it is by itself


def traces_of(store: Database, run_id: str, keys: set[Key] | None = None) -> dict[Key, ProfiledTrace]:
    """The traces of a run by problem and sample: those of `keys`, or all."""
    found = store.traces(run_id, ("trace_id", "problem_id", "sample"))
    listed = zip(found["trace_id"], found["problem_id"], found["sample"], strict=True)
    moves = _moves(store, run_id)
    variants = {p.problem_id: p.variants for p in store.problems(store.run(run_id).task)}
    return {
        (p, s): ProfiledTrace(i, store.trace(i), *moves.get(i, ("", math.nan)), variants[p])
        for i, p, s in listed
        if keys is None or (p, s) in keys
    }


def _moves(store: Database, run_id: str) -> dict[int, tuple[str, float]]:
    """Trace id -> mechanism, and 1.0 where the true answer led, then was lost."""
    p = load.probes(store, run_id).own
    if p is None:
        return {}
    columns = zip(p.trace_ids.tolist(), mechanisms(p).tolist(), (before_end(p) & p.wrong).tolist(), strict=True)
    return {i: (name, float(gone)) for i, name, gone in columns if name}


def pairs(reference: dict[Key, ProfiledTrace], candidate: dict[Key, ProfiledTrace]) -> list[Pair]:
    """The attempts that both runs made."""
    return [_pair(reference[key], candidate[key]) for key in reference if key in candidate]


def _pair(a: ProfiledTrace, b: ProfiledTrace) -> Pair:
    return Pair(
        problem=a.trace.problem_id,
        correct=(a.trace.correct, b.trace.correct),
        answer=(a.trace.extraction.value, b.trace.extraction.value),
        tokens=([t.token_id for t in a.trace.tokens], [t.token_id for t in b.trace.tokens]),
        mechanism=(a.mechanism, b.mechanism),
        abandoned=(a.abandoned, b.abandoned),
        variants=a.variants,
    )
