"""Which prefixes of a trace are probed: after every step, or so many of them, spread over the trace."""

from __future__ import annotations

DEFAULT = 5  # the start, each quarter and the end: what gsm8k affords at half the cost of generating
LEAST = 3  # the start, half and the end


def probed_at(n_steps: int, n: int | None) -> list[int]:
    """The k, in 0..n_steps, after which a trace of n_steps steps is probed; n: so many at most, None: all.

    The start, half (n_steps // 2) and the end are always among them, the others spread evenly over the two halves, the
    second half taking the odd one.
    """
    if n is None:
        return list(range(n_steps + 1))
    half, parts = n_steps // 2, (n - 1) // 2
    first = {i * half // parts for i in range(parts + 1)}
    parts = n - 1 - parts
    return sorted(first | {half + i * (n_steps - half) // parts for i in range(parts + 1)})
