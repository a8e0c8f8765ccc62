"""The fastest number of lanes, from a few bare decodes of each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from localent.engine.interface import CTX_STEP, Model, Options

WITHIN = 0.95  # of the best total speed is as good as the best


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
