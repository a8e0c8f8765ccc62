"""Option labels in any of their spellings: "B", " B", "(B)", "**B"."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

from localent.errors import UsageError
from localent.tasks.kinds.grammar import Moves, may_open, opening_phase, readable, sort_pieces


class ChoiceGrammar:
    """Option labels over a vocabulary: every spelling of a label counts for it."""

    kind = "choice"

    def __init__(self, pieces: Sequence[bytes], labels: Sequence[str]):
        self._labels, self.ln_answers = tuple(labels), math.log(len(labels))
        self._pieces = readable(pieces, lambda text: self._label_in(text) is not None or may_open(text))
        self.moves = cache(self._moves)
        self._check()

    def _check(self) -> None:
        """Labels are read as one token: refuse those that this would misread."""
        spelled = {self._label_in(text) for _, text in self._pieces}
        missing = [label for label in self._labels if label not in spelled]
        longer = [b for a in self._labels for b in self._labels if a != b and b.startswith(a)]
        if missing or longer:
            raise UsageError(
                f"The option label '{(missing or longer)[0]}' is not one token of this model, or begins like another "
                "label: label the options A, B, C, ..., or run with --no-probe."
            )

    def plain(self, text: str) -> str:
        return text

    stem = plain

    def _moves(self, phase: str) -> Moves:
        return sort_pieces(self._pieces, lambda text: self._walk(phase, text))

    def value(self, text: str) -> str | None:
        return text if text in self._labels else None

    def _walk(self, phase: str, piece: str) -> tuple[str, str] | None:
        label = self._label_in(piece)
        if label is not None:
            return "end", label
        for char in piece:
            following = opening_phase(phase, char)
            if following is None:
                return None
            phase = following
        return phase, ""

    def _label_in(self, text: str) -> str | None:
        """The label a piece spells: "(B)" -> "B", but "Bob" -> None."""
        core = text.strip().lstrip("*([{\\").rstrip("*)]}.:,\n")
        return core if core in self._labels else None

    def agree(self, value: str, truth: str) -> bool:
        return value == truth

    def spelling(self, value: str) -> tuple[int, ...]:
        """None to follow: the search reads every label's probability from the same rows."""
        return ()
