"""The places where a text states its answer: "The answer is 12", "Answer: (B)", "#### 12", "\\boxed{12}"."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from localent.records import Choice
from localent.tasks.kinds.kind import Clause, Kind
from localent.tasks.text import Found, sentence_ends

LONGEST = 450  # characters of a clause (a longer one states nothing and costs quadratic time); no number ends past it
MARKER = re.compile(
    r"""
      (?:\#{4})++
    | <answer>
    | \\(?P<boxed>f?boxed)\s*\{
    | ^[#*_ \t]*[#*_][ \t]*(?:the\s+)?(?:final\s+)?answer[*_ \t]*$
    | \b(?:(?:the|my|our)\s+)?(?P<final>(?:(?:final|correct|right|best|only)\s+){0,8})
      (?:answer|(?<=correct\ )(?:option|choice|statement)|(?<=right\ )(?:option|choice)|(?<=best\ )(?:option|choice))
      [*_"')\]]{0,3}
      (?:\s*\([^)\n]{0,40}\)|\s+(?:to|for|of|in)\b[^.:=\n]{0,80}?)?
      (?:\s+(?:is|was|equals|would\ be|should\ be|must\ be|will\ be)\b|(?P<colon>\s*[:=]))
      [*_]{0,3}
    """,
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)
BRACE = re.compile(r"[{}]")
MARKUP = re.compile(r"(?:[\s*_:$>]|\\[\[(]|\\boxed\s*\{)*")
CORRECTION = re.compile(rf"not\b[^.\n]{{0,{LONGEST}}}?\bbut\s+(?:rather\s+)?", re.IGNORECASE)


INTERIM = re.compile(
    r"\b(?:to|for|of|in)\b.*\b(?:part|step|first|second|third|sub\w*|previous|above|each)\b", re.IGNORECASE | re.DOTALL
)
SUPPOSED = re.compile(
    r"\b(?:if|whether|suppose|assume|assuming|say|first|second|third|next|previous|other)\s+(?:that\s+)?$",
    re.IGNORECASE,
)


class Statement(NamedTuple):
    """An answer stated in a text."""

    start: int  # where its opening words begin
    found: Found
    is_final: bool  # it closes its line, and nobody takes it back there: no question, no supposition, no partial answer


def find_statements(folded: str, kind: Kind, choices: Sequence[Choice]) -> Iterator[Statement]:
    """The answer statements of a text in order; markers that no answer follows are passed over."""
    for marker in marker_of(kind.statement).finditer(folded):
        clause = _clause(folded, marker)
        found = kind.stated(clause, choices)
        bare = marker["colon"] and not marker["final"]
        if found is None or (bare and kind.heads_solution(clause, found)):
            continue
        boxed = marker["boxed"] or "boxed" in folded[marker.end() : found.start]
        is_final = found.value is not None and _is_final(clause, marker, bool(bare), found)
        yield Statement(marker.start(), found._replace(method="boxed") if boxed and found.value else found, is_final)


def has_marker(folded: str, kind: Kind) -> bool:
    """True if the text begins an answer statement at all, readable or not."""
    return marker_of(kind.statement).search(folded) is not None


@cache
def marker_of(cue: str) -> re.Pattern[str]:
    """Pattern of the words that open an answer statement: the usual ones, and the cue of the kind."""
    if MARKER.match(cue):
        return MARKER
    spaced = r"\s+".join(re.escape(word) for word in cue.split())
    return re.compile(rf"{MARKER.pattern} | \b{spaced}\b[*_]{{0,3}}", MARKER.flags)


def _clause(folded: str, marker: re.Match[str]) -> Clause:
    """The text where the stated answer may stand: to the end of the box, else of the sentence or line."""
    if marker["boxed"]:
        return Clause(folded, marker.end(), _closing_brace(folded, marker.end()))
    begin = MARKUP.match(folded, marker.end()).end()  # type: ignore[union-attr]  # it matches the empty string
    correction = CORRECTION.match(folded, begin)
    begin = correction.end() if correction else begin
    line_end = folded.find("\n", begin)
    line_end = len(folded) if line_end < 0 else line_end
    line_end = min(line_end, begin + LONGEST)
    return Clause(folded, begin, next((stop for stop, _ in sentence_ends(folded, begin, line_end)), line_end))


def _is_final(clause: Clause, marker: re.Match[str], bare: bool, found: Found) -> bool:
    text, begin, end = clause
    line_end = text.find("\n", end)
    line_end = len(text) if line_end < 0 else line_end
    over = end if not marker["boxed"] else next((stop for _, stop in sentence_ends(text, end, line_end)), line_end)
    return not (
        re.search(r"\w", text[over:line_end])
        or text[over : over + 1] == "?"
        or (bare and re.search(r"\w", text[begin : found.start] + _line_before(text, marker.start())))
        or INTERIM.search(marker[0])
        or SUPPOSED.search(text, max(0, marker.start() - 20), marker.start())
    )


def _line_before(text: str, offset: int) -> str:
    return text[text.rfind("\n", 0, offset) + 1 : offset]


def _closing_brace(folded: str, start: int) -> int:
    depth = 1
    for brace in BRACE.finditer(folded, start, start + LONGEST):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.start()
    return min(len(folded), start + LONGEST)
