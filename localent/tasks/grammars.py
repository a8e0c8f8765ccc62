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

from localent.errors import UsageError

INTEGER_DIGITS, FRACTION_DIGITS = 12, 6
# Signed decimals and signed fractions within those digits: how many values a number can have at all.
LN_NUMBERS = math.log(2 * 10 ** (INTEGER_DIGITS + FRACTION_DIGITS) * 2)

OPENING = set(" \t\n\r\u00a0$€£¥₹*(\\[{~≈:")  # may stand before the first digit or label
MAX_OPENING = 4  # characters, LaTeX's \boxed{ counted as two
BOXED = "boxed"
MINUS = {"-", "−", "–"}
_NUMBER = re.compile(r"(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Moves:
    """What each token does in one phase of an answer. Tokens not listed end it."""

    going_on: np.ndarray  # token ids after which the answer may still grow
    phases: tuple[str, ...]  # the phase after each of them
    texts: tuple[str, ...]  # what each adds to the answer's text
    complete: np.ndarray  # token ids that hold the last of the answer and its end
    ending_of: np.ndarray  # which of the endings each of them adds
    endings: tuple[str, ...]  # the different ones: thousands of tokens begin with a full stop


class Grammar(Protocol):
    """Answers of one kind, over one vocabulary."""

    kind: str
    ln_values: float  # natural log of how many different answers there can be

    def moves(self, phase: str) -> Moves:
        """How tokens move an answer on from `phase`; the first phase is "start"."""

    def plain(self, text: str) -> str:
        """An unfinished answer as a prefix of normalised answers: " $1,0" is "10"."""

    def stem(self, text: str) -> str:
        """What every answer begins with that an unfinished one may still become: " 18.0" may be "18" or "18.05"."""

    def value(self, text: str) -> str | None:
        """The normalised answer of a text that has ended, None if it is none."""


class NumberGrammar:
    """Numbers over a vocabulary. `normalise` maps "1,000.0" to "1000" (see tasks.grade)."""

    kind = "number"
    ln_values = LN_NUMBERS

    def __init__(self, pieces: Sequence[bytes], normalise: Callable[[str], str | None]):
        self._pieces = _readable(pieces, lambda text: not set(text).isdisjoint("0123456789,./") or _may_open(text))
        self._normalise = normalise
        self.moves, self.spelling = cache(self._moves), cache(self._spelling)

    def _moves(self, phase: str) -> Moves:
        return _sort(self._pieces, lambda text: _walk(phase, text))

    def _spelling(self, value: str) -> tuple[int, ...]:
        """The tokens of " 18." in the longest pieces there are; none where the format cannot hold the value."""
        path, phase, rest = (), "start", f" {value}." if self.value(value) == value else ""
        while fitting := self._next_in(phase, rest):
            _, text, token, phase = max(fitting)
            path, rest = (*path, token), rest[len(text) :]
        return path

    def _next_in(self, phase: str, rest: str) -> list[tuple[int, str, int, str]]:
        """(length, text, token id, next phase) of the tokens that `rest` may begin with."""
        moves = self.moves(phase)
        every = zip(moves.texts, moves.going_on.tolist(), moves.phases, strict=True)
        return [(len(text), text, *move) for text, *move in every if text and rest.startswith(text)]

    def plain(self, text: str) -> str:
        sign, body = _split_sign(text)
        return sign + body.replace(",", "")

    def stem(self, text: str) -> str:
        """ "18" of "18.0", "1" of "1,0", nothing of "0" (it may be 07), "-" (-0) and "1/".

        A whole number is taken to stay one, though "36" might yet be 36/2.
        """
        sign, body = _split_sign(text)
        whole, point, decimals = body.partition(".")
        head, comma, group = whole.rpartition(",")
        digits = (head if comma and len(group) < 3 else whole).replace(",", "").lstrip("0")
        stem = f"{digits or 0}.{decimals}".rstrip("0").rstrip(".") if point else digits
        return "" if "/" in body or (sign and stem in ("", "0")) else sign + stem

    def value(self, text: str) -> str | None:
        """The longest number at the start of the text: "1,00" is 1, "12." is 12, "3/" is 3.

        None where it has more digits than the format allows: a cut number would be another number.
        """
        sign, body = _split_sign(text)
        number = _NUMBER.match(body).group()
        below = re.match(r"/\d+", body[len(number) :]) if number.isdigit() else None
        cut = body[len(number) :][:1].isdigit()  # "1,0000"
        if not number or cut or _overlong(number, below.group() if below else ""):
            return None
        return self._normalise(sign + number + (below.group() if below else ""))


class ChoiceGrammar:
    """Option labels over a vocabulary: every spelling of a label counts for it."""

    kind = "choice"

    def __init__(self, pieces: Sequence[bytes], labels: Sequence[str]):
        self._labels, self.ln_values = tuple(labels), math.log(len(labels))
        self._pieces = _readable(pieces, lambda text: self._label_in(text) is not None or _may_open(text))
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
        return _sort(self._pieces, lambda text: self._walk(phase, text))

    def value(self, text: str) -> str | None:
        return text if text in self._labels else None

    def _walk(self, phase: str, piece: str) -> tuple[str, str] | None:
        label = self._label_in(piece)
        if label is not None:
            return "end", label
        for char in piece:
            following = _opened(phase, char)
            if following is None:
                return None
            phase = following
        return phase, ""

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


def _may_open(text: str) -> bool:
    """Whether a piece can stand before an answer: blanks, signs, brackets, a part of LaTeX's \\boxed{."""
    return text.strip("".join(OPENING | MINUS) + "+") in BOXED


def _sort(pieces: list[tuple[int, str]], walk: Callable[[str], tuple[str, str] | None]) -> Moves:
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


def _walk(phase: str, piece: str) -> tuple[str, str] | None:
    """Feed a piece to the number automaton. None: its first character already ends the answer."""
    taken = ""
    for char in piece:
        following = _next_phase(phase, char)
        if following is None and char.isdigit():  # one digit too many
            return "end", taken + char
        if following is None:
            return ("end", taken) if taken.strip("".join(OPENING)) else None
        phase, taken = following, taken + char
    return phase, taken


def _next_phase(phase: str, char: str) -> str | None:
    """One step of the automaton; None: the character is no part of the number.

    Phases: start:N and sign:N (N characters of opening), box:N (N characters of LaTeX's boxed), int:N (N digits),
    group:N:M (N digits, M of them since the last comma), point, dec:N, slash, den:N.
    """
    name, n, since_comma = _parts(phase)
    digit = char.isascii() and char.isdigit()
    match name:
        case "start" | "sign" if digit or char == ".":
            return "int:1" if digit else "point"
        case "start" | "sign" | "box":
            return _opened(phase, char)
        case "int" if digit:
            return f"int:{n + 1}" if n < INTEGER_DIGITS else None
        case "group" if digit:
            return f"group:{n + 1}:{since_comma + 1}" if since_comma < 3 and n < INTEGER_DIGITS else None
        case "point" | "dec" if digit:
            return f"dec:{n + 1}" if n < FRACTION_DIGITS else None
        case "slash" | "den" if digit:
            return f"den:{n + 1}" if n < FRACTION_DIGITS else None
        case "int":
            return {".": "point", "/": "slash", ",": f"group:{n}:0" if n <= 3 else None}.get(char)
        case "group" if since_comma == 3:
            return {".": "point", ",": f"group:{n}:0"}.get(char)
    return None


def _opened(phase: str, char: str) -> str | None:
    """One step before the first digit or label."""
    name, n, _ = _parts(phase)
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


def _parts(phase: str) -> tuple[str, int, int]:
    name, *counts = phase.split(":")
    return name, *(int(c) for c in [*counts, "0", "0"][:2])


def _overlong(number: str, below: str) -> bool:
    """Whether a number has more digits than the format allows."""
    whole, _, decimals = number.replace(",", "").partition(".")
    return len(whole) > INTEGER_DIGITS or len(decimals) > FRACTION_DIGITS or len(below) > FRACTION_DIGITS + 1


def _split_sign(text: str) -> tuple[str, str]:
    body = text.replace("\\boxed{", "").strip("".join(OPENING))
    sign = "-" if body[:1] in MINUS else ""
    return sign, body.lstrip("".join(MINUS) + "+" + "".join(OPENING))
