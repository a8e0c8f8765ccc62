"""Comparing on plain text, in llama-perplexity's chunks: beside a reference model, or beside a base file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path

from localent import engine
from localent.compare import texts
from localent.compare.assembly import assemble, heads_of, placed
from localent.compare.comparison import DEFAULT, Comparison, Plan
from localent.compare.scoring import measured, score_all, scored, scorer_of
from localent.compare.stored import digest_of, keep
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
    heads = heads_of([reference, *candidates])
    content, plan = texts.read_text(text), placed(heads, plan)
    with ExitStack() as stack:
        loaded = [stack.enter_context(engine.open(h.model.path, gpu_layers=plan.gpu_layers)) for h in heads]
        tokens = texts.chunks_of(content, loaded[0].vocab, plan.ctx, plan.limit)
        parts = [replace(t, problem=f"chunk {i}") for i, t in enumerate(texts.of_chunks(tokens, loaded[0].vocab.bos))]
        n_vocab = loaded[0].vocab.n_tokens
        writer = kld_base.Writer(write_base, plan.ctx, n_vocab, tokens) if write_base else nullcontext()
        with writer as base:
            found, floor = score_all(loaded, parts, plan, report, on_rows=base.add if base else lambda rows: None)
    results = [measured(found, i, parts, cut=True) for i in range(len(candidates))]
    floor_ = measured(floor, 0, parts, cut=True) if floor else None
    done = assemble(heads, results, floor_, ("text", text.name, digest_of(parts)), len(parts), plan)
    done = replace(done, warnings=_warnings(heads, plan.ctx))
    keep(db, done, found, parts, plan)
    return done


def compare_base(
    base_file: Path, candidates: Sequence[str], *, db=None, plan: Plan = DEFAULT, report: Report = lambda progress: None
) -> Comparison:
    """Compare with the log-probabilities that llama-perplexity stored of a reference, on its own chunks."""
    base = kld_base.read(base_file)
    heads = heads_of(candidates)
    if wrong := next((h for h in heads if h.model.n_vocab != base.n_vocab), None):
        raise LocalentError(
            f"{base_file.name} is over {base.n_vocab:,} tokens, {Path(wrong.model.path).name} has "
            f"{wrong.model.n_vocab:,}: they cannot be compared."
        )
    base = replace(base, tokens=base.tokens[: plan.limit])
    plan = placed(heads, replace(plan, ctx=base.n_ctx, noise=False))
    with ExitStack() as stack:
        loaded = [stack.enter_context(engine.open(h.model.path, gpu_layers=plan.gpu_layers)) for h in heads]
        parts = texts.of_chunks(base.tokens, loaded[0].vocab.bos)
        parts = [replace(t, problem=f"chunk {i}") for i, t in enumerate(parts)]
        scorers = [stack.enter_context(scorer_of(m, parts, plan)) for m in loaded]
        found = scored(parts, texts.FileScorer(base), scorers, plan, "base file and models", report, normalised=True)
    results = [measured(found, i, parts, cut=True, stored=True) for i in range(len(heads))]
    done = assemble([None, *heads], results, None, ("base file", base_file.name, digest_of(parts)), len(parts), plan)
    done = replace(done, warnings=_warnings(heads, plan.ctx))
    keep(db, done, found, parts, plan)
    return done


def _warnings(heads: Sequence[Identity], n_ctx: int) -> tuple[str, ...]:
    """A model that is fed more than it was trained on is another model."""
    trained = min((head.model.n_ctx_train for head in heads if head.model.n_ctx_train), default=n_ctx)
    if n_ctx <= trained:
        return ()
    return (f"Chunks of {n_ctx:,} tokens are longer than the {trained:,} of training: --ctx {trained} stays inside.",)
