"""Option labels in text: "(B)" and "B" are, the article of "a banana" is not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import zip_longest
from typing import NamedTuple

from localent.records import Choice
from localent.tasks.kinds.kind import ABSENT
from localent.tasks.text import Found, sentence_ends

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
WRONG = re.compile(
    r"[)\].,]*\s+(?:which\s+|that\s+)?(?:(?:is|was|are|seems|looks|must be|can be|would be)\s+(?:clearly\s+|also\s+)?"
    r"(?:wrong|incorrect|false|not|out|excluded|eliminated|ruled out)|isn't|cannot|can't|does not|doesn't)\b",
    re.IGNORECASE,
)
NOT_BEFORE = re.compile(
    r"\b(?:not|neither|nor|except|isn't|than|exclude|eliminates?|excludes|rejects?|disproves?|"
    r"rul(?:e|es|ed|ing) out)\s+"
    r"(?:(?:the\s+)?(?:option|choice|answer|letter)\s+)?[(\"'*]*$",
    re.IGNORECASE,
)
NEGATED = re.compile(
    r"\b(?:not|neither|nor|isn't|aren't|wasn't|cannot|can't|wrong|incorrect|excluded|eliminated)\b", re.IGNORECASE
)
NAMED_BEFORE = re.compile(r"\b(?:option|choice|answer|letter)\s+[(\"'*]*$", re.IGNORECASE)
ASIDE = re.compile(  # labels after these words are talked about, not chosen
    r"\b(?:if|whether|suppose|assume|assuming|consider\w*|check\w*|look(?:ing)?\s+at|compar\w+|between|both|unlike|like|versus|vs|"
    r"options?\s*:|let's|let\s+us|would|could|might|may|examine|evaluate|analy[sz]e|such\s+as|for\s+example|eliminat\w+|"
    r"exclud\w+|ruled?\s+out|ruling\s+out|reject\w*|not|neither|nor)\b[^.\n]*$",
    re.IGNORECASE,
)
CONCLUDES = re.compile(
    r"\b(?:so|thus|hence|therefore|conclu\w+|choos\w+|chose|pick\w*|select\w*|go(?:ing)?\s+with|match(?:es)?|correspond\w*|"
    r"closest|answer|best|correct|right|must|should|it's|it\s+is|that\s+is|this\s+is|is|are)\b|:\s*$",
    re.IGNORECASE,
)
CHOSEN = re.compile(
    r"\b(?:choos\w+|chose|pick\w*|select\w*|go(?:ing)?\s+with|say|so|thus|hence|therefore|answer)\b", re.IGNORECASE
)
UNCHOSEN = re.compile(r"(?:\bnot|n't|\bnever)\s+(?:\w+\s+)?(?:choose|pick|select|go)\b", re.IGNORECASE)
REASON = re.compile(r"[)\]*_\"'.,]*\s+(?:because|since|as|for|due\s+to|given\s+that)\b", re.IGNORECASE)
VERDICT = re.compile(
    r"[)\]*_\"',]*\s+(?:is|must\s+be|has\s+to\s+be)\s+(?:therefore\s+|thus\s+|clearly\s+|indeed\s+|definitely\s+|most\s+likely\s+|"
    r"probably\s+|also\s+|the\s+|only\s+|most\s+|best\s+|single\s+){0,4}(?:right|correct|true|best|answer|one)\b(?!\s+(?:that|which|if))",
    re.IGNORECASE,
)
CLOSED = re.compile(r"[\s*_\"')\]}]*(?:[.!;,:]?[\s*_\"')\]}]*(?:\n|$)|[.!](?=[\s*_\"')\]])|,\s*(?:not|rather)\b)")
OPENED = re.compile(
    r"(?:^|[.\n,:;!?]\s*|\b(?:so|thus|therefore|hence|that|and|think|believe|is|be|it's|choose|pick|select|with|chose)[,:]?\s+)[*_\"']*$",
    re.IGNORECASE,
)
BARE = re.compile(
    r"\b(?:so|thus|hence|therefore|it's|it\s+is|must\s+be|choose|chose|pick|picked|select|selected|go\s+with|going\s+with)[,:]?\s+[*_\"']*$",
    re.IGNORECASE,
)
AMONG = re.compile(
    r"[(\[]?\b[A-Za-z0-9][)\]]?\s*(?:,|/|&|\band\b|\bor\b|,\s*(?:and|or))\s*(?:option\s+)?[(\[]$"
)  # "(A) and (B)"
POINTS = re.compile(  # to a label right after it
    r"(?:\b(?:so|thus|hence|therefore|is|be|it's|answer|option|choice|choose|chose|pick|select|with)[,:]?|:)\s*[*_]*[(\[]$",
    re.IGNORECASE,
)
MATH = re.compile(r"\$\$?|\\[\[\]()]|\n")
MATH_SIGN = re.compile(r"[\\=^_{}<>+*/]")
MENTIONS = 100  # labels that are looked at, from the last: a text with more runs in circles
SENTENCE = 1000  # characters of the last sentence
REACH = 160  # characters before and after a label that are looked at
LISTED = 3  # options that follow each other are a list; two may be an answer and why the other one is wrong
LATEX_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mathbf|textrm)(?=\{)")


class Item(NamedTuple):
    """An option with its label and text at text[start:end]."""

    start: int
    end: int
    rank: int  # among the problem's options


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
    if match and _several(plain, match.end(), choices):
        return Found(None, begin, end, "none")
    told = by_text(text, begin, _end_of_option(text, begin, end, choices), choices, "answer text")
    words_of_option = told is not None and _begins(text, begin, told.value, choices)  # "The answer is B cells"
    if match and not words_of_option and _is_label(plain, match.start("label"), match.end(), choices):
        return Found(_spelled(match["label"], choices), match.start("label"), match.end(), "answer statement")
    if told and not _is_negated(text[begin : min(end, begin + 16)], told.value, choices):
        return told
    absent = ABSENT_LABEL.match(plain, begin) or NOTHING.match(plain, begin)
    return Found(None, begin, end, ABSENT) if absent else None


def named(text: str, begin: int, end: int, choices: Sequence[Choice]) -> Found | None:
    """The option that stands before "is the answer": "Option B", "(B)", its text."""
    if not choices:
        return None
    label = re.compile(rf"(?<![\w'])(?P<label>{_any(choices)})[)\]*_\"'.:]*\s*$").search(
        text[:end], max(begin, end - REACH)
    )
    if (
        label
        and not NOT_BEFORE.search(text[begin : label.start()])
        and _spelled(label["label"], choices) == label["label"]
    ):
        return Found(label["label"], label.start("label"), label.end("label"), "answer statement")
    return by_text(text, begin, end, choices, "answer text")


def last(text: str, begin: int, choices: Sequence[Choice]) -> Found | None:
    """The last label that the text settles on, else the one option whose text its last sentence gives.

    A label counts where it is in brackets, named ("option B") or alone on its line, and chosen, not only talked about:
    "so (B)", "(B) is right", "I choose option B because ...". A letter in math, a unit or a name is none.
    """
    if not choices:
        return None
    text = without_lists(text, tuple(choices))
    found = _settled(text, begin, choices) or _opened(text, begin, choices) or _polar(text, begin, choices)
    return found or _in_last_sentence(text, begin, choices)


def _settled(text: str, begin: int, choices: Sequence[Choice]) -> Found | None:
    label = re.compile(rf"(?<![\w'’°^_-])(?P<label>{_any(choices)}){AFTER_LABEL}", re.IGNORECASE)
    text, lines = without_math(text), text
    for match in reversed(list(label.finditer(text, begin))[-MENTIONS:]):
        if _is_settled(text, lines, _sentence_start(text, begin, match.start()), match, choices):
            return Found(_spelled(match["label"], choices), match.start(), match.end(), "last label")
    return None


def _sentence_start(text: str, begin: int, at: int) -> int:
    """Start of the sentence or line that holds `at`, REACH characters before it at most."""
    begin = max(begin, at - REACH)
    return max([begin, text.rfind("\n", begin, at) + 1, *(stop for _, stop in sentence_ends(text, begin, at))])


def _is_settled(text: str, lines: str, sentence: int, match: re.Match[str], choices: Sequence[Choice]) -> bool:
    """True if a text settles on the label: it is marked as one, and chosen."""
    before, after = text[sentence : match.start()], text[match.end() : match.end() + REACH]
    bracketed = re.search(r"(?:(?<![\w\\)\]])[(\[]|(?<!\w)\*\*)$", before) and re.match(r"[)\]]|\*\*", after)
    is_named = NAMED_BEFORE.search(before) is not None
    exact = match["label"] in {c.label for c in choices}
    if WRONG.match(after) or NOT_BEFORE.search(before) or UNCHOSEN.search(before):
        return False
    if _is_alone(lines, match, bool(bracketed)):
        return True
    if not (exact or bracketed):
        return False
    aside = ASIDE.search(before) and not CHOSEN.search(before)
    if aside or _several(text, match.end(), choices) or AMONG.search(before):
        return False
    if not exact and not POINTS.search(before):
        return False
    if not (bracketed or is_named):
        return (
            OPENED.search(before) is not None
            and not match["label"].isdigit()
            and _is_bare(match["label"], before, after)
        )
    rest = _without_option(after, match["label"], choices)
    closed = CLOSED.match(rest) and CONCLUDES.search(before)
    return bool(VERDICT.match(after) or closed or (REASON.match(after) and CHOSEN.search(before)))


def _is_bare(label: str, before: str, after: str) -> bool:
    """True if a label without brackets or name is chosen: "B is correct", "so B."."""
    return bool(
        VERDICT.match(after) or (BARE.search(before) and CLOSED.match(after) and (label != "I" or after.strip()))
    )


def _is_alone(text: str, match: re.Match[str], bracketed: bool) -> bool:
    """True if a label is all of its line, and the line is the first or the last, or the label is in brackets."""
    line_begin = text.rfind("\n", max(0, match.start() - REACH), match.start()) + 1
    line_end = text.find("\n", match.end(), match.end() + REACH)
    line_end = min(len(text), match.end() + REACH) if line_end < 0 else line_end
    if text[line_begin : match.start()].strip(" \t*_#>([\"'") or text[match.end() : line_end].strip(" \t*_.)]\"':"):
        return False
    above = text[max(0, line_begin - REACH) : line_begin].rstrip().rpartition("\n")[2]
    if re.match(r"\s*[(\[]?\w[).\]:](?:\s|$)", above):  # one more of a list that is cut off
        return False
    outer = not text[line_end : line_end + REACH].strip() or not text[max(0, line_begin - REACH) : line_begin].strip()
    lower = match["label"].islower() and not bracketed
    return outer if not lower else text.strip(" \t\n*_.)\"'") == match["label"]


def _opened(text: str, begin: int, choices: Sequence[Choice]) -> Found | None:
    """The label that the text opens with, its option or a reason after it: "B. longer years", "(B) because"."""
    match = re.compile(rf"[\s*_(\[\"']*(?P<label>{_any(choices)}){AFTER_LABEL}[)\]*_\"'.:,]*").match(text, begin)
    if not match:
        return None
    after = text[match.end() : match.end() + REACH]
    if REASON.match(after) or (after.strip() and _without_option(after, match["label"], choices) != after):
        return Found(match["label"], match.start("label"), match.end("label"), "last label")
    return None


def _polar(text: str, begin: int, choices: Sequence[Choice]) -> Found | None:
    """Yes or no, true or false, where these are options: the last one that a sentence comes to, else the first word."""
    words = {c.text.strip().rstrip(".").casefold(): c.label for c in choices}
    if not words or not set(words) <= set(POLAR):
        return None
    word = f"(?P<word>{'|'.join(words)})\\b(?=[*_\"')]*(?:[.,!;:\\n]|\\s*$|\\s+-|\\s+(?:because|since|as)\\b))"
    come_to = (
        rf"\b(?:so|thus|therefore|hence|answer|is|it's|say|conclude|be)[,:]?\s+(?:the\s+answer\s+is\s+)?[*_\"'(]*{word}"
    )
    found = [*re.finditer(come_to, text[begin:], re.IGNORECASE)][-1:] or [
        m for m in [re.match(rf"[\s*_\"'(]*{word}", text[begin:], re.IGNORECASE)] if m
    ]
    if not found:
        return None
    return Found(
        words[found[0]["word"].casefold()], begin + found[0].start("word"), begin + found[0].end("word"), "option text"
    )


def _in_last_sentence(text: str, begin: int, choices: Sequence[Choice]) -> Found | None:
    """The option whose text the last sentence comes to; a sentence that is cut off comes to nothing."""
    end = len(text.rstrip())
    begin = max(begin, end - SENTENCE)
    ends = [stop for _, stop in sentence_ends(text, begin) if stop < end]
    start = max([begin, text.rfind("\n", begin, end), *ends[-1:]])
    sentence = text[start:end]
    found = by_text(text, start, end, choices, "option text")
    if not found or _is_negated(sentence, found.value, choices):
        return None
    whole = _words(sentence) == _words(next(c.text for c in choices if c.label == found.value))
    complete = re.search(r"[.!][\"'”’)\]*_]*$", sentence) and CONCLUDES.search(sentence)
    return found if whole or complete else None


def _without_option(after: str, label: str, choices: Sequence[Choice]) -> str:
    """The text after a label, without the option's own text."""
    option = next((c.text for c in choices if c.label.casefold() == label.casefold()), "").strip().rstrip(".")
    said = re.match(r"[)\]*_\"'.:,]*\s*", after)
    at = said.end() if said else 0
    is_said = option and after[at : at + len(option)].casefold() == option[: len(after) - at].casefold()
    return after[at + len(option) :] if is_said else after


