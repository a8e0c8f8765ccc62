"""The class of each token of a reasoning trace: number, operator, hesitation word and others."""

from __future__ import annotations

import re
from collections.abc import Sequence

from localent.records import Step, text_of

CLASSES = ("answer", "hesitation word", "step start", "number", "operator", "other")  # the first that applies
HESITATION = re.compile(
    rb"\b(wait|hmm+|but|however|actually|alternatively|maybe|perhaps|instead|let me (?:re)?(?:check|think|try|do)"
    rb"|on second thought|hold on|not sure|double[- ]check|mistake|oops)\b",
    re.IGNORECASE,
)
OPERATOR = re.compile(r"\s*(?:[-+*/=×÷·<>≤≥≈^−%]|\\times|\\cdot|\\div|\\frac)+\s*")


def classes_of(pieces: Sequence[bytes], steps: Sequence[Step]) -> list[str]:
    """The class of every token of a trace: its bytes and its steps -> (n_tokens,) names of CLASSES.

    answer: in the statement of the answer · hesitation word: part of "wait", "but", "let me check" ... · step start:
    the first token of a reasoning step · number: has a digit · operator: nothing but arithmetic signs [ours].
    """
    answers = {i for step in steps if step.kind == "answer" for i in range(step.start, step.end)}
    starts = {step.start for step in steps if step.kind != "answer"}
    hesitating = _in_hesitation_words(pieces)
    return [
        "answer" if i in answers
        else "hesitation word" if i in hesitating
        else "step start" if i in starts
        else _by_piece(piece)
        for i, piece in enumerate(pieces)
    ]  # fmt: skip


def _by_piece(piece: bytes) -> str:
    text = text_of([piece])
    if any(char.isdigit() for char in text):
        return "number"
    return "operator" if OPERATOR.fullmatch(text) else "other"


def _in_hesitation_words(pieces: Sequence[bytes]) -> set[int]:
    """Indices of the tokens that hold part of a hesitation word."""
    ends, at = [], 0
    for piece in pieces:
        at += len(piece)
        ends.append(at)
    spans = [match.span() for match in HESITATION.finditer(b"".join(pieces))]
    return {
        i
        for i, (piece, end) in enumerate(zip(pieces, ends, strict=True))
        if any(start < end and stop > end - len(piece) for start, stop in spans)
    }
