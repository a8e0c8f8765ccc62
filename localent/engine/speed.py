"""Speed: the fastest number of lanes, from a few bare decodes of each; prefill and decode of one sequence."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from localent.engine.interface import CTX_STEP, Model, Options
from localent.records import Speed

WITHIN = 0.95  # of the best total speed is as good as the best
LEAST_SECONDS = 1e-9  # of a clock that did not move
N_DECODES = 8  # single tokens that a decode speed rests on


def speed_of(model: Model, options: Options) -> Speed:
    """The speed of one sequence, by two prompts of `options.chunk` tokens and a few single tokens.

    The fastest of each counts, because others may be at work on the machine. Logits are computed of last rows only.
    """
    n, tokens = options.chunk, [i % model.vocab.n_tokens for i in range(options.chunk)]
    with model.scorer(replace(options, n_lanes=1, n_ctx=2 * n + N_DECODES)) as scorer:
        prefill = min(_seconds(lambda: scorer.feed(tokens, 1)) for _ in range(2))
        decode = min(_seconds(lambda: scorer.feed([0], 1)) for _ in range(N_DECODES))
    return Speed(n / max(prefill, LEAST_SECONDS), 1 / max(decode, LEAST_SECONDS))


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def fastest_lanes(model: Model, options: Options, candidates: Sequence[int]) -> int:
    """The fewest lanes that reach 95 % of the best total speed, by a few decodes each."""
    speeds = {n: _speed(model, replace(options, n_lanes=n, n_ctx=CTX_STEP)) for n in candidates}
    return min(n for n, speed in speeds.items() if speed >= WITHIN * max(speeds.values()))


def _speed(model: Model, options: Options, n_steps: int = 5) -> float:
    """Tokens per second of bare decodes; the fastest step counts, because others may be at work."""
    seconds = []
    with model.lanes(options) as engine:
        for _ in range(n_steps):
            start = time.perf_counter()
            engine.decode([0] * options.n_lanes)
            seconds.append(time.perf_counter() - start)
    return options.n_lanes / min(seconds)
