"""How the doctor lets a model run: the engine of every check, and a text that any vocabulary has."""

from __future__ import annotations

from localent.engine import CTX_STEP, Model, Options
from localent.machine import hardware

LANES = (1, 4, 8, 16, 32)
BASE = dict(lanes=4, chunk=256, flash_attn=True)
PROMPT_TOKENS, STEPS = 40, 24  # of the texts that are fed


def options(**changed) -> Options:
    """What the checks run with, unless they change it."""
    chosen = BASE | dict(threads=n_threads()) | changed
    return Options(
        n_lanes=chosen["lanes"],
        n_ctx=CTX_STEP,
        n_threads=chosen["threads"],
        chunk=chosen["chunk"],
        flash_attn=chosen["flash_attn"],
    )


def n_threads() -> int:
    """Those of a run."""
    return hardware.usable_cores()


def text(model: Model, n: int, start: int = 0) -> list[int]:
    """Tokens that any vocabulary has, none of which ends a text."""
    usable = [t for t in range(min(model.vocab.n_tokens, 512 + len(model.vocab.eog))) if t not in model.vocab.eog]
    return [usable[(7 * i + i * i + start) % len(usable)] for i in range(n)]
