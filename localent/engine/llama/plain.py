"""Headers that are known to be good: every field and every tensor is as the architecture wants it.

What is not listed here makes a header odd. That is no fault: `guard` tries such a file in a child process.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from localent.files.header import Header, Tensor, tensor_bytes

KNOWN = frozenset({"llama", "qwen2", "gemma2", "olmo2"})  # architectures whose tensors are listed below
TOKENIZERS = frozenset({"gpt2", "llama"})
NAME = re.compile(r"[a-z0-9_.]+")

RANGES: dict[str, tuple[type, float, float]] = {  # hyperparameter -> its type, the lowest and the highest value
    "block_count": (int, 1, 512),
    "embedding_length": (int, 1, 1 << 16),
    "context_length": (int, 1, 1 << 28),
    "vocab_size": (int, 1, 1 << 24),
    "feed_forward_length": (int, 1, 1 << 20),
    "attention.head_count": (int, 1, 1024),
    "attention.head_count_kv": (int, 1, 1024),
    "attention.key_length": (int, 2, 1024),
    "attention.value_length": (int, 2, 1024),
    "attention.sliding_window": (int, 1, 1 << 28),
    "attention.layer_norm_rms_epsilon": (float, 1e-12, 0.1),  # below zero, ggml ends the process
    "rope.dimension_count": (int, 2, 1024),
    "rope.freq_base": (float, 1, 1e9),
    "attn_logit_softcapping": (float, 1e-3, 1e6),
    "final_logit_softcapping": (float, 1e-3, 1e6),
}
NEEDED: tuple[str, ...] = ("block_count", "embedding_length", "context_length", "feed_forward_length")
NEEDED += ("attention.head_count", "attention.layer_norm_rms_epsilon")
FLAGS = ("add_bos_token", "add_eos_token", "add_space_prefix", "remove_extra_whitespaces")
LISTS = ("tokens", "scores", "token_type", "merges")
F32 = 0  # ggml's number of the type
MATRIX_TYPES = frozenset({F32, 1, 30, 2, 3, 6, 7, 8, *range(10, 15), *range(16, 24), 29, 34, 35})
"""F16, BF16, Q4_0 to Q8_0, K-quants, I-quants, TQ: ggml ends the process on products with others, such as Q8_1."""


def oddities(seen: Header) -> Iterator[str]:
    """What makes a header odd; nothing for a plain one."""
    if seen.version not in (2, 3):
        yield f"GGUF version {seen.version}"
    if seen.arch not in KNOWN:
        yield f"architecture {seen.arch!r}"
        return
    try:
        for look in (_odd_fields, _odd_tokenizer, _odd_tensors, _odd_shapes):  # each trusts what those before passed
            if found := list(look(seen)):
                yield from found
                return
    except (TypeError, ValueError, KeyError, IndexError, OverflowError, ZeroDivisionError) as error:
        yield f"a field of the wrong kind ({error})"


def _odd_fields(seen: Header) -> Iterator[str]:
    """Fields that are missing, not known, of another type, or out of range."""
    for name in NEEDED:
        if seen.arch_field(name) is None:
            yield f"no {name}"
    for key, value in seen.fields.items():
        if not _is_known(key, value, f"{seen.arch}."):
            yield f"{key} = {str(value)[:40]}"


def _is_known(key: str, value: Any, prefix: str) -> bool:
    """True for a field that llama.cpp reads as it is, or does not read."""
    name = key.removeprefix(prefix)
    if key.startswith("tokenizer."):
        return _is_of_tokenizer(key.removeprefix("tokenizer.").removeprefix("ggml."), value)
    if name != key:
        return name == "tensor_data_layout" or (name in RANGES and _is_in_range(value, *RANGES[name]))
    return not key.startswith(("split.", "adapter.")) and (key != "general.alignment" or value == 32)


def _is_in_range(value: Any, kind: type, low: float, high: float) -> bool:
    same: bool = type(value) is kind
    return same and low <= value <= high  # never so for nan


def _is_of_tokenizer(name: str, value: Any) -> bool:
    """True for a field of a tokenizer that is known, and of the right type."""
    if name in FLAGS:
        return type(value) is bool
    if name in LISTS:
        return isinstance(value, tuple)
    if name.endswith("_token_id"):
        return type(value) is int
    return isinstance(value, str) or name == "chat_templates"


def _odd_tokenizer(seen: Header) -> Iterator[str]:
    tokens = seen.fields.get("tokenizer.ggml.tokens", ())
    if seen.fields.get("tokenizer.ggml.model") not in TOKENIZERS:
        yield "tokenizer"
    if len(set(tokens)) != len(tokens) or len(tokens) < 256 or not all(tokens):
        yield "tokens that come twice, are empty, or are fewer than 256"
    if not all(map(_is_utf8, tokens)) or any(b"\0" in token for token in tokens):  # C's texts end at a zero
        yield "tokens that are no UTF-8, or hold a zero byte"
    for key, value in seen.fields.items():
        if key.endswith("token_id") and not (isinstance(value, int) and 0 <= value < len(tokens)):
            yield f"{key} = {value!r}"
    for name in ("token_type", "scores"):
        if len(seen.fields.get(f"tokenizer.ggml.{name}", tokens)) != len(tokens):
            yield name
    if not set(seen.fields.get("tokenizer.ggml.token_type", (1,))) <= set(range(1, 7)):
        yield "token types"
    if not all(map(math.isfinite, seen.fields.get("tokenizer.ggml.scores", ()))):
        yield "scores that are not finite"
    yield from _odd_merges(seen.fields, tokens)


def _odd_merges(fields: dict[str, Any], tokens: tuple[bytes, ...]) -> Iterator[str]:
    merges = fields.get("tokenizer.ggml.merges", ())
    if fields.get("tokenizer.ggml.model") == "gpt2":
        if not merges or any(merge.count(b" ") != 1 or b"\0" in merge for merge in merges):
            yield "merges"
        if not {chr(c).encode() for c in range(33, 127)} <= set(tokens):
            yield "no byte tokens"
    elif not {b"<0x%02X>" % byte for byte in range(256)} <= set(tokens):
        yield "no byte tokens"


def _odd_tensors(seen: Header) -> Iterator[str]:
    at = 0
    for tensor in seen.tensors:
        size = tensor_bytes(tensor)
        if not NAME.fullmatch(tensor.name) or size is None or not 1 <= len(tensor.dims) <= 4 or min(tensor.dims) < 1:
            yield f"tensor {tensor.name!r}"
            return
        if tensor.offset != at:
            yield f"tensor {tensor.name!r} is not where it should be"
        at += -(-size // 32) * 32
    if seen.tensors and seen.data_start + at - 32 > seen.file_bytes:
        yield "tensors that end beyond the file"


# ── types and shapes ──────────────────────────────────────────────────────────────────────────────────────────────


def _odd_shapes(seen: Header) -> Iterator[str]:
    """Tensors that do not follow from the hyperparameters."""
    if not seen.tensors:
        return  # a vocabulary only
    heads, head = seen.arch_field("attention.head_count"), seen.head_dim("key_length")
    rope = seen.arch_field("rope.dimension_count", head)
    if heads % seen.arch_field("attention.head_count_kv", heads) or rope > head or rope % 2 or head % 2:
        yield "attention heads that do not divide"
    needed, optional = _needed(seen), _optional(seen)
    for tensor in seen.tensors:
        wanted = needed.pop(tensor.name, None) or optional.get(tensor.name)
        if wanted != tensor.dims or not _is_of_type(tensor):
            yield f"tensor {tensor.name!r} of type {tensor.kind} and shape {tensor.dims}"
    if needed:
        yield f"no tensor {next(iter(needed))!r}"


def _is_of_type(tensor: Tensor) -> bool:
    return tensor.kind == F32 if len(tensor.dims) == 1 else tensor.kind in MATRIX_TYPES


def _needed(seen: Header) -> dict[str, tuple[int, ...]]:
    """Tensor -> its shape, row length first."""
    embd, n_vocab = seen.arch_field("embedding_length"), len(seen.fields["tokenizer.ggml.tokens"])
    found: dict[str, tuple[int, ...]] = {"token_embd.weight": (embd, n_vocab), "output_norm.weight": (embd,)}
    if seen.arch == "olmo2":
        found["output.weight"] = (embd, n_vocab)
    return found | _in_layers(seen, _layer(seen))


def _optional(seen: Header) -> dict[str, tuple[int, ...]]:
    """The tensors that a file of this architecture may have: untied embeddings, biases, scaled frequencies."""
    embd, n_vocab = seen.arch_field("embedding_length"), len(seen.fields["tokenizer.ggml.tokens"])
    found: dict[str, tuple[int, ...]] = {"output.weight": (embd, n_vocab)}
    if seen.arch != "llama":
        return found
    found["rope_freqs.weight"] = (seen.arch_field("rope.dimension_count", seen.head_dim("key_length")) // 2,)
    return found | _in_layers(seen, _attention_biases(seen) | {"attn_output.bias": (embd,)})


def _in_layers(seen: Header, layer: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    layers = range(seen.arch_field("block_count"))
    return {f"blk.{i}.{name}": dims for i in layers for name, dims in layer.items()}


def _layer(seen: Header) -> dict[str, tuple[int, ...]]:
    embd, ff = seen.arch_field("embedding_length"), seen.arch_field("feed_forward_length")
    query, key, value = _widths(seen)
    out = seen.arch_field("attention.head_count") * seen.head_dim("value_length")
    found: dict[str, tuple[int, ...]] = {"attn_q.weight": (embd, query), "attn_k.weight": (embd, key)}
    found |= {"attn_v.weight": (embd, value), "attn_output.weight": (out, embd)}
    found |= {"ffn_gate.weight": (embd, ff), "ffn_up.weight": (embd, ff), "ffn_down.weight": (ff, embd)}
    if seen.arch in ("gemma2", "olmo2"):
        found |= {"post_attention_norm.weight": (embd,), "post_ffw_norm.weight": (embd,)}
    if seen.arch == "olmo2":  # norms after, not before; queries and keys are normed, too
        return found | {"attn_q_norm.weight": (query,), "attn_k_norm.weight": (key,)}
    found |= {"attn_norm.weight": (embd,), "ffn_norm.weight": (embd,)}
    return found | (_attention_biases(seen) if seen.arch == "qwen2" else {})


def _attention_biases(seen: Header) -> dict[str, tuple[int, ...]]:
    return {f"attn_{name}.bias": (n,) for name, n in zip("qkv", _widths(seen), strict=True)}


def _widths(seen: Header) -> tuple[int, int, int]:
    """Numbers of all queries, keys and values of a token."""
    heads = seen.arch_field("attention.head_count")
    kv_heads, head = seen.arch_field("attention.head_count_kv", heads), seen.head_dim("key_length")
    return heads * head, kv_heads * head, kv_heads * seen.head_dim("value_length")


def _is_utf8(token: bytes) -> bool:
    try:
        token.decode()
    except UnicodeDecodeError:
        return False
    return True
