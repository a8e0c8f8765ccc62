"""Answer kinds: one file for each, known by name."""

from __future__ import annotations

from collections.abc import Sequence

from localent.errors import LocalentError
from localent.records import Choice
from localent.tasks.kinds.choice import CHOICE
from localent.tasks.kinds.expression import EXPRESSION
from localent.tasks.kinds.grammar import Grammar
from localent.tasks.kinds.kind import ANSWER_IS, Clause, Gold, Kind, Worked
from localent.tasks.kinds.number import NUMBER
from localent.tasks.kinds.option_text import OPTION_TEXT
from localent.tasks.kinds.text import TEXT
from localent.tasks.kinds.yes_no import YES_NO

__all__ = [
    "ANSWER_IS",
    "CHOICE",
    "EXPRESSION",
    "KINDS",
    "NUMBER",
    "OPTION_TEXT",
    "TEXT",
    "YES_NO",
    "Clause",
    "Gold",
    "Grammar",
    "Kind",
    "Worked",
    "named",
    "of_answer",
    "register",
]

KINDS: dict[str, Kind] = {}


def register(kind: Kind) -> None:
    """Make a kind known. Problems belong to the kind registered last of those that fit them."""
    KINDS[kind.name] = kind


def named(name: str) -> Kind:
    """The kind that the database stores under this name. Raises LocalentError."""
    if name not in KINDS:
        raise LocalentError(f"No answer kind {name!r}: this version of localent knows {', '.join(KINDS)}.")
    return KINDS[name]


def of_answer(answer: str, choices: Sequence[Choice] = ()) -> Kind:
    """The kind of a problem with this answer ("" if unknown) and these options."""
    return next(kind for kind in reversed(KINDS.values()) if kind.fits(answer, choices))


register(NUMBER)
register(CHOICE)
register(OPTION_TEXT)
register(YES_NO)
register(TEXT)
register(EXPRESSION)
