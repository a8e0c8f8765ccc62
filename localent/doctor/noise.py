"""The noise floor: the change of the numbers when only lanes, batch size, threads or kernels change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from localent.doctor import conditions
from localent.doctor.conditions import PROMPT_TOKENS, STEPS
from localent.engine import Coroutine, Model, Options, Prompt, Rows, drive
from localent.errors import LocalentError
from localent.machine.findings import Finding
from localent.measure.divergence import kl
from localent.measure.entropy import entropy as entropy_of
from localent.measure.entropy import log_softmax


def noise(model: Model, base: Options) -> Iterator[Finding]:
    """The change of the numbers under other options, on a given text, so that no trace diverges."""
    text = conditions.text(model, PROMPT_TOKENS + STEPS, 5)
    rows = _rows(model, text, base)
    for name, options in _others(base).items():
        try:
            yield _difference(name, rows, _rows(model, text, options))
        except LocalentError as error:
            yield Finding("noise", name, None, "nats", None, f"not measured: {error}")


def _others(base: Options) -> dict[str, Options]:
    """Options that differ from `base` in one setting, by a name for the change."""
    n = base.n_threads
    other = 2 if n == 1 else 1
    return {
        "1 lane instead of 4": replace(base, n_lanes=1),
        "16 lanes instead of 4": replace(base, n_lanes=16),
        "micro-batch 32 instead of 256": replace(base, chunk=32),
        "no flash attention": replace(base, flash_attn=False),
        f"{other} threads instead of {n}": replace(base, n_threads=other),
    }


def _rows(model: Model, text: Sequence[int], options: Options) -> Rows:
    """Logits after the prompt and after each further token: (STEPS + 1, n_vocab)."""
    with model.lanes(options) as engine:
        return next(drive(engine, [_reading(text)]))


def _reading(text: Sequence[int]) -> Coroutine[Rows]:
    """Coroutine: feed the text, keep a copy of every row after the prompt."""
    row = yield Prompt(text[:PROMPT_TOKENS])
    found = [row.copy()]
    for token in text[PROMPT_TOKENS:]:
        row = yield token
        found.append(row.copy())
    return np.stack(found)


def _difference(name: str, base: Rows, other: Rows) -> Finding:
    """The largest change of a token's entropy, with the changes of logits and of the top-1 token in the note."""
    p, q = log_softmax(base), log_softmax(other)
    moved = float(np.abs(entropy_of(p) - entropy_of(q)).max())
    logit = float(np.abs(base - other).max())
    flips, divergence = float((base.argmax(axis=-1) != other.argmax(axis=-1)).mean()), float(np.mean(kl(p, q)))
    note = f"largest |Δ logit| {logit:.2g}, mean KL {divergence:.2g} nats, {flips:.0%} other top-1 tokens"
    same = "identical to the last bit"
    return Finding("noise", name, float(f"{moved:.3g}"), "nats", None, note if logit else same)
