"""Numbers in words: "two hundred fifty-five", "a million", "two and a half", "minus three quarters"."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

SMALL = {
    **dict(
        zero=0, one=1, two=2, three=3, four=4, five=5, six=6, seven=7, eight=8, nine=9, ten=10, eleven=11, twelve=12
    ),
    **dict(thirteen=13, fourteen=14, fifteen=15, sixteen=16, seventeen=17, eighteen=18, nineteen=19, twenty=20),
    **dict(thirty=30, forty=40, fifty=50, sixty=60, seventy=70, eighty=80, ninety=90),
}
DIGITS = tuple(word for word, value in SMALL.items() if value < 10)
LARGE = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
PARTS = {
    **dict(half=2, third=3, quarter=4, fourth=4, fifth=5, sixth=6, seventh=7, eighth=8, ninth=9, tenth=10, twelfth=12),
    **dict(fifteenth=15, sixteenth=16, twentieth=20, hundredth=100, thousandth=1000),
}
PLURAL = {"halves": 2, **{f"{word}s": n for word, n in PARTS.items()}}

_SMALL = "|".join(sorted(SMALL, key=len, reverse=True))
_NUMBER = rf"(?:{_SMALL}|hundred|{'|'.join(LARGE)})"
_AFTER_LARGE = "|".join(rf"(?<={word}),?\s+(?:and\s+)?" for word in ("hundred", *LARGE))
_DIGIT = "|".join(DIGITS)
_SINGLE, _PLURAL = ("|".join(sorted(parts, key=len, reverse=True)) for parts in (PARTS, PLURAL))
_PART = (
    rf"(?:(?:an?|one)[\s-]+(?P<{{0}}1>{_SINGLE})|(?P<{{0}}n>{_DIGIT})[\s-]+(?P<{{0}}s>{_PLURAL}))"
    rf"(?!\s+of\s+(?:\$?\d|{_NUMBER}\b))"
)
WORDS = re.compile(
    rf"""
    (?<![\w-])(?:(?P<minus>minus|negative)\s+)?
    (?:(?P<dozen>(?:half\s+)?a\s+dozen)
      |(?P<part>{_PART.format("p")})(?!\s+(?:one|time|of\s+them|option|day|place|row|person)\b)
      |(?:a\s+|one\s+)?(?P<alone>half|quarter)(?!\s+(?:an?|of|the|as)\b)
      |(?P<whole>(?:a\s+(?=hundred|thousand|million|billion|trillion))?
           {_NUMBER}(?:(?:-|{_AFTER_LARGE}|\s+){_NUMBER}(?!(?:\s+|-)(?:{_PLURAL})\b)){{0,19}}+)
         (?:\s+and\s+{_PART.format("r")}
           |(?:\s+|-)(?P<under>{_PLURAL})
           |\s+point(?P<decimals>(?:\s+(?:{_DIGIT})){{1,9}}+))?
         (?!-(?:{_SINGLE})))
    (?![\w-])
    """,
    re.VERBOSE | re.IGNORECASE,
)


class Worded(NamedTuple):
    """A number in words at text[start:end]."""

    value: Fraction
    start: int
    end: int


def find_words(text: str, start: int = 0, end: int = sys.maxsize) -> Iterator[Worded]:
    """The numbers in words, in order. Words that make no number ("five three", "hundred thousand hundred") are none."""
    for match in WORDS.finditer(text, start, end):
        value = _value(match)
        if value is not None:
            yield Worded(-value if match["minus"] else value, match.start(), match.end())


def _value(match: re.Match[str]) -> Fraction | None:
    if match["dozen"]:
        return Fraction(6 if match["dozen"].lower().startswith("half") else 12)
    if match["part"]:
        return _part(match, "p")
    if match["alone"]:
        return Fraction(1, PARTS[match["alone"].lower()])
    whole = _whole(match["whole"].lower())
    if whole is None:
        return None
    if match["under"]:
        return Fraction(whole, PLURAL[match["under"].lower()])
    digits = "".join(str(SMALL[word]) for word in (match["decimals"] or "").lower().split())
    return whole + _part(match, "r") + Fraction(int(digits or 0), 10 ** len(digits))


def _part(match: re.Match[str], name: str) -> Fraction:
    """ "a third", "two thirds"; 0 where there is none."""
    if match[f"{name}1"]:
        return Fraction(1, PARTS[match[f"{name}1"].lower()])
    several = match[f"{name}n"]
    return Fraction(SMALL[several.lower()], PLURAL[match[f"{name}s"].lower()]) if several else Fraction(0)


def _whole(words: str) -> int | None:
    """ "two thousand three hundred and five" -> 2305; None where the words do not fall from large to small."""
    total, group, last = 0, 0, 10**15  # the last scale word
    room = 100  # what may still be added to the group: below 100, then below 10
    for word in re.findall(r"[a-z]+", words):
        if word in ("a", "and"):
            continue
        if word in LARGE:
            if LARGE[word] >= last:
                return None
            total, group, last, room = total + (group or 1) * LARGE[word], 0, LARGE[word], 100
        elif word == "hundred":
            if group >= 100:
                return None
            group, room = (group or 1) * 100, 100
        else:
            small = SMALL[word]
            if small >= room or (small == 0 and group):
                return None
            group, room = group + small, 10 if small >= 20 else 1
    return total + group
