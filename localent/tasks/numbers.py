"""Numbers in text: their spellings, and the normal form in which equal numbers are equal strings.

Exact rational arithmetic; currency signs, units and "%" carry no value ("50%" is 50). English notation: "," groups
and "." is the decimal point, so "1.000,50" and "12,5" are no numbers rather than guesses.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterator
from fractions import Fraction

from localent.tasks.beside import PLAIN, begins_tuple, stands_alone
from localent.tasks.text import fold

LONGEST = 400  # digits, and powers of ten: beyond it text is a runaway model, not a number
LONG, CLOSE = 6, Fraction(1, 10**6)  # decimals that may have been cut off, and how far apart they may then be
SHORT = {"k": 3, "m": 6, "mn": 6, "b": 9, "bn": 9}  # after a currency
SCALES = {"k": 3, "hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
VULGAR = "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"

OPENERS = re.compile(
    r"\b(?:the|final|answer|total|is|are|of|equals|about|around|approximately|approx|roughly|exactly|only|just|nearly|"
    r"almost|minus|negative)\b",
    re.IGNORECASE,
)
PLAIN_COMMAND = rf"\\{PLAIN}|\\[,;:!\ ]"
OPERATION = re.compile(
    r"\\[a-zA-Z]|\w\s?\+|\+\s?\w|[<>]|=\s*\S|[\w)\]}]\s*\^\s*\{?\s*[a-zA-Z(\\]|\w\s*-\s*$|\^.*-\s*$|[a-zA-Z]\("
)

_PATTERN = r"""
  (?=[-+.\\$€£¥₹\s]{{0,12}}+(?:[\d{vulgar}]|[dtc]?frac|[UACREG])|\b[NMUACREG])  # so all begin: skips other text quickly
  (?:
  (?:\d{{4}}-\d\d?-\d\d?|\d+/\d+/\d+|\d+\.\d+\.\d[\d.]*|\d+:\d+(?::\d+)*   # dates, versions, clock times, ratios
    |\d*+\ ?[{vulgar}]{{2,}}+)
| (?:(?<![A-Za-z^])|(?<=boxed)|(?<=\\displaystyle)|(?<=\\textstyle))
  (?<![A-Za-z0-9)\]}}]_)(?<!_\{{)(?<!\^\{{)(?<!\d)(?<!\d[.,])
  (?P<sign>(?<![\w)\]}}%])[-+]|{sign})?
  (?P<money>(?:\b(?:US|A|C))?\\?[$€£¥₹]\s?|\b(?:Rs\.?|USD|EUR|GBP)\s?|(?<=[$€£¥₹]))?
  (?P<inner>-)?
  (?P<number>
      (?P<mixed>\d++)?(?:\ |~|\\[,;!\ ])?\\[dtc]?frac\s?
        (?:\{{\s?(?P<top>-?\d[\d,]*+(?:\.\d++)?)\s?\}}|(?P<top1>\d))\s?
        (?:\{{\s?(?P<bottom>-?\d[\d,]*+(?:\.\d++)?)\s?\}}|(?P<bottom1>\d))
    | (?P<vulgar>\d*+\ ?[{vulgar}])
    | (?P<whole>\d++)\ (?P<part>\d++)/(?P<of>\d++)(?![/\d]|\.\d)
    | 10\^\s?\{{?\s?(?P<tens>-?\d++)\s?\}}?
    | (?P<value>(?>\d{{1,3}}(?:{group}\d{{3}})++(?!\d)|\d\d?(?:,\d\d)+,\d{{3}}(?!\d)|\d++)(?:\.\d++)?
               |(?<![\w.])\.\d++)
      (?:[eE](?P<e>[-+]?\d++)(?!\w)
        |\s?(?:[x\u00d7*·]|\\times|\\cdot)\s?10(?:\^\s?\{{?\s?(?P<power>-?\d++)\s?\}}?|(?P<raised>[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]++)))?
      (?:/(?P<under>\d++)(?![/\d]|\.\d))?
  )
  (?!\d|[.,]\d)
  (?:(?P<k>(?-i:k))(?!\w)|(?(money)\s?(?P<short>(?-i:[KMB]|[bm]n))(?![\w$])|(?!))
    |\s?(?P<scale>hundred|thousand|million|billion|trillion)\b)?
  (?P<ordinal>(?:st|nd|rd|th)\b)?
| \d+(?:[.,]\d+)+
| \d{{401,}}+   # longer than LONGEST: passed over at once, or its every digit would be tried
  )
