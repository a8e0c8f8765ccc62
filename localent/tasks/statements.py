"""The places where a text states its answer: "The answer is 12", "Answer: (B)", "#### 12", "\\boxed{12}"."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

from localent.records import Choice
from localent.tasks.kinds.kind import ABSENT, Clause, Kind
from localent.tasks.text import Found, sentence_ends

LONGEST = 450  # characters of a clause (a longer one states nothing and costs quadratic time); no number ends past it
MARKER = re.compile(
    r"""
    (?=[#<\\]|^|\b[TMOFCRBASIWYN])  # how all of them begin: passes over other text quickly
    (?:
      (?:\#{4})++
    | <answer>
    | \\(?P<boxed>f?boxed)\s*\{
    | ^[#*_ \t]*[#*_][ \t]*(?:the\s+)?(?:final\s+)?answer[*_ \t]*$
    | ^[#*_ \t]*(?:final\s+)?answer[*_]*\s+[-\u2013]\s+
    | \b(?<!\bthe\ )(?<!\bour\ )(?<!\bmy\ )(?:(?:the|my|our)\s+)?
      (?P<final>(?:(?:final|correct|right|best|only)\s+){0,8})
      (?:(?<!wrong\ )(?<!incorrect\ )answer
        |(?<=correct\ )(?<!incorrect\ )(?:option|choice|statement)
        |(?<=right\ )(?:option|choice)|(?<=best\ )(?:option|choice))
      [*_"')\]]{0,3}
      (?:\s*\([^)\n]{0,40}\)|\s+(?:to|for|of|in)\b[^.:=\n]{0,80}?)?
      (?:\s+(?:is|was|equals|would\ be|should\ be|must\ be|will\ be)\b|(?P<colon>\s*[:=]))
      [*_]{0,3}
    | \b(?P<none>(?:the\s+)?(?:answer|solution|result)
          \s+(?:(?:cannot|can't|can\s+not|could\s+not|couldn't)\s+be\b|depends\s+on\b)
        |there\s+(?:is|are|was)(?:n't|\s+not|\s+no)\s+(?:(?:a|any|enough|sufficient|single|correct|right|valid)\s+){0,2}
         (?:answers?|information|data|options?|solutions?|way\s+to\s+(?:tell|know|determine))\b
        |(?:it\s+is|it's)\s+(?:impossible|not\s+possible)\s+to\s+(?:answer|determine|tell|say|know)\b)
    | \b(?P<unable>(?:we|i|one|you)
         (?:\s+(?:cannot|can't|can\s+not|could\s+not|couldn't)|(?:\s+am|\s+are|'m|'re)\s+unable\s+to)
         \s+(?:answer|determine|tell|say|know|solve|find|calculate|help)\b
        |there(?:'s|\s+is|\s+are)\s+(?:not\s+enough|insufficient|too\s+little)\s+(?:info|data|details)
        |no\s+(?:\w+\s+)?solutions?\s+exists?\b
        |(?:we|i)\s+(?:do\s+not|don't)\s+have\s+enough\s+(?:info|data|details)|more\s+(?:info|information|data)\s+is\s+needed
        |the\s+(?:problem|question)\s+(?:makes\s+no\s+sense|(?:cannot|can't)\s+be\s+(?:solved|answered)))
    | \b(?P<named>(?:is|as|be)\s+(?:the|my|our)\s+(?:(?:final|correct|right|best)\s+){0,3}
        (?:answer|(?:option|choice)(?=[.!\s]*$)))\b(?!\s*[:=]|\s+(?:is|was|to|for|of|in)\b)
    )
    """,
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)
BLANK = "blank"  # method of a Found without value: the statement names nothing of the kind
EMPTY = re.compile(r"\s*\\[hv]?phantom\b")  # a box to fill in, not an answer in a box
BRACE = re.compile(r"[{}]")
MARKUP = re.compile(r"(?:[\s*:$>}]|_{1,2}(?=[^\s_])|\\[\[(]|\\boxed\s*\{)*")
CORRECTION = re.compile(
    rf"not\b[^.\n]{{0,{LONGEST}}}?(?:\bbut\s+(?:rather\s+)?|[,;]\s+(?:it|that|this)(?:'s|\s+is|\s+should\s+be)\s+)",
    re.IGNORECASE,
)
UNKNOWN = re.compile(  # said in place of an answer
    r"(?:_{3,}|(?:\.{2,}|\u2026|\?+|[-\u2013\u2014])\s*$|i\s+(?:do\s+not|don't|cannot|can't|am\s+not\s+sure|have\s+no\s+idea)\b"
    r"|(?:unknown|undefined|undetermined|none|nothing|n/?a|no\s+(?:answer|solution)|cannot\b.*|can't\b.*|not\s+\w+|insufficient\b.*)[.!\s*]*$)",
    re.IGNORECASE,
)

INTERIM = re.compile(
    r"\b(?:to|for|of|in)\b.*\b(?:part|step|first|second|third|sub\w*|previous|above|each)\b", re.IGNORECASE | re.DOTALL
)
IF = re.compile(r"\b(?:if|whether)\s+(?:that\s+)?$", re.IGNORECASE)
SUPPOSED = re.compile(
    r"\b(?:if|whether|suppose|assume|assuming|say|first|second|third|next|previous|other)\s+(?:that\s+)?$",
    re.IGNORECASE,
)


# Words after "the answer is" that name no answer, and whose sentence is no statement.
ABOUT = re.compile(
    r"(?:therefore|thus|also|clearly|indeed|then|now|always|in|from|by|on|at|given|based|as|that|because|when|if|to|how|why|"
    r"what|where|whether|found|obtained|calculated|computed|derived|determined|equal|same|the\s+(?:same|following|sum|product|"
    r"difference|number|total|result)|correct|right|wrong|incorrect|true|false|clear|simple|obvious|straightforward|reasonable|"
    r"verified|consistent|easy|important|likely|probably|positive|negative|rounded|expressed|written|shown|below|above|"
    r"follows|just|only|simply|actually|really|very|quite|our|your|my|his|her|their|its|let|step|first|we|i|you|he|she|they)\b",
    re.IGNORECASE,
)
_WRONG = (
    r"\b(?:oops|sorry|scratch\s+that|correction|my\s+mistake|(?:made|was|there's|is)\s+an?\s+(?:\w+\s+)?(?:mistake|error)|"
    r"let\s+me\s+(?:correct|fix|redo)|i\s+meant|or\s+rather|(?:that|this|it)(?:'s|\s+is|\s+was)\s+(?:not\s+(?:right|correct)|wrong|incorrect)"
)
WRONG = re.compile(rf"{_WRONG})", re.IGNORECASE)
RETRACTED = re.compile(rf"{_WRONG}|wait|hold\s+on|on\s+second\s+thought|no,|actually)", re.IGNORECASE)
CORRECTED = re.compile(  # what leads from a retraction to another answer
    r"(?:\b(?:it|that|this|which|answer|result|total|value|number|option|choice|one)"
    r"(?:'s|\s+(?:is|was|equals|should\s+be|must\s+be|would\s+be|has\s+to\s+be))"
    r"|\b(?:make|makes|get|gets|gives|meant?)(?:\s+(?:that|it))?|[,:]|\bwait|\bno|\bsorry|\bactually)"
    r"[\s*$(\"':,]*(?:(?:no|actually|really|in\s+fact|rather|instead|then|so|option|choice|the|answer|is|correct|right|one)[,:]?\s+[*$(\"']*)*",
    re.IGNORECASE,
)
SUM = re.compile(r"=|^\s*\d+[.)]\s", re.MULTILINE)  # begins a worked solution, where it stands in a line of its own
FACTORIAL = re.compile(r"(?<=\d!)\s?[-=+*/]")  # no sentence ends in "5! = 120"
MOST = 50  # statements that are read; a text with more runs in circles
NEAR, SOON = 300, 120  # characters after a statement in which it may be taken back, and after that, corrected


class Statement(NamedTuple):
    """An answer stated in a text."""

    start: int  # where its opening words begin
    found: Found
    is_final: bool  # it closes its line, and nobody takes it back there: no question, no supposition, no partial answer
    is_blank: bool = False  # its clause has nothing of the kind in it: "The answer is unclear"


def find_statements(folded: str, kind: Kind, choices: Sequence[Choice]) -> Iterator[Statement]:
    """The answer statements of a text in order; markers that no answer follows are passed over.

    The clause of each ends where the next begins, and of more than MOST only the first and the last are read, so that
    the time is linear in the text.
    """
    found = markers(folded, kind.statement)
    stops = [marker.start() for marker in found[1:]] + [len(folded)]
    pairs = list(zip(found, stops, strict=False))
    for marker, stop in pairs if len(pairs) <= MOST else pairs[: MOST // 2] + pairs[-MOST // 2 :]:
        statement = _statement(folded, marker, stop, kind, choices)
        if statement:
            yield statement


def _statement(
    folded: str, marker: re.Match[str], stop: int, kind: Kind, choices: Sequence[Choice]
) -> Statement | None:
    if kind.settles and IF.search(folded, max(0, marker.start() - 20), marker.start()):
        return None
    clause = _clause(folded, marker, stop)
    found = kind.named(clause, choices) if marker["named"] else kind.stated(clause, choices)
    if marker["unable"] and (re.search(r"\w", folded[clause.end :]) or re.search(r"\d", folded[clause.begin :])):
        return None  # of a part of the problem: the text goes on
    if marker["none"] or marker["unable"] or found is None:
        return _blank(marker, clause)
    parted = "\n" in folded[marker.end() : clause.begin]
    worked = parted and (found.value is None or SUM.search(folded, clause.begin, max(clause.end, clause.begin + 4)))
    bare = (marker["colon"] and not marker["final"]) or worked
    if bare and kind.heads_solution(clause, found):
        return None
    boxed = marker["boxed"] or "boxed" in folded[marker.end() : found.start]
    is_final = (found.value is not None or found.method == ABSENT) and _is_final(clause, marker, bool(bare), found)
    start = found.start if marker["named"] else marker.start()
    return Statement(start, found._replace(method="boxed") if boxed and found.value else found, is_final)


def _blank(marker: re.Match[str], clause: Clause) -> Statement | None:
    """A statement that names no answer: "The answer is unclear", "Answer: ____". None where nothing is stated."""
    text, begin, end = clause
    if marker["named"]:
        return None
    said = _says_unknown(text, marker.end()) or (not marker[0].startswith("####") and _says_something(text[begin:end]))
    if marker["none"] or marker["unable"] or said:
        return Statement(marker.start(), Found(None, begin, end, BLANK), False, is_blank=True)
    return None


def _says_unknown(text: str, offset: int) -> bool:
    """True for "Answer: ???", "#### unknown", "I don't know": the rest of the line stands in place of an answer."""
    line = text[offset : _line_end(text, offset)]
    return UNKNOWN.match(line.strip(" \t*:$")) is not None


def _says_something(words: str) -> bool:
    words = words.strip()
    return re.match(r"\W*\w", words) is not None and not ABOUT.match(words)


def corrected(folded: str, given: Found, kind: Kind, choices: Sequence[Choice]) -> Found | None:
    """Another answer that takes the place of a given one: "... is 5. Wait, that is wrong: it is 6."."""
    taken_back = RETRACTED.search(folded, given.end, min(len(folded), given.end + NEAR))
    limit = min(len(folded), taken_back.start() + SOON) if taken_back else 0
    if taken_back and "\n" in folded[given.end : taken_back.start()] and not WRONG.match(folded, taken_back.start()):
        limit = min(limit, _line_end(folded, taken_back.start()))  # "Wait." alone takes nothing back
    for lead in CORRECTED.finditer(folded, taken_back.start(), limit) if taken_back else ():
        line_end = folded.find("\n", lead.end())
        line_end = min(limit, line_end if line_end >= 0 else len(folded))
        end = next((stop for stop, _ in sentence_ends(folded, lead.end(), line_end)), line_end)
        found = kind.stated(Clause(folded, lead.end(), end), choices)
        if found and found.value is not None and found.start - lead.end() <= 1:
            return found
    return None


def is_taken_back(folded: str, one: Statement, other: Statement) -> bool:
    """True if the text takes back one statement before it makes the other; one that is final, in so many words."""
    retracted = WRONG if one.is_final else RETRACTED
    return retracted.search(folded, one.found.end, min(other.start, one.found.end + NEAR)) is not None


def has_marker(folded: str, kind: Kind) -> bool:
    """True if the text begins an answer statement at all, readable or not."""
    return bool(markers(folded, kind.statement))


@lru_cache(maxsize=1)  # asked for twice of a text without an answer
def markers(folded: str, cue: str) -> tuple[re.Match[str], ...]:
    """The words that open answer statements in a text, readable or not."""
    return tuple(marker_of(cue).finditer(folded))


@cache
def marker_of(cue: str) -> re.Pattern[str]:
    """Pattern of the words that open an answer statement: the usual ones, and the cue of the kind."""
    if MARKER.match(cue):
        return MARKER
    spaced = r"\s+".join(re.escape(word) for word in cue.split())
    return re.compile(rf"{MARKER.pattern} | \b{spaced}\b[*_]{{0,3}}", MARKER.flags)


def _clause(folded: str, marker: re.Match[str], stop: int) -> Clause:
    """The text where the stated answer may stand: to the end of the box, else of the sentence or line, or to `stop`."""
    if marker["boxed"]:
        end = min(stop, _closing_brace(folded, marker.end()))
        return Clause(folded, end if EMPTY.match(folded, marker.end()) else marker.end(), end)
    if marker["named"]:
        return Clause(folded, _sentence_start(folded, marker.start()), marker.start())
    begin = MARKUP.match(folded, marker.end(), marker.end() + LONGEST).end()  # type: ignore[union-attr]  # it matches the empty string
    correction = CORRECTION.match(folded, begin)
    begin = correction.end() if correction else begin
    line_end = _line_end(folded, begin)
    if folded[begin:line_end].rstrip().endswith("="):  # the result stands in the next line
        line_end = _line_end(folded, MARKUP.match(folded, line_end, line_end + LONGEST).end())  # type: ignore[union-attr]
    line_end = min(line_end, begin + LONGEST, stop if stop >= begin else len(folded))
    stops = (stop for stop, past in sentence_ends(folded, begin, line_end) if not FACTORIAL.match(folded, past))
    return Clause(folded, begin, next(stops, line_end))


def _is_final(clause: Clause, marker: re.Match[str], bare: bool, found: Found) -> bool:
    text, begin, end = clause
    end = max(end, marker.end())
    line_end = text.find("\n", end, end + NEAR)
    line_end = min(len(text), end + NEAR) if line_end < 0 else line_end
    over = (
        end
        if not (marker["boxed"] or marker["named"])
        else next((stop for _, stop in sentence_ends(text, end, line_end)), line_end)
    )
    return not (
        re.search(r"\w", text[over:line_end])
        or text[over : over + 1] == "?"
        or (bare and re.search(r"\w", text[begin : found.start] + _line_before(text, marker.start())))
        or INTERIM.search(marker[0])
        or SUPPOSED.search(text, max(0, marker.start() - 20), marker.start())
    )


def _line_end(text: str, offset: int) -> int:
    """End of the line that holds `offset`, looked for as far as a clause may reach."""
    found = text.find("\n", offset, offset + LONGEST)
    return found if found >= 0 else min(len(text), offset + LONGEST)


def _sentence_start(text: str, end: int) -> int:
    """Start of the sentence that text[:end] ends in, LONGEST characters back at most."""
    begin = max(text.rfind("\n", 0, end) + 1, end - LONGEST)
    return max([begin, *(stop for _, stop in sentence_ends(text, begin, end))])


def _line_before(text: str, offset: int) -> str:
    return text[text.rfind("\n", 0, offset) + 1 : offset]


def _closing_brace(folded: str, start: int) -> int:
    depth = 1
    for brace in BRACE.finditer(folded, start, start + LONGEST):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.start()
    return min(len(folded), start + LONGEST)
