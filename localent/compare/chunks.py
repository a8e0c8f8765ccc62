"""Plain text in llama-perplexity's chunks, and the rows of its base file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from localent.compare.text import Text
from localent.engine import Row, Scorer, Vocab
from localent.errors import UsageError
from localent.files.kld_base import Base, chunks


def read_text(path: Path) -> str:
    """A text file as llama-perplexity reads it: without a final line break.

    Raises UsageError for one that cannot be read or is not UTF-8.
    """
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text (byte {error.start}).") from None
    return text.removesuffix("\n")


def chunks_of(text: str, vocab: Vocab, n_ctx: int, limit: int | None = None) -> np.ndarray:
    """Token ids in whole chunks: -> (n_chunks, n_ctx) int32. The rest is dropped, as llama-perplexity does.

    limit: chunks at most. Raises UsageError where the text is shorter than one chunk.
    """
    bos = [] if vocab.bos is None else [vocab.bos]
    tokens = [*bos, *vocab.tokenize(text)]
    n = min(len(tokens) // n_ctx, len(tokens) if limit is None else limit)
    if n < 1:
        raise UsageError(
            f"The text has {len(tokens)} tokens, one chunk takes {n_ctx}: use a longer text or a smaller --ctx."
        )
    return np.array(tokens[: n * n_ctx], np.int32).reshape(n, n_ctx)


def texts_of(tokens: np.ndarray, bos: int | None) -> list[Text]:
    """One text per chunk. Its first token is replaced by BOS where the vocabulary has one; its second half is scored.

    Source: `perplexity` in llama.cpp's tools/perplexity.
    """
    first = tokens.shape[1] // 2
    rows = (row if bos is None else [bos, *row[1:]] for row in tokens.tolist())
    return [Text(row, first=first, problem=f"chunk {i}") for i, row in enumerate(rows)]


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
