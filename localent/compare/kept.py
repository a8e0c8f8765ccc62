"""Comparisons that are in the database already, as records again: asking twice computes once."""

from __future__ import annotations

import json
import math
import types
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

from localent.store import Database

Figures = dict[str, Any]  # field of `Candidate`, and "noise" -> JSON


def on_run(store: Database, run_id: str, *, positions: bool) -> dict[str, Figures]:
    """comparison_id -> what is kept of it, for all comparisons on this run's traces that kept their noise floor.

    positions: only those with rows per position.
    """
    rows = [row for row in store.comparisons() if row["run_id"] == run_id]
    found = {row["comparison_id"]: json.loads(row["figures"]) for row in rows}
    return {k: v for k, v in found.items() if "noise" in v and (not positions or store.has_divergences(k))}


def all_of(found: dict[str, Figures], comparison_ids: Sequence[str]) -> list[Figures] | None:
    """Those of these comparisons, in order; None unless all are there."""
    return [found[key] for key in comparison_ids] if all(key in found for key in comparison_ids) else None


def revived(kind: Any, value: Any) -> Any:
    """A record of type `kind` from its JSON. Null where a number must be is NaN, which JSON lacks."""
    if value is None:
        return math.nan if kind is float else None
    if get_origin(kind) in (Union, types.UnionType):
        return revived(next(one for one in get_args(kind) if one is not type(None)), value)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{f.name: revived(hints[f.name], value[f.name]) for f in fields(kind)})
    if get_origin(kind) is tuple:
        return tuple(revived(get_args(kind)[0], one) for one in value)
    if get_origin(kind) is dict:
        return {name: revived(get_args(kind)[1], one) for name, one in value.items()}
    return value
