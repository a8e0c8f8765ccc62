"""Importance matrices made here: how large the inputs of each weight matrix are while a model reads texts.

The same as llama-imatrix's: of every matrix in the layers, sums of squares of each input column over all tokens. Texts
are plain, in chunks, or conversations and traces through the model's own chat template.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from localent.engine import Options, Vocab
from localent.errors import UsageError
from localent.files import imatrix
from localent.files.tensors import tensors_of
from localent.machine import hardware
from localent.runs import session
from localent.runs.passages import Passage
from localent.runs.progress import Progress, Report, ignore
from localent.runs.session import Loaded
from localent.runs.settings import Settings
from localent.runs.text import windows_of

CTX = 512  # tokens of a chunk of plain text
LEAST = 16  # tokens: a shorter rest tells little, and llama-imatrix skips it
CHUNK = 256  # tokens of one call


@dataclass(frozen=True, slots=True)
class Inputs:
    """Sums of squared inputs of every matrix, by expert: one for a matrix that is no mixture's."""

    sums: dict[str, np.ndarray] = field(default_factory=dict)  # name -> (n_experts, n_in) float64
    counts: dict[str, np.ndarray] = field(default_factory=dict)  # name -> (n_experts,): inputs

    def take(self, name: str, rows: np.ndarray, experts: np.ndarray | None) -> None:
        """Add inputs (n, n_in) of a matrix; experts (n,): the one that each goes to."""
        index = np.zeros(len(rows), np.int64) if experts is None else experts
        self.grow(name, int(index.max()) + 1, rows.shape[1])
        squares = np.square(rows, dtype=np.float64)
        for expert in np.unique(index):
            self.sums[name][expert] += squares[index == expert].sum(axis=0)
        self.counts[name] += np.bincount(index, minlength=len(self.counts[name]))

    def grow(self, name: str, n_experts: int, n_in: int) -> None:
        """Make room for an expert that was not used before."""
        more = n_experts - len(self.counts.get(name, ()))
        if more > 0:
            known, counts = self.sums.get(name, np.empty((0, n_in))), self.counts.get(name, np.empty(0))
            self.sums[name] = np.concatenate([known, np.zeros((more, n_in))])
            self.counts[name] = np.concatenate([counts, np.zeros(more)])


def make(
    model: str,
    passages: Sequence[Passage],
    target: Path,
    *,
    limit: int | None = None,
    threads: int | None = None,
    report: Report = ignore,
) -> imatrix.Imatrix:
    """Write the importance matrix of a model over texts to `target`, whole or not at all, and read it back, checked.

    limit: chunks or conversations of each text at most. Raises UsageError for texts that are shorter than 16 tokens.
    """
    settings = Settings(threads=threads, lanes=1)
    with session.loaded(session.usable(model), settings) as ready:
        parts = [_windows(passage, ready, limit) for passage in passages]
        windows = [tokens for part in parts for tokens in part]
        if not windows:
            raise UsageError(f"The texts have no {LEAST} tokens in a row, too few for an importance matrix.")
        found = _read(ready, windows, report)
    for name, n_experts in _experts(ready.file.path):
        if name in found.sums:
            found.grow(name, n_experts, found.sums[name].shape[1])
    made_of = imatrix.MadeOf(tuple(passage.name for passage in passages), len(windows), CTX)
    imatrix.write(target, found.sums, found.counts, made_of)
    return imatrix.read(target)


def _windows(passage: Passage, ready: Loaded, limit: int | None) -> list[list[int]]:
    """The tokens that are fed of one text."""
    vocab: Vocab = ready.weights.vocab
    bos = [] if vocab.bos is None else [vocab.bos]
    size = min(CTX, ready.weights.n_ctx_train) - len(bos)
    found = [[*bos, *window.tokens] for window in windows_of(passage, size, ready)[:limit]]
    return [tokens for tokens in found if len(tokens) >= LEAST]


def _read(ready: Loaded, windows: Sequence[Sequence[int]], report: Report) -> Inputs:
    found = Inputs()
    threads = ready.settings.threads or hardware.usable_cores()
    options = Options(n_lanes=1, n_ctx=max(map(len, windows)), n_threads=threads, chunk=CHUNK)
    with ready.weights.watched(options, found.take) as scorer:
        for i, tokens in enumerate(windows):
            scorer.keep(0)
            for start in range(0, len(tokens), CHUNK):
                piece = tokens[start : start + CHUNK]
                scorer.feed(piece, len(piece))  # all rows: else the last layer leaves out the tokens without one
            report(Progress(i + 1, len(windows), name="reading for the importance matrix", unit="chunk"))
    return found


def _experts(path: Path) -> Iterator[tuple[str, int]]:
    """Experts of each matrix of a mixture: some may never have been used."""
    for tensor in tensors_of(path):
        if len(tensor.shape) == 3:
            yield tensor.name, int(tensor.shape[2])
