"""The check that two models can be compared: each token id must mean the same text in both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from localent.errors import LocalentError
from localent.files.identity import tokenizer_fields
from localent.records import Model

IRRELEVANT = {"padding_token_id", "eos_token_id", "eot_token_id", "eom_token_id", "unknown_token_id"} | {
    "seperator_token_id",  # as GGUF spells it
    "mask_token_id",
    "add_eos_token",
    "eos_token_ids",
}  # fields that change no token id of a text, only which tokens end or pad it


def check_same_tokens(reference: Model, candidate: Model) -> None:
    """Raise LocalentError, naming the difference, unless each token id means the same in both."""
    if reference.tokenizer_sha256 == candidate.tokenizer_sha256:
        return
    names = f"{Path(reference.path).name} and {Path(candidate.path).name}"
    a, b = (tokenizer_fields(Path(model.path)) for model in (reference, candidate))
    if why := _sizes_differ(a, b):
        raise LocalentError(f"{names} cannot be compared: {why}.")
    if differing := _differing_fields(a, b):
        raise LocalentError(
            f"{names} cannot be compared: their tokenizers differ in {', '.join(differing)}, "
            "so the same token id means different text."
        )


def _sizes_differ(a: Mapping[str, object], b: Mapping[str, object]) -> str | None:
    """The reason in words if the vocabularies differ in size, else None."""
    one, two = (_tokens(fields) for fields in (a, b))
    if len(one) == len(two):
        return None
    short = min(len(one), len(two))
    padded = one[:short] == two[:short]
    why = "one is padded, convert both with the same padding" if padded else "their tokenizers are different"
    return f"vocabularies of {len(one):,} and {len(two):,} entries; {why}"


def _tokens(fields: Mapping[str, object]) -> tuple[object, ...]:
    tokens = fields.get("tokens", ())
    return tokens if isinstance(tokens, tuple) else ()


def _differing_fields(a: Mapping[str, object], b: Mapping[str, object]) -> list[str]:
    """Names of the tokenizer fields that matter and differ."""
    return sorted(name for name in (a.keys() | b.keys()) - IRRELEVANT if a.get(name) != b.get(name))
