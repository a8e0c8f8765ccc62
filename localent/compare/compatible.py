"""The check that two models can be compared: each token id must mean the same text in both.

What differs otherwise is told, not refused: all models are fed the token ids of the reference, so fields that change no
token's text change nothing that is compared. Where one vocabulary goes on behind the other, what both have is compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from localent.errors import LocalentError
from localent.files.identity import tokenizer_fields
from localent.files.lora import base_of
from localent.records import Model

IRRELEVANT = {"padding_token_id", "eos_token_id", "eot_token_id", "eom_token_id", "unknown_token_id"} | {
    "seperator_token_id",  # as GGUF spells it
    "mask_token_id",
    "add_eos_token",
    "eos_token_ids",
}  # fields that change no token id of a text, only which tokens end or pad it: not worth telling
NORMAL, BYTE = 1, 6  # token types of text; all others are control, unused or added
SHARED = 0.9  # of the smaller vocabulary: with fewer tokens in common, the tokenizers are different ones


class OtherTokensError(LocalentError):
    """The same token id means different text in two models."""


def check_same_tokens(reference: Model, candidate: Model) -> str | None:
    """A sentence on what differs without harm; None for equal tokenizers.

    Raises LocalentError, naming the difference, unless each token id that both have means the same text in both.
    """
    if reference.tokenizer_sha256 == candidate.tokenizer_sha256:
        return None
    names = f"{reference.file} and {candidate.file}"
    a, b = (tokenizer_fields(base_of(model)) for model in (reference, candidate))
    if why := _texts_differ(a, b):
        raise OtherTokensError(f"{names} cannot be compared token by token: {why}.")
    return _told(names, a, b)


def common_size(models: Sequence[Model]) -> int | None:
    """The number of tokens that all of these models have; None where all have equally many."""
    sizes = {model.n_vocab for model in models}
    return min(sizes) if len(sizes) > 1 else None


def _texts_differ(a: Mapping[str, Any], b: Mapping[str, Any]) -> str | None:
    """The reason in words if a token of text is another one in the other vocabulary, else None."""
    one, two = (_tokens(fields) for fields in (a, b))
    differing = _differing_tokens(a, b)
    if not any(_is_text(a, i) or _is_text(b, i) for i in differing) and len(differing) < (1 - SHARED) * len(one):
        return None
    if len(one) != len(two):
        return f"vocabularies of {len(one):,} and {len(two):,} entries; their tokenizers are different"
    return f"their tokenizers differ in {', '.join(_differing_fields(a, b))}, so the same token id means different text"


def _differing_tokens(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[int]:
    """Ids that both vocabularies have, with different texts."""
    return [i for i, (x, y) in enumerate(zip(_tokens(a), _tokens(b), strict=False)) if x != y]


def _is_text(fields: Mapping[str, Any], token_id: int) -> bool:
    types = fields.get("token_type", ())
    return token_id >= len(types) or types[token_id] in (NORMAL, BYTE)


def _told(names: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> str | None:
    """What differs, and why it does no harm."""
    one, two = len(_tokens(a)), len(_tokens(b))
    parts = []
    if one != two:
        parts.append(
            f"have vocabularies of {one:,} and {two:,} entries: the {min(one, two):,} that both have are compared"
        )
    if special := _differing_tokens(a, b):
        parts.append(f"name {len(special)} control or unused tokens differently")
    sized = {"tokens", "token_type", "scores"} if one != two else {"tokens"}
    if fields := [name for name in _differing_fields(a, b) if name not in sized]:
        parts.append(f"differ in {', '.join(fields)}, though every token of text is the same")
    return f"{names} {'; they '.join(parts)}. All models read the reference's token ids." if parts else None


def _tokens(fields: Mapping[str, Any]) -> tuple[object, ...]:
    tokens = fields.get("tokens", ())
    return tokens if isinstance(tokens, tuple) else ()


def _differing_fields(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Names of the tokenizer fields that matter and differ."""
    return sorted(name for name in (a.keys() | b.keys()) - IRRELEVANT if a.get(name) != b.get(name))
