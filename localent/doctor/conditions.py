"""The conditions of the doctor's checks: options of the lanes, and a text of tokens that any vocabulary has."""

from __future__ import annotations

from localent.engine import CTX_STEP, Model, Options
from localent.machine import hardware

LANES = (1, 4, 8, 16, 32)
PROMPT_TOKENS, STEPS = 40, 24  # tokens of the prompt, and of its continuation


def base(threads: int | None = None) -> Options:
    """The options that every check varies. threads: None: those of a run by default."""
    return Options(n_lanes=4, n_ctx=CTX_STEP, n_threads=threads or n_threads())


def n_threads() -> int:
    """The threads that a run uses by default."""
    return hardware.usable_cores()


def text(model: Model, n: int, start: int = 0) -> list[int]:
    """Token ids that any vocabulary has, none of which ends a generation."""
    usable = [t for t in range(min(model.vocab.n_tokens, 512 + len(model.vocab.eog))) if t not in model.vocab.eog]
    return [usable[(7 * i + i * i + start) % len(usable)] for i in range(n)]
