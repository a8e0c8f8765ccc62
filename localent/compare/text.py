"""A text that all models are fed: token ids, and the predictions that are scored."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Text:
    """Token ids to feed, and the predictions that are scored."""

    tokens: Sequence[int]
    first: int  # the first row that is scored; row i predicts tokens[i + 1]
    n_shared: int = 0  # leading tokens that all texts of the pass have in common
    problem: str | None = None  # resampling takes or leaves all texts of a problem together
    variants: str = ""  # names the problem with its variants, which are taken together too; "": it is by itself
    trace_id: int | None = None
    classes: Sequence[str] = ()  # of the tokens that the scored rows predict; empty: plain text

    @property
    def n_rows(self) -> int:
        """Rows that are scored."""
        return len(self.tokens) - 1 - self.first

    @property
    def cluster(self) -> str | None:
        """The problem, or what it is a variant of."""
        return self.variants or self.problem

    @property
    def place(self) -> str:
        """Its name in a sentence: a problem's trace, or a chunk."""
        return f"problem {self.problem}" if self.trace_id is not None else self.problem or "the text"

    @property
    def n_kept(self) -> int:
        """Tokens that need not be fed again: shared, and before the first row that is scored."""
        return min(self.n_shared, self.first)


def digest_of(texts: Sequence[Text]) -> str:
    """16 hex digits that identify all token ids and the scored ones among them, and which problems are variants."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(np.array([text.first, len(text.tokens), *text.tokens], "<i8").tobytes())
        digest.update(text.variants.encode())
    return digest.hexdigest()[:16]


def classes_of_rows(texts: Sequence[Text]) -> list[str]:
    """The token class of every scored row of all texts; empty for plain text."""
    return [name for text in texts for name in text.classes]
