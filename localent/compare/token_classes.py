"""The class of each token of a reasoning trace: number, operator, hesitation word and others."""

from __future__ import annotations

import re
from collections.abc import Sequence

from localent.records import Step, text_of
from localent.tasks import hesitation

CLASSES = ("answer", "hesitation word", "step start", "number", "operator", "other")  # the first that applies
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
    return {i for place in hesitation.places(pieces) for i in place}
