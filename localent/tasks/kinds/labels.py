"""Option labels in text: "(B)" and "B" are, the article of "a banana" is not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from localent.records import Choice
from localent.tasks.kinds.blanks import without_lists
from localent.tasks.kinds.kind import ABSENT
from localent.tasks.text import Found

FILLER = (
    r"(?:[\s*_\"'`:$\\{\[(]|(?:text|textbf|mathrm|mathbf|textrm)(?=\{)|"
    r"(?:option|choice|letter|label|number|answer|the|clearly|probably|definitely|likely|most|correct|one|therefore|thus|"
    r"indeed|simply|actually|obviously|definitively|either|between|both|to\s+be|be|best|final|right|is|that|again|only)\b)*"
)
# No label: "B-cells", "C.E.", "A's", "B = 5".
AFTER_LABEL = r"(?![\w%°^_]|['’]s\b|[.,:]\d|\.[A-Z](?![a-z])|-\w|\s?[=+*/]\s?[\w\\]|\s[<>]\s)"
ABSENT_LABEL = re.compile(
    rf"{FILLER}(?:(?<=[(\[{{*\"'])(?:[A-Z]{{1,4}}|\d{{1,2}})(?=\s?[)\]}}*\"'])|[B-HJ-Z](?=[.,)]?\s*$))", re.IGNORECASE
)
NOTHING = re.compile(
    r"\W*(?:none|neither|nothing|all|both|any)\s+of\s+(?:the|these|those|them)\b|\W*(?:none|neither|n/a)\W*$|_{3,}",
    re.IGNORECASE,
)
POLAR = ("yes", "no", "true", "false")
LINK = re.compile(
    r"\s+(?:because|since|as|is|was|are|and|but|for|which|due|would|will|can|does|seems|in|by|from|with|if|so|-)\b|\s+-",
    re.IGNORECASE,
)
NOT_BEFORE = re.compile(
    r"\b(?:not|neither|nor|except|isn't|than|exclude|eliminates?|excludes|rejects?|disproves?|"
    r"rul(?:e|es|ed|ing) out)\s+"
    r"(?:(?:the\s+)?(?:option|choice|answer|letter)\s+)?[(\"'*]*$",
    re.IGNORECASE,
)
DOUBT = re.compile(  # what follows is not meant
    r"\b(?:doubt\w*|unlikely|opposite|disagree\w*|tempt\w+|mistake|no\s+reason|(?:don't|do\s+not|doesn't|never|not)\s+"
    r"(?:think|believe|say|agree)|(?:wrong|incorrect)\s+(?:answer|option|choice|one|statement))\b[^.,;:\n]*$",
    re.IGNORECASE,
)
AFTERTHOUGHT = re.compile(
    r",?\s+(?:because|since|as|for|given\s+that|due\s+to|rather\s+than|instead\s+of)\b|,\s*(?:and\s+)?not\b",
    re.IGNORECASE,
)
NEGATED = re.compile(
    r"\b(?:not|neither|nor|isn't|aren't|wasn't|cannot|can't|wrong|incorrect|excluded|eliminated)\b", re.IGNORECASE
)
NAMED_BEFORE = re.compile(r"\b(?:option|choice|answer|letter)\s+[(\"'*]*$", re.IGNORECASE)
REACH = 160  # characters before and after a label that are looked at
LATEX_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mathbf|textrm)(?=\{)")


def stated(text: str, begin: int, end: int, choices: Sequence[Choice]) -> Found | None:
    """The label that the clause text[begin:end] opens with, else the label of the one option whose text it gives.

    A label that the problem does not have, two that run together, and "none of these" are a definite answer, but none
    of the options.
    """
    if not choices:
        return None
    text = without_lists(text, tuple(choices))
    plain = LATEX_TEXT.sub(lambda m: " " * len(m[0]), text[:end])
    match = _opening_label(choices).match(plain, begin)
    if match and several(plain, match.end(), choices):
        return Found(None, begin, end, "none")
    given = told(text, begin, _end_of_option(text, begin, end, choices), choices, "answer text")
    words_of_option = given is not None and _begins(text, begin, given.value, choices)  # "The answer is B cells"
    if match and not words_of_option and _is_label(plain, match.start("label"), match.end(), choices):
        return Found(spelled(match["label"], choices), match.start("label"), match.end(), "answer statement")
    if given and not is_negated(text[begin : begin + min(16, up_to_reason(text[begin:end]))], given.value, choices):
        return given
    absent = ABSENT_LABEL.match(plain, begin) or NOTHING.match(plain, begin)
    return Found(None, begin, end, ABSENT) if absent else None


def told(text: str, begin: int, end: int, choices: Sequence[Choice], method: str) -> Found | None:
    """The one option whose text a clause gives, else the one that it gives before a reason or "not iron"."""
    whole = by_text(text, begin, end, choices, method)
    return whole or by_text(text, begin, begin + up_to_reason(text[begin:end]), choices, method)


def up_to_reason(clause: str) -> int:
    """Characters of a clause before a reason, or before what it rules out: "copper, not iron"."""
    more = AFTERTHOUGHT.search(clause)
    return more.start() if more else len(clause)


def named(text: str, begin: int, end: int, choices: Sequence[Choice]) -> Found | None:
    """The option that stands before "is the answer": "Option B", "(B)", its text."""
    if not choices:
        return None
    label = re.compile(rf"(?<![\w'])(?P<label>{any_label(choices)})[)\]*_\"'.:]*\s*$").search(
        text[:end], max(begin, end - REACH)
    )
    if (
        label
        and not NOT_BEFORE.search(text[begin : label.start()])
        and not DOUBT.search(text[begin : label.start()])
        and spelled(label["label"], choices) == label["label"]
    ):
        return Found(label["label"], label.start("label"), label.end("label"), "answer statement")
    return by_text(text, begin, end, choices, "answer text")


def is_negated(sentence: str, label: str | None, choices: Sequence[Choice]) -> bool:
    """True if a sentence rules out the option whose text it gives; the option's own words do not count."""
    option = next(c.text for c in choices if c.label == label)
    return NEGATED.search(re.sub(re.escape(option), " ", sentence, flags=re.IGNORECASE)) is not None


