"""Token measures of given texts, as a model reads them: plain, conversations, or traces of any model.

Where they are kept, a text is a row of `texts`, and each of its tokens one of `text_tokens`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from localent.engine import Coroutine, Vocab
from localent.errors import LocalentError, UsageError
from localent.measure.meter import Meter
from localent.records import Token
from localent.runs import session
from localent.runs.identity import build_of
from localent.runs.passages import PLAIN, Passage, Voice
from localent.runs.progress import SILENT, Listener, Tally
from localent.runs.session import Loaded
from localent.runs.settings import Settings
from localent.store import open_db
from localent.store.rows import Seen
from localent.tracing.given import read_window

WINDOW = 512  # tokens of plain text that are read at a time
LANES = 8
MACRO = "macro average"
KEPT = ("lanes", "threads", "gpu_layers", "cache_type_k", "cache_type_v")  # settings that can change a bit here
Read = tuple[int, int, list[Token]]  # index of the text, index of the window, its predicted tokens


@dataclass(frozen=True, slots=True)
class Window:
    """Tokens that are read from an empty context, after the BOS where the model has one."""

    tokens: tuple[int, ...]
    counts: tuple[bool, ...]  # of each token; False: said by another than the assistant


@dataclass(frozen=True, slots=True)
class Text:
    """The measures of one text: means over its tokens that count.

    The first token of each window has no prediction unless the model has a BOS.
    """

    name: str
    form: str  # "plain" | "chat" | "traces"; of an average: "average"
    n_tokens: int  # that count
    n_windows: int  # windows of plain text, conversations or traces
    n_left: int  # those that there was no time for
    surprisal: float  # nats a token
    perplexity: float
    entropy: float  # nats a token
    varentropy: float  # nats squared
    top1: float  # share of tokens that were the most likely
    text_id: str | None = None  # in the database; None: not kept


def score_text(
    model: str, text: str, *, window: int = WINDOW, settings: Settings | None = None, listener: Listener = SILENT
) -> Text:
    """Token measures of one plain text; see score_texts."""
    passages = [Passage("text", PLAIN, text)]
    return score_texts(model, passages, window=window, settings=settings, listener=listener)[0]


def score_texts(
    model: str,
    passages: Sequence[Passage],
    *,
    window: int = WINDOW,
    settings: Settings | None = None,
    keep: Path | None = None,
    listener: Listener = SILENT,
) -> list[Text]:
    """Token measures of texts: plain ones in independent windows, dialogues whole; as many as there is time for.

    settings: lanes, threads, GPU layers, cache types and the chat template count; default: 8 lanes. keep: the database
    that gets a row per token. Texts of which there was no time for a single window are left out. Raises UsageError for
    a text of fewer than two tokens, LocalentError for a dialogue that the template cannot carry or that is longer than
    the model's context, and where the time is up before the first window.
    """
    if window < 2:
        raise UsageError(f"--window must be at least 2 tokens, got {window}.")
    settings = settings or Settings()
    settings = replace(settings, lanes=settings.lanes or LANES, ctx=window)
    with session.loaded(session.usable(model), settings) as ready:
        size = min(window, ready.weights.n_ctx_train - 1)
        parts = [windows_of(passage, size, ready) for passage in passages]
        longest = max(len(one.tokens) for part in parts for one in part)
        ready = ready.with_ctx(longest + 1)
        found = _read(ready, parts, listener)
        if not any(found):
            raise LocalentError(f"No window was read in {listener.time.minutes:g} min: give more --minutes.")
        reading = [_Reading(*one, window) for one in zip(passages, parts, found, strict=True)]
        return [_kept(one, ready, keep) if keep else one.summed() for one in reading if one.found]


def macro(texts: Sequence[Text]) -> Text:
    """The average over texts, each of which counts the same; its perplexity is that of the mean surprisal."""
    surprisal = _mean([t.surprisal for t in texts])
    return Text(
        name=MACRO,
        form="average",
        n_tokens=sum(t.n_tokens for t in texts),
        n_windows=sum(t.n_windows for t in texts),
        n_left=sum(t.n_left for t in texts),
        surprisal=surprisal,
        perplexity=float(np.exp(surprisal)),
        entropy=_mean([t.entropy for t in texts]),
        varentropy=_mean([t.varentropy for t in texts]),
        top1=_mean([t.top1 for t in texts]),
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


# ── what is read ──────────────────────────────────────────────────────────────────────────────────────────────────


def windows_of(passage: Passage, size: int, ready: Loaded) -> list[Window]:
    """A text as it is read: plain text in windows of `size` tokens, dialogues whole."""
    vocab = ready.weights.vocab
    if passage.form == PLAIN:
        return [Window(tuple(w), (True,) * len(w)) for w in plain_windows(passage.text, size, vocab)]
    voice = voice_of(ready)
    found = [_of_dialogue(voice.tokens(dialogue, vocab), vocab) for dialogue in passage.dialogues]
    for dialogue, one in zip(passage.dialogues, found, strict=True):
        if len(one.tokens) >= ready.weights.n_ctx_train:
            raise LocalentError(
                f"{dialogue.place} has {len(one.tokens):,} tokens, the model was trained for"
                f" {ready.weights.n_ctx_train:,}: shorten it, or take another model."
            )
    return found


def voice_of(ready: Loaded) -> Voice:
    """The template that a model's dialogues are written with."""
    chosen = ready.settings
    variables = {**ready.weights.vocab.variables, **(chosen.template_vars or {})}
    return Voice(chosen.chat_template or ready.file.header.template, variables)


