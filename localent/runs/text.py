"""Token measures of a plain text, as a model reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from localent.engine import Coroutine, Engine, Vocab
from localent.errors import LocalentError, UsageError
from localent.measure.meter import Meter
from localent.records import Token
from localent.runs import session
from localent.runs.progress import SILENT, Listener, Tally
from localent.runs.settings import Settings
from localent.tracing.given import read_window

WINDOW = 512  # tokens of plain text that are read at a time
LANES = 8


@dataclass(frozen=True, slots=True)
class Text:
    """A plain text, read in windows; the first token of each window has no prediction unless the model has a BOS."""

    n_tokens: int
    n_windows: int
    n_left: int  # windows that there was no time for
    surprisal: float  # nats a token
    perplexity: float
    entropy: float  # nats a token
    varentropy: float  # nats squared
    top1: float  # share of tokens that were the most likely


def score_text(
    model: str, text: str, *, window: int = WINDOW, settings: Settings | None = None, listener: Listener = SILENT
) -> Text:
    """Token measures of a text, in independent windows: the first ones, as many as there is time for.

    settings: lanes, threads and GPU layers count; default: 8 lanes. Raises UsageError for a text of less than two
    tokens, LocalentError where the time is up before the first window.
    """
    if window < 2:
        raise UsageError(f"--window must be at least 2 tokens, got {window}.")
    settings = settings or Settings()
    settings = replace(settings, lanes=settings.lanes or LANES, ctx=window)
    with session.loaded(session.usable(model), settings) as ready:
        vocab = ready.weights.vocab
        size = min(window, ready.weights.n_ctx_train - 1)
        windows = windows_of(text, size, vocab)
        with ready.with_ctx(size + 1).engine() as lanes:
            meter = Meter(lanes.n_vocab)
            tally = Tally(listener, len(windows), lanes.n_lanes, name=f"reading {len(windows)} windows", unit="window")
            found = list(_read(tally, lanes, (read_window(w, meter, vocab) for w in windows)))
    if not found:
        raise LocalentError(f"No window was read in {listener.time.minutes:g} min: give more --minutes.")
    return _summed([token for part in found for token in part], len(found), len(windows) - len(found))


def _read(tally: Tally, lanes: Engine, jobs: Iterable[Coroutine[list[Token]]]) -> Iterator[list[Token]]:
    for tokens in tally.driven(lanes, jobs):
        tally.done()
        yield tokens


def windows_of(text: str, size: int, vocab: Vocab) -> list[list[int]]:
    """The tokens of a text in windows of `size`, without a last one in which nothing is predicted."""
    tokens = vocab.tokenize(text)
    if len(tokens) < 2:
        raise UsageError("There is nothing to read: the text has fewer than two tokens.")
    windows = [tokens[i : i + size] for i in range(0, len(tokens), size)]
    return [w for w in windows if len(w) > 1 or vocab.bos is not None]


def _summed(tokens: Sequence[Token], n_windows: int, n_left: int) -> Text:
    surprisal = float(np.mean([t.surprisal for t in tokens]))
    return Text(
        n_tokens=len(tokens),
        n_windows=n_windows,
        n_left=n_left,
        surprisal=surprisal,
        perplexity=float(np.exp(surprisal)),
        entropy=float(np.mean([t.entropy for t in tokens])),
        varentropy=float(np.mean([t.varentropy for t in tokens])),
        top1=float(np.mean([t.rank == 1 for t in tokens])),
    )
