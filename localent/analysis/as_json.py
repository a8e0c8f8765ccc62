"""Records as JSON values, and back."""

from __future__ import annotations

import math
import types
from dataclasses import fields, is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np


def plain(value: object) -> object:
    """A value in JSON's types: numbers that JSON lacks become None, tuples lists."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def from_json(kind: Any, value: Any) -> Any:
    """A record of type `kind` from its JSON. Null in the place of a number is NaN, which JSON lacks.

    Fields that JSON of an earlier version lacks keep their defaults.
    """
    if value is None:
        return math.nan if kind is float else None
    if get_origin(kind) in (Union, types.UnionType):
        return from_json(next(one for one in get_args(kind) if one is not type(None)), value)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        stored = {f.name: from_json(hints[f.name], value[f.name]) for f in fields(kind) if f.name in value}
        return kind(**stored)  # type: ignore[operator]
    if get_origin(kind) is tuple:
        return tuple(from_json(get_args(kind)[0], one) for one in value)
    if get_origin(kind) is dict:
        return {name: from_json(get_args(kind)[1], one) for name, one in value.items()}
    return value