def _of_dialogue(tokens: Sequence[tuple[int, bool]], vocab: Vocab) -> Window:
    ids, counts = zip(*tokens, strict=True)
    skip = int(vocab.bos is not None)  # it is fed in any case, and never predicted
    return Window(tuple(ids[skip:]), tuple(counts[skip:]))


def plain_windows(text: str, size: int, vocab: Vocab) -> list[list[int]]:
    """The tokens of a text in windows of `size`, without a last one in which nothing is predicted."""
    tokens = vocab.tokenize(text)
    if len(tokens) < 2:
        raise UsageError("There is nothing to read: the text has fewer than two tokens.")
    windows = [tokens[i : i + size] for i in range(0, len(tokens), size)]
    return [w for w in windows if len(w) > 1 or vocab.bos is not None]


def _read(ready: Loaded, parts: Sequence[Sequence[Window]], listener: Listener) -> list[dict[int, list[Token]]]:
    """Of each text, index of the window -> its predicted tokens."""
    found: list[dict[int, list[Token]]] = [{} for _ in parts]
    n = sum(map(len, parts))
    with ready.engine() as lanes:
        meter = Meter(lanes.n_vocab)
        tally = Tally(listener, n, lanes.n_lanes, name=f"reading {n} windows", unit="window")
        jobs = (_one((i, j), w, meter, lanes.vocab) for i, windows in enumerate(parts) for j, w in enumerate(windows))
        for i, j, tokens in tally.driven(lanes, jobs):
            found[i][j] = tokens
            tally.done()
    return found


def _one(place: tuple[int, int], window: Window, meter: Meter, vocab: Vocab) -> Coroutine[Read]:
    tokens = yield from read_window(window.tokens, meter, vocab)
    counts = window.counts[len(window.counts) - len(tokens) :]
    return *place, [replace(token, given=not own) for token, own in zip(tokens, counts, strict=True)]


# ── what is found ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Reading:
    """One text as it was read."""

    passage: Passage
    windows: Sequence[Window]
    found: dict[int, list[Token]]  # by the index of the window
    size: int  # of a window of plain text

    def summed(self) -> Text:
        tokens = [token for i in sorted(self.found) for token in self.found[i] if not token.given]
        surprisal = _mean([t.surprisal for t in tokens])
        return Text(
            name=self.passage.name,
            form=self.passage.form,
            n_tokens=len(tokens),
            n_windows=len(self.found),
            n_left=len(self.windows) - len(self.found),
            surprisal=surprisal,
            perplexity=float(np.exp(surprisal)),
            entropy=_mean([t.entropy for t in tokens]),
            varentropy=_mean([t.varentropy for t in tokens]),
            top1=_mean([t.rank == 1 for t in tokens]),
        )

    def rows(self, vocab: Vocab) -> Iterator[tuple[int, list[Seen]]]:
        """Of each window that was read, its index and its tokens."""
        for i in sorted(self.found):
            window, seen = self.windows[i], self.found[i]
            known: list[Token | None] = [*[None] * (len(window.tokens) - len(seen)), *seen]
            listed = zip(window.tokens, window.counts, known, strict=True)
            yield i, [(token, vocab.pieces[token], not own, one) for token, own, one in listed]

    def text_id(self, model_sha256: str, how: dict[str, object]) -> str:
        """12 hex digits of everything that can change a bit of its rows."""
        fed = hashlib.sha256(repr([(w.tokens, w.counts) for w in self.windows]).encode()).hexdigest()
        content = json.dumps([model_sha256, fed, how], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:12]


def _kept(one: _Reading, ready: Loaded, db: Path) -> Text:
    """The measures of a text, whose rows are in the database from now on; they replace those of an earlier reading."""
    settings: dict[str, object] = {name: getattr(ready.settings, name) for name in KEPT}
    settings |= {"window": one.size} if one.passage.form == PLAIN else {}
    build, model = build_of(ready.file.path, ready.settings.gpu_layers or 0), ready.file.header.model
    text_id = one.text_id(model.sha256, settings | build)
    found = replace(one.summed(), text_id=text_id)
    row = asdict(found) | {"model_sha256": model.sha256, "settings": settings, "build": build}
    with open_db(db) as store:
        store.add_model(model)
        store.add_text(row, one.rows(ready.weights.vocab))
    return found
