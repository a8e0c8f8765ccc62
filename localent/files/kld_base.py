"""The base file of llama-perplexity's KL mode: the reference's log-probabilities in 16 bits, read and written.

Little endian: "_logits_" | uint32 n_ctx | int32 n_vocab | int32 n_chunk | int32 tokens[n_chunk * n_ctx]; then for
each chunk n_ctx - 1 - n_ctx/2 rows of uint16[2 * ceil(n_vocab / 2) + 4]: float32 scale, float32 smallest log p, then
q[n_vocab], log p = scale * q + smallest. What lies more than 16 nats below the top is stored as if it lay there.
"""

from __future__ import annotations

import math
import shutil
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from localent.errors import LocalentError, UsageError
from localent.files.opening import refuse_special

MAGIC = b"_logits_"
HEAD = struct.Struct("<8sIii")
RANGE = np.float32(16)  # nats below the largest logit that are kept
LEVELS = 65535
SLACK = 1e-3  # nats, and a share: float32 and its sums are nearer than that


Row = NDArray[np.float32]  # (n_vocab,) log-probabilities


@dataclass(frozen=True, slots=True)
class Base:
    """The head of a base file."""

    path: Path
    n_ctx: int
    n_vocab: int
    n_chunk: int  # in the file
    tokens: np.ndarray  # (n_chunk, n_ctx) int32, as tokenized: the first of a chunk is fed as BOS where one is wanted

    @property
    def n_rows(self) -> int:
        """Scored rows of a chunk."""
        return rows_of(self.n_ctx)

    @property
    def row_words(self) -> int:
        return _words(self.n_vocab)


def rows_of(n_ctx: int) -> int:
    """Rows scored in a chunk: the second half, but for the last token, which nothing follows."""
    return n_ctx - 1 - n_ctx // 2


def file_bytes(n_ctx: int, n_vocab: int, n_chunk: int) -> int:
    """Size of a whole base file."""
    return HEAD.size + n_chunk * (4 * n_ctx + 2 * rows_of(n_ctx) * _words(n_vocab))


def read(path: Path) -> Base:
    """Read the head. Raises UsageError for a missing file, LocalentError for a foreign or cut-off one."""
    refuse_special(path)
    try:
        with path.open("rb") as file:
            head = file.read(HEAD.size)
            if len(head) < HEAD.size or head[:8] != MAGIC:
                raise LocalentError(
                    f"{path} is not a base file of llama-perplexity: make one with --kl-divergence-base."
                )
            _, n_ctx, n_vocab, n_chunk = HEAD.unpack(head)
            expected = file_bytes(n_ctx, n_vocab, n_chunk) if min(n_ctx, n_vocab, n_chunk) > 0 else -1
            if path.stat().st_size != expected:
                size = f"{path.stat().st_size:,} bytes instead of {expected:,}"
                raise LocalentError(f"{path} is damaged or cut off ({size}): write it again.")
            tokens = np.fromfile(file, "<i4", n_chunk * n_ctx).reshape(n_chunk, n_ctx)
            if tokens.min() < 0 or tokens.max() >= n_vocab:
                ids = f"token ids from {tokens.min():,} to {tokens.max():,} among {n_vocab:,}"
                raise LocalentError(f"{path} is damaged ({ids}): write it again.")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    return Base(path, n_ctx, n_vocab, n_chunk, tokens)


def chunks(base: Base) -> Iterator[Packed]:
    """The log-probabilities of each chunk: (n_rows, n_vocab) float32, each row read from the disk when asked for."""
    shape = (base.n_rows, base.row_words)
    first = file_bytes(base.n_ctx, base.n_vocab, base.n_chunk) - 2 * base.n_chunk * shape[0] * shape[1]
    for i in range(len(base.tokens)):
        words = np.memmap(base.path, "<u2", "r", offset=first + 2 * i * shape[0] * shape[1], shape=shape)
        yield Packed(words, base, i * base.n_rows)


