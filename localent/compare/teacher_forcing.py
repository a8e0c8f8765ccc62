"""Teacher forcing: the same token ids through a reference and its candidates, compared position by position.

No logits are kept: a piece of text goes through every model, its rows are compared in the engines' buffers, and each
position leaves a few numbers. The reference's row is computed once for all candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from localent.compare.positions import Fed, Meters, Positions, Read
from localent.compare.text import Text
from localent.engine import Scorer
from localent.errors import BrokenLogitsError, LocalentError
from localent.runs.progress import ignore


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
