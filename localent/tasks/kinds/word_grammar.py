"""Answers that are one of a few words, in any case and any tokens: " Yes", "(no)", "**True**"."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache

from localent.tasks.kinds.grammar import Moves, may_open, opening_phase, readable, sort_pieces

WORD = "word:"  # a phase: the letters so far


class WordGrammar:
    """Words over a vocabulary; each stands for a value, and several may stand for one.

    A word ends with the token that completes it, as an option's label does.
    """

    def __init__(self, kind: str, pieces: Sequence[bytes], values: Mapping[str, str]):
        """values: word in lower case -> the answer that it stands for."""
        self.kind, self._values = kind, dict(values)
        self.ln_answers = math.log(len(set(values.values())))
        self._beginnings = {word[:n] for word in values for n in range(1, len(word) + 1)}
        self._pieces = readable(pieces, lambda text: any(map(str.isalpha, text)) or may_open(text))
        self.moves = cache(self._moves)

    def plain(self, text: str) -> str:
        return self.stem(text)

    def stem(self, text: str) -> str:
        """The answer where all words that begin so stand for one, else nothing."""
        reached = {value for word, value in self._values.items() if word.startswith(text)}
        return reached.pop() if len(reached) == 1 else ""

    def value(self, text: str) -> str | None:
        return self._values.get(text)

    def agree(self, value: str, truth: str) -> bool:
        return value == truth

    def spelling(self, value: str) -> tuple[int, ...]:
        """None to follow: the search comes upon every spelling."""
        return ()

    def _moves(self, phase: str) -> Moves:
        return sort_pieces(self._pieces, lambda text: self._walk(phase, text))

    def _walk(self, phase: str, piece: str) -> tuple[str, str] | None:
        """Feed a piece to the automaton. None: it is no part of a word that counts."""
        begun = phase.removeprefix(WORD) if phase.startswith(WORD) else ""
        word = begun
        for char in piece.lower():
            if char.isalpha() and not phase.startswith(("sign", "box")):  # "\\boxed" is no word
                word += char
                phase = WORD + word
                if word not in self._beginnings:
                    return None
            elif word:
                return ("end", word[len(begun) :]) if word in self._values else None
            else:
                following = opening_phase(phase, char)
                if following is None:
                    return None
                phase = following
        taken = word[len(begun) :]
        return ("end", taken) if word in self._values else (phase, taken)