def any_label(choices: Sequence[Choice]) -> str:
    return "|".join(sorted((re.escape(c.label) for c in choices), key=len, reverse=True))


def spelled(found: str, choices: Sequence[Choice]) -> str:
    """The data set's spelling of a label found in either case."""
    exact = [c.label for c in choices if c.label == found]
    return (exact or [c.label for c in choices if c.label.casefold() == found.casefold()])[0]


@lru_cache(maxsize=64)
def _opening_pattern(labels: str) -> re.Pattern[str]:
    return re.compile(rf"{FILLER}(?P<label>{labels}){AFTER_LABEL}", re.IGNORECASE)


def _opening_label(choices: Sequence[Choice]) -> re.Pattern[str]:
    return _opening_pattern(any_label(choices))


def _begins(text: str, begin: int, label: str | None, choices: Sequence[Choice]) -> bool:
    """True if text[begin:] begins with the option's own words, which begin with a label."""
    option = next(c.text for c in choices if c.label == label).strip()
    said = text[begin : begin + len(option)]
    return " " in option and said.casefold() == option.casefold()


def several(text: str, end: int, choices: Sequence[Choice]) -> bool:
    """True if "B or C" follows: two labels are no answer."""
    joined = r"[)\]*{}\s]*(?:,|/|&|or|and)[\s{}]*(?:or\s+|and\s+)?(?:option\s+)?[(\[*]*"
    labels, shown = any_label(choices), text[max(0, end - 1) : end]
    cased = labels if not shown.islower() else labels.casefold()  # "(a) and (b)"
    other = re.compile(rf"{joined}(?:{cased})(?!\w)").match(text, end)
    return bool(other) and not LINK.match(text, other.end())  # type: ignore[union-attr]


def _is_label(text: str, start: int, end: int, choices: Sequence[Choice]) -> bool:
    """True if a label at the beginning of an answer clause is meant as one, not as an article or a quantity."""
    rest = text[end:]
    found = text[start:end]
    bracketed = text[start - 1 : start] in ("(", "[", "{", '"', "'", "*", "`") and start > 0
    if found == "a" and re.search(r"\b(?:is|be)\s+$", text[:start]) and not rest.strip():
        return False  # cut off before its noun
    if bracketed or re.match(r"[)\]}.:*`\"',;$]|\\\)|\s*$|\s+[(\"-]", rest):
        return True
    if NAMED_BEFORE.search(text, 0, start) or LINK.match(rest):
        return found in {c.label for c in choices}
    if found.isdigit() or found in ("A", "a", "I"):
        return False
    return found in {c.label for c in choices} and not found.islower()


def _end_of_option(text: str, begin: int, end: int, choices: Sequence[Choice]) -> int:
    """End of the clause: past its first sentence if it opens with an option of several sentences."""
    given = (len(c.text) for c in choices if text[begin : begin + len(c.text)].casefold() == c.text.casefold())
    return max(end, *(begin + n for n in given), begin)


def by_text(text: str, begin: int, end: int, choices: Sequence[Choice], method: str) -> Found | None:
    """The one option whose text text[begin:end] gives; an option within a longer one does not count.

    Options that are numbers, and yes and no, have to open or end it: they stand in other sentences as well.
    """
    said = text[begin:end]
    plain = words_of(said)
    found = [
        c for c in choices if words_of(c.text).strip() and words_of(c.text) in plain and _is_given(c.text, said, plain)
    ]
    found = [c for c in found if c.text in said] or found  # "Rr" is neither "RR" nor "rr"
    found = [c for c in found if not any(words_of(c.text) in words_of(o.text) for o in found if o is not c)]
    begin += len(said) - len(said.lstrip())
    return Found(found[0].label, begin, end, method) if len(found) == 1 else None


def _is_given(option: str, said: str, plain: str) -> bool:
    words = words_of(option)
    if words.strip() in POLAR:
        return (
            plain.startswith(words)
            and re.match(rf"\W*{words.strip()}\W*(?:$|[.,;:!\n]|\s(?:because|since|as)\b)", said, re.IGNORECASE)
            is not None
        )
    if re.search(r"[^\W\d_]{2}", option):
        return True
    number = re.escape(option.strip().rstrip("."))
    alone = re.search(rf"(?<![\w.,+*/^-])(?<![-+*/^×·]\s){number}(?!\w|[.,]\d|\s?[-+*/^=×·]\s?[\w(\\])", said)
    n_numbers = len(re.findall(r"\d+(?:[.,]\d+)*", said))
    return alone is not None and (plain.startswith(words) or plain.endswith(words) or n_numbers == 1)


@lru_cache(maxsize=256)
def words_of(text: str) -> str:
    """Lower-case words between single spaces, articles left out, padded so that only whole words match."""
    words = re.findall(r"[^\W_]+(?:[.,]\d+)*", text.casefold())
    return f" {' '.join(w for w in words if w not in ('a', 'an', 'the'))} "
