"""Cut a text into reasoning steps, and the steps into token ranges.

A step is a unit of reasoning. It begins at "Step 3:" and at every line that says something, else, in a text of one
line, at every sentence. Display math, code and tables stay whole, with the line that introduces them ("The cost is:").
A heading ("Step 3:", "3."), a word or two ("So."), a blank line or a mark of a thought (<think>) is not a step of its
own. The answer statement and what follows it are "answer"; a text without one is all "reasoning". Where a text thinks
aloud, the steps are those of the thought, and all that follows it is "answer".
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

from localent.records import Choice, Step, text_of, token_texts
from localent.tasks.grade import answer_start
from localent.tasks.kinds.kind import Kind
from localent.tasks.observed import own
from localent.tasks.text import sentence_ends
from localent.tasks.thought import DEFAULT, ThoughtFormat

Range = tuple[int, int]  # characters, half open

STEP = r"\bStep[ \t]+\d+[ \t]*[:.]"
STEP_HEADING = re.compile(
    rf"[#*_][#*_ \t]*+(?P<decorated>{STEP})?|(?P<plain>{STEP})", re.IGNORECASE
)  # or decoration alone
FEW = 3  # fewer words and signs than these are no step of their own
WORD = re.compile(r"\w+|[^\w\s]")
BLOCK = re.compile(  # display math and code, to the end of the text where it is not closed
    r"\\\[.*?(?:\\\]|\Z)|\$\$.*?(?:\$\$|\Z)|\\begin\{(?P<name>\w+\*?)\}.*?(?:\\end\{(?P=name)\}|\Z)|"
    r"^[ \t]*```.*?(?:^[ \t]*```|\Z)",
    re.DOTALL | re.MULTILINE,
)
ROW = re.compile(r"^[ \t]*\|.*\n(?=[ \t]*\|)", re.MULTILINE)  # a row of a table that another one follows
CLOSED = re.compile(r"(?:\\\]|\$\$|\\end\{\w+\*?\}|\n[ \t]*```)\Z")
INTRODUCES = re.compile(r"[:=,][\s*_]*\Z")
HEADING_ONLY = re.compile(r"(?!\s*####)[\s#*_>-]*+(?:Step\s+\d+|\d{1,2}(?=[.):]))?[\s:.)*_]*", re.IGNORECASE)


def of_trace(
    pieces: Sequence[bytes],
    kind: Kind,
    choices: Sequence[Choice] = (),
    *,
    thinking: bool = False,
    thought: ThoughtFormat = DEFAULT,
    given: Sequence[bool] = (),
) -> tuple[Step, ...]:
    """The steps of a trace from its token pieces: `split`, the answer set apart, mapped to tokens.

    thinking: the text ends within a thought, so that nothing in it is an answer yet. given: which pieces came from
    outside; none where it is empty. Such a line begins the step that follows it, and states no answer.
    """
    text = text_of(pieces)
    said = own(token_texts(pieces), given) if any(given) else text
    start = None if thinking else thought.after(said)
    if start is None and not thinking:
        start = answer_start(said, kind, choices, thought)
    steps = to_token_steps(split(text, start, thought), pieces, start)
    return _after_given(steps, given) if any(given) else steps


def _after_given(steps: Sequence[Step], given: Sequence[bool]) -> tuple[Step, ...]:
    """The steps, each line from outside joined with the reasoning that follows it."""
    found: list[Step] = []
    for step in steps:
        last = found[-1] if found else None
        if last and given[last.end - 1] and step.kind == last.kind:
            found[-1] = replace(last, end=step.end, text=last.text + step.text)
        else:
            found.append(replace(step, index=len(found)))
    return tuple(found)


def split(text: str, answer: int | None = None, thought: ThoughtFormat = DEFAULT) -> list[Range]:
    """Character ranges of the steps; together they are the text. `answer`: begin a step at its sentence, too."""
    starts = _line_starts(text)
    if sum(_says_something(text[a:b], thought) for a, b in pairwise([*starts, len(text)])) < 2 and not _whole(text):
        starts = [0, *(end for _, end in sentence_ends(text) if not text[end : end + 2].strip()[:1].islower())]
    begin = None if answer is None else _answer_begin(text, answer, thought)
    return _merged(text, sorted({0, *starts} | ({begin} if begin is not None else set())), thought, begin)


def ends_step(text: str, thought: ThoughtFormat = DEFAULT) -> bool:
    """False where a text ends in a line that belongs to what follows, or inside of display math or code."""
    if any(end == len(text) and not CLOSED.search(text[:end]) for _, end in _whole(text)):
        return False
    parts = [text[a:b] for a, b in pairwise([*_line_starts(text), len(text)]) if text[a:b].strip()]
    return not parts or _stands_alone(parts[-1], thought)


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
    within = {m.end() for m in ROW.finditer(text)}
    blocks = _whole(text)
    starts = {0, *(m.end() for m in re.finditer(r"\n", text)), *headings} - within
    return sorted(start for start in starts if not any(begin < start < end for begin, end in blocks))


def _whole(text: str) -> list[Range]:
    """The ranges of display math and code."""
    return [m.span() for m in BLOCK.finditer(text)] if "\n" in text else []


def _says_something(part: str, thought: ThoughtFormat) -> bool:
    """True if a part has content besides blanks, marks of a thought and a heading."""
    return HEADING_ONLY.fullmatch(thought.without_tags(part)) is None


def _stands_alone(part: str, thought: ThoughtFormat) -> bool:
    """True if a part is a step by itself: neither a word or two nor the introduction of what follows."""
    said = thought.without_tags(part)
    long = len(WORD.findall(said)) >= FEW or STEP_HEADING.match(said.lstrip())
    return bool(long) and _says_something(part, thought) and not INTRODUCES.search(said)


def _answer_begin(text: str, answer: int, thought: ThoughtFormat) -> int:
    """The begin of the step of the answer: at its sentence, or at the display math in which it stands."""
    begin = max(_sentence_start(text, answer), min(answer, thought.end(text)))
    return next((start for start, end in _whole(text) if start < begin < end), begin)


def _sentence_start(text: str, offset: int) -> int:
    if text.startswith("####", offset):
        return offset
    line = text.rfind("\n", 0, offset) + 1
    return max([line, *(end for _, end in sentence_ends(text, line, offset))])


def _merged(text: str, starts: list[int], thought: ThoughtFormat, answer: int | None = None) -> list[Range]:
    """Ranges from `starts`: parts that head or introduce go with what follows, blank ones with what precedes.

    A word or two before the answer, which begins at `answer`, go with what precedes, too; a longer introduction of the
    answer is a step.
    """
    kept: list[int] = []
    pending: int | None = None  # the start of a part that waits for what it belongs to
    for begin, end in pairwise([*starts, len(text)]):
        part = thought.without_tags(text[begin:end])
        if begin == answer and pending is not None and _says_something(text[pending:begin], thought):
            introduces = INTRODUCES.search(text[pending:begin])
            own = len(WORD.findall(text[pending:begin])) > 2 * FEW or not (kept or introduces)
            kept += [pending] if own else []
            pending = pending if introduces and not own else None
        if _stands_alone(part, thought) or (begin == answer and part.strip() and not INTRODUCES.search(part)):
            kept.append(begin if pending is None else pending)
            pending = None
        elif pending is None and (part.strip() or not kept):
            pending = begin
    if pending is not None and pending == answer:
        kept.append(pending)
    kept = [0, *kept[1:]] if kept else [0]
    return list(pairwise([*kept, len(text)])) if text else []
