"""Teacher forcing: the same token ids through a reference and its candidates, compared position by position.

No logits are kept: a chunk of texts goes through every model, its rows are compared where llama.cpp left them, and what
stays of a position are a few numbers. The reference's row is computed once and shared by all candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields

import numpy as np

from localent.engine import Scorer
from localent.errors import BrokenLogitsError, LocalentError
from localent.measure.divergence import Divergence, PairMeter, Side

SIDE = tuple(f.name for f in fields(Side) if f.name != "top1_id")
MEASURES = tuple(f.name for f in fields(Divergence) if f.name != "candidate")
Columns = dict[str, np.ndarray]  # measure -> (n_positions,) float64


@dataclass(frozen=True, slots=True)
class Text:
    """Token ids to feed, and which predictions count."""

    tokens: Sequence[int]
    first: int  # the first row that is scored; row i predicts tokens[i + 1]
    n_shared: int = 0  # tokens that the text before began with, too, and that every text of the pass is fed alike
    problem: str | None = None  # what resampling keeps together
    trace_id: int | None = None
    classes: Sequence[str] = ()  # of the tokens that the scored rows predict; empty: plain text

    @property
    def n_rows(self) -> int:
        return len(self.tokens) - 1 - self.first

    @property
    def place(self) -> str:
        """What to call it in a sentence: a problem's trace, or a chunk."""
        return f"problem {self.problem}" if self.trace_id is not None else self.problem or "the text"

    @property
    def n_kept(self) -> int:
        """Tokens that need not be fed again: shared, and before the first row that is scored."""
        return min(self.n_shared, self.first)


@dataclass(frozen=True, slots=True)
class Positions:
    """Every scored position: which it is, what the reference says, how each candidate differs."""

    text: np.ndarray  # (n,) index of the text
    position: np.ndarray  # (n,) index of the predicted token in its text
    token_id: np.ndarray  # (n,)
    reference: Columns
    candidates: tuple[Columns, ...]

    def __len__(self) -> int:
        return len(self.text)


def score(
    texts: Sequence[Text],
    reference: Scorer,
    candidates: Sequence[Scorer],
    *,
    chunk: int,
    n_threads: int,
    normalised: bool = False,
    on_rows: Callable[[Sequence[np.ndarray]], object] = lambda rows: None,
    report: Callable[[int], object] = lambda n_tokens: None,
) -> Positions:
    """Score texts under the reference and all candidates.

    `normalised`: the reference gives log-probabilities, from a base file. `on_rows` is shown every scored reference
    row; `report` is told how many tokens of text have been fed since the last time.
    """
    if differing := [c.n_vocab for c in candidates if c.n_vocab != reference.n_vocab]:
        raise LocalentError(f"Logits over {reference.n_vocab:,} and {differing[0]:,} entries cannot be compared.")
    found, done = _empty(texts, len(candidates)), 0
    with _Meters(reference.n_vocab, n_threads, normalised) as meters:
        for index, text in enumerate(texts):
            previous = texts[index - 1] if index else None
            for start, end, n_rows in pieces(text, previous, chunk, [reference, *candidates]):
                piece = text.tokens[start:end]
                rows = reference.feed(piece, n_rows)
                others = [candidate.feed(piece, n_rows) for candidate in candidates]
                following = text.tokens[end - n_rows + 1 : end + 1]
                with named([s.name for s in (reference, *candidates)], f"on {text.place}"):
                    read = meters.read(rows, others, following)
                for i, seen in enumerate(read):
                    _enter(found, done + i, index, end - n_rows + 1 + i, following[i], *seen)
                on_rows(rows)
                report(len(piece))
                done += n_rows
    return found


def pieces(text: Text, previous: Text | None, chunk: int, scorers: Sequence[Scorer]) -> Iterator[tuple[int, int, int]]:
    """(start, end, rows) of each call, in chunks that begin at 0 and at n_kept: the same for every text, so that a
    shared prompt is fed once and changes no bit."""
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
def named(models: Sequence[str], doing: str) -> Iterator[None]:
    """Say which of the models that are read together has broken logits, and at what."""
    try:
        yield
    except BrokenLogitsError as error:
        raise LocalentError(f"{models[error.model]} {doing}: {error}") from None


class _Meters:
    """Rows shared out among threads: each row is read whole by one meter, so the result does not depend on them."""

    def __init__(self, n_vocab: int, n_threads: int, normalised: bool):
        self._meters = [PairMeter(n_vocab) for _ in range(n_threads)]
        self._pool, self._normalised = ThreadPoolExecutor(n_threads), normalised

    def read(self, rows, others, following) -> list[tuple[Side, list[Divergence]]]:
        found: list = [None] * len(following)

        def work(i: int) -> None:
            for j in range(i, len(following), len(self._meters)):
                row, pair = rows[j], [other[j] for other in others]
                found[j] = self._meters[i].read(row, pair, following[j], normalised=self._normalised)

        list(self._pool.map(work, range(len(self._meters))))
        return found

    def __enter__(self) -> _Meters:
        return self

    def __exit__(self, *_) -> None:
        self._pool.shutdown()


def _empty(texts: Sequence[Text], n_candidates: int) -> Positions:
    n = sum(text.n_rows for text in texts)

    def columns(names: Sequence[str]) -> Columns:
        return {name: np.full(n, np.nan) for name in names}

    ids = [np.empty(n, np.int64) for _ in range(3)]
    return Positions(*ids, columns(SIDE), tuple(columns((*MEASURES, *SIDE)) for _ in range(n_candidates)))


def _enter(found: Positions, at: int, text: int, position: int, token: int, side: Side, differences) -> None:
    found.text[at], found.position[at], found.token_id[at] = text, position, token
    for name in SIDE:
        found.reference[name][at] = getattr(side, name)
    for columns, difference in zip(found.candidates, differences, strict=True):
        for name in MEASURES:
            columns[name][at] = getattr(difference, name)
        for name in SIDE:
            columns[name][at] = getattr(difference.candidate, name)