class Packed(Sequence[Row]):
    """Rows of a chunk, unpacked one at a time: packed[i] is (n_vocab,) float32 log-probabilities.

    Raises LocalentError for a row whose scale and smallest value no distribution has.
    """

    def __init__(self, words: np.ndarray, base: Base, n_before: int):
        self._words, self._base, self._n_before = words, base, n_before

    def __len__(self) -> int:
        return len(self._words)

    @overload
    def __getitem__(self, i: int) -> Row: ...
    @overload
    def __getitem__(self, i: slice) -> list[Row]: ...
    def __getitem__(self, i: int | slice) -> Row | list[Row]:
        return [self._row(k) for k in range(*i.indices(len(self)))] if isinstance(i, slice) else self._row(i)

    def _row(self, i: int) -> Row:
        words = self._words[i]
        if not is_sound(words, self._base.n_vocab):
            raise LocalentError(f"{self._base.path} is damaged (row {self._n_before + i:,}): write it again.")
        return unpack(words, self._base.n_vocab)


def is_sound(words: np.ndarray, n_vocab: int) -> bool:
    """True if a stored row's head can be a distribution's: a span of 0 to 16 nats, the top from ln 1/n to ln 1."""
    scale, least = words[:4].view("<f4").tolist()
    top = least + LEVELS * scale
    return 0 <= scale <= RANGE / LEVELS * (1 + SLACK) and -math.log(n_vocab) - SLACK <= top <= SLACK


def unpack(words: np.ndarray, n_vocab: int) -> np.ndarray:
    """One stored row -> log-probabilities: (n_words,) uint16 -> (n_vocab,) float32."""
    scale, least = words[:4].view("<f4")
    return scale * words[4 : 4 + n_vocab].astype(np.float32) + least


def pack(logits: np.ndarray, words: np.ndarray) -> None:
    """Store one row of raw logits in `words`: (n_vocab,) float32 -> (n_words,) uint16, float32 arithmetic as there."""
    top = logits.max()
    least = max(logits.min(), top - RANGE)
    log_sum = np.float32(np.log(np.exp(logits - top).sum(dtype=np.float64)))
    scale = (top - least) / np.float32(LEVELS)
    words[:4] = np.array([scale, least - top - log_sum], "<f4").view("<u2")
    words[4:] = 0
    if scale > 0:
        words[4 : 4 + len(logits)] = np.rint(np.maximum(logits - least, 0) * (np.float32(1) / scale))


class Writer:
    """Writes a base file chunk by chunk; the file gets its name when it is whole. Use as a context manager."""

    def __init__(self, path: Path, n_ctx: int, n_vocab: int, tokens: np.ndarray):
        self.path, self._partial = path, path.with_name(f".{path.name}.partial")
        _check_room(path, file_bytes(n_ctx, n_vocab, len(tokens)))
        self._row, self._n_vocab = np.zeros(_words(n_vocab), np.uint16), n_vocab
        try:
            self._file = self._partial.open("wb")
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}.") from None
        self._file.write(HEAD.pack(MAGIC, n_ctx, n_vocab, len(tokens)))
        self._file.write(np.ascontiguousarray(tokens, "<i4").tobytes())
        self._left = len(tokens) * rows_of(n_ctx)

    def add(self, rows: np.ndarray) -> None:
        """The next scored rows, raw logits: (n, n_vocab) float32."""
        try:
            for row in rows:
                if len(row) != self._n_vocab:
                    raise LocalentError(f"expected rows of {self._n_vocab} logits, got one of {len(row)}")
                pack(row, self._row)
                self._file.write(self._row.tobytes())
        except OSError as error:
            raise LocalentError(f"{self.path} cannot be written: {error.strerror}.") from None
        self._left -= len(rows)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._file.close()
        if kind is None and not self._left:
            self._partial.replace(self.path)
        self._partial.unlink(missing_ok=True)


def _check_room(path: Path, n_bytes: int) -> None:
    """Raise UsageError before hours of work where the disk cannot hold the file."""
    try:
        free = shutil.disk_usage(path.absolute().parent).free
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from None
    if n_bytes > free:
        raise UsageError(
            f"{path} would take {n_bytes / 1e6:,.0f} MB and the disk has {free / 1e6:,.0f}: "
            "compare fewer chunks, or name a file on another disk."
        )


def _words(n_vocab: int) -> int:
    return 2 * ((n_vocab + 1) // 2) + 4
