"""Drawing a trace on this terminal, and printing it as JSON."""

from __future__ import annotations

import os
import shutil
import sys
from math import isinf
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from localent.report.trace import Style


def style(measure: str, color: bool | None) -> Style:
    """The style that suits this stdout."""
    from localent.report.chart import can_draw
    from localent.report.trace import Style

    width = min(shutil.get_terminal_size((80, 24)).columns, 100) if sys.stdout.isatty() else 80
    return Style(measure, wants_color(color), can_draw(sys.stdout.encoding), max(width, 40))


def wants_color(color: bool | None) -> bool:
    """The explicit choice; without one, True on a terminal unless NO_COLOR is set."""
    return color if color is not None else sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def dumped(found: dict[str, Any]) -> str:
    """JSON of a trace as a dict, with the text that each token completes in "texts"."""
    from localent.report.table import json_text

    for token, text in zip(found["trace"]["tokens"], found.pop("texts"), strict=True):
        token["text"] = text
        for name in ("self_certainty", "margin"):
            token[name] = str(token[name]) if isinf(token[name]) else token[name]  # JSON has no infinity
    return json_text(found)
