"""Thinking aloud: text inside <think> ... </think>, and where what follows the thought begins."""

from __future__ import annotations

OPEN, CLOSE = "<think>", "</think>"


def is_open(text: str, opened: bool = False) -> bool:
    """True if a text ends inside a thought. opened: the prompt before it has begun one."""
    begun, ended = text.rfind(OPEN), text.rfind(CLOSE)
    return opened if begun == ended else begun > ended  # equal: neither is there


def after_thought(text: str) -> int | None:
    """Offset of what follows a thought; None where nothing was thought, or nothing follows."""
    thought, closed, rest = text.rpartition(CLOSE)
    if not closed or not thought.rpartition(OPEN)[2].strip() or not rest.strip():
        return None
    return len(text) - len(rest.lstrip())
