"""localent inspect: the contents of GGUF files, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from localent.cli import complete
from localent.cli.output import echo, room, tell
from localent.report.table import cell_text, cut, pad, text_width

if TYPE_CHECKING:
    from localent.files.tensors import Details


LEAST = 16  # columns of the terminal that a fact keeps


@click.command("inspect")
@click.argument("files", nargs=-1, required=True, metavar="FILE|FOLDER...", shell_complete=complete.models)
@click.option("--json", "json_", is_flag=True, help="Print JSON, one object a line.")
def command(files: tuple[str, ...], json_: bool) -> None:
    """Show the contents of GGUF files side by side: identity, tensor types, bits per weight, tokenizer.

    Two files of one label but different content are two models; if they hold the same tensors, those that differ are
    named.

    \b
    localent inspect model-Q4_K_M.gguf other-Q4_K_M.gguf
    localent inspect quants/
    """
    from localent import models
    from localent.files.tensors import fallback_sentence
    from localent.files.tensors import inspect as look
    from localent.report.table import json_text

    found = [look(models.resolve(name)) for name in models.in_folders(files)]
    if json_:
        for details in found:
            click.echo(json_text(asdict(details), nan=True))
        return
    facts = [_facts(details) for details in found]
    names = list(dict.fromkeys(name for fact in facts for name in fact))
    echo(_side_by_side(names, facts))
    for details in found:
        if sentence := fallback_sentence(details):
            _say(f"Warning: {sentence}")
    for sentence in _differences(found):
        _say(sentence)


def _say(sentence: str) -> None:
    echo()
    tell(sentence)


def _facts(details: Details) -> dict[str, str]:
    """The facts about one file: name -> text."""
    m = details.model
    facts = {
        "file": Path(m.path).name,
        "name": m.name,
        "sha256": m.sha256[:16],
        "architecture": m.arch,
        "label": m.quant,
        "bits per weight": f"{m.bits_per_weight:.3f}",
        "MB": f"{m.file_bytes / 1e6:,.1f}",
        "parameters": f"{m.n_params:,}",
        "tensors": f"{details.n_tensors:,}",
        "context": f"{m.n_ctx_train:,}",
        "vocabulary": f"{m.n_vocab:,}",
        "tokenizer": m.tokenizer_sha256[:16],
        "chat template": (m.template_sha256 or "none")[:16],
    }
    shares = sorted(m.tensor_types.items(), key=lambda item: -item[1])
    facts |= {f"  {name}": f"{100 * n / m.n_params:.2f} %" for name, n in shares}
    return facts | {f"imatrix {key}": str(value) for key, value in details.imatrix.items()}


def _side_by_side(names: Sequence[str], facts: Sequence[dict[str, str]]) -> str:
    facts = [{name: cell_text(value) for name, value in fact.items()} for fact in facts]  # a file's own words
    label, width = max(map(len, names)), room()
    most = None if width is None else max(LEAST, width - label - 2)
    facts = [{name: cut(value, most) for name, value in fact.items()} for fact in facts]
    return "\n\n".join(_block(names, some, label) for some in _fitting(facts, label, width))


def _fitting(facts: list[dict[str, str]], label: int, width: int | None) -> Iterator[list[dict[str, str]]]:
    """As many files side by side as fit, then the next ones. width None: all of them."""
    some: list[dict[str, str]] = []
    for fact in facts:
        if some and width is not None and label + sum(2 + _width(one) for one in [*some, fact]) > width:
            yield some
            some = []
        some.append(fact)
    yield some


def _width(fact: dict[str, str]) -> int:
    return max(map(text_width, fact.values()))


def _block(names: Sequence[str], facts: Sequence[dict[str, str]], label: int) -> str:
    lines = []
    for name in [name for name in names if any(name in fact for fact in facts)]:
        cells = [pad(fact.get(name, ""), _width(fact), False) for fact in facts]
        lines.append("  ".join([name.ljust(label), *cells]).rstrip())
    return "\n".join(lines)


def _differences(found: Sequence[Details]) -> list[str]:
    """A sentence on each later file beside the first of its label, or else beside the first file.

    Nothing on two quants of one tokenizer, whose tensors are of other types as their labels say.
    """
    pairs = ((_counterpart(found[:i], found[i]), found[i]) for i in range(1, len(found)))
    return [sentence for pair in pairs if (sentence := _difference(*pair))]


def _counterpart(earlier: Sequence[Details], details: Details) -> Details:
    return next((one for one in earlier if one.model.quant == details.model.quant), earlier[0])


def _difference(one: Details, other: Details) -> str | None:
    from localent.files.tensors import differing_tensors

    a, b = one.model, other.model
    same_name = Path(a.path).name == Path(b.path).name
    names = " and ".join(m.path if same_name else Path(m.path).name for m in (a, b))
    if a.sha256 == b.sha256:
        return f"{names} are the same file."
    tensors = differing_tensors(Path(a.path), Path(b.path))
    if tensors is None and a.quant != b.quant and a.tokenizer_sha256 == b.tokenizer_sha256:
        return None
    what = "their tensors are of other types or shapes"
    if tensors is not None:
        listed = ", ".join(tensors[:3]) + (", ..." if len(tensors) > 3 else "")
        what = f"{len(tensors)} of {one.n_tensors} tensors differ ({listed})" if tensors else "only metadata differ"
    label = " despite one label" if a.quant == b.quant else ""
    tokens = "" if a.tokenizer_sha256 == b.tokenizer_sha256 else "; their tokenizers differ, too"
    return f"{names} are different{label}: {what}{tokens}."
