"""The places where a text states its answer: "The answer is 12", "Answer: (B)", "#### 12", "\\boxed{12}"."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from localent.records import Choice
from localent.tasks import labels
from localent.tasks.numbers import find_numbers, normal
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
OPERATOR = re.compile(
    r"\s*(?:[a-z]+\s+){0,2}(?:[-+*/\u00d7÷·]|x(?=\s*\d)|\\times|\\cdot|\\div)\s*[$(]?\s?\d", re.IGNORECASE
)
PERCENT_OF = re.compile(r"\s*(?:%|percent)\s+of\s+[$€£]?\s?\d", re.IGNORECASE)
EQUALS = re.compile(r"\s*(?:[a-z]+\s+){0,2}=", re.IGNORECASE)
NOT_BEFORE = re.compile(r"\bnot\s+[*_$€£(\"']*$", re.IGNORECASE)
BETWEEN_BEFORE = re.compile(r"\bbetween\s+[*_$€£(\"']*$", re.IGNORECASE)
AND = re.compile(r"\s*(?:[a-z]+\s+){0,2}and\s+[$€£]?\s?\d", re.IGNORECASE)
ALTERNATIVE = re.compile(r"\s*(?:or|to|-)\s*[$€£]?\s?\d", re.IGNORECASE)


def find_statements(folded: str, kind: str, choices: Sequence[Choice]) -> Iterator[tuple[int, Found]]:
    """(where the statement starts, what it gives) in order; markers that no answer follows are passed over."""
    for marker in MARKER.finditer(folded):
        begin, end = _clause(folded, marker)
        found = _number(folded, begin, end) if kind == "number" else labels.stated(folded, begin, end, choices)
        if found is None or (
            marker["colon"] and not marker["final"] and _opens_solution(folded, found, begin, end, kind)
        ):
            continue
        boxed = marker["boxed"] or "boxed" in folded[marker.end() : found.start]
        yield marker.start(), found._replace(method="boxed") if boxed and found.value else found


def has_marker(folded: str) -> bool:
    """Whether the text begins an answer statement at all, readable or not."""
    return MARKER.search(folded) is not None


def _clause(folded: str, marker: re.Match[str]) -> tuple[int, int]:
    """Where the stated answer may stand: to the end of the box, else of the sentence or line."""
    if marker["boxed"]:
        return marker.end(), _closing_brace(folded, marker.end())
    begin = MARKUP.match(folded, marker.end()).end()  # type: ignore[union-attr]
    correction = CORRECTION.match(folded, begin)
    begin = correction.end() if correction else begin
    line_end = folded.find("\n", begin)
    line_end = len(folded) if line_end < 0 else line_end
    line_end = min(line_end, begin + LONGEST)
    return begin, next((stop for stop, _ in sentence_ends(folded, begin, line_end)), line_end)


def _closing_brace(folded: str, start: int) -> int:
    depth = 1
    for brace in BRACE.finditer(folded, start, start + LONGEST):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.start()
    return min(len(folded), start + LONGEST)


def _number(folded: str, begin: int, end: int) -> Found | None:
    """The first number of the clause, or the result of its calculation; none in "10-20", "3:30", "12 or 13"."""
    numbers = list(find_numbers(folded, begin, end, wide=True))
    first = numbers[0] if numbers else None
    if first and _calculates(folded, first, end):
        equals = folded.rfind("=", first.end(), end)
        first = next((m for m in numbers if m.start() > equals >= 0), None)
    elif first and _is_no_answer(folded, first, begin, end):
        first = None
    if first:
        return Found(normal(first), first.start(), first.end(), "answer statement")
    return Found(None, begin, end, "none") if re.search(r"\d", folded[begin:end]) else None


def _calculates(folded: str, number: re.Match[str], end: int) -> bool:
    return any(sign.match(folded, number.end(), end) for sign in (OPERATOR, PERCENT_OF, EQUALS))


def _is_no_answer(folded: str, number: re.Match[str], begin: int, end: int) -> bool:
    """Whether the number is one of several ("12 or 13", "between 10 and 20") or ruled out ("not 5")."""
    before = folded[begin : number.start()]
    between = BETWEEN_BEFORE.search(before) and AND.match(folded, number.end(), end)
    return bool(between or ALTERNATIVE.match(folded, number.end(), end) or NOT_BEFORE.search(before))


def _opens_solution(folded: str, found: Found, begin: int, end: int, kind: str) -> bool:
    """Whether a bare "Answer:" heads a worked solution: words or a sum come first, and more follows its sentence."""
    if kind == "choice":
        return found.method == "answer text" and re.search(r"\w", folded[end:]) is not None
    first = next(find_numbers(folded, begin, end, wide=True), None)
    plain = first and first.start() == begin and not _calculates(folded, first, end)
    return not plain and next(find_numbers(folded, end), None) is not None
