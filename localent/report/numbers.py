"""Estimates and other numbers as text: fixed decimals, the interval in brackets, "-" where there is no value."""

from __future__ import annotations

import math

from localent.analysis.curves import Curve
from localent.analysis.intervals import Estimate


def number(found: Estimate, scale: float = 1.0, decimals: int | None = None) -> str:
    """ "0.71 [0.65, 0.76]"; the value alone where there is no interval. decimals None: see decimals_for."""
    if found.value is None:
        return "-"
    decimals = decimals_for(found, scale) if decimals is None else decimals
    return " ".join(part for part in (fixed(found.value * scale, decimals), brackets(found, scale, decimals)) if part)


def short(found: Estimate, decimals: int = 3) -> str:
    """ "0.712 [0.650, 0.764]"."""
    return number(found, 1.0, decimals)


def percent(found: Estimate) -> str:
    """ "70.0 % [64.6, 74.9]"."""
    if found.value is None:
        return "-"
    return f"{fixed(found.value * 100, 1)} % {brackets(found, 100, 1)}".rstrip()


def brackets(found: Estimate, scale: float, decimals: int) -> str:
    """ "[0.65, 0.76]", empty where there is no interval."""
    if found.low is None or found.high is None:
        return ""
    return f"[{fixed(found.low * scale, decimals)}, {fixed(found.high * scale, decimals)}]"


def fixed(value: float, decimals: int) -> str:
    """Fixed decimals, and no "-0.00"."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def decimals_for(found: Estimate, scale: float) -> int:
    """Two decimals from 1 on, three below and where there is no value."""
    return 2 if found.value is not None and abs(found.value * scale) >= 1 else 3


def negated(found: Estimate) -> Estimate:
    """The estimate of the opposite difference: -x in [-high, -low]."""
    value, low, high = (None if x is None else -x for x in (found.value, found.high, found.low))
    return Estimate(value, low, high)


def point(curve: Curve, i: int) -> Estimate:
    """One point of a curve."""
    value, low, high = (None if math.isnan(x[i]) else float(x[i]) for x in (curve.value, curve.low, curve.high))
    return Estimate(value, low, high, n=int(curve.n[i]))
