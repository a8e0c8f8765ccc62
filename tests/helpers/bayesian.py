"""An exactly Bayesian reader of clue problems on the fake engine: what it believes at every prefix is known.

Its steps are right; its beliefs have knobs. With none of them it believes what an ideal reader does, to the last bit.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np

from localent.engine.scripted import ScriptedModel, ScriptedVocab

sys.path.append(str(Path(__file__).parents[2] / "scripts" / "train"))

from clue_problems import SMALLEST, LARGEST, listed, sentence  # noqa: I001 - the training scripts are no package

NUMBERS = [str(n) for n in range(SMALLEST, LARGEST + 1)]
WORDS = (
    "Clue: ", "it is ", "It is ", "it has ", "It has ", " are left.\n", " is left.\n", "The answer is", ", ", ".\n",
    "a digit ", "no digit ", "more than ", "at most ", "a multiple of ", "no multiple of ", "even", "odd",
    "it ends in ", "it begins with ", "It ends in ", "It begins with ",
)  # fmt: skip
PIECES = [*(bytes([i]) for i in range(128)), *(n.encode() for n in NUMBERS), *(word.encode() for word in WORDS)]
END = len(PIECES)
VOCAB = ScriptedVocab([*PIECES, b"<end>"], eog=frozenset({END}))
NEVER = -1e4  # a logit whose probability is 0 in float64
BEGUN = "assistant\n"  # the model's turn in ChatML
CLUE = r"[Ii]t (?:is|has|ends|begins)\b[^.:]*"
ANSWERING = re.compile(r"The answer is( ?)(\d\d)?(\.?)\n?$")


@dataclass(frozen=True)
class Reader:
    """What is planted."""

    temperature: float = 0.0  # a candidate loses 1 / temperature nats with each clue that it violates; 0: all
    overconfidence: float = 0.0  # nats that one of those left has too many, whichever it is
    delay: int = 0  # of the clues read so far, the last so many are not used yet
    remembers: int | None = None  # of those, only the last so many are used
    ignores: float = 0.0  # share of the clues that are never used
    look_ahead: int = 0  # clues of the question that are used before their step

    def believes(self, candidates: Sequence[int], clues: Sequence[str]) -> np.ndarray:
        """The probability of each candidate after these clues: (n,)."""
        scores = np.array(self.scores(tuple(candidates), tuple(clues)))
        p = np.exp(scores - scores.max())
        return p / p.sum()

    def scores(self, candidates: tuple[int, ...], clues: tuple[str, ...]) -> list[float]:
        """Logits, as the engine holds them: float32."""
        used = [clue for clue in self.used(clues) if share_of(clue, candidates) >= self.ignores]
        violated = [sum(not holds(clue, x) for clue in used) for x in candidates]
        scores = [-n / self.temperature if self.temperature else NEVER * (n > 0) for n in violated]
        favourite = max(
            (i for i, n in enumerate(violated) if n == min(violated)), key=lambda i: share_of("", candidates[i])
        )
        scores[favourite] += self.overconfidence
        return [float(np.float32(score)) for score in scores]

    def used(self, clues: tuple[str, ...]) -> tuple[str, ...]:
        """The clues that this reader goes by, of those it has read."""
        early = clues[: len(clues) - self.delay] if self.delay else clues
        return early if self.remembers is None else early[max(0, len(early) - self.remembers) :]

    def model(self) -> ScriptedModel:
        """The reader as a model file's weights."""
        return ScriptedModel(VOCAB, self.logits, n_ctx_train=8192)

    def logits(self, tokens: tuple[int, ...]) -> np.ndarray:
        text = b"".join(VOCAB.pieces[i] for i in tokens).decode()
        row = np.full(END + 1, NEVER, np.float32)
        for token, score in self.following(text):
            row[token] = score
        return row

    @cache  # noqa: B019 - a reader lives as long as its test
    def following(self, text: str) -> list[tuple[int, float]]:
        """(token, logit) of what may follow a text."""
        asked, _, written = text.rpartition(BEGUN)
        question = asked.split("\n\n")[0]
        numbers = next(found for found in re.findall(r"\d\d(?:, \d\d)+", question))
        candidates = tuple(map(int, numbers.split(", ")))
        told = tuple(re.findall(rf"Clue: ({CLUE})\.\n", written))
        in_question = tuple(clue[0].lower() + clue[1:] for clue in re.findall(rf"\. ({CLUE})\.", overlapping(question)))
        clues, n_lines = told or in_question, len(re.findall(r" left\.\n", written))
        if match := ANSWERING.search(written):
            n_read = len(told) if told else n_lines + self.look_ahead if in_question else 0
            return self.answering(match, candidates, clues[:n_read])
        line = written.rpartition("\n")[2]
        target = "The answer is" if n_lines >= len(clues) else step_of(candidates, clues, n_lines, bool(told))
        if not target.startswith(line):  # in the middle of a clue, which is not this reader's to write
            return [(ord("?"), 0.0)]
        return [(VOCAB.tokenize(target[len(line) :])[0], 0.0)]

    def answering(
        self, match: re.Match, candidates: tuple[int, ...], clues: tuple[str, ...]
    ) -> list[tuple[int, float]]:
        blank, number, stop = match.groups()
        if stop:
            return [(END, 0.0)]
        if number:
            return [(ord("."), 0.0)]
        if not blank:
            return [(ord(" "), 0.0)]
        return [(VOCAB.tokenize(str(x))[0], s) for x, s in zip(candidates, self.scores(candidates, clues), strict=True)]


def overlapping(question: str) -> str:
    """A text in which every sentence has a full stop of its own before it."""
    return question.replace(". ", ".. ")


def step_of(candidates: tuple[int, ...], clues: tuple[str, ...], k: int, told: bool) -> str:
    """The line that is written after the k-th clue, counted from 0."""
    left = tuple(x for x in candidates if all(holds(clue, x) for clue in clues[: k + 1]))
    line = f"{listed(left)} {'is' if len(left) == 1 else 'are'} left.\n"
    return line if told else f"{sentence(clues[k])[:-1]}: {line}"


def holds(clue: str, x: int) -> bool:
    """True if a number fits a clue, read from its words."""
    *_, last = clue.split()
    tests = {
        "it is even": lambda: x % 2 == 0,
        "it is odd": lambda: x % 2 == 1,
        "it is more than": lambda: x > int(last),
        "it is at most": lambda: x <= int(last),
        "it is a multiple of": lambda: x % int(last) == 0,
        "it is no multiple of": lambda: x % int(last) != 0,
        "it has a digit": lambda: last in str(x),
        "it has no digit": lambda: last not in str(x),
        "it ends in": lambda: x % 10 == int(last),
        "it begins with": lambda: x // 10 == int(last),
        "it is a number": lambda: True,
    }
    return next(test() for words, test in tests.items() if clue.startswith(words))


def share_of(*what: object) -> float:
    """A number in [0, 1) that is the same for the same things."""
    return int.from_bytes(sha256(repr(what).encode()).digest()[:4], "big") / 2**32


def entropy(p: np.ndarray) -> float:
    """Nats."""
    return -math.fsum(x * math.log(x) for x in p if x > 0)