"""
_GROUP = r"(?:,\\!|,|，|\{{,\}}|\\text\{{,\}}|\\[,;:!]|['~\u00a0{space}])"
NARROW = re.compile(
    _PATTERN.format(sign=r"\bnegative\s+", group=_GROUP.format(space=""), vulgar=VULGAR), re.VERBOSE | re.IGNORECASE
)
WIDE = re.compile(  # where one number is expected: a spaced minus and "10 000" can be nothing else
    _PATTERN.format(
        sign=r"\b(?:negative|minus)\s+|(?<![\w)\]}%\n])-[ ]+", group=_GROUP.format(space=r"\ "), vulgar=VULGAR
    ),
    re.VERBOSE | re.IGNORECASE,
)


def normalise_number(text: str) -> str | None:
    """The one number in `text`, so that equal numbers are equal strings; None where there is none or several.

    Whole numbers and finite decimals in digits ("1,000", "$1000.0" -> "1000"; "1/2" -> "0.5"), others in lowest
    terms ("2/6" -> "1/3").
    """
    if text.isascii() and text.isdigit() and len(text) <= LONGEST:
        return str(int(text))
    folded = fold(text)
    found = list(WIDE.finditer(folded))
    if len(found) != 1 or not stands_alone(folded, found[0]) or begins_tuple(folded, found[0], len(folded)):
        return None
    start, end = found[0].span()
    return normal(found[0]) if _is_whole(folded[:start], found[0][0], folded[end:]) else None


def _is_whole(before: str, number: str, after: str) -> bool:
    """True if the text around a number is no more than its name, its sign of equality, its unit: not "June 20"."""
    named = re.sub(PLAIN_COMMAND, " ", before).rstrip()
    words = OPENERS.sub(" ", named)
    is_named = named.endswith((":", "=", "####")) or not re.search(r"[A-Za-z]{2}", words)
    is_pair = "," in number and re.search(r"[(\[]\s*$", before) and re.match(r"\s*[)\]]", after)
    rest = re.sub(PLAIN_COMMAND, " ", after)
    return is_named and not is_pair and not OPERATION.search(words) and not OPERATION.search(rest)


def agree(value: str, gold: str) -> bool:
    """True if two normalised numbers are equal, or one of them is only written out so far and the other fits it.

    A decimal of six places or more, or a fraction that never ends, agrees within a relative 1e-6 (64.91999999999999 and
    64.92), and with its own rounding to two places or more and two significant digits (2/3 and 0.67, not 0.7 or 1).
    All other numbers agree only if they are equal: 64.92 and 64.9 do not.
    """
    if value == gold:
        return True
    if not (_is_long(value) or _is_long(gold)):
        return False
    a, b = Fraction(value), Fraction(gold)
    close = abs(a - b) <= CLOSE * abs(b)
    return close or _rounds_to(gold, value) or _rounds_to(value, gold)


def _rounds_to(long: str, short: str) -> bool:
    places = len(short.partition(".")[2])
    rounded = places >= 2 and not _is_long(short) and len(short.lstrip("-0.").replace(".", "")) >= 2
    return rounded and _is_long(long) and abs(Fraction(long) - Fraction(short)) * 2 <= Fraction(10) ** -places


def _is_long(value: str) -> bool:
    return "/" in value or len(value.partition(".")[2]) >= LONG


def find_numbers(folded: str, start: int = 0, end: int = sys.maxsize, wide: bool = False) -> Iterator[re.Match[str]]:
    """Candidates for numbers in folded text, in order; dates, clock times and broken groupings are passed over.

    `normal` tells the value; none of those that divide by zero or are too long.
    """
    pattern = WIDE if wide else NARROW
    return (m for m in pattern.finditer(folded, start, end) if m["number"] is not None)


def normal(match: re.Match[str]) -> str | None:
    """The normalised value of one match; None for anything else (a date, 1/0, more than 400 digits)."""
    if match["number"] is None or len(match["number"]) > LONGEST:
        return None
    value, power = _magnitude(match), _power(match)
    if value is None or abs(power) > LONGEST:
        return None
    negative = (match["sign"] or "").strip() not in ("", "+") or match["inner"] is not None
    return spell((-value if negative else value) * Fraction(10) ** power)


def _magnitude(match: re.Match[str]) -> Fraction | None:
    """The value without sign and power of ten; None where it divides by zero."""
    if match["vulgar"]:
        digits, sign = match["vulgar"][:-1].strip(), match["vulgar"][-1]
        return int(digits or 0) + Fraction(unicodedata.numeric(sign)).limit_denominator(10)
    if match["tens"]:
        return Fraction(1)
    whole = match["mixed"] or match["whole"] or "0"
    top = match["top"] or match["top1"] or match["part"] or re.sub(r"[^\d.]", "", match["value"] or "")
    bottom = match["bottom"] or match["bottom1"] or match["of"] or match["under"] or "1"
    above, below = (Fraction(part.replace(",", "")) for part in (top, bottom))
    return int(whole) + above / below if below else None


def _power(match: re.Match[str]) -> int:
    raised = (match["raised"] or "").translate(SUPERSCRIPTS)
    scale = (match["k"] or match["scale"] or "").lower()
    short = SHORT.get((match["short"] or "").lower(), 0)
    return int(match["e"] or match["power"] or match["tens"] or raised or 0) + SCALES.get(scale, 0) + short


def spell(value: Fraction) -> str:
    """ "18", "0.5" or "1/3": digits where they end, else lowest terms."""
    places = _decimal_places(value.denominator)
    if places is None:
        return str(value)
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    sign = "-" if value < 0 else ""
    return sign + (f"{digits[:-places]}.{digits[-places:]}" if places else digits)


def _decimal_places(denominator: int) -> int | None:
    """Number of decimals of 1/denominator; None where they never end."""
    count = {2: 0, 5: 0}
    for prime in count:
        while denominator % prime == 0:
            denominator //= prime
            count[prime] += 1
    return max(count.values()) if denominator == 1 else None
