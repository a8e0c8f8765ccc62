"""Drawing a trace on this terminal, and printing it as JSON."""

from __future__ import annotations

import os
import sys
from math import isinf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localent.cli.options import PATH
from localent.cli.output import echo, room

if TYPE_CHECKING:
    from localent.records import Problem, Trace
    from localent.report.trace import Style


def style(measure: str = "entropy", color: bool | None = None) -> Style:
    """The style that suits this stdout."""
    from localent.report.chart import can_draw
    from localent.report.trace import Style

    width = min(room() or 80, 100)
    return Style(measure, wants_color(color), can_draw(sys.stdout.encoding), max(width, 40))


def wants_color(color: bool | None) -> bool:
    """The explicit choice; without one, True on a terminal unless NO_COLOR is set."""
    return color if color is not None else sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _svg(context: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    """Refuse a file that cannot be drawn before any work."""
    from localent.report.picture import refuse_other

    if path is not None:
        refuse_other(path)
    return path


image_option = click.option(
    "--image", type=PATH, callback=_svg, help="Also draw the trace, with its answers by step, to this SVG file."
)


def draw(path: Path, trace: Trace, problem: Problem, heading: str, measure: str) -> None:
    """Write the picture of a trace, and say so."""
    from localent.records import token_texts
    from localent.report.picture import picture, save

    texts = token_texts([token.text for token in trace.tokens])
    save(path, picture(trace, texts, problem, heading, measure))
    echo(f"Wrote {path}.", err=True)


def dumped(found: dict[str, Any]) -> str:
    """JSON of a trace as a dict, with the text that each token completes in "texts"."""
    from localent.report.table import json_text

    for token, text in zip(found["trace"]["tokens"], found.pop("texts"), strict=True):
        token["text"] = text
        for name in ("self_certainty", "margin"):
            token[name] = str(token[name]) if isinf(token[name]) else token[name]  # JSON has no infinity
    return json_text(found)
