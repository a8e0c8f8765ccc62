"""The speed of a model: bare decodes by lane count, and the cost of measuring a token in comparison."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from localent.doctor import conditions
from localent.engine import CTX_STEP, Model, Options, Prompt
from localent.machine import hardware
from localent.machine.findings import Finding
from localent.measure.meter import Meter
from localent.measure.sampling import Sampler

SPEED_S = 0.5  # seconds for each lane count


def speeds(model: Model, base: Options) -> dict[int, float]:
    """Lanes -> tokens per second of the fastest bare decode, for the lane counts that fit into memory."""
    room, found = hardware.available_memory(), {}
    for n in conditions.LANES:
        if room is not None and model.kv_bytes((n + 1) * CTX_STEP) > room / 2:
            break
        found[n] = n / _decode_seconds(model, replace(base, n_lanes=n))
    return found


def _decode_seconds(model: Model, options: Options) -> float:
    """Seconds of the fastest decode of one token in each lane."""
    with model.lanes(options) as engine:
        return min(_timed(lambda: engine.decode([0] * options.n_lanes), SPEED_S))


def best_of(speeds: dict[int, float]) -> int:
    """The smallest lane count within 5 % of the fastest."""
    return min(n for n, speed in speeds.items() if speed >= 0.95 * max(speeds.values()))


def _timed(call: Callable[[], object], seconds: float) -> list[float]:
    """Seconds of each call after the first, within `seconds` in all but at least two."""
    call()
    end, found = time.perf_counter() + seconds, list[float]()
    while len(found) < 2 or (time.perf_counter() < end and len(found) < 100):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return found


def findings(model: Model, base: Options, speeds: dict[int, float], best: int) -> Iterator[Finding]:
    """The threads, the speeds, and the share of time that measuring takes at the best lane count."""
    yield Finding("speed", "threads", base.n_threads, None, None, None)
    for n, speed in speeds.items():
        note = "the fewest lanes within 5 % of the fastest" if n == best else None
        yield Finding("speed", f"{n} lane{'s' * (n > 1)}", round(speed, 1), "tokens/s", None, note)
    seconds = _measuring_seconds(model, base)
    share = seconds / (seconds + 1 / speeds[best])
    note = f"{share:.0%} of the time at {best} lanes goes into measures and sampling"
    yield Finding("speed", "measuring a token", round(1000 * seconds, 3), "ms", share < 0.5, note)
    if not model.gpu_layers:
        yield _workers(model, base.n_threads, best, (1 / speeds[best], seconds))


def _workers(model: Model, n_threads: int, lanes: int, cost: tuple[float, float]) -> Finding:
    """The processes of 'run --workers' that would be useful on this machine."""
    room, each = hardware.available_memory(), model.kv_bytes((lanes + 1) * CTX_STEP)
    each += model.path.stat().st_size if model.path.is_file() else 0
    most = n_threads if room is None else min(n_threads, max(1, room // max(each, 1)))
    n = useful_workers(*cost, most)
    note = "one process uses all cores: 'run --workers' would gain less than 5 %"
    if n > 1:
        gain = pace(*cost, n) / pace(*cost, 1)
        note = f"estimated: 'run --workers {n} --threads {n_threads // n}' would be {gain:.1f} times as fast"
    return Finding("speed", "local workers", n, None, None, note)


def pace(decode_s: float, measure_s: float, n: int) -> float:
    """Tokens per second of n processes that share the cores: decoding uses all of them, measuring one per process."""
    return 1 / (decode_s + measure_s / n)


def useful_workers(decode_s: float, measure_s: float, most: int) -> int:
    """The fewest processes within 5 % of the pace of as many as there may be."""
    return next(n for n in range(1, most + 1) if pace(decode_s, measure_s, n) >= 0.95 * pace(decode_s, measure_s, most))


def _measuring_seconds(model: Model, base: Options) -> float:
    """Seconds for the measures of one prediction and drawing from it."""
    meter, sampler = Meter(model.vocab.n_tokens), Sampler(0.7)
    with model.lanes(replace(base, n_lanes=1)) as engine:
        row = engine.prefill(0, Prompt(conditions.text(model, 8))).copy()

    def once() -> None:
        reading = meter.read(row)
        meter.taken(row, reading, sampler.sample(meter, row, reading, 0.5))

    return min(_timed(once, SPEED_S / 4))
