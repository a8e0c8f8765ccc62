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
    "half": 2,
    "halves": 2,
    "third": 3,
    "quarter": 4,
    "fourth": 4,
    "fifth": 5,
    "sixth": 6,
    "eighth": 8,
    "tenth": 10,
}
PARTS |= {f"{word}s": n for word, n in PARTS.items() if word not in ("half", "halves")}

_SMALL = "|".join(sorted(SMALL, key=len, reverse=True))
_NUMBER = rf"(?:{_SMALL}|hundred|{'|'.join(LARGE)})"
_PART = "|".join(sorted(PARTS, key=len, reverse=True))
WORDS = re.compile(
    rf"""
    (?<![\w-])(?:(?P<minus>minus|negative)\s+)?
    (?:(?P<whole>(?:a\s+(?=hundred|thousand|million|billion|trillion))?{_NUMBER}(?:(?:-|\s+(?:and\s+)?){_NUMBER}){{0,19}}+)
         (?:\s+and\s+(?P<over>a|an|one|two|three|four)[\s-]+(?P<rest>{_PART})
           |(?:\s+|-)(?P<under>{_PART})
           |\s+point(?P<decimals>(?:\s+(?:{"|".join(DIGITS)})){{1,9}}+))?
      |(?:a\s+|one\s+)?(?P<alone>half|quarter)(?!\s+(?:an?|of|the|as)\b))
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
    if match["alone"]:
        return Fraction(1, PARTS[match["alone"].lower()])
    whole = _whole(match["whole"].lower())
    if whole is None:
        return None
    if match["under"]:
        return Fraction(whole, PARTS[match["under"].lower()])
    if match["rest"]:
        over = {"a": 1, "an": 1}.get(match["over"].lower()) or SMALL[match["over"].lower()]
        return whole + Fraction(over, PARTS[match["rest"].lower()])
    digits = "".join(str(SMALL[word]) for word in (match["decimals"] or "").lower().split())
    return whole + Fraction(int(digits or 0), 10 ** len(digits))


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
