"""Teacher forcing: the same token ids through a reference and its candidates, compared position by position.

A piece of text goes through every model, its rows are compared in the engines' buffers, and each position leaves a few
numbers. The reference's row is computed once for all candidates. Candidates that take turns, since memory has no room
for all, read a block of texts each, for which the reference's rows are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

import numpy as np

from localent.compare.positions import Fed, Meters, Positions, Read, beside, joined
from localent.compare.text import Text
from localent.engine import Rows, Scorer
from localent.errors import BrokenLogitsError, LocalentError
from localent.runs.progress import ignore

KEPT = 512 * 2**20  # bytes of the reference's rows that are kept for candidates that take turns
Opener = Callable[[], AbstractContextManager[Scorer]]  # opens a scorer, whose model is in memory until it is closed


@dataclass(frozen=True, slots=True, kw_only=True)
class Feeding:
    """The size of calls, the threads, and the functions that are called on the way."""

    chunk: int  # tokens of a call
    n_threads: int
    normalised: bool = False  # the reference gives log-probabilities, from a base file
    on_rows: Callable[[Fed], object] = ignore  # takes every scored row of the reference
    report: Callable[[int], object] = ignore  # takes the number of tokens just fed


def score(texts: Sequence[Text], reference: Scorer, candidates: Sequence[Scorer], how: Feeding) -> Positions:
    """Measures of every scored position of the texts under the reference and all candidates.

    Raises LocalentError for vocabularies of different sizes, and for broken logits, naming model and text.
    """
    if differing := [c.n_vocab for c in candidates if c.n_vocab != reference.n_vocab]:
        raise LocalentError(f"Logits over {reference.n_vocab:,} and {differing[0]:,} entries cannot be compared.")
    scorers, found, done = [reference, *candidates], Positions.empty(texts, len(candidates)), 0
    with Meters(reference.n_vocab, how.n_threads, normalised=how.normalised) as meters:
        for index, text in enumerate(texts):
            for piece in pieces(text, texts[index - 1] if index else None, how.chunk, scorers):
                with naming([scorer.name for scorer in scorers], f"on {text.place}"):
                    read = _read(text, piece, scorers, meters, how)
                for i, seen in enumerate(read, piece.first_predicted):
                    found.enter(done, (index, i, text.tokens[i]), seen)
                    done += 1
    return found


def score_in_turn(texts: Sequence[Text], reference: Scorer, candidates: Sequence[Opener], how: Feeding) -> Positions:
    """The same as `score`, bit for bit, with one candidate open at a time.

    how.report hears every token once for each candidate. Raises as `score` does.
    """
    return joined([_block(block, reference, candidates, how) for block in blocks(texts, reference.n_vocab)])


def _block(texts: Sequence[Text], reference: Scorer, candidates: Sequence[Opener], how: Feeding) -> Positions:
    kept, found = Kept(reference), list[Positions]()
    for opened in candidates:
        with opened() as candidate:
            found.append(score(texts, kept, [candidate], how))
        kept, how = kept.again(), replace(how, on_rows=ignore)
    return beside(found)


def blocks(texts: Sequence[Text], n_vocab: int) -> Iterator[Sequence[Text]]:
    """The texts in their order, so many at a time that their rows can be kept, but at least one."""
    first, n_rows, most = 0, 0, rows_kept(n_vocab)
    for i, text in enumerate(texts):
        if i > first and n_rows + text.n_rows > most:
            yield texts[first:i]
            first, n_rows = i, 0
        n_rows += text.n_rows
    yield texts[first:]


def rows_kept(n_vocab: int) -> int:
    """The number of rows of logits that can be kept."""
    return KEPT // (n_vocab * np.dtype(np.float32).itemsize)


class Kept(Scorer):
    """A scorer that keeps the rows that it gives, and `again` gives them without the model."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer, self.n_vocab, self.name, self.can_keep = scorer, scorer.n_vocab, scorer.name, scorer.can_keep
        self.rows: list[Rows] = []  # of every call that asked for some

    def keep(self, n_tokens: int) -> None:
        self.scorer.keep(n_tokens)

    def feed(self, tokens: Sequence[int], n_rows: int) -> Rows:
        rows = np.array(self.scorer.feed(tokens, n_rows))  # a copy: the next call overwrites them
        if n_rows:
            self.rows.append(rows)
        return rows

    def again(self) -> Kept:
        """A scorer that gives the same rows for the same texts."""
        return _Again(self)

    def close(self) -> None:
        self.scorer.close()


class _Again(Kept):
    """The rows that were kept, in their order."""

    def __init__(self, kept: Kept) -> None:
        super().__init__(kept.scorer)
        self.rows, self._next = kept.rows, iter(kept.rows)

    def keep(self, n_tokens: int) -> None:
        pass

    def feed(self, tokens: Sequence[int], n_rows: int) -> Rows:
        return next(self._next) if n_rows else np.empty((0, self.n_vocab), np.float32)


def _read(text: Text, piece: Piece, scorers: Sequence[Scorer], meters: Meters, how: Feeding) -> list[Read]:
    """Feed one piece to every scorer, the reference first; the measures of its scored rows."""
    tokens = text.tokens[piece.start : piece.end]
    rows, *others = [scorer.feed(tokens, piece.n_rows) for scorer in scorers]
    read = meters.read(rows, others, text.tokens[piece.first_predicted : piece.end + 1])
    how.on_rows(rows)
    how.report(len(tokens))
    return read


@dataclass(frozen=True, slots=True)
class Piece:
    """The tokens of one call, [start, end), of which the last `n_rows` rows are scored."""

    start: int
    end: int
    n_rows: int

    @property
    def first_predicted(self) -> int:
        """Index of the token that the first scored row predicts."""
        return self.end - self.n_rows + 1


def pieces(text: Text, previous: Text | None, chunk: int, scorers: Sequence[Scorer]) -> Iterator[Piece]:
    """The calls of a text, at most `chunk` tokens each, with breaks at the same places in every text.

    A prompt that the previous text shares stays in the scorers and is not fed again: with equal breaks, that changes
    no bit.
    """
    n = text.n_kept
    alike = previous is not None and previous.n_kept == n and list(previous.tokens[:n]) == list(text.tokens[:n])
    kept = n if alike and all(scorer.can_keep for scorer in scorers) else 0
    for scorer in scorers:
        scorer.keep(kept)
    yield from calls(text, chunk, kept)


def calls(text: Text, chunk: int, kept: int = 0) -> Iterator[Piece]:
    """The calls of a text from token `kept` on; a shared prompt ends a call."""
    n, end = text.n_kept, len(text.tokens) - 1  # the last token is predicted, not fed
    starts = [*range(kept, n, chunk), *range(n, end, chunk)]
    for start, stop in zip(starts, [*starts[1:], end], strict=True):
        yield Piece(start, stop, max(0, stop - max(start, text.first)))


@contextmanager
def naming(models: Sequence[str], doing: str) -> Iterator[None]:
    """Say in the error for broken logits which of the models gave them, and what it was doing."""
    try:
        yield
    except BrokenLogitsError as error:
        raise LocalentError(f"{models[error.model]} {doing}: {error}") from None
