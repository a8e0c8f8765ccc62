"""Reading what stands beside a number: in "9\\pi", "\\sqrt{13}", "5!", "3x + 1", "x > 5" the digits are not the value.

Units are no part of a value: "9 cm^2", "90^\\circ", "5\\text{ cm}", "5m" and "5 a day" are 9, 90, 5, 5 and 5.
"""

from __future__ import annotations

import re

REACH = 40  # characters before a number that are looked at
UNIT_LETTERS = "mghslLKCFWVJNAMB"  # one such letter may follow a number without a blank and leaves it as it is
_SPACE = r"(?:\s|~|\\[,;:!\ ]|\\q?quad\b|[{}])*+"
PLAIN = (  # LaTeX commands that change no value
    r"(?:text\w*|math(?:rm|bf|it|sf)|mbox|hbox|rm|bf|q?quad|circ|degree|right|left|end|[bB]igg?r?|approx|implies|"
    r"[rR]ightarrow|to|therefore|because|label|tag|boxed|(?:black)?square|qed|par|displaystyle|euro|pounds|percent|"
    r"l?dots|cdots|(?:times|cdot|div)(?=\s*\$?\d))(?![a-zA-Z])"
)
AFTER = re.compile(
    rf"""
      \s?\^(?!\s*\{{?\s*\\circ) | [⁰¹²³⁴⁵⁶⁷⁸⁹ⁿ] | _\s?\{{?\s?\d              # powers, and the base of a numeral
    | !(?=\s?[-+*/^=)\]}}$\\\d])                                             # a factorial
    | _\s?\{{?\s?\\text | \*\*(?=\d) | \.?\d*[\u0305\u0307] | \.\(\d    # a base, 5**2, 0.(3)
    | \s*plus\s+or\s+minus\b
    | \.?{_SPACE}\\(?!{PLAIN})[a-zA-Z]                                      # \pi, \sqrt, \le, \overline ...
    | {_SPACE}(?:[π√∞±≤≥≠]|\+/-|sqrt\b|pi\b|[<>](?=[\s\d=\\])(?!>)|\(?\s?mod\b)
    | \s?[-+*/]\s?(?:\\(?!{PLAIN})[a-zA-Z]|[b-hj-z](?![a-zA-Z'.])|[√π])     # 5 + x
    | \s?\+\s?[A-Za-z(]
    | \s?[xyznXYZ](?![\w'’]|\s*\d)                                              # a variable, not "2 x 3"
    | (?![{UNIT_LETTERS}])[a-zA-Z](?![a-zA-Z'\d]) | [abcxyzpqnkr]{{2,3}}(?![a-zA-Z])
    | (?-i:[CP])(?=\d) | (?<=\b0)[bo]\d | [a-zA-Z](?=\^|_\{{?\d)
    | \((?=\s?-?\s?(?:(?:\d+|[a-z])\s?[-+*/^]|\\[a-z]))                      # 3(x + 1)
    | \s:\s?\d
    """,
    re.VERBOSE,
)
BEFORE = re.compile(
    r"""
    (?: [√π∞±] | \+/-? | \bplus\s+or | \}\s?\{ | \}\s?/ | \^\s?\{? | _\s?\{
      | \\(?:sqrt(?:\[\w+\])?|log(?:_\{?\w+\}?)?|ln|lg|(?:arc)?(?:sin|cos|tan)|sec|csc|cot|exp|[dt]?binom|lfloor|lceil
            |overline|bar|pi|infty|[dtc]?frac|pm|mp|theta|alpha|beta|phi|lambda|sigma|omega|mu|cup|cap|setminus|equiv
            |leq?|geq?|neq?|lt|gt|in|sum|prod|int|p?mod|bmod|gcd|operatorname\{\w+\})
      | \b(?:sqrt|ln|sin|cos|tan) | \blog(?:_\{?\w+\}?|\d+)\s?(?=\() | \b(?:log|exp|floor|ceil|gcd|lcm|abs|mod)\s?(?=\()
      | (?<=[\w)\]|}])(?:\s+[<>]=?|[<>]=|\s*[≤≥≠]) | (?<![\w<\/])[a-zA-Z][<>]
      | (?:(?<![A-Za-z'’\\])[a-zA-Z]|[)\]}])(?:\s?\^\s?\{?\d+\}?)?\s?[-+*/^·×] | (?<![A-Za-z])[a-zA-Z]\(
      | [(\[]\s?[-+]?\s?(?:\\infty|∞|[a-z](?![a-z]))\s?,(?:\\[,;:!\ ])?
    )
    \s*[{(\[|]?\s*[-+]?\s*$
    """,
    re.VERBOSE,
)
MINUEND = re.compile(r"(?:(?<![A-Za-z'’\\])[b-hj-zB-HJ-Z]|[)}])\s*$")  # what a minus before a number takes it from
TUPLE = re.compile(
    r"\s?[,;]\s?(?:\\(?:[,;:!\ ]|q?quad|text\{\s?(?:and|or))\s?)*[-+]?(?:\\?\$)?(?:\d|\\[a-z]|∞|[a-z](?![a-z]))"
)


UNFINISHED = re.compile(r"\d\s?%?\s?(?:[-+*/×÷·]|x\s|\\times|\\cdot|\\div)\s?(?:\\?[$€£])?$")


def is_operand(text: str, match: re.Match[str]) -> bool:
    """True if a number is the last of a calculation whose result does not follow: "so 4 + 12"."""
    return UNFINISHED.search(text[max(0, match.start() - 8) : match.start()]) is not None


def stands_alone(text: str, match: re.Match[str]) -> bool:
    """True if nothing beside a number makes it another value."""
    start, end = match.span()
    before = text[max(0, start - REACH) : start]
    if BEFORE.search(before) or (match["sign"] and MINUEND.search(before)):
        return False
    return bool(match["k"] or match["scale"] or match["short"]) or AFTER.match(text, end) is None


def begins_tuple(text: str, match: re.Match[str], end: int) -> bool:
    """True if a number is followed by another: "(3, 4)", "3, 4"."""
    return TUPLE.match(text, match.end(), end) is not None
