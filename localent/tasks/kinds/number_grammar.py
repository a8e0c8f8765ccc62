"""Numbers as people write them after a cue: an optional opening ("$", "x = ", "USD "), digits in tokens of any size,
thousands groups, decimals, a fraction, "1 1/2", "1.5 million", and a short calculation with its result ("5 + 3 = 8",
"5 + 3} = 8" in a box).

The automaton says how far a text may still change; its value is read by the rule for everything that a model writes
(kinds.number_reading), so that a probe and an output of the same text have the same answer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import cache, lru_cache

from localent.tasks.kinds.grammar import (
    MAX_OPENING,
    MINUS,
    OPENING,
    Moves,
    may_open,
    opening_phase,
    phase_parts,
    readable,
    sort_pieces,
)
from localent.tasks.kinds.kind import Clause
from localent.tasks.kinds.number_reading import stated_number
from localent.tasks.numbers import SCALES, agree
from localent.tasks.text import fold

INTEGER_DIGITS, FRACTION_DIGITS = 12, 6
# Signed decimals and signed fractions within those digits: how many values a number can have at all.
LN_NUMBERS = math.log(2 * 10 ** (INTEGER_DIGITS + FRACTION_DIGITS) * 2)

OPERATORS = {*"+*/×÷·", *MINUS}
DEEPEST = 4  # operators and signs of equality in a calculation
NAMES = set("xyz")  # that an answer may be given to: "x = 5"
CURRENCIES = ("USD", "EUR", "GBP", "Rs.")
WORDS = tuple(word for word in SCALES if len(word) > 1)
PARTS_OF_WORDS = {w[i:j] for w in (*WORDS, *CURRENCIES) for i in range(len(w)) for j in range(i + 1, len(w) + 1)}
BESIDE = set("abcdefijknopqrtuvwxyz^π√")  # one such character right after a number: it is only a part of the value
_CHARACTERS = {*"0123456789,./= ", *OPERATORS, *NAMES}
_BOX = "\\boxed{"
_NAMED = re.compile(rf"^\s*(?:[xyz]\s?)?=\s*|^\s*(?:{'|'.join(map(re.escape, CURRENCIES))})\s*")
_OVERLONG = re.compile(rf"\d{{{INTEGER_DIGITS + 1}}}|\.\d{{{FRACTION_DIGITS + 1}}}|/\d{{{FRACTION_DIGITS + 1}}}")


class NumberGrammar:
    """Numbers over a vocabulary, in any spelling: "1,000.0" counts for "1000"."""

    kind = "number"
    ln_answers = LN_NUMBERS

    def __init__(self, pieces: Sequence[bytes]):
        self._pieces = readable(pieces, _takes_part)
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
        sign, body = _split_sign(_result(text))
        if re.search(r"[^\d.,/ ]", body):  # a calculation, a word: it leads to no digits that are known
            return "?"
        return sign + re.sub(r"[, ]", "", body)

    def stem(self, text: str) -> str:
        """ "18" of "18.0", "1" of "1,0", nothing of "0" (it may be 07), "-" (-0), "1/" and "5 +".

        A whole number is taken to stay one, though "36" might yet be 36/2, or 36 + 2.
        """
        sign, body = _split_sign(_result(text))
        body, _, more = body.partition(" ")  # "12 000" may yet be 12
        if re.search(r"[^\d.,]", body + more):
            return ""
        whole, point, decimals = body.partition(".")
        head, comma, group = whole.rpartition(",")
        digits = (head if comma and len(group) < 3 else whole).replace(",", "").lstrip("0")
        stem = f"{digits or 0}.{decimals}".rstrip("0").rstrip(".") if point else digits
        return "" if sign and stem in ("", "0") else sign + stem

    def agree(self, value: str, truth: str) -> bool:
        return agree(value, truth)

    def value(self, text: str) -> str | None:
        """The number that a text states: "12." is 12, "3/" is 3, "5 + 3 = 8" and "5 + 3} = 8" are 8, "5 + 3" is none.

        None where it has more digits than the format allows: a cut number would be another number.
        """
        return _value(text)


@lru_cache(maxsize=4096)
def _value(text: str) -> str | None:
    boxed = "}" in text  # the end of a box that the cue or the opening began
    body = fold(text.replace(_BOX, "")).strip(None if boxed else "".join(OPENING))
    if re.search(r"[=+*×÷]\s*$", body) or _OVERLONG.search(re.sub(r"(?<=\d)[, ](?=\d{3})", "", body)):
        return None
    body = re.sub(r"^([-+])[\s$€£¥₹]+", r"\1", body)
    begin = len(_BOX) if boxed else 0
    body = _BOX[:begin] + body
    found = stated_number(Clause(body, begin, len(body)))
    return found.value if found else None


def _takes_part(text: str) -> bool:
    """True if a piece may be a part of a number, of its opening or of a calculation."""
    core = text.strip()
    return (
        set(text) <= _CHARACTERS
        or not set(text).isdisjoint("0123456789,./}")
        or may_open(text)
        or (core in PARTS_OF_WORDS or text in BESIDE or (core != "" and set(core) <= _CHARACTERS))
    )


def _walk(phase: str, piece: str) -> tuple[str, str] | None:
    """Feed a piece to the number automaton. None: its first character already ends the answer."""
    taken = ""
    for char in piece:
        following = _next_phase(phase, char)
        if following is None and not taken and piece in BESIDE and _is_number(phase):
            return "end", "x"  # "3a" is no more a number than "3x": one ending for all of them
        if following is None and char.isdigit() and phase != "name":  # one digit too many
            return "end", taken + char
        if following is None:
            return ("end", taken) if taken.strip("".join(OPENING)) else None
        phase, taken = following, taken + char
    return phase, taken


def _next_phase(phase: str, char: str) -> str | None:
    """One step of the automaton; None: the character is not part of the answer.

    A phase is that of a number (see _in_number) or of what stands between numbers (see _between), after as many
    operators as the digit before "|" says; "=" beside it: one of them was a sign of equality.
    """
    before, _, inner = phase.rpartition("|")
    following = _in_number(inner, char)
    if following is not None:
        return f"{before}|{following}" if before else following
    return _between(before, inner, char)


def _in_number(phase: str, char: str) -> str | None:
    """One step within a number or its opening.

    Phases: start:N and sign:N (N characters of opening), box:N (N characters of LaTeX's boxed), int:N (N digits),
    group:N:M (N digits, M of them since the last comma), point, dec:N, slash, den:N, next:N (N digits after a blank:
    "12 000", "1 1/2"), part.
    """
    if phase.startswith("word:"):
        return None
    name, n, since_comma = phase_parts(phase)
    digit = char.isascii() and char.isdigit()
    match name:
        case "start" | "sign" | "op" if digit or char == ".":
            return "int:1" if digit else "point"
        case "start" | "sign" | "box":
            return opening_phase(phase, char)
        case "int" if digit:
            return f"int:{n + 1}" if n < INTEGER_DIGITS else None
        case "group" if digit:
            return f"group:{n + 1}:{since_comma + 1}" if since_comma < 3 and n < INTEGER_DIGITS else None
        case "point" | "dec" if digit:
            return f"dec:{n + 1}" if n < FRACTION_DIGITS else None
        case "slash" | "den" | "part" if digit:
            return f"den:{n + 1}" if n < FRACTION_DIGITS else None
        case "gap" | "next" if digit:
            return f"next:{n + 1}" if n < 3 else None
        case "int":
            return {".": "point", "/": "slash", ",": f"group:{n}:0" if n <= 3 else None}.get(char)
        case "group" if since_comma == 3:
            return {".": "point", ",": f"group:{n}:0"}.get(char)
        case "next":
            return {".": "point" if n == 3 else None, "/": "part"}.get(char)
    return None


def _between(before: str, phase: str, char: str) -> str | None:
    """One step before, between or after numbers.

    Phases: name (of a variable), gap (a blank after a number), op:N (N characters after an operator or a sign of
    equality), closed (the box around a calculation), word:TEXT (the beginning of a scale or a currency).
    """
    if phase.startswith("word:"):
        return _in_word(before, phase[len("word:") :] + char, (*WORDS, *CURRENCIES))
    name, n, _ = phase_parts(phase)
    if name in ("start", "name") and char == "=":
        return f"start:{min(n + 1, MAX_OPENING)}"
    if name == "start" and n < MAX_OPENING:
        return "name" if char in NAMES else _in_word(before, char, CURRENCIES)
    if name == "name" and char == " ":
        return "name"
    if name == "op" and n < 2 and (char in " $" or char in MINUS):
        return f"{before}|op:{n + 1}"
    if name == "closed":
        return f"{before}=|op:0" if char == "=" else f"{before}|closed:1" if char == " " and n == 0 else None
    return _after_number(before, name, char) if _is_number(phase) or name == "gap" else None


def _after_number(before: str, name: str, char: str) -> str | None:
    """One step after a number that may be a part of a calculation."""
    depth = int(before.rstrip("=") or 0)
    if char in OPERATORS or char == "=" or (name == "gap" and char == "x"):
        equal = "=" if char == "=" or "=" in before else ""
        return f"{depth + 1}{equal}|op:0" if depth < DEEPEST else None
    if char == "}" and depth and "=" not in before:
        return f"{before}|closed:0"
    if name == "gap":
        return _in_word(before, char, WORDS)
    return (f"{before}|" if before else "") + "gap" if char == " " else None


def _in_word(before: str, text: str, words: Sequence[str]) -> str | None:
    """The phase in which this much of a scale word or a currency has been read; a currency opens a number."""
    if text.rstrip() in CURRENCIES or text == "Rs ":
        return "start:1"
    return f"{before or 0}|word:{text}" if any(word.startswith(text) for word in words) else None


def _is_number(phase: str) -> bool:
    """True if a number may end in this phase."""
    if "word:" in phase:
        return False
    name, _, since_comma = phase_parts(phase.rpartition("|")[2])
    return name in ("int", "dec", "den", "next") or (name == "group" and since_comma == 3)


def _result(text: str) -> str:
    """The text after the last sign of equality, without a name or a currency."""
    return _NAMED.sub("", text.replace(_BOX, "").strip("".join(OPENING))).rpartition("=")[2]


def _split_sign(text: str) -> tuple[str, str]:
    body = text.replace(_BOX, "").strip("".join(OPENING))
    sign = "-" if body[:1] in MINUS else ""
    return sign, body.lstrip("".join(MINUS) + "+" + "".join(OPENING))
