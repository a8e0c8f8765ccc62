"""Traces that repeat themselves: the same block of tokens over and over, from which no model comes back."""

from __future__ import annotations

from collections.abc import Sequence

REPEATS = 4  # so often in a row
LEAST = 64  # tokens that all repeats have together: a line of dashes or a column of zeros is no loop
LONGEST = 256  # tokens of a block
EVERY = 16  # tokens between two looks; a look costs a third of a millisecond at most


def is_loop(token_ids: Sequence[int]) -> bool:
    """True if the ids end in a block of up to 256 tokens that stands there four times in a row or more."""
    n = len(token_ids)
    for period in range(1, min(LONGEST, n // REPEATS) + 1):
        covered = max(REPEATS * period, LEAST)
        if covered > n or token_ids[-1] != token_ids[-1 - period]:
            continue
        if token_ids[n - covered + period :] == token_ids[n - covered : n - period]:
            return True
    return False
