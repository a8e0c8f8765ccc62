"""The option that a text without an answer statement settles on: "so (B)", "(B) is right", "it must be copper".

A label counts where it is in brackets, named ("option B") or alone on its line, and chosen, not only talked about. A
letter in math, a unit or a name is none; neither is a label that others choose, or that the text doubts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from localent.records import Choice
from localent.tasks.kinds.blanks import without_lists, without_math
from localent.tasks.kinds.labels import (
    AFTER_LABEL,
    DOUBT,
    NAMED_BEFORE,
    NOT_BEFORE,
    POLAR,
    REACH,
    any_label,
    is_negated,
    several,
    spelled,
    told,
    up_to_reason,
    words_of,
)
from localent.tasks.text import Found, sentence_ends

_ADVERBS = (
    r"(?:(?:therefore|thus|clearly|indeed|definitely|most\s+likely|probably|also|the|only|most|best|single|obviously|"
    r"still|certainly)\s+){0,4}"
)
WRONG = re.compile(
    r"[)\].,]*\s+(?:which\s+|that\s+)?(?:(?:is|was|are|seems|looks|must be|can be|would be)\s+(?:clearly\s+|also\s+)?"
    r"(?:the\s+)?(?:wrong|incorrect|false|not|out|excluded|eliminated|ruled out)"
    r"|isn't|cannot|can't|does not|doesn't)\b",
    re.IGNORECASE,
)
ASIDE = re.compile(  # labels after these words are talked about, not chosen
    r"\b(?:consider\w*|check\w*|look(?:ing)?\s+at|compar\w+|between|both|unlike|like|versus|vs|options?\s*:|let's|"
    r"let\s+us|examine|evaluate|analy[sz]e|such\s+as|for\s+example|eliminat\w+|exclud\w+|ruled?\s+out|ruling\s+out|reject\w*|"
    r"not|neither|nor|there(?:'s|\s+is|\s+are))\b[^.\n]*$",
    re.IGNORECASE,
)
SUPPOSED = re.compile(r"\b(?:if|whether|suppose|assume|assuming)\b[^.\n]*$", re.IGNORECASE)
MODAL = re.compile(r"\b(?:would|could|might|may)\b[^.\n]*$", re.IGNORECASE)
CONCLUDES = re.compile(
    r"\b(?:so|thus|hence|therefore|conclu\w+|choos\w+|chose|pick\w*|select\w*|go(?:ing)?\s+with|match(?:es)?|correspond\w*|"
    r"closest|answer|best|correct|right|must|should|has\s+to\s+be|it's|it\s+is|that\s+is|this\s+is|is|are|say|leaves?(?!\s+out)|only)\b"
    r"|:\s*$",
    re.IGNORECASE,
)
CHOSEN = re.compile(
    r"\b(?:choos\w+|chose|pick\w*|select\w*|go(?:ing)?\s+with|say|so|thus|hence|therefore|answer)\b", re.IGNORECASE
)
UNCHOSEN = re.compile(  # nobody's choice, or another's
    r"(?:\bnot|n't|\bnever)\s+(?:\w+\s+)?(?:choose|pick|select|go)\b"
    r"|\b(?:nobody|no\s+one|none|students|people|many|some|others|they|everyone)\b[^.,;:\n]{0,40}"
    r"\b(?:choos\w+|chose|pick\w*|select\w*|go(?:ing)?\s+with|say|said|think|thought|believe)\b",
    re.IGNORECASE,
)
REASON = re.compile(r"[)\]*_\"'.,]*\s+(?:because|since|as|for|due\s+to|given\s+that)\b", re.IGNORECASE)
VERDICT = re.compile(
    rf"[)\]*_\"',]*\s+(?:is|must\s+be|has\s+to\s+be)\s+{_ADVERBS}(?:right|correct|true|best|answer|one|left|accurate|appropriate|suitable|plausible|reasonable)\b(?!\s+(?:that|which|if))"
    r"|[)\]*_\"',]*\s+(?:remains|fits)[.!]",
    re.IGNORECASE,
)
CLOSED = re.compile(r"[\s*_\"')\]}`]*(?:[.!;,:]?[\s*_\"')\]}`]*(?:\n|$)|[.!](?=[\s*_\"')\]])|,\s*(?:not|rather)\b)")
_SETTLES = (
    r"(?:it's|it\s+is|say|must\s+be|has\s+to\s+be|choose|chose|pick|picked|select|selected|go\s+with|going\s+with|leaves(?!\s+out)(?:\s+only)?|"
    r"(?:my|our|the)\s+(?:\w+\s+){0,2}?(?:choice|pick|one|match|option)\s+is)"
)
BARE = re.compile(
    rf"(?:(?:(?:^|[.,:;!?\n]\s*|\band\s+|\bbut\s+)[*_\"'(]*(?:so|thus|hence|therefore)|\b{_SETTLES}),?\s+|^{_SETTLES}\s+)[*_\"'`]*$",
    re.IGNORECASE,
)
OPENED = re.compile(
    rf"(?:^|[.\n,:;!?]\s*|\b(?:so|thus|therefore|hence|that|and|think|believe|is|be|only|{_SETTLES})[,:]?\s+)[*_\"'`]*$",
    re.IGNORECASE,
)
RATHER = re.compile(  # "not (A) but (B)", "it is not A, it is B"
    r"\bnot\s+(?:option\s+)?[(*\[]*\w{1,2}[)*\]]*,?\s+(?:but|it\s+is|it's|that\s+is)\s+(?:rather\s+|option\s+)*[(*\[]*$",
    re.IGNORECASE,
)
AMONG = re.compile(
    r"[(\[]?\b(?P<other>[A-Za-z0-9])[)\]]?\s*(?:,|/|&|\band\b|\bor\b|,\s*(?:and|or))\s*(?:option\s+)?[(\[]$"
)  # "(A) and (B)"
POINTS = re.compile(  # to a label right after it
    r"(?:\b(?:so|thus|hence|therefore|is|be|it's|answer|option|choice|choose|chose|pick|select|with)[,:]?|:)\s*[*_]*[(\[]$",
    re.IGNORECASE,
)
NAMING = re.compile(r"[\s*_#>]*(?:(?:final|my|the)\s+)*(?:option|choice|answer|letter)\s+", re.IGNORECASE)
HEDGED = re.compile(
    r"\b(?:maybe|perhaps|possibly|might|may|could|would|if|whether|wonder|hardly|some|many|most|people|students|about|let\s+us|"
    r"let's|than|first|next|consider\w*|example)\b",
    re.IGNORECASE,
)
SO = re.compile(r"\W*(?:so|thus|hence|therefore)\b", re.IGNORECASE)
LEADS = re.compile(  # to what a sentence ends in
    r"(?:\b(?:is|are|be|was|were|it's|as|to|choose|select|pick|with)|:)(?:\s+(?:a|an|the|only|just))?\W*$",
    re.IGNORECASE,
)
EQUATION = re.compile(r"[^A-Za-z=]*=[^A-Za-z=]*$")  # "3 * 4 = 12"
MENTIONS = 40  # labels that are looked at, from the last: a text with more runs in circles
SENTENCE = 1000  # characters of the last sentence


class Mention(NamedTuple):
    """A label in a text, with what stands before it in its sentence, and after it."""

    label: re.Match[str]
    before: str
    after: str
    choices: Sequence[Choice]

    @property
    def letter(self) -> str:
        return self.label["label"]

    @property
    def bracketed(self) -> bool:
        opens = re.search(r"(?:(?<![\w\\)\]])[(\[]|(?<!\w)\*\*)$", self.before)
        return opens is not None and re.match(r"[)\]]|\*\*", self.after) is not None

    @property
    def exact(self) -> bool:
        return self.letter in {c.label for c in self.choices}


def last(text: str, begin: int, choices: Sequence[Choice]) -> Found | None:
    """The last label that the text settles on, else the one option whose text its last sentence comes to."""
    if not choices:
        return None
    text = without_lists(text, tuple(choices))
    found = _settled(text, begin, choices) or _opened(text, begin, choices) or _polar(text, begin, choices)
    return found or _in_last_sentence(text, begin, choices)


# ── labels ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _settled(text: str, begin: int, choices: Sequence[Choice]) -> Found | None:
    label = re.compile(rf"(?<![\w'’°^_-])(?P<label>{any_label(choices)}){AFTER_LABEL}", re.IGNORECASE)
    text, lines = without_math(text), text
    for match in reversed(list(label.finditer(text, begin))[-MENTIONS:]):
        before = text[_sentence_start(text, begin, match.start()) : match.start()]
        mention = Mention(match, before, text[match.end() : match.end() + REACH], choices)
        if _is_chosen(mention, text, lines):
            return Found(spelled(match["label"], choices), match.start(), match.end(), "last label")
    return None


def _sentence_start(text: str, begin: int, at: int) -> int:
    """Start of the sentence or line that holds `at`, REACH characters before it at most."""
    begin = max(begin, at - REACH)
    return max([begin, text.rfind("\n", begin, at) + 1, *(stop for _, stop in sentence_ends(text, begin, at))])


def _is_chosen(mention: Mention, text: str, lines: str) -> bool:
    """True if a text settles on the label: it is marked as one, and chosen."""
    if _is_ruled_out(mention):
        return False
    if _is_alone(lines, mention):
        return True
    if not (mention.exact or mention.bracketed) or several(text, mention.label.end(), mention.choices):
        return False
    if RATHER.search(mention.before) and CLOSED.match(mention.after):
        return True
    if _is_aside(mention) or (not mention.exact and not POINTS.search(mention.before)):
        return False
    if mention.bracketed or NAMED_BEFORE.search(mention.before):
        return _is_marked(mention)
    return OPENED.search(mention.before) is not None and not mention.letter.isdigit() and _is_bare(mention)


def _is_ruled_out(mention: Mention) -> bool:
    before = mention.before
    ruled_out = NOT_BEFORE.search(before) and not RATHER.search(before)
    return bool(WRONG.match(mention.after) or ruled_out or UNCHOSEN.search(before) or DOUBT.search(before))


def _is_aside(mention: Mention) -> bool:
    """True if a label is talked about: after such words nothing says that it is chosen."""
    among = AMONG.search(mention.before)
    if among and among["other"].casefold() in {c.label.casefold() for c in mention.choices}:
        return True
    modal = None if SO.match(mention.before) else MODAL.search(mention.before)
    talked = None if VERDICT.match(mention.after) else ASIDE.search(mention.before)
    aside = SUPPOSED.search(mention.before) or modal or talked
    return aside is not None and CHOSEN.search(mention.before, aside.start()) is None


def _is_marked(mention: Mention) -> bool:
    """True if a label in brackets or by name is chosen: "this is (B)", "option B is right", "copper (B)"."""
    option = words_of(next(c.text for c in mention.choices if c.label.casefold() == mention.letter.casefold()))
    rest = _without_option(mention.after, mention.letter, mention.choices)
    closed = CLOSED.match(rest) is not None
    apposed = closed and option.strip() and words_of(NAMED_BEFORE.sub("", mention.before)).endswith(option)
    if VERDICT.match(mention.after) or apposed or (closed and CONCLUDES.search(mention.before)):
        return True
    return REASON.match(mention.after) is not None and CHOSEN.search(mention.before) is not None


def _is_bare(mention: Mention) -> bool:
    """True if a label without brackets or name is chosen: "B is correct", "so B.", "I choose B because"."""
    if VERDICT.match(mention.after):
        return True
    ends = CLOSED.match(mention.after) or (REASON.match(mention.after) and CHOSEN.search(mention.before))
    return bool(BARE.search(mention.before) and ends and (mention.letter != "I" or mention.after.strip()))


def _is_alone(text: str, mention: Mention) -> bool:
    """True if a label is all of its line, and the line is the first or the last, or the label is in brackets."""
    match = mention.label
    line_begin = text.rfind("\n", max(0, match.start() - REACH), match.start()) + 1
    line_end = text.find("\n", match.end(), match.end() + REACH)
    line_end = min(len(text), match.end() + REACH) if line_end < 0 else line_end
    naming = NAMING.match(text, line_begin, match.start())
    before, after = text[naming.end() if naming else line_begin : match.start()], text[match.end() : line_end]
    if mention.letter != mention.choices[0].label and line_end == len(text.rstrip()):  # the first may begin a list
        after = _without_option(after, mention.letter, mention.choices)
    if before.strip(" \t*_#>([\"'`") or after.strip(" \t*_.)]\"':`"):
        return False
    above, below = text[max(0, line_begin - REACH) : line_begin], text[line_end : line_end + REACH]
    if naming and (above.strip() or after.rstrip().endswith(":")):  # a heading
        return False
    if re.match(r"\s*[(\[]?\w[).\]:](?:\s|$)", above.rstrip().rpartition("\n")[2]):  # one more of a list
        return False
    if match["label"].islower() and not mention.bracketed:
        return text.strip(" \t\n*_.)\"'`") == match["label"]
    return not below.strip() or not above.strip()


def _opened(text: str, begin: int, choices: Sequence[Choice]) -> Found | None:
    """The label that the text opens with, its option or a reason after it: "B. longer years", "(B) because"."""
    match = re.compile(rf"[\s*_(\[\"']*(?P<label>{any_label(choices)}){AFTER_LABEL}[)\]*_\"'.:,]*").match(text, begin)
    if not match:
        return None
    after = text[match.end() : match.end() + REACH]
    if REASON.match(after) or (after.strip() and _without_option(after, match["label"], choices) != after):
        return Found(match["label"], match.start("label"), match.end("label"), "last label")
    return None


def _without_option(after: str, label: str, choices: Sequence[Choice]) -> str:
    """The text after a label, without the option's own text."""
    option = next((c.text for c in choices if c.label.casefold() == label.casefold()), "").strip().rstrip(".")
    said = re.match(r"[)\]*_\"'.:,]*\s*(?:-\s+)?", after)
    at = said.end() if said else 0
    is_said = option and after[at : at + len(option)].casefold() == option[: len(after) - at].casefold()
    return after[at + len(option) :] if is_said else after


