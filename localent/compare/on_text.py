"""Comparison on texts: plain in llama-perplexity's chunks, or dialogues; with a reference model or its base file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from localent.compare import chunks, stored
from localent.compare.models import InMemory, differences, models_of, placed, repeated, usable
from localent.compare.plan import DEFAULT, Plan, Source
from localent.compare.positions import Fed, Positions, beside, part
from localent.compare.result import Comparison, Part, Views, assemble
from localent.compare.scoring import OnRows, Pass, figures, score_all
from localent.compare.text import Text, digest_of
from localent.errors import LocalentError, UsageError
from localent.files import kld_base
from localent.records import Model
from localent.runs import Settings
from localent.runs.passages import PLAIN, Passage, plain_text
from localent.runs.progress import Report, ignore
from localent.runs.session import Loaded
from localent.runs.text import voice_of


def compare_text(
    models: Sequence[str],
    on: Path | Sequence[Passage],
    *,
    db: str | Path | None = None,
    plan: Plan = DEFAULT,
    write_base: Path | None = None,
    report: Report = ignore,
) -> Comparison:
    """Compare models, the reference first, on texts: plain ones in llama-perplexity's chunks, dialogues turn by turn.

    on: a plain text file, or any texts; dialogues go through the reference's chat template. write_base: also write the
    reference's base file there, of one plain text. Raises UsageError for a text that cannot be read or is shorter than
    one chunk, LocalentError for models whose token ids mean different text.
    """
    files = usable(repeated(models, plan))
    passages = [Passage(on.name, PLAIN, plain_text(on))] if isinstance(on, Path) else on
    if write_base and [passage.form for passage in passages] != [PLAIN]:
        raise UsageError("--write-kld-base takes one plain text: llama-perplexity reads nothing else.")
    plan = placed(files, plan)
    with InMemory(files, _settings(plan), plan) as ready:
        parts = [_texts(passage, ready[0], plan, alone=len(passages) == 1) for passage in passages]
        texts = [text for part in parts for text in part]
        whole = Pass(texts, plan, report)
        speeds = whole.speeds(ready)
        chunks_written = np.array([text.tokens for text in texts]) if write_base else np.empty((0, 0))
        n_vocab = plan.n_vocab or ready[0].weights.vocab.n_tokens
        with _base_writer(write_base, n_vocab, chunks_written) as on_rows:
            found, floor = score_all(ready, whole, on_rows)
    cut = all(passage.form == PLAIN for passage in passages)
    forced = [figures(floor, 0, texts, cut=cut) if floor else None]
    forced += [figures(found, i, texts, cut=cut) for i in range(len(files) - 1)]
    each = [(), *(_parts(found, i, passages, parts) for i in range(len(files) - 1))]
    views = [Views(f, speed=s, parts=p) for f, s, p in zip(forced, speeds, each, strict=True)]
    source = Source("text", ", ".join(passage.name for passage in passages), digest_of(texts))
    done = _assembled(models_of(files), views, source, texts, plan)
    done = replace(done, unit=_unit(passages))
    stored.write(db, done, found, texts, plan)
    return done


def _texts(passage: Passage, reference: Loaded, plan: Plan, *, alone: bool) -> list[Text]:
    """What is fed of one text, as the reference tokenizes it. alone: there is no other text."""
    vocab = reference.weights.vocab
    if passage.form != PLAIN:
        return chunks.turns_of(passage, voice_of(reference), vocab, plan.limit)
    name = "The text" if alone else passage.name
    tokens = chunks.chunks_of(passage.text, vocab, plan.ctx, plan.limit, name=name)
    return chunks.texts_of(tokens, vocab.bos, "" if alone else passage.name)


def _parts(found: Positions, i: int, passages: Sequence[Passage], parts: Sequence[Sequence[Text]]) -> tuple[Part, ...]:
    """Candidate i on each of several texts; nothing for a single one."""
    if len(parts) == 1:
        return ()
    ends, cut = np.cumsum([0, *map(len, parts)]).tolist(), all(passage.form == PLAIN for passage in passages)
    return tuple(
        Part(passage.name, len(texts), figures(part(found, first, end), i, texts, cut=cut))
        for passage, texts, (first, end) in zip(passages, parts, pairwise(ends), strict=True)
    )


def _unit(passages: Sequence[Passage]) -> str:
    kinds = {"chunks" if passage.form == PLAIN else "turns" for passage in passages}
    return " and ".join(sorted(kinds))


def compare_base(
    base_file: Path,
    candidates: Sequence[str],
    *,
    db: str | Path | None = None,
    plan: Plan = DEFAULT,
    report: Report = ignore,
) -> Comparison:
    """Compare candidates with the log-probabilities of a reference in a base file of llama-perplexity, on its chunks.

    Raises LocalentError for a damaged file, and for a candidate with another vocabulary size.
    """
    base = kld_base.read(base_file)
    files = usable(candidates)
    models = models_of(files)
    _refuse_other_vocabulary(base, models)
    base = replace(base, tokens=base.tokens[: plan.limit])
    plan = placed(files, replace(plan, ctx=base.n_ctx, noise=False))
    with InMemory(files, _settings(plan), plan) as ready:
        texts = chunks.texts_of(base.tokens, ready[0].weights.vocab.bos)
        whole = Pass(texts, plan, report)
        speeds = whole.speeds(ready)
        found = beside([_with_base(base, ready[i], whole) for i in range(len(ready))])
    forced = [figures(found, i, texts, cut=True, stored=True) for i in range(len(models))]
    views = [Views(None), *(Views(seen, speed=speed) for seen, speed in zip(forced, speeds, strict=True))]
    done = _assembled([None, *models], views, Source("base file", base_file.name, digest_of(texts)), texts, plan)
    stored.write(db, done, found, texts, plan)
    return done


def _with_base(base: kld_base.Base, candidate: Loaded, whole: Pass) -> Positions:
    """Every scored position under one candidate, the reference being read from its file."""
    stage = f"base file and {candidate.file.path.name}"
    with whole.scorer(candidate) as scorer:
        return whole.score(chunks.BaseScorer(base), [scorer], stage, normalised=True)


def _settings(plan: Plan) -> Settings:
    return Settings(threads=plan.threads, gpu_layers=plan.gpu_layers)


@contextmanager
def _base_writer(path: Path | None, n_vocab: int, tokens: np.ndarray) -> Iterator[OnRows]:
    """The function that takes the reference's rows and writes them to a base file; without a path it ignores them.

    tokens: (n_chunks, n_ctx).
    """
    if path is None:
        yield ignore
        return
    with kld_base.Writer(path, tokens.shape[1], n_vocab, tokens) as base:

        def write(rows: Fed) -> None:
            base.add(np.asarray(rows))

        yield write


def _assembled(
    models: Sequence[Model | None], views: Sequence[Views], source: Source, texts: Sequence[Text], plan: Plan
) -> Comparison:
    """The comparison with its warnings."""
    known = [model for model in models if model is not None]
    return replace(assemble(models, views, source, len(texts), plan), warnings=_warnings(known, plan.ctx))


def _refuse_other_vocabulary(base: kld_base.Base, models: Sequence[Model]) -> None:
    if other := next((model for model in models if model.n_vocab != base.n_vocab), None):
        raise LocalentError(
            f"{base.path.name} and {other.file} cannot be compared: their vocabularies have"
            f" {base.n_vocab:,} and {other.n_vocab:,} tokens."
        )


def _warnings(models: Sequence[Model], n_ctx: int) -> tuple[str, ...]:
    """What differs between the files; where chunks are longer than a training context, that quality drops there."""
    told = differences(models)
    trained = min((model.n_ctx_train for model in models if model.n_ctx_train), default=n_ctx)
    if n_ctx <= trained:
        return told
    return (
        *told,
        f"Chunks of {n_ctx:,} tokens are longer than the training context of {trained:,} tokens: use --ctx {trained}.",
    )
