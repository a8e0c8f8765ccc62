"""Clauses that state several numbers, of which none is the answer: "10-20", "12 or 13", "3 h 20 min", "{1, 2}"."""

from __future__ import annotations

import re
from collections.abc import Sequence

from localent.tasks.beside import begins_tuple
from localent.tasks.kinds.kind import Clause
from localent.tasks.numbers import agree, normal

UNIT = r"\s*%?\s*(?:(?:[a-z][a-z'.-]{0,20}\s+){0,2})\s*"
MONEY = r"(?:\\?[$€£])?\s?"
_NUMBER = rf"{MONEY}-?(?=[\d\\.½¼¾])"
MARKS = re.compile(  # what surrounds numbers and words without a meaning of its own
    r"\\(?:text\w*|math(?:rm|bf|it|sf)|mbox)\s*\{|\\[()\[\],;:! ]|\\q?quad(?![a-z])|\\(?:left|right)(?![a-z])"
    r"|\\(?=[&$%])|[$*_`{}~]"
)
BOX_BEFORE = re.compile(r"boxed\s*\{[\s$*\\({]*$")
BRACE = re.compile(r"[{}]")
ASIDE = re.compile(r"\([^()\n]{0,80}\)|\^\s{0,2}-?\d+")  # and the power of a unit
NOT_BEFORE = re.compile(r"\bnot\s+[*_$€£(\"']*$", re.IGNORECASE)
BETWEEN_BEFORE = re.compile(r"\bbetween\s+[*_$€£(\"']*$", re.IGNORECASE)
AND = re.compile(rf"\s*%?\s*(?:[a-z]+\s+){{0,2}}(?:and|&|by)\s+{_NUMBER}", re.IGNORECASE)
ALTERNATIVE = re.compile(
    rf"{UNIT}(?:(?:[a-z]{{1,20}})?,\s*or|or|to|-|–)\s*(?:about\s+|approximately\s+)?{_NUMBER}", re.IGNORECASE
)
TUPLE = re.compile(rf"\s*[,;]\s*{_NUMBER}")
AND_PART = re.compile(
    r"\s+and\s+(?:(?P<word>a|an|one|three)[\s-]+(?P<part>half|quarter|third)s?\b|(?P<top>\d)/(?P<bottom>\d))"
)
_NO_UNIT = (
    r"(?!(?:because|since|as|which|that|so|after|when|if|where|is|are|was|were|than|for|from|in|on|at|by|with|of|per|more|"
    r"less|times|but|while|who|have|has|had|out)\b)"
)
_COUNTED = rf"(?:\s+|-)(?:{_NO_UNIT}[a-z][a-z'.-]{{0,20}}\s*){{1,3}}?"
QUANTITIES = re.compile(  # "5 apples and 3 pears", "3 apples, 2 pears"
    rf"{_COUNTED}(?:,\s*(?:and\s+)?|and\s+){MONEY}\d[\d,.]*+\s+{_NO_UNIT}[a-z]", re.IGNORECASE
)
_TIME = r"(?:hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?|s|days?|weeks?|months?|years?)"
_SIZE = (
    r"(?:feet|foot|ft|inch(?:es)?|in|yards?|miles?|(?:kilo|centi|milli)?met(?:er|re)s?|[kcm]?m|pounds?|lbs?|ounces?|oz|"
    r"(?:kilo)?grams?|k?g|(?:milli)?lit(?:er|re)s?|m?l|gallons?|quarts?|pints?|cups?|dollars?|cents?)"
)
COMPOUND = re.compile(  # "3 hours 30 minutes", "5 ft 10 in", "2h 5m", "1h20"
    rf"\s*(?:{_TIME}\.?,?\s*(?:and\s+)?\d+(?:\.\d+)?\s*{_TIME}|{_SIZE}\.?,?\s*(?:and\s+)?\d+(?:\.\d+)?\s*{_SIZE})\b"
    r"|\s?'\s?\d+\s?\"|\s?h\s?\d",
    re.IGNORECASE,
)
_HAS = r"\s*(?::|=|\b(?:has|have|had|gets?|got|is|was|will\s+have|needs?|pays?|paid))\s*"
NAMED_BEFORE = re.compile(rf"[A-Z][\w']*(?:\s+\w+)?{_HAS}{MONEY}$")
NAMED = re.compile(rf"\s*(?:[a-z.'-]+\s+){{0,3}}(?:[,;]|and\b)\s*(?:and\s+)?[A-Z][\w']*(?:\s+\w+)?{_HAS}{_NUMBER}")


def is_one_of_several(clause: Clause, numbers: Sequence[re.Match[str]]) -> bool:
    """True if the first number of a clause is one of several, or ruled out ("not 5")."""
    text, begin, end = clause
    first, rest = numbers[0], numbers[1:]
    plain = _plain(text[begin:end])
    before, at = plain[: first.start() - begin], first.end() - begin
    if NOT_BEFORE.search(before) or (BETWEEN_BEFORE.search(before) and AND.match(plain, at)):
        return True
    if AND_PART.match(plain, at):
        return False
    if ALTERNATIVE.match(plain, at) or AND.match(plain, at):
        return not rest or not _are_same(first, rest[:1])
    if is_in_box(text, begin) and not _are_same(first, _outside_of_asides(rest, plain, begin)):
        return True
    named = NAMED_BEFORE.search(before) and NAMED.match(plain, at)
    several = named or any(pattern.match(plain, at) for pattern in (QUANTITIES, COMPOUND))
    return bool(several) or ((begins_tuple(text, first, end) or bool(TUPLE.match(plain, at))) and _is_list(plain[at:]))


def within_box(clause: Clause) -> Clause:
    """The clause as far as the box goes that it begins in; the clause itself outside of a box."""
    if not is_in_box(clause.text, clause.begin):
        return clause
    depth = 1
    for brace in BRACE.finditer(clause.text, clause.begin, clause.end):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return clause._replace(end=brace.start())
    return clause


def is_in_box(text: str, begin: int) -> bool:
    """True if a clause that begins there fills LaTeX's \\boxed{...}."""
    return BOX_BEFORE.search(text, max(0, begin - 16), begin) is not None


def _plain(text: str) -> str:
    """A text of the same length with blanks where marks stand: "$5$ and \\text{about }$6$"."""
    return MARKS.sub(lambda mark: " " * len(mark[0]), text)


def _outside_of_asides(numbers: Sequence[re.Match[str]], plain: str, begin: int) -> list[re.Match[str]]:
    asides = [aside.span() for aside in ASIDE.finditer(plain)]
    return [m for m in numbers if not any(a <= m.start() - begin < b for a, b in asides)]


def _are_same(first: re.Match[str], others: Sequence[re.Match[str]]) -> bool:
    """True if all numbers are the first one, spelled alike or not: "0.6 or 3/5"."""
    value, values = normal(first), [normal(other) for other in others]
    return value is not None and all(other is not None and agree(value, other) for other in values)


def _is_list(after: str) -> bool:
    """True if numbers alone follow: "3, 4", "(3, 4)", not "12, 3 of them red"."""
    return re.fullmatch(r"(?:[\s,;.)\]}$*_\d/\\-]|and\b|or\b|\\[a-z]+|∞|[a-z](?![a-z])|[{(])*", after) is not None