# ── options by their texts ────────────────────────────────────────────────────────────────────────────────────────


def _polar(text: str, begin: int, choices: Sequence[Choice]) -> Found | None:
    """Yes or no, true or false, where these are options: the last one that a sentence comes to, else the first word."""
    words = {c.text.strip().rstrip(".").casefold(): c.label for c in choices}
    if not words or not set(words) <= set(POLAR):
        return None
    word = f"(?P<word>{'|'.join(words)})\\b(?=[*_\"')]*(?:[.,!;:\\n]|\\s*$|\\s+-|\\s+(?:because|since|as)\\b))"
    come_to = (
        rf"\b(?:so|thus|therefore|hence|answer|is|it's|say|conclude|be)[,:]?\s+(?:the\s+answer\s+is\s+)?[*_\"'(]*{word}"
    )
    come = [m for m in re.finditer(come_to, text[begin:], re.IGNORECASE) if not _is_supposed(text, begin + m.start())]
    found = come[-1:] or [m for m in [re.match(rf"[\s*_\"'(]*{word}", text[begin:], re.IGNORECASE)] if m]
    if not found:
        return None
    label, (start, end) = words[found[0]["word"].casefold()], found[0].span("word")
    return Found(label, begin + start, begin + end, "option text")


def _is_supposed(text: str, offset: int) -> bool:
    return SUPPOSED.search(text, max(0, offset - REACH), offset) is not None


