"""What a text holds and no answer is read from: formulas, and options listed as in the question. Blanks replace it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import zip_longest
from typing import NamedTuple

from localent.records import Choice

MATH = re.compile(r"\$\$?|\\[\[\]()]|\n")
MATH_SIGN = re.compile(r"[\\=^_{}<>+*/]")
FORMULA = re.compile(r"\\|=|\^")  # what no amount of money has
CLOSING = {"$": "$", "$$": "$$", "\\(": "\\)", "\\[": "\\]"}
LISTED = 3  # options that follow each other are a list; two may be an answer and why the other one is wrong


class Item(NamedTuple):
    """An option with its label and text at text[start:end]."""

    start: int
    end: int
    rank: int  # among the problem's options


def without_math(text: str) -> str:
    """A text of the same length with blanks where formulas stand: a letter in them is no label."""
    return _blanked(text, _formulas(text))


def _formulas(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of each formula. One that is not closed ends with its line, or with the text."""
    opening: re.Match[str] | None = None
    for mark in MATH.finditer(text):
        if opening is None:
            opening = mark if mark[0] in CLOSING else None
        elif mark[0] == "\n" and opening[0] in ("$", "\\("):
            if opening[0] != "$" or FORMULA.search(text, opening.end(), mark.start()):
                yield opening.start(), mark.start()
            opening = None
        elif mark[0] == CLOSING[opening[0]]:
            inner = text[opening.end() : mark.start()]
            is_math = MATH_SIGN.search(inner) or " " not in inner.strip()
            if is_math:
                yield opening.start(), mark.end()
            opening = mark if not is_math and mark[0] == "$" else None
    if opening is not None and FORMULA.search(text, opening.end()):
        yield opening.start(), len(text)


def _blanked(text: str, spans: Iterator[tuple[int, int]] | Sequence[tuple[int, int]]) -> str:
    """A text with blanks in place of all but line breaks, from each start to its end."""
    parts, at = [], 0
    for start, end in spans:
        parts += [text[at:start], re.sub(r"[^\n]", " ", text[start:end])]
        at = end
    return "".join([*parts, text[at:]])


@lru_cache(maxsize=8)
def without_lists(text: str, choices: tuple[Choice, ...]) -> str:
    """A text of the same length with blanks where options are listed, as in the question: they state nothing.

    A list is at least three options (or all of them), label and text, in their order and with nothing between; two are
    enough where the text ends within the second.
    """
    return _blanked(text, list(_lists(text, choices)))


def _lists(text: str, choices: tuple[Choice, ...]) -> Iterator[tuple[int, int]]:
    items, run = list(_items(text, choices)), list[Item]()
    for item, following in zip_longest(items, items[1:]):
        run.append(item)
        if following is None or following.rank != item.rank + 1 or re.search(r"\w", text[item.end : following.start]):
            if len(run) >= min(LISTED, len(choices)) or (len(run) > 1 and item.end == len(text)):
                yield run[0].start, item.end
            run.clear()


def _items(text: str, choices: tuple[Choice, ...]) -> Iterator[Item]:
    """The options that stand in a text as in the question: "B) iron"."""
    ranks = {c.label: i for i, c in enumerate(choices)}
    labels = "|".join(sorted(map(re.escape, ranks), key=len, reverse=True))
    for match in re.finditer(rf"(?<![\w(\[*])[(\[*]*+(?P<label>{labels})[*]*[).:\]][*)]*\s+", text):
        wanted = choices[ranks[match["label"]]].text.strip().rstrip(".").casefold()
        said = text[match.end() : match.end() + len(wanted)].casefold()
        is_cut = match.end() + len(said) == len(text) and wanted.startswith(said)
        if wanted and (said == wanted or is_cut):
            yield Item(match.start(), match.end() + len(said), ranks[match["label"]])
