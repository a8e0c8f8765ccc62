"""Numbers as people write them: an optional space, currency sign and minus, digits in tokens of any size, thousands
groups, decimals, a fraction.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import cache

from localent.tasks.kinds.grammar import (
    MINUS,
    OPENING,
    Moves,
    may_open,
    opening_phase,
    phase_parts,
    readable,
    sort_pieces,
)
from localent.tasks.numbers import normalise_number

INTEGER_DIGITS, FRACTION_DIGITS = 12, 6
# Signed decimals and signed fractions within those digits: how many values a number can have at all.
LN_NUMBERS = math.log(2 * 10 ** (INTEGER_DIGITS + FRACTION_DIGITS) * 2)

_NUMBER = re.compile(r"(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?")


class NumberGrammar:
    """Numbers over a vocabulary, in any spelling: "1,000.0" counts for "1000"."""

    kind = "number"
    ln_answers = LN_NUMBERS

    def __init__(self, pieces: Sequence[bytes]):
        self._pieces = readable(pieces, lambda text: not set(text).isdisjoint("0123456789,./") or may_open(text))
        self.moves, self.spelling = cache(self._moves), cache(self._spelling)

    def _moves(self, phase: str) -> Moves:
        return sort_pieces(self._pieces, lambda text: _walk(phase, text))

    def _spelling(self, value: str) -> tuple[int, ...]:
        """The tokens of " 18." in the longest pieces of the vocabulary; none where the format cannot hold the value."""
        path: tuple[int, ...] = ()
        phase, rest = "start", f" {value}." if self.value(value) == value else ""
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
        number = _NUMBER.match(body).group()  # type: ignore[union-attr]  # it matches the empty string
        below = re.match(r"/\d+", body[len(number) :]) if number.isdigit() else None
        cut = body[len(number) :][:1].isdigit()  # "1,0000"
        if not number or cut or _overlong(number, below.group() if below else ""):
            return None
        return normalise_number(sign + number + (below.group() if below else ""))


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
    """One step of the automaton; None: the character is not part of the number.

    Phases: start:N and sign:N (N characters of opening), box:N (N characters of LaTeX's boxed), int:N (N digits),
    group:N:M (N digits, M of them since the last comma), point, dec:N, slash, den:N.
    """
    name, n, since_comma = phase_parts(phase)
    digit = char.isascii() and char.isdigit()
    match name:
        case "start" | "sign" if digit or char == ".":
            return "int:1" if digit else "point"
        case "start" | "sign" | "box":
            return opening_phase(phase, char)
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


def _overlong(number: str, below: str) -> bool:
    """True if a number has more digits than the format allows."""
    whole, _, decimals = number.replace(",", "").partition(".")
    return len(whole) > INTEGER_DIGITS or len(decimals) > FRACTION_DIGITS or len(below) > FRACTION_DIGITS + 1


def _split_sign(text: str) -> tuple[str, str]:
    body = text.replace("\\boxed{", "").strip("".join(OPENING))
    sign = "-" if body[:1] in MINUS else ""
    return sign, body.lstrip("".join(MINUS) + "+" + "".join(OPENING))
