"""Answers after the cue, token by token: which tokens continue one, which end it, and what value it has.

A grammar sorts the vocabulary once. Here is what all grammars share; the search itself is in tracing/probe.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

OPENING = set(" \t\n\r\u00a0$€£¥₹*(\\[{~≈:")  # may stand before the first digit or label
MAX_OPENING = 4  # characters, LaTeX's \boxed{ counted as two
BOXED = "boxed"
MINUS = {"-", "−", "–"}


@dataclass(frozen=True, slots=True)
class Moves:
    """The effect of each token in one phase of an answer. Tokens not listed end it."""

    going_on: np.ndarray  # token ids after which the answer may still grow
    phases: tuple[str, ...]  # the phase after each of them
    texts: tuple[str, ...]  # what each adds to the answer's text
    complete: np.ndarray  # token ids that hold the last of the answer and its end
    ending_of: np.ndarray  # which of the endings each of them adds
    endings: tuple[str, ...]  # the different ones: thousands of tokens begin with a full stop


class Grammar(Protocol):
    """Answers of one kind, over one vocabulary."""

    kind: str  # the name of that kind
    ln_answers: float  # ln of how many answers there can be

    def moves(self, phase: str) -> Moves:
        """The effect of each token on an answer in `phase`; the first phase is "start"."""

    def plain(self, text: str) -> str:
        """An unfinished answer as a prefix of normalised answers: " $1,0" is "10"."""

    def stem(self, text: str) -> str:
        """The common beginning of all answers that an unfinished one may become: " 18.0" may be "18" or "18.05"."""

    def value(self, text: str) -> str | None:
        """The normalised answer of a text that has ended, None if it is none."""

    def agree(self, value: str, truth: str) -> bool:
        """True if an answer is the true one, by the rule that grades a text (see Kind.agree)."""

    def spelling(self, value: str) -> tuple[int, ...]:
        """The tokens of an answer's plain spelling, for a search to follow; () where its path need not be followed."""


def readable(pieces: Sequence[bytes], wanted: Callable[[str], bool]) -> list[tuple[int, str]]:
    """(id, text) of the pieces that are whole UTF-8 and can take part in an answer."""
    found = []
    for token_id, piece in enumerate(pieces):
        try:
            text = piece.decode()
        except UnicodeDecodeError:
            continue
        if text and wanted(text):
            found.append((token_id, text))
    return found


def may_open(text: str) -> bool:
    """True if a piece can stand before an answer: blanks, signs, brackets, a part of LaTeX's \\boxed{."""
    return text.strip("".join(OPENING | MINUS) + "+") in BOXED


def sort_pieces(pieces: list[tuple[int, str]], walk: Callable[[str], tuple[str, str] | None]) -> Moves:
    """Sort pieces by what `walk` says of each: (next phase, text added), ("end", text added) or None."""
    walked = [(token_id, *step) for token_id, text in pieces if (step := walk(text)) is not None]
    going_on = [step for step in walked if step[1] != "end"]
    complete = [step for step in walked if step[1] == "end"]
    endings = tuple(dict.fromkeys(text for _, _, text in complete))
    return Moves(
        np.array([i for i, _, _ in going_on], np.int64),
        tuple(phase for _, phase, _ in going_on),
        tuple(text for _, _, text in going_on),
        np.array([i for i, _, _ in complete], np.int64),
        np.array([endings.index(text) for _, _, text in complete], np.int64),
        endings,
    )


def opening_phase(phase: str, char: str) -> str | None:
    """One step before the first digit or label."""
    name, n, _ = phase_parts(phase)
    if name == "box" and n < len(BOXED) and char == BOXED[n]:
        return f"box:{n + 1}"
    if name == "box" and not ((n == 0 and char in OPENING) or (n == len(BOXED) and char == "{")):
        return None
    if name == "start" and char == "\\":
        return "box:0"
    if name == "start" and (char in MINUS or char == "+"):
        return f"sign:{n}"
    n = n if name != "box" else 1
    return f"{'sign' if name == 'sign' else 'start'}:{n + 1}" if char in OPENING and n < MAX_OPENING else None


def phase_parts(phase: str) -> tuple[str, int, int]:
    name, *counts = phase.split(":")
    n, since_comma = (int(count) for count in [*counts, "0", "0"][:2])
    return name, n, since_comma
