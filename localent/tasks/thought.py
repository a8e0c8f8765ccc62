"""Thinking aloud: how a model marks its thought, whether a text ends inside one, and where the answer begins.

The default is <think> ... </think>, which many models write although their template never shows it. Other formats
come from the model's chat template (see tasks.thought_format) and travel with the prompt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

MARKER = re.compile(r"<[^<>\s]{1,40}>|\[/?[A-Z_]{3,30}\]")  # <think>, <|channel|>, [/THINK]
CLOSED = re.compile(r"</(?:think|thinking|thought|thoughts|reasoning|reflection|scratchpad|analysis)>", re.IGNORECASE)
ALWAYS = r"</?(?:think|thinking|reasoning|answer)>"  # tags that say nothing in any format


@dataclass(frozen=True, slots=True)
class ThoughtFormat:
    """The texts around a thought. Control tokens appear in them by their spelling, as in generated text."""

    opening: str = "<think>"
    closing: str = "</think>"
    answer: str = "\n\n"  # begins the answer after the closing text: white space, or the header of its channel
    gap: str = "\n"  # between a thought and its closing text
    opened: bool = False  # the prompt ends inside a thought
    expected: bool = False  # the template shows that the model thinks here

    def is_open(self, text: str) -> bool:
        """True if a text after the prompt ends inside a thought."""
        begun, ended = text.rfind(self.opening), text.rfind(self.closing)
        return self.opened if begun == ended else begun > ended  # equal: neither is there

    def is_unanswered(self, text: str) -> bool:
        """True if a text ends inside a thought, or before a word of the answer after it."""
        return self.is_open(text) or (self.closing in text and not self._said(text))

    def after(self, text: str) -> int | None:
        """Offset of what follows a thought; None where nothing was thought, or nothing follows."""
        thought, closed, rest = text.rpartition(self.closing)
        if not closed or not thought.rpartition(self.opening)[2].strip() or not self._said(text):
            return None
        return len(text) - len(rest.lstrip())

    def end(self, text: str) -> int:
        """Offset one past the last closing text; 0 where there is none."""
        at = text.rfind(self.closing)
        others = (match.end() for match in CLOSED.finditer(text))
        return max([at + len(self.closing) if at >= 0 else 0, *others])

    def to_answer(self, text: str) -> str:
        """Text that has to follow, the prompt left out, before the answer can begin; "" where none has to."""
        if self.is_open(text):
            bare = not text and not self.gap.strip("\n")
            gap = "" if bare or (self.gap and text.endswith(self.gap)) else self.gap
            return gap + self.closing + self.answer
        rest = text[self.end(text) :].lstrip()
        begun = self.closing in text and len(rest) < len(self.answer) and self.answer.startswith(rest)
        return self.answer[len(rest) :] if begun and self.answer.strip() else ""

    def _said(self, text: str) -> bool:
        """True if something of the answer follows the last closing text."""
        rest, header = text[self.end(text) :].strip(), self.answer.strip()
        return bool(rest) and not header.startswith(rest)

    def without_tags(self, text: str) -> str:
        """A text without the marks of a thought."""
        return _tags(self.opening, self.closing, self.answer.strip()).sub("", text)


@cache
def _tags(*texts: str) -> re.Pattern[str]:
    spelled = sorted((re.escape(text) for text in texts if text), key=len, reverse=True)
    return re.compile("|".join([*spelled, ALWAYS]), re.IGNORECASE)


DEFAULT = ThoughtFormat()
