"""What is scored: chunks of plain text as llama-perplexity cuts them, the rows of a base file, or stored traces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from localent.compare.classes import classes_of
from localent.compare.teacher_forcing import Text
from localent.engine import Prompt, Scorer, Vocab
from localent.errors import UsageError
from localent.files.kld_base import Base, chunks
from localent.records import Trace


def read_text(path: Path) -> str:
    """A text file as llama-perplexity reads it: without one line break at its end."""
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text (byte {error.start}).") from None
    return text.removesuffix("\n")


def chunks_of(text: str, vocab: Vocab, n_ctx: int, limit: int | None = None) -> np.ndarray:
    """Token ids in whole chunks: -> (n_chunks, n_ctx) int32; what is left over is not scored, as in llama-perplexity.

    Raises UsageError where the text is shorter than one chunk.
    """
    bos = [] if vocab.bos is None else [vocab.bos]
    tokens = [*bos, *vocab.tokenize(text)]
    n = min(len(tokens) // n_ctx, len(tokens) if limit is None else limit)
    if n < 1:
        raise UsageError(
            f"The text has {len(tokens)} tokens, one chunk takes {n_ctx}: give more text or a smaller --ctx."
        )
    return np.array(tokens[: n * n_ctx], np.int32).reshape(n, n_ctx)


def of_chunks(tokens: np.ndarray, bos: int | None) -> list[Text]:
    """Each chunk is a text of its own; its first token becomes BOS where the vocabulary wants one, its second half is
    scored. Source: `perplexity` in llama.cpp's tools/perplexity."""
    n_ctx = tokens.shape[1]
    return [Text(row if bos is None else [bos, *row[1:]], first=n_ctx // 2) for row in tokens.tolist()]


def of_trace(prompt: Prompt, trace: Trace, trace_id: int) -> Text:
    """A prompt and the trace written after it: the trace's own tokens are scored."""
    written = [token.token_id for token in trace.tokens]
    return Text(
        tokens=[*prompt.tokens, *written],
        first=len(prompt.tokens) - 1,
        n_shared=prompt.n_shared,
        problem=trace.problem_id,
        trace_id=trace_id,
        classes=classes_of([token.text for token in trace.tokens], trace.steps),
    )


class FileScorer(Scorer):
    """A base file in the place of a reference model: chunk after chunk, whatever is fed."""

    can_keep = False

    def __init__(self, base: Base):
        self.name, self.n_vocab, self._chunks = base.path.name, base.n_vocab, chunks(base)
        self._rows: Iterator[np.ndarray] = iter(())

    def keep(self, n_tokens: int) -> None:
        self._rows = iter(next(self._chunks))

    def feed(self, tokens: Sequence[int], n_rows: int) -> Sequence[np.ndarray]:
        return [next(self._rows) for _ in range(n_rows)]
