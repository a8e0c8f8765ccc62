"""Models with different tokenizers side by side: bits per byte and per character. Returns tables and sentences."""

from __future__ import annotations

from localent.compare import ByBytes, Coded
from localent.report.numbers import number, short
from localent.report.table import cell_text

Table = tuple[list[str], list[list[object]]]
HEAD = ["file", "bits/w", "tokens", "bytes/token", "bits per byte", "bits per character", "change", "p"]
DECIDED = 0.05


def table_of(found: ByBytes) -> Table:
    """A row per model, the reference first."""
    return HEAD, [_row(one) for one in found.models]


def _row(one: Coded) -> list[object]:
    change = short(one.change, 4) if one.change else ""
    p = "" if one.p is None else f"{one.p:.2g}"
    sizes = [f"{one.model.bits_per_weight:.2f}", f"{one.n_tokens:,}", f"{one.bytes_per_token:.2f}"]
    return [one.name, *sizes, short(one.per_byte, 4), number(one.per_character, 1.0, 3), change, p]


def sentences(found: ByBytes) -> list[str]:
    """Which models code the text in fewer bits, and how it was measured."""
    reference, *others = found.models
    said = [_compared(one, reference) for one in others]
    size = f"{found.n_bytes:,} bytes of {cell_text(found.source_name)} in {found.n_pieces:,} pieces"
    how = (
        f"{size}, each predicted from the one before. Bits per byte do not depend on the tokenizer; [ ]: 95 % interval,"
        " allowing for neighbouring pieces that are alike; p: of no change, by sign flips of pieces."
    )
    return [*said, how, "Token ids mean different text here: divergence, same top and flips need equal tokens."]


def _compared(one: Coded, reference: Coded) -> str:
    names = f"{cell_text(one.name)} and {cell_text(reference.name)}"
    if one.change is None or one.change.value is None or one.p is None or one.p >= DECIDED:
        return f"{names} cannot be told apart in bits per byte."
    fewer = "fewer" if one.change.value < 0 else "more"
    size = f"{abs(one.change.value):.3g}"
    return f"{cell_text(one.name)} needs {size} bits per byte {fewer} than {cell_text(reference.name)}."
