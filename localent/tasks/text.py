"""Plain characters and sentence ends, for grading and for cutting into steps."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

PLAIN = {
    **dict.fromkeys("−﹣－‐‑–", "-"),
    **dict.fromkeys("\u2006\u2007\u2009\u202f", "\u00a0"),
    **dict.fromkeys("⁄∕", "/"),
    "’": "'",
    "٬": ",",
    "٫": ".",
}
ABBREVIATION = re.compile(
    r"\b(?:mr|mrs|ms|dr|st|prof|jr|sr|vs|approx|etc|fig|eq|sec|min|hrs?|ft|oz|lbs?|inc|co|rs|"
    r"a\.m|p\.m|e\.g|i\.e|u\.s)\.$",
    re.IGNORECASE,
)
END = re.compile(r"(?:(?<![.!?])[.!?]++[\"'”’)\]*_]*+(?=\s|$)|[。！？]+)")


class Found(NamedTuple):
    """An answer read at text[start:end]. value None: there is one, but it cannot be read as a single answer."""

    value: str | None
    start: int
    end: int
    method: str


def fold(text: str) -> str:
    """The same length in plainer characters: unicode digits, minus signs, spaces and full-width forms."""
    return text if text.isascii() else "".join(map(_plain, text))


@cache
def _plain(char: str) -> str:
    if char in PLAIN:
        return PLAIN[char]
    if char.isdecimal():
        return str(unicodedata.decimal(char))
    full_width = "！" <= char <= "～" and char != "，"
    return chr(ord(char) - 0xFEE0) if full_width else char


def sentence_ends(text: str, start: int = 0, end: int = sys.maxsize) -> Iterator[tuple[int, int]]:
    """(where the closing mark stands, one past it and its closing quotes) of each sentence in text[start:end]."""
    for mark in END.finditer(text, start, end):
        if not ABBREVIATION.search(text, max(start, mark.start() - 8), mark.start() + 1):
            yield mark.span()