def _in_last_sentence(text: str, begin: int, choices: Sequence[Choice]) -> Found | None:
    """The option whose text the last sentence comes to; a sentence that is cut off comes to nothing."""
    end = len(text.rstrip())
    begin = max(begin, end - SENTENCE)
    ends = [stop for _, stop in sentence_ends(text, begin) if stop < end]
    start = max([begin, text.rfind("\n", begin, end), *ends[-1:]])
    sentence = text[start:end]
    found = told(text, start, end, choices, "option text")
    if not found or is_negated(sentence, found.value, choices):
        return None
    option = next(c.text for c in choices if c.label == found.value)
    return found if words_of(sentence) == words_of(option) or _comes_to(sentence, option) else None


def _comes_to(sentence: str, option: str) -> bool:
    """True if a whole sentence concludes in an option's text: "So it is copper.", "Therefore 12 are left."."""
    if not re.search(r"[.!][\"'”’)\]*_]*$", sentence) and not EQUATION.match(sentence):
        return False
    given = re.search(re.escape(option.strip().rstrip(".")), sentence, re.IGNORECASE)
    if not given or HEDGED.search(sentence[: given.start()]):
        return False
    ends = re.fullmatch(r"\W*", sentence[given.end() : up_to_reason(sentence)]) is not None
    leads = SO.match(sentence) or EQUATION.match(sentence) or (ends and LEADS.search(sentence[: given.start()]))
    return bool(leads)
