"""The bundled family of models, and the caveat that goes with every result on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

FAMILY = "abacus"
MECHANISM = "The bundled models are tiny: what they show is about the mechanism, never about large models."


def is_family(names: Sequence[str]) -> bool:
    """True if any of the names or paths is that of a bundled model."""
    return any(FAMILY in Path(name).name for name in names)


def caveat(names: Sequence[str]) -> tuple[str, ...]:
    """The caveat, if one of the models is bundled; else nothing."""
    return (MECHANISM,) if is_family(names) else ()
