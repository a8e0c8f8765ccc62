"""What counts as an answer after the cue: which tokens continue one, which end it, and what value it has.

A grammar sorts the vocabulary once. `number` accepts what people write: an optional space, currency sign and
minus, digits in tokens of any size, thousands groups, decimals, a fraction. `choice` accepts an option label
in any of its spellings ("B", " B", "(B)", "**B"). The search itself is in probe.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np

INTEGER_DIGITS, FRACTION_DIGITS = 12, 6
# Signed decimals and signed fractions within those digits: how many values a number can have at all.
LN_NUMBERS = math.log(2 * 10 ** (INTEGER_DIGITS + FRACTION_DIGITS) * 2)

OPENING = set(" \t\n\r\u00a0$€£¥₹*(\\[{~≈:")  # may stand before the first digit or label
MAX_OPENING = 4  # characters
MINUS = {"-", "−", "–"}
_NUMBER = re.compile(r"(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Moves:
    """What each token does in one phase of an answer. Tokens not listed end it."""

    going_on: np.ndarray  # token ids after which the answer may still grow
    phases: tuple[str, ...]  # the phase after each of them
    texts: tuple[str, ...]  # what each adds to the answer's text
    complete: np.ndarray  # token ids that hold the last of the answer and its end
    endings: tuple[str, ...]  # what each of them adds


class Grammar(Protocol):
    """Answers of one kind, over one vocabulary."""

    kind: str
    ln_values: float  # natural log of how many different answers there can be

    def moves(self, phase: str) -> Moves:
        """How tokens move an answer on from `phase`; the first phase is "start"."""

    def value(self, text: str) -> str | None:
        """The normalised answer of a text that has ended, None if it is none."""


class NumberGrammar:
    """Numbers over a vocabulary. `normalise` maps "1,000.0" to "1000" (see tasks.grade)."""

    kind = "number"
    ln_values = LN_NUMBERS

    def __init__(self, pieces: Sequence[bytes], normalise: Callable[[str], str | None]):
        self._pieces = _readable(pieces, lambda text: not set(text).isdisjoint("0123456789,./") or _is_opening(text))
        self._normalise = normalise
        self.moves = cache(self._moves)

    def _moves(self, phase: str) -> Moves:
        return _sort(self._pieces, lambda text: _walk(phase, text))

    def value(self, text: str) -> str | None:
        """The longest number at the start of the text: "1,00" is 1, "12." is 12, "3/" is 3."""
        sign, body = _split_sign(text)
        number = _NUMBER.match(body).group()
        below = re.match(r"/\d+", body[len(number) :]) if number.isdigit() else None
        return self._normalise(sign + number + (below.group() if below else "")) if number else None


class ChoiceGrammar:
    """Option labels over a vocabulary: every spelling of a label counts for it."""

    kind = "choice"

    def __init__(self, pieces: Sequence[bytes], labels: Sequence[str]):
        self._labels, self.ln_values = tuple(labels), math.log(len(labels))
        self._pieces = _readable(pieces, lambda text: self._label_in(text) is not None or _is_opening(text))
        self.moves = cache(self._moves)

    def _moves(self, phase: str) -> Moves:
        return _sort(self._pieces, lambda text: self._walk(phase, text))

    def value(self, text: str) -> str | None:
        return text if text in self._labels else None

    def _walk(self, phase: str, piece: str) -> tuple[str, str] | None:
        label = self._label_in(piece)
        if label is not None:
            return "end", label
        n = int(phase.partition(":")[2] or 0) + len(piece)
        return (f"start:{n}", "") if n <= MAX_OPENING else None

    def _label_in(self, text: str) -> str | None:
        """The label a piece spells: "(B)" -> "B", but "Bob" -> None."""
        core = text.strip().lstrip("*([{\\").rstrip("*)]}.:,\n")
        return core if core in self._labels else None


def _readable(pieces: Sequence[bytes], wanted: Callable[[str], bool]) -> list[tuple[int, str]]:
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


def _is_opening(text: str) -> bool:
    return all(c in OPENING or c in MINUS or c == "+" for c in text) and len(text) <= MAX_OPENING


def _sort(pieces: list[tuple[int, str]], walk: Callable[[str], tuple[str, str] | None]) -> Moves:
    """Sort pieces by what `walk` says of each: (next phase, text added), ("end", text added) or None."""
    walked = [(token_id, *step) for token_id, text in pieces if (step := walk(text)) is not None]
    going_on = [step for step in walked if step[1] != "end"]
    complete = [step for step in walked if step[1] == "end"]
    return Moves(
        np.array([i for i, _, _ in going_on], np.int64),
        tuple(phase for _, phase, _ in going_on),
        tuple(text for _, _, text in going_on),
        np.array([i for i, _, _ in complete], np.int64),
        tuple(text for _, _, text in complete),
    )


def _walk(phase: str, piece: str) -> tuple[str, str] | None:
    """Feed a piece to the number automaton. None: its first character already ends the answer."""
    taken = ""
    for char in piece:
        following = _next_phase(phase, char)
        if following is None:
            return ("end", taken) if taken.strip("".join(OPENING)) else None
        phase, taken = following, taken + char
    return phase, taken


def _next_phase(phase: str, char: str) -> str | None:
    """One step of the automaton. Phases: start:N and sign:N (N characters of opening), int:N (N digits),
    group:N (N digits after a comma), thousands, point, dec:N, slash, den:N. None: no part of the number."""
    name, _, count = phase.partition(":")
    n, digit = int(count or 0), char.isascii() and char.isdigit()
    match name:
        case "start" | "sign":
            return _opening_phase(name, n, char, digit)
        case "int" if digit:
            return f"int:{n + 1}" if n < INTEGER_DIGITS else None
        case "group":
            return None if not digit else "thousands" if n == 2 else f"group:{n + 1}"
        case "point" | "dec" if digit:
            return f"dec:{n + 1}" if n < FRACTION_DIGITS else None
        case "slash" | "den" if digit:
            return f"den:{n + 1}" if n < FRACTION_DIGITS else None
        case "int" | "thousands":
            return _after_digits(name, n, char)
    return None


def _opening_phase(name: str, n: int, char: str, digit: bool) -> str | None:
    if digit:
        return "int:1"
    if char == ".":
        return "point"
    if char in MINUS or char == "+":
        return f"sign:{n}" if name == "start" else None
    return f"{name}:{n + 1}" if char in OPENING and n < MAX_OPENING else None


def _after_digits(name: str, n: int, char: str) -> str | None:
    if char == "." or (char == "/" and name == "int"):
        return {".": "point", "/": "slash"}[char]
    return "group:0" if char == "," and (name == "thousands" or n <= 3) else None


def _split_sign(text: str) -> tuple[str, str]:
    body = text.strip("".join(OPENING))
    sign = "-" if body[:1] in MINUS else ""
    return sign, body.lstrip("".join(MINUS) + "+" + "".join(OPENING))
