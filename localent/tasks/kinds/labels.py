"""Option labels in text: "(B)" and "B" are, the article of "a banana" is not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import zip_longest
from typing import NamedTuple

from localent.records import Choice
from localent.tasks.text import Found, sentence_ends

FILLER = (
    r"(?:[\s*_\"'`:$\\{\[(]|(?:text|textbf|mathrm|mathbf|textrm)(?=\{)|"
    r"(?:option|choice|letter|label|number|answer|the|clearly|probably|definitely|likely|most|correct|one|therefore|thus|"
    r"indeed|simply|actually|obviously|definitively|either|between|both)\b)*"
)
LINK = re.compile(
    r"\s+(?:because|since|as|is|was|are|and|but|for|which|due|would|will|can|does|seems|in|by|from|with|if|so|-)\b|\s+-",
    re.IGNORECASE,
)
WRONG = re.compile(
    r"[)\].,]*\s+(?:which\s+|that\s+)?(?:(?:is|was|are|seems|looks|must be|can be|would be)\s+(?:clearly\s+|also\s+)?"
    r"(?:wrong|incorrect|false|not|out|excluded|eliminated|ruled out)|isn't|cannot|can't|does not|doesn't)\b",
    re.IGNORECASE,
)
NOT_BEFORE = re.compile(
    r"\b(?:not|neither|nor|except|isn't|than|exclude|eliminate|rule out|ruling out)\s+"
    r"(?:(?:the\s+)?(?:option|choice|answer|letter)\s+)?[(\"'*]*$",
    re.IGNORECASE,
)
NEGATED = re.compile(
    r"\b(?:not|neither|nor|isn't|aren't|wasn't|cannot|can't|wrong|incorrect|excluded|eliminated)\b", re.IGNORECASE
)
NAMED_BEFORE = re.compile(r"\b(?:option|choice|answer|letter)\s+[(\"'*]*$", re.IGNORECASE)
LISTED = 3  # options that follow each other are a list; two may be an answer and why the other one is wrong
LATEX_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mathbf|textrm)(?=\{)")


class Item(NamedTuple):
    """An option with its label and text at text[start:end]."""

    start: int
    end: int
    rank: int  # among the problem's options


def stated(text: str, begin: int, end: int, choices: Sequence[Choice]) -> Found | None:
    """The label that the clause text[begin:end] opens with, else the label of the one option whose text it gives."""
    if not choices:
        return None
    text = without_lists(text, tuple(choices))
    plain = LATEX_TEXT.sub(lambda m: " " * len(m[0]), text[:end])
    label = re.compile(rf"{FILLER}(?P<label>{_any(choices)})(?![\w%°]|[.,:]\d)", re.IGNORECASE)
    match = label.match(plain, begin)
    if match and _several(plain, match.end(), choices):
        return Found(None, begin, end, "none")
    if match and _is_label(plain, match.start("label"), match.end(), choices):
        return Found(_spelled(match["label"], choices), match.start("label"), match.end(), "answer statement")
    return by_text(text, begin, _end_of_option(text, begin, end, choices), choices, "answer text")


def last(text: str, begin: int, choices: Sequence[Choice]) -> Found | None:
    """The last free-standing label from `begin` on, else the one option whose text the last sentence gives."""
    if not choices:
        return None
    text = without_lists(text, tuple(choices))
    label = re.compile(rf"(?<![\w'°-])(?:{_any(choices)})(?![\w'%°]|[-.,:]\d)")
    for match in reversed(list(label.finditer(text, begin))):
        if _stands_alone(text, match, choices):
            return Found(match[0], match.start(), match.end(), "last label")
    end = len(text.rstrip())
    ends = [stop for _, stop in sentence_ends(text, begin) if stop < end]
    found = by_text(text, max([begin, text.rfind("\n", begin, end), *ends[-1:]]), end, choices, "option text")
    return None if found and _is_negated(text[found.start : found.end], found.value, choices) else found


@lru_cache(maxsize=8)
def without_lists(text: str, choices: tuple[Choice, ...]) -> str:
    """A text of the same length with blanks where options are listed, as in the question: they state nothing.

    A list is at least three options (or all of them), label and text, in their order and with nothing between; two are
    enough where the text ends within the second.
    """
    items, run = list(_items(text, choices)), list[Item]()
    for item, following in zip_longest(items, items[1:]):
        run.append(item)
        if following is None or following.rank != item.rank + 1 or re.search(r"\w", text[item.end : following.start]):
            if len(run) >= min(LISTED, len(choices)) or (len(run) > 1 and item.end == len(text)):
                start, end = run[0].start, item.end
                text = text[:start] + re.sub(r"[^\n]", " ", text[start:end]) + text[end:]
            run.clear()
    return text


def _items(text: str, choices: tuple[Choice, ...]) -> Iterator[Item]:
    """The options that stand in a text as in the question: "B) iron"."""
    ranks = {c.label: i for i, c in enumerate(choices)}
    for match in re.finditer(rf"(?<![\w(\[*])[(\[*]*+(?P<label>{_any(choices)})[*]*[).:\]][*)]*\s+", text):
        wanted = choices[ranks[match["label"]]].text.strip().rstrip(".").casefold()
        said = text[match.end() : match.end() + len(wanted)].casefold()
        is_cut = match.end() + len(said) == len(text) and wanted.startswith(said)
        if wanted and (said == wanted or is_cut):
            yield Item(match.start(), match.end() + len(said), ranks[match["label"]])


def _is_negated(sentence: str, label: str | None, choices: Sequence[Choice]) -> bool:
    """True if a sentence rules out the option whose text it gives; the option's own words do not count."""
    option = next(c.text for c in choices if c.label == label)
    return NEGATED.search(re.sub(re.escape(option), " ", sentence, flags=re.IGNORECASE)) is not None