def without_math(text: str) -> str:
    """A text of the same length with blanks where formulas stand: a letter in them is no label."""
    parts, opening, at = [], None, 0
    for mark in MATH.finditer(text):
        sign = mark[0]
        if opening is None:
            opening = mark if sign in ("$", "$$", "\\(", "\\[") else None
        elif sign == "\n":
            is_line = opening[0] in ("$", "\\(")
            if is_line and opening[0] == "$" and not re.search(r"\\|=|\^", text[opening.end() : mark.start()]):
                opening = None  # an amount of money
            elif is_line:
                parts += [text[at : opening.start()], " " * (mark.start() - opening.start())]
                at, opening = mark.start(), None
        elif sign == {"$": "$", "$$": "$$", "\\(": "\\)", "\\[": "\\]"}[opening[0]]:
            inner = text[opening.end() : mark.start()]
            if MATH_SIGN.search(inner) or " " not in inner.strip():
                parts += [text[at : opening.start()], re.sub(r"[^\n]", " ", text[opening.start() : mark.end()])]
                at, opening = mark.end(), None
            else:
                opening = mark if sign == "$" else None
    if opening is not None and re.search(r"\\|=|\^", text[opening.end() :]):
        parts += [text[at : opening.start()], re.sub(r"[^\n]", " ", text[opening.start() :])]
        at = len(text)
    return "".join([*parts, text[at:]])


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


