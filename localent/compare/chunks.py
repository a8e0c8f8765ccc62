"""Texts as they are fed: plain in llama-perplexity's chunks, dialogues turn by turn; the rows of a base file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np

from localent.compare.text import Text
from localent.engine import Row, Scorer, Vocab
from localent.errors import UsageError
from localent.files.kld_base import Base, chunks
from localent.runs.passages import Passage, Voice


def chunks_of(text: str, vocab: Vocab, n_ctx: int, limit: int | None = None, *, name: str = "The text") -> np.ndarray:
    """Token ids in whole chunks: -> (n_chunks, n_ctx) int32. The rest is dropped, as llama-perplexity does.

    limit: chunks at most. name: of the text, in the error. Raises UsageError where the text is shorter than one chunk.
    """
    bos = [] if vocab.bos is None else [vocab.bos]
    tokens = [*bos, *vocab.tokenize(text)]
    n = min(len(tokens) // n_ctx, len(tokens) if limit is None else limit)
    if n < 1:
        raise UsageError(
            f"{name} has {len(tokens)} tokens, one chunk takes {n_ctx}: use a longer text or a smaller --ctx."
        )
    return np.array(tokens[: n * n_ctx], np.int32).reshape(n, n_ctx)


def texts_of(tokens: np.ndarray, bos: int | None, name: str = "") -> list[Text]:
    """One text per chunk. Its first token is replaced by BOS where the vocabulary has one; its second half is scored.

    name: tells its chunks from those of other texts. Source: `perplexity` in llama.cpp's tools/perplexity.
    """
    first = tokens.shape[1] // 2
    rows = (row if bos is None else [bos, *row[1:]] for row in tokens.tolist())
    return [Text(row, first=first, problem=f"chunk {i}{name and f' of {name}'}") for i, row in enumerate(rows)]


def turns_of(passage: Passage, voice: Voice, vocab: Vocab, limit: int | None = None) -> list[Text]:
    """One text per turn of the assistant, which is scored, after all that was said before it.

    limit: dialogues at most.
    """
    return [
        text
        for dialogue in passage.dialogues[:limit]
        for text in _turns(voice.tokens(dialogue, vocab), f"{passage.name}: {dialogue.cluster}")
    ]


def _turns(tokens: Sequence[tuple[int, bool]], cluster: str) -> Iterator[Text]:
    ids = [token for token, _ in tokens]
    end = 0
    for said, group in groupby(own for _, own in tokens):
        start, end = end, end + len(list(group))
        if said and end > max(start, 1):
            yield Text(ids[:end], first=max(start, 1) - 1, problem=cluster)


class BaseScorer(Scorer):
    """A base file in the place of a reference model: returns its rows in order, independent of the tokens fed."""

    can_keep = False

    def __init__(self, base: Base) -> None:
        self.name, self.n_vocab, self._chunks = base.path.name, base.n_vocab, chunks(base)
        self._rows: Iterator[Row] = iter(())

    def keep(self, n_tokens: int) -> None:
        self._rows = iter(next(self._chunks))

    def feed(self, tokens: Sequence[int], n_rows: int) -> Sequence[Row]:
        return [next(self._rows) for _ in range(n_rows)]

    def close(self) -> None:
        """Nothing is held open."""
