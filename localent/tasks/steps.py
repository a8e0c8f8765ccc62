"""Cut a text into reasoning steps, and the steps into token ranges.

A step begins at "Step 3:" and at every line that says something, else, in a text of one line, at every sentence. A
heading ("Step 3:", "3."), a blank line or a mark of a thought (<think>) is not a step of its own. The answer statement
and what follows it are "answer"; a text without one is all "reasoning". Where a text thinks aloud, the steps are those
of the thought, and all that follows it is "answer".
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, pairwise

from localent.records import Choice, Step, text_of, token_texts
from localent.tasks.grade import answer_start
from localent.tasks.kinds.kind import Kind
from localent.tasks.text import sentence_ends
from localent.tasks.thought import DEFAULT, ThoughtFormat

Range = tuple[int, int]  # characters, half open

STEP = r"\bStep[ \t]+\d+[ \t]*[:.]"
STEP_HEADING = re.compile(
    rf"[#*_][#*_ \t]*+(?P<decorated>{STEP})?|(?P<plain>{STEP})", re.IGNORECASE
)  # or decoration alone
HEADING_ONLY = re.compile(r"(?!\s*####)[\s#*_>-]*+(?:Step\s+\d+|\d{1,2}(?=[.):]))?[\s:.)*_]*", re.IGNORECASE)


def of_trace(
    pieces: Sequence[bytes],
    kind: Kind,
    choices: Sequence[Choice] = (),
    *,
    thinking: bool = False,
    thought: ThoughtFormat = DEFAULT,
) -> tuple[Step, ...]:
    """The steps of a trace from its token pieces: `split`, the answer set apart, mapped to tokens.

    thinking: the text ends within a thought, so that nothing in it is an answer yet.
    """
    text = text_of(pieces)
    start = None if thinking else thought.after(text)
    if start is None and not thinking:
        start = answer_start(text, kind, choices, thought)
    return to_token_steps(split(text, start, thought), pieces, start)


def split(text: str, answer: int | None = None, thought: ThoughtFormat = DEFAULT) -> list[Range]:
    """Character ranges of the steps; together they are the text. `answer`: begin a step at its sentence, too."""
    starts = _line_starts(text)
    if sum(_says_something(text[a:b], thought) for a, b in pairwise([*starts, len(text)])) < 2:
        starts = [0, *(end for _, end in sentence_ends(text) if not text[end : end + 2].strip()[:1].islower())]
    if answer is not None:
        starts = [*starts, max(_sentence_start(text, answer), min(answer, thought.end(text)))]
    return _merged(text, sorted({0, *starts}), thought)


def to_token_steps(ranges: Sequence[Range], pieces: Sequence[bytes], answer: int | None = None) -> tuple[Step, ...]:
    """Steps with token ranges that cover all tokens. A step ends with the token that completes its last character.

    `ranges` and `answer` count characters of `text_of(pieces)`. A range without a token of its own joins the one
    before. An empty text has no steps.
    """
    texts = token_texts(pieces)
    text, token_ends = "".join(texts), list(accumulate(map(len, texts)))
    spans: list[list[int]] = []  # first character, last character, first token, last token
    for begin, end in ranges:
        n_tokens = len(pieces) if end == len(text) else bisect_left(token_ends, end) + 1
        first = spans[-1][3] if spans else 0
        if n_tokens > first:
            spans.append([begin, end, first, n_tokens])
        elif spans:
            spans[-1][1] = end
    return tuple(
        Step(i, first, last, text[begin:end], "reasoning" if answer is None or end <= answer else "answer")
        for i, (begin, end, first, last) in enumerate(spans)
    )


def _line_starts(text: str) -> list[int]:
    """Offsets at which lines and "Step N:" headings begin."""
    headings = (m.start() for m in STEP_HEADING.finditer(text) if m["decorated"] or m["plain"])
    return sorted({0, *(m.end() for m in re.finditer(r"\n", text)), *headings})


def _says_something(part: str, thought: ThoughtFormat) -> bool:
    """True if a part has content besides blanks, marks of a thought and a heading."""
    return HEADING_ONLY.fullmatch(thought.without_tags(part)) is None


def _sentence_start(text: str, offset: int) -> int:
    if text.startswith("####", offset):
        return offset
    line = text.rfind("\n", 0, offset) + 1
    return max([line, *(end for _, end in sentence_ends(text, line, offset))])


def _merged(text: str, starts: list[int], thought: ThoughtFormat) -> list[Range]:
    """Ranges from `starts`: parts that only head or decorate go with what follows, blank ones with what precedes."""
    kept: list[int] = []
    pending: int | None = None  # the start of a heading that waits for its content
    for begin, end in pairwise([*starts, len(text)]):
        part = thought.without_tags(text[begin:end])
        if _says_something(part, thought):
            kept.append(begin if pending is None else pending)
            pending = None
        elif pending is None and (part.strip() or not kept):
            pending = begin
    kept = [0, *kept[1:]] if kept else [0]
    return list(pairwise([*kept, len(text)])) if text else []
