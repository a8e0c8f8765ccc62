"""Comparison on plain text in llama-perplexity's chunks, with a reference model or its base file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from localent.compare import chunks, stored
from localent.compare.models import differences, loaded, models_of, placed, repeated, usable
from localent.compare.plan import DEFAULT, Plan, Source
from localent.compare.positions import Fed
from localent.compare.result import Comparison, Views, assemble
from localent.compare.scoring import OnRows, Pass, figures, score_all
from localent.compare.text import Text, digest_of
from localent.errors import LocalentError
from localent.files import kld_base
from localent.records import Model
from localent.runs import Settings
from localent.runs.progress import Report, ignore


def compare_text(
    models: Sequence[str],
    text: Path,
    *,
    db: str | Path | None = None,
    plan: Plan = DEFAULT,
    write_base: Path | None = None,
    report: Report = ignore,
) -> Comparison:
    """Compare models, the reference first, on a text file in llama-perplexity's chunks.

    write_base: also write the reference's base file there. Raises UsageError for a text that cannot be read or is
    shorter than one chunk, LocalentError for models whose token ids mean different text.
    """
    files = usable(repeated(models, plan))
    content, plan = chunks.read_text(text), placed(files, plan)
    with loaded(files, _settings(plan), plan) as ready:
        vocab = ready[0].weights.vocab
        tokens = chunks.chunks_of(content, vocab, plan.ctx, plan.limit)
        texts = chunks.texts_of(tokens, vocab.bos)
        whole = Pass(texts, plan, report)
        speeds = whole.speeds(ready)
        with _base_writer(write_base, plan.n_vocab or vocab.n_tokens, tokens) as on_rows:
            found, floor = score_all(ready, whole, on_rows)
    forced = [figures(floor, 0, texts, cut=True) if floor else None]
    forced += [figures(found, i, texts, cut=True) for i in range(len(files) - 1)]
    views = [Views(seen, speed=speed) for seen, speed in zip(forced, speeds, strict=True)]
    done = _assembled(models_of(files), views, Source("text", text.name, digest_of(texts)), texts, plan)
    stored.write(db, done, found, texts, plan)
    return done


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
    with ExitStack() as stack:
        ready = stack.enter_context(loaded(files, _settings(plan), plan))
        texts = chunks.texts_of(base.tokens, ready[0].weights.vocab.bos)
        whole = Pass(texts, plan, report)
        scorers = [stack.enter_context(whole.scorer(one)) for one in ready]
        speeds = whole.speeds(ready)
        found = whole.score(chunks.BaseScorer(base), scorers, "base file and models", normalised=True)
    forced = [figures(found, i, texts, cut=True, stored=True) for i in range(len(models))]
    views = [Views(None), *(Views(seen, speed=speed) for seen, speed in zip(forced, speeds, strict=True))]
    done = _assembled([None, *models], views, Source("base file", base_file.name, digest_of(texts)), texts, plan)
    stored.write(db, done, found, texts, plan)
    return done


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
            f"{base.path.name} and {Path(other.path).name} cannot be compared: their vocabularies have"
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
