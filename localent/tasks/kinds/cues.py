"""Cues: texts that ask for the answer now, in the forms that models end their solutions with.

No cue fits every model: one that writes "#### 18" by itself goes on with prose after "The answer is". A run takes the
cue that leaves the least probability on no answer (see runs/cue.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from localent.errors import UsageError

ENDS = (("{", "}"), ("\\(", "\\)"), ("\\[", "\\]"), ("(", ")"))  # what a cue may leave open, innermost first
SENTENCE, LINE, PARAGRAPH = 0, 1, 2  # how many line breaks part a cue from the text before it; a sentence: a blank


@dataclass(frozen=True, slots=True)
class Cue:
    """One way to ask for the answer now."""

    key: str  # its name: what --cue takes and a run records
    text: str  # a beginning that the model completes; with `turn` what the user says
    breaks: int = SENTENCE
    turn: bool = False  # the model's turn is ended and the user asks: only in a chat

    def after(self, text: str) -> str:
        """The cue as it follows a text, with the blank or the line breaks that are missing between them."""
        if self.breaks:
            return "\n" * max(0, self.breaks - (len(text) - len(text.rstrip("\n")))) + self.text
        return " " * bool(text and not text[-1].isspace()) + self.text

    def answered(self, answer: str) -> str:
        """What follows the cue where this is the answer: " 18", or "18}\\)" after "\\(\\boxed{"."""
        last, left = self.text[-1:], self.text
        found = answer if self.turn or not last or last.isspace() or last in "({[" else f" {answer}"
        for begin, end in ENDS:
            found += end * (left.count(begin) > left.count(end))
            left = left.replace(begin, "").replace(end, "")
        return found


def cue_named(cues: Sequence[Cue], name: str) -> Cue:
    """The cue of that key; a text of the user's own is taken as it stands. Raises UsageError for neither."""
    found = next((cue for cue in cues if cue.key == name), None)
    if found is None and name.replace("-", "").isalpha():
        raise UsageError(
            f"No cue is named {name!r}: choose auto, {', '.join(cue.key for cue in cues)}, or write the text that asks "
            "for the answer, such as --cue 'My answer:'."
        )
    if found is None and not name.strip():
        raise UsageError("--cue is empty: write the text that asks for the answer, or leave --cue out.")
    return found or Cue(name, name)
