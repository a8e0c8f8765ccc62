"""Comparing on plain text, in llama-perplexity's chunks: beside a reference model, or beside a base file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path

from localent.compare import chunks, stored
from localent.compare.models import headers_of, loaded, placed
from localent.compare.plan import DEFAULT, Plan, Source
from localent.compare.result import Comparison, Views, assemble
from localent.compare.scoring import Pass, figures, score_all
from localent.compare.text import digest_of
from localent.errors import LocalentError
from localent.files import kld_base
from localent.files.identity import Identity
from localent.runs import Report


def compare_text(
    reference: str,
    candidates: Sequence[str],
    text: Path,
    *,
    db: str | Path | None = None,
    plan: Plan = DEFAULT,
    write_base: Path | None = None,
    report: Report = lambda progress: None,
) -> Comparison:
    """Compare on plain text, in llama-perplexity's chunks. write_base: also write its base file."""
    headers = headers_of([reference, *candidates])
    content, plan = chunks.read_text(text), placed(headers, plan)
    with loaded(headers, plan) as models:
        vocab = models[0].vocab
        tokens = chunks.chunks_of(content, vocab, plan.ctx, plan.limit)
        texts = chunks.texts_of(tokens, vocab.bos)
        writer = kld_base.Writer(write_base, plan.ctx, vocab.n_tokens, tokens) if write_base else nullcontext()
        with writer as base:
            on_rows = base.add if base else lambda rows: None
            found, floor = score_all(models, Pass(texts, plan, report), on_rows)
    views = [Views(figures(floor, 0, texts, cut=True) if floor else None)]
    views += [Views(figures(found, i, texts, cut=True)) for i in range(len(candidates))]
    source = Source("text", text.name, digest_of(texts))
    done = assemble([h.model for h in headers], views, source, len(texts), plan)
    done = replace(done, warnings=_warnings(headers, plan.ctx))
    stored.write(db, done, found, texts, plan)
    return done


def compare_base(
    base_file: Path,
    candidates: Sequence[str],
    *,
    db: str | Path | None = None,
    plan: Plan = DEFAULT,
    report: Report = lambda progress: None,
) -> Comparison:
    """Compare with the log-probabilities that llama-perplexity stored of a reference, on its own chunks."""
    base = kld_base.read(base_file)
    headers = headers_of(candidates)
    _refuse_other_vocabulary(base, headers)
    base = replace(base, tokens=base.tokens[: plan.limit])
    plan = placed(headers, replace(plan, ctx=base.n_ctx, noise=False))
    with ExitStack() as stack:
        models = stack.enter_context(loaded(headers, plan))
        texts = chunks.texts_of(base.tokens, models[0].vocab.bos)
        whole = Pass(texts, plan, report)
        scorers = [stack.enter_context(whole.scorer(model)) for model in models]
        found = whole.score(chunks.BaseScorer(base), scorers, "base file and models", normalised=True)
    views = [Views(None), *(Views(figures(found, i, texts, cut=True, stored=True)) for i in range(len(headers)))]
    source = Source("base file", base_file.name, digest_of(texts))
    done = assemble([None, *(h.model for h in headers)], views, source, len(texts), plan)
    done = replace(done, warnings=_warnings(headers, plan.ctx))
    stored.write(db, done, found, texts, plan)
    return done


def _refuse_other_vocabulary(base: kld_base.Base, headers: Sequence[Identity]) -> None:
    if other := next((h.model for h in headers if h.model.n_vocab != base.n_vocab), None):
        raise LocalentError(
            f"{base.path.name} is over {base.n_vocab:,} tokens, {Path(other.path).name} has {other.n_vocab:,}: they"
            " cannot be compared."
        )


def _warnings(headers: Sequence[Identity], n_ctx: int) -> tuple[str, ...]:
    """A warning where a model is fed more than it was trained on: there it is another model."""
    trained = min((h.model.n_ctx_train for h in headers if h.model.n_ctx_train), default=n_ctx)
    if n_ctx <= trained:
        return ()
    return (f"Chunks of {n_ctx:,} tokens are longer than the {trained:,} of training: --ctx {trained} stays inside.",)
