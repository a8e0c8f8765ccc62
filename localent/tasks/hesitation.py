"""Words by which a text hesitates, corrects itself or starts again."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

WORDS = (
    "wait", "hmm", "but", "however", "actually", "alternatively", "maybe", "perhaps", "instead", "let me check",
    "let me think", "let me try", "let me do", "on second thought", "hold on", "not sure", "double-check", "mistake",
    "oops",
)  # fmt: skip
PATTERN = re.compile(
    rb"\b(wait|hmm+|but|however|actually|alternatively|maybe|perhaps|instead|let me (?:re)?(?:check|think|try|do)"
    rb"|on second thought|hold on|not sure|double[- ]check|mistake|oops)\b",
    re.IGNORECASE,
)


def places(pieces: Sequence[bytes]) -> Iterator[range]:
    """The tokens that hold each hesitation word of a text, in order. pieces: the bytes of its tokens."""
    ends = list(accumulate(map(len, pieces)))
    for found in PATTERN.finditer(b"".join(pieces)):
        yield range(bisect_right(ends, found.start()), bisect_right(ends, found.end() - 1) + 1)
