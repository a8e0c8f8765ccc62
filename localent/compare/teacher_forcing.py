"""Teacher forcing: the same token ids through a reference and its candidates, compared position by position.

No logits are kept: a chunk of texts goes through every model, its rows are compared where the engine left them, and
what stays of a position are a few numbers. The reference's row is computed once and shared by all candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from localent.compare.positions import Meters, Positions
from localent.compare.text import Text
from localent.engine import Row, Scorer
from localent.errors import BrokenLogitsError, LocalentError


@dataclass(frozen=True, slots=True, kw_only=True)
class Feeding:
    """How texts are fed, and who hears of it."""

    chunk: int  # tokens of a call
    n_threads: int
    normalised: bool = False  # the reference gives log-probabilities, from a base file
    on_rows: Callable[[Sequence[Row]], object] = lambda rows: None  # is shown every scored row of the reference
    report: Callable[[int], object] = lambda n_tokens: None  # is told how many tokens of text have been fed since


def score(texts: Sequence[Text], reference: Scorer, candidates: Sequence[Scorer], how: Feeding) -> Positions:
    """Measures of every scored position of the texts under the reference and all candidates.

    Raises LocalentError for vocabularies of different sizes, and for broken logits, which it names.
    """
    if differing := [c.n_vocab for c in candidates if c.n_vocab != reference.n_vocab]:
        raise LocalentError(f"Logits over {reference.n_vocab:,} and {differing[0]:,} entries cannot be compared.")
    found, done = Positions.empty(texts, len(candidates)), 0
    with Meters(reference.n_vocab, how.n_threads, normalised=how.normalised) as meters:
        for index, text in enumerate(texts):
            previous = texts[index - 1] if index else None
            for start, end, n_rows in pieces(text, previous, how.chunk, [reference, *candidates]):
                piece = text.tokens[start:end]
                rows = reference.feed(piece, n_rows)
                others = [candidate.feed(piece, n_rows) for candidate in candidates]
                first = end - n_rows + 1
                following = text.tokens[first : end + 1]
                with naming([s.name for s in (reference, *candidates)], f"on {text.place}"):
                    read = meters.read(rows, others, following)
                for i, seen in enumerate(read):
                    found.enter(done + i, (index, first + i, following[i]), seen)
                how.on_rows(rows)
                how.report(len(piece))
                done += n_rows
    return found


def pieces(text: Text, previous: Text | None, chunk: int, scorers: Sequence[Scorer]) -> Iterator[tuple[int, int, int]]:
    """(start, end, rows) of each call, in chunks that begin at 0 and at n_kept.

    They are the same for every text, so that a shared prompt is fed once and changes no bit.
    """
    n = text.n_kept
    alike = previous is not None and previous.n_kept == n and list(previous.tokens[:n]) == list(text.tokens[:n])
    kept = n if alike and all(scorer.can_keep for scorer in scorers) else 0
    for scorer in scorers:
        scorer.keep(kept)
    end = len(text.tokens) - 1  # the last token is predicted, not fed
    starts = [*range(kept, n, chunk), *range(n, end, chunk)]
    for start, stop in zip(starts, [*starts[1:], end], strict=True):
        yield start, stop, max(0, stop - max(start, text.first))


@contextmanager
def naming(models: Sequence[str], doing: str) -> Iterator[None]:
    """Name the model whose logits turn out broken, one of those read together, and what it was doing."""
    try:
        yield
    except BrokenLogitsError as error:
        raise LocalentError(f"{models[error.model]} {doing}: {error}") from None