@lru_cache(maxsize=64)
def _opening_pattern(labels: str) -> re.Pattern[str]:
    return re.compile(rf"{FILLER}(?P<label>{labels}){AFTER_LABEL}", re.IGNORECASE)


def _opening_label(choices: Sequence[Choice]) -> re.Pattern[str]:
    return _opening_pattern(_any(choices))


def _begins(text: str, begin: int, label: str | None, choices: Sequence[Choice]) -> bool:
    """True if text[begin:] begins with the option's own words, which begin with a label."""
    option = next(c.text for c in choices if c.label == label).strip()
    said = text[begin : begin + len(option)]
    return " " in option and said.casefold() == option.casefold()


def _several(text: str, end: int, choices: Sequence[Choice]) -> bool:
    """True if "B or C" follows: two labels are no answer."""
    joined = r"[)\]*]*\s*(?:,|/|&|or|and)\s*(?:or\s+|and\s+)?(?:option\s+)?[(\[*]*"
    labels, shown = _any(choices), text[max(0, end - 1) : end]
    cased = labels if not shown.islower() else labels.casefold()  # "(a) and (b)"
    other = re.compile(rf"{joined}(?:{cased})(?!\w)").match(text, end)
    return bool(other) and not LINK.match(text, other.end())  # type: ignore[union-attr]


