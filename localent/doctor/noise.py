"""The noise floor: how far the numbers move when only the way of computing changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from localent.doctor import trial
from localent.doctor.trial import PROMPT_TOKENS, STEPS
from localent.engine import Model, Prompt, drive
from localent.errors import LocalentError
from localent.machine.findings import Finding
from localent.measure.divergence import kl
from localent.measure.entropy import entropy as entropy_of
from localent.measure.entropy import log_softmax


def noise(model: Model) -> Iterator[Finding]:
    """How far the numbers move when only the way of computing changes; the text is given, so nothing diverges."""
    text = trial.text(model, PROMPT_TOKENS + STEPS, 5)
    base = _rows(model, text)
    threads = trial.n_threads()
    others = {
        "1 lane instead of 4": dict(lanes=1),
        "16 lanes instead of 4": dict(lanes=16),
        "micro-batch 32 instead of 256": dict(chunk=32),
        "no flash attention": dict(flash_attn=False),
        f"{threads + 1 if threads == 1 else 1} threads instead of {threads}": dict(threads=2 if threads == 1 else 1),
    }
    for name, change in others.items():
        try:
            yield _difference(name, base, _rows(model, text, **change))
        except LocalentError as error:
            yield Finding("noise", name, None, "nats", None, f"not measured: {error}")


def _rows(model: Model, text: Sequence[int], **changed) -> np.ndarray:
    """Logits after the prompt and after each further token: (STEPS + 1, n_vocab)."""

    def job():
        row = yield Prompt(text[:PROMPT_TOKENS])
        found = [row.copy()]
        for token in text[PROMPT_TOKENS:]:
            row = yield token
            found.append(row.copy())
        return np.stack(found)

    with model.lanes(trial.options(**changed)) as engine:
        return next(drive(engine, [job()]))


def _difference(name: str, base: np.ndarray, other: np.ndarray) -> Finding:
    """Largest change of a token's entropy, with the change of logits and of the likeliest token beside it."""
    p, q = log_softmax(base), log_softmax(other)
    moved = float(np.abs(entropy_of(p) - entropy_of(q)).max())
    flips = float((base.argmax(axis=-1) != other.argmax(axis=-1)).mean())
    logit, divergence = float(np.abs(base - other).max()), float(np.mean(kl(p, q)))
    note = f"largest |Δ logit| {logit:.2g}, mean KL {divergence:.2g} nats, {flips:.0%} other likeliest tokens"
    return Finding(
        "noise", name, float(f"{moved:.3g}"), "nats", None, "identical to the last bit" if not logit else note
    )
