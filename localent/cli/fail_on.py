"""--fail-on: conditions under which a comparison ends with exit code 1, for checks in CI."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from localent.cli.arguments import Decorator

if TYPE_CHECKING:
    from localent.compare import Candidate

CONDITION = re.compile(r"(?P<name>[a-z-]+)\s*(?P<sign>[<>])\s*(?P<limit>\d*\.?\d+(?:e-?\d+)?)")
NAMES = ("kld", "total-variation", "same-top", "accuracy", "accuracy-drop", "flips", "same-answer", "length")


class Condition(click.ParamType):
    """NAME>LIMIT or NAME<LIMIT -> (name, sign, limit)."""

    name = "name>limit"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str, float]:
        match = CONDITION.fullmatch(str(value).strip())
        if match is None or match["name"] not in NAMES:
            self.fail(f"{value!r} is not a condition such as 'kld>0.05': names are {', '.join(NAMES)}.", param, ctx)
        return match["name"], match["sign"], float(match["limit"])


Conditions = Sequence[tuple[str, str, float]]
fail_on_option: Decorator = click.option(
    "--fail-on",
    type=Condition(),
    multiple=True,
    help=f"End with exit code 1 where this holds, as 'kld>0.05'; shares from 0 to 1. One of {', '.join(NAMES)}.",
)


def failures(conditions: Conditions, named: Sequence[tuple[str, Candidate]]) -> list[str]:
    """A sentence for every condition that holds of a candidate. A figure that is missing fails, too."""
    return [said for name, one in named for said in _of_one(conditions, name, one)]


def _of_one(conditions: Conditions, name: str, one: Candidate) -> Iterator[str]:
    for key, sign, limit in conditions:
        value = _figures()[key](one)
        if value is None:
            yield f"{name}: {key} is not known, so {key}{sign}{limit:g} cannot be ruled out."
        elif value > limit if sign == ">" else value < limit:
            yield f"{name}: {key} is {value:.3g}, {'above' if sign == '>' else 'below'} {limit:g}."


def _figures() -> dict[str, Callable[[Candidate], float | None]]:
    from localent.analysis import quantities

    def forced(key: str) -> Callable[[Candidate], float | None]:
        return lambda one: found.value if (found := one.forced.get(key)) else None

    def free(name: str, sign: float = 1.0) -> Callable[[Candidate], float | None]:
        def value(one: Candidate) -> float | None:
            found = getattr(one.free, name).value if one.free else None
            return None if found is None else sign * found

        return value

    return {
        "kld": forced(quantities.KLD.key),
        "total-variation": forced(quantities.TOTAL_VARIATION.key),
        "same-top": forced(quantities.SAME_TOP.key),
        "accuracy": free("accuracy_candidate"),
        "accuracy-drop": free("accuracy_change", -1.0),
        "flips": free("flips"),
        "same-answer": free("same_answer"),
        "length": free("length_ratio"),
    }