def _is_label(text: str, start: int, end: int, choices: Sequence[Choice]) -> bool:
    """True if a label at the beginning of an answer clause is meant as one, not as an article or a quantity."""
    rest = text[end:]
    bracketed = text[start - 1 : start] in ("(", "[", "{", '"', "'", "*", "`") and start > 0
    if bracketed or re.match(r"[)\]}.:*`\"',;$]|\\\)|\s*$|\s+[(\"-]", rest):
        return True
    found = text[start:end]
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
    plain = _words(said)
    found = [
        c for c in choices if _words(c.text).strip() and _words(c.text) in plain and _is_given(c.text, said, plain)
    ]
    found = [c for c in found if c.text in said] or found  # "Rr" is neither "RR" nor "rr"
    found = [c for c in found if not any(_words(c.text) in _words(o.text) for o in found if o is not c)]
    begin += len(said) - len(said.lstrip())
    return Found(found[0].label, begin, end, method) if len(found) == 1 else None


def _is_given(option: str, said: str, plain: str) -> bool:
    words = _words(option)
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
def _words(text: str) -> str:
    """Lower-case words between single spaces, articles left out, padded so that only whole words match."""
    words = re.findall(r"[^\W_]+(?:[.,]\d+)*", text.casefold())
    return f" {' '.join(w for w in words if w not in ('a', 'an', 'the'))} "
