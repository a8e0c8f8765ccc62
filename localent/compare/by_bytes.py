"""Models with different tokenizers on one text: bits per byte and per character, which no tokenizer changes.

A text is cut between words into pieces of equal size. Every model reads a piece and then the next one, each tokenized
by itself, so that the same characters are predicted from the same characters; the second piece is scored.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from localent.analysis import neighbours
from localent.analysis.intervals import Estimate
from localent.analysis.significance import sign_flip_p
from localent.compare.plan import DEFAULT, Plan
from localent.compare.scoring import Pass
from localent.compare.teacher_forcing import Piece, calls
from localent.compare.text import Text
from localent.engine import Scorer, Vocab
from localent.errors import UsageError
from localent.measure.divergence import PairMeter
from localent.records import Model
from localent.runs import Settings, session
from localent.runs.passages import plain_text
from localent.runs.progress import Progress, Report, ignore
from localent.runs.session import Loaded, ModelFile

BREAK = re.compile(r"(?<=\S)\s")  # a piece ends before the space that follows a word
LEAST = 2  # pieces


@dataclass(frozen=True, slots=True)
class Coded:
    """One model's code length of the scored part of a text, beside the reference's."""

    model: Model
    n_tokens: int  # scored
    bytes_per_token: float
    per_byte: Estimate  # bits
    per_character: Estimate  # bits
    change: Estimate | None  # bits per byte minus the reference's, paired by piece; None: the reference
    p: float | None  # two-sided, of no change, by sign flips of pieces; None: the reference, or too few pieces

    @property
    def name(self) -> str:
        """Its file's name."""
        return self.model.file


@dataclass(frozen=True, slots=True)
class ByBytes:
    """All models on one text, the reference first."""

    source_name: str
    n_pieces: int
    n_bytes: int  # scored
    models: tuple[Coded, ...]


def compare_bytes(models: Sequence[str], text: Path, *, plan: Plan = DEFAULT, report: Report = ignore) -> ByBytes:
    """Bits per byte of each model on a text, in pieces of `plan.ctx` bytes, one model in memory at a time.

    Raises UsageError for a text of fewer than two pieces.
    """
    files = [session.usable(name) for name in models]
    pieces = pieces_of(plain_text(text), plan.ctx)[: None if plan.limit is None else plan.limit + 1]
    if len(pieces) < LEAST:
        raise UsageError(
            f"{text.name} has {len(pieces)} pieces of {plan.ctx} bytes: use a longer text, a smaller --ctx."
        )
    read = [_read(file, pieces, plan, report) for file in files]
    sizes = np.array([len(piece.encode()) for piece in pieces[1:]], float)
    n_characters = sum(map(len, pieces[1:]))
    both = zip(files, read, strict=True)
    coded = (_coded(file.header.model, one, read[0], sizes, n_characters) for file, one in both)
    return ByBytes(text.name, len(sizes), int(sizes.sum()), tuple(coded))


def pieces_of(text: str, n_bytes: int) -> list[str]:
    """The text in pieces of about n_bytes, each ending with a word; what is left over is dropped."""
    found, start, size = list[str](), 0, 0
    at = 0
    for match in BREAK.finditer(text):
        size += len(text[at : match.start()].encode())
        at = match.start()
        if size >= n_bytes:
            found.append(text[start:at])
            start, size = at, 0
    return found


@dataclass(frozen=True, slots=True)
class _Bits:
    """Code lengths of one model: of each scored piece."""

    bits: np.ndarray  # (n_pieces,)
    n_tokens: int


def _read(file: ModelFile, pieces: Sequence[str], plan: Plan, report: Report) -> _Bits:
    settings = Settings(threads=plan.threads, gpu_layers=plan.gpu_layers)
    with session.loaded(file, settings) as ready:
        vocab = ready.weights.vocab
        ids = [vocab.tokenize(piece) for piece in pieces]
        texts = [_text(before, after, vocab) for before, after in pairwise(ids)]
        nats = _surprisal(ready, texts, plan, report)
    return _Bits(np.array(nats) / math.log(2), sum(text.n_rows for text in texts))


def _text(before: Sequence[int], after: Sequence[int], vocab: Vocab) -> Text:
    """Two pieces, of which the tokens of the second are predicted."""
    head = [*([] if vocab.bos is None else [vocab.bos]), *before]
    return Text([*head, *after], first=len(head) - 1)


def _surprisal(ready: Loaded, texts: Sequence[Text], plan: Plan, report: Report) -> list[float]:
    """Nats of each text's scored tokens together."""
    found, meter = list[float](), PairMeter(ready.weights.vocab.n_tokens)
    with Pass(texts, plan, report).scorer(ready) as scorer:
        for i, text in enumerate(texts):
            scorer.keep(0)
            found.append(sum(_of_piece(scorer, text, piece, meter) for piece in calls(text, plan.chunk)))
            report(Progress(i + 1, len(texts), name=f"reading {ready.file.path.name}", unit="piece"))
    return found


def _of_piece(scorer: Scorer, text: Text, piece: Piece, meter: PairMeter) -> float:
    rows = scorer.feed(text.tokens[piece.start : piece.end], piece.n_rows)
    following = text.tokens[piece.first_predicted : piece.end + 1]
    return sum(meter.read(row, [], token)[0].surprisal for row, token in zip(rows, following, strict=True))


def _coded(model: Model, one: _Bits, reference: _Bits, sizes: np.ndarray, n_characters: int) -> Coded:
    per_byte = _mean(one.bits / sizes.mean())
    scale = sizes.sum() / n_characters
    value, low, high = (None if x is None else x * scale for x in (per_byte.value, per_byte.low, per_byte.high))
    per_character = Estimate(value, low, high)
    is_reference = one is reference
    differences = (one.bits - reference.bits) / sizes.mean()
    return Coded(
        model=model,
        n_tokens=one.n_tokens,
        bytes_per_token=float(sizes.sum() / one.n_tokens),
        per_byte=per_byte,
        per_character=per_character,
        change=None if is_reference else _mean(differences),
        p=None if is_reference else sign_flip_p(differences, np.arange(len(differences))),
    )


def _mean(values: np.ndarray) -> Estimate:
    """The mean over pieces, with an interval that allows for neighbours."""
    low, high = neighbours.interval(values, neighbours.cosines(len(values)))
    return Estimate(float(values.mean()), low, high, n=len(values))
