"""The format in which a model thinks, read from its chat template.

As llama.cpp does: a message with reasoning content is rendered, and the texts around its thought are compared with
those of a message without. Templates that show no thought of a message are searched for formats that are known by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from localent.errors import LocalentError
from localent.tasks.template import rendered
from localent.tasks.thought import MARKER, ThoughtFormat

ASKED, THOUGHT, SAID = "\ue002", "\ue003", "\ue004"  # private-use characters, as the placeholders of tasks.template
THINKING = {"enable_thinking": True, "thinking": True, "reasoning_effort": "high"}  # what templates call it
KNOWN = (  # formats found literally in a template, the most particular first
    ThoughtFormat(
        "<|channel|>analysis<|message|>", "<|end|>", "<|start|>assistant<|channel|>final<|message|>", "", expected=True
    ),
    ThoughtFormat("<|channel>thought", "<channel|>", "", "\n", expected=True),
    ThoughtFormat("[THINK]", "[/THINK]", "", "", expected=True),
    ThoughtFormat("<|START_THINKING|>", "<|END_THINKING|>", "<|START_RESPONSE|>", "", expected=True),
    ThoughtFormat("<seed:think>", "</seed:think>", "", "", expected=True),
    ThoughtFormat("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]", "\n", "\n", expected=True),
    ThoughtFormat(expected=True),
)


@lru_cache(maxsize=8)
def format_of(template: str) -> ThoughtFormat | None:
    """The format of thought that a template shows; None where it shows none."""
    derived = (found for messages in _messages() if (found := _derived(template, messages)))
    return next(derived, None) or _known(template)


def _known(template: str) -> ThoughtFormat | None:
    return next((known for known in KNOWN if known.opening in template and known.closing in template), None)


def _messages() -> Iterator[dict[str, Any]]:
    """Messages that say how they were thought out, in the ways of different templates."""
    more = {"thinking": THOUGHT, "reasoning": THOUGHT}
    yield {"role": "assistant", "content": SAID, "reasoning_content": THOUGHT, **more}
    parts = [{"type": "thinking", "thinking": THOUGHT}, {"type": "text", "text": SAID}]
    yield {"role": "assistant", "content": parts}


def _derived(template: str, message: dict[str, Any]) -> ThoughtFormat | None:
    """The texts around the thought of a message; None where the template does not show it."""
    thinking, plain = (_shown(template, m) for m in (message, {"role": "assistant", "content": SAID}))
    before, thought, rest = thinking.partition(THOUGHT)
    end, said, _ = rest.partition(SAID)
    if not thought or not said or (closing := MARKER.search(end)) is None:
        return None
    opening = _opening(before.rpartition(ASKED)[2], plain.rpartition(ASKED)[2].partition(SAID)[0])
    if not opening:
        return None
    gap, answer = end[: closing.start()], end[closing.end() :]
    return ThoughtFormat(opening, closing[0], answer, gap if not gap.strip() else "", expected=True)


def _shown(template: str, message: dict[str, Any]) -> str:
    """The dialogue of one question and this message; "" where the template refuses it."""
    try:
        return rendered(template, [{"role": "user", "content": ASKED}, message], THINKING)
    except LocalentError:
        return ""


def _opening(before: str, plain: str) -> str:
    """The opening of a thought: from the mark, or the word before it, that a plain message does not have."""
    common, marks = _common(before, plain), list(MARKER.finditer(before))
    if not marks:
        return ""
    own = next((i for i, mark in enumerate(marks) if mark.end() > common), len(marks) - 1)
    begin, previous = marks[own].start(), marks[own - 1] if own else None
    if not begin <= common < marks[own].end():  # <|channel|>analysis<|message|> and <|channel|>final<|message|>
        begin -= len(re.split(r"\s", before[previous.end() if previous else 0 : begin])[-1])
    if previous and begin == previous.end() < marks[own].start():
        begin = previous.start()
    return before[begin:].strip()


def _common(a: str, b: str) -> int:
    """Characters that two texts begin with alike."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
