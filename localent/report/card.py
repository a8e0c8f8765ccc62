"""A comparison as a section of a model card: Markdown with verdict, table, figure, method, and how to repeat it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

import localent
from localent.compare import Comparison
from localent.report import overview
from localent.report.compare import judged
from localent.report.table import cell_text, table

FIGURE = "kld-pareto.svg"
SAME_TEXT = {
    "text": "The same token ids went through all files, in chunks of which the second half is scored, as"
    " llama-perplexity does: {n:,} positions.",
    "turns": "The same token ids went through all files: conversations written with the reference's chat template, of"
    " which what the assistant says is scored ({n:,} positions).",
    "run": "The reference wrote {texts:,} reasoning traces; their token ids went through all files ({n:,} positions),"
    " and each file worked on the same problems by itself, with the same seeds.",
    "base file": "The log-probabilities of the reference come from a base file of llama-perplexity: {n:,} positions.",
}


def card(c: Comparison, command: Sequence[str]) -> str:
    """The section. command: the words that make the comparison again."""
    said = judged(c)
    short = [cell_text(sentence) for sentence in overview.headline(c, said)]
    blocks = [
        "## What quantization changes",
        " ".join(short),
        table(*overview.markdown(c), markdown=True, max_width=None),
        f"![KLD against file size]({FIGURE})",
        "### In words",
        "\n".join(f"- {cell_text(verdict.sentence)}" for verdict in said),
        "### How it was measured",
        " ".join(_method(c)),
        "\n".join(["```sh", *_commands(command), "```"]),
    ]
    return "\n\n".join(blocks)


def _method(c: Comparison) -> Iterator[str]:
    n = c.candidates[0].forced.n if c.candidates else 0
    yield SAME_TEXT["turns" if c.unit != "chunks" else c.source].format(n=n, texts=c.n_texts)
    yield from (note for note in overview.notes(c) if "--full" not in note)
    yield f"Measured with localent {localent.__version__}, no logits stored."


def _commands(command: Sequence[str]) -> Iterator[str]:
    yield f"pip install 'localent[plot]=={localent.__version__}'"
    yield shlex.join(command)
    yield shlex.join(["localent", "plot", "--kind", "pareto", "-o", FIGURE])