def _any(choices: Sequence[Choice]) -> str:
    return "|".join(sorted((re.escape(c.label) for c in choices), key=len, reverse=True))


def _spelled(found: str, choices: Sequence[Choice]) -> str:
    """The data set's spelling of a label found in either case."""
    exact = [c.label for c in choices if c.label == found]
    return (exact or [c.label for c in choices if c.label.casefold() == found.casefold()])[0]


def _several(text: str, end: int, choices: Sequence[Choice]) -> bool:
    """True if "B or C" follows: two labels are no answer."""
    joined = r"[)\]*]*\s*(?:,|/|&|or|and)\s*(?:or\s+|and\s+)?(?:option\s+)?[(\[*]*"
    other = re.compile(rf"{joined}(?:{_any(choices)})(?!\w)").match(text, end)
    return bool(other) and not LINK.match(text, other.end())  # type: ignore[union-attr]


def _is_label(text: str, start: int, end: int, choices: Sequence[Choice]) -> bool:
    """True if a label at the beginning of an answer clause is meant as one, not as an article or a quantity."""
    rest = text[end:]
    bracketed = text[start - 1 : start] in ("(", "[", "{", '"', "'", "*", "`") and start > 0
    if bracketed or re.match(r"[)\]}.:*`\"',;]|\s*$|\s+[(\"-]", rest):
        return True
    found = text[start:end]
    if NAMED_BEFORE.search(text, 0, start) or LINK.match(rest):
        return found in {c.label for c in choices}
    if found.isdigit() or found in ("A", "a", "I"):
        return False
    return found in {c.label for c in choices} and not found.islower()


def _stands_alone(text: str, match: re.Match[str], choices: Sequence[Choice]) -> bool:
    """True if a label anywhere in a text is meant as one and not ruled out ("A is wrong", "not A")."""
    start, end = match.span()
    before, after = text[max(0, start - 24) : start], text[end : end + 40]
    if WRONG.match(after) or NOT_BEFORE.search(before):
        return False
    bracketed = before.endswith("(") and after.startswith(")")
    own_line = not text[text.rfind("\n", 0, start) + 1 : start].strip(" *_#") and not after.split("\n")[0].strip(" *_.")
    if bracketed or own_line or NAMED_BEFORE.search(before):
        return True
    if match[0].isdigit() or match[0].islower():
        return False
    return match[0] not in ("A", "I") or not re.match(r"\s+\w", after) or bool(LINK.match(after) and match[0] == "A")


def _end_of_option(text: str, begin: int, end: int, choices: Sequence[Choice]) -> int:
    """End of the clause: past its first sentence if it opens with an option of several sentences."""
    given = (len(c.text) for c in choices if text[begin : begin + len(c.text)].casefold() == c.text.casefold())
    return max(end, *(begin + n for n in given), begin)


def by_text(text: str, begin: int, end: int, choices: Sequence[Choice], method: str) -> Found | None:
    """The one option whose text text[begin:end] contains; an option within a longer one does not count."""
    plain = _words(text[begin:end])
    found = [c for c in choices if _words(c.text).strip() and _words(c.text) in plain]
    found = [c for c in found if c.text in text[begin:end]] or found  # "Rr" is neither "RR" nor "rr"
    found = [c for c in found if not any(_words(c.text) in _words(o.text) for o in found if o is not c)]
    begin += len(text[begin:end]) - len(text[begin:end].lstrip())
    return Found(found[0].label, begin, end, method) if len(found) == 1 else None


def _words(text: str) -> str:
    """Lower-case words between single spaces, articles left out, padded so that only whole words match."""
    words = re.findall(r"[^\W_]+(?:[.,]\d+)*", text.casefold())
    return f" {' '.join(w for w in words if w not in ('a', 'an', 'the'))} "
