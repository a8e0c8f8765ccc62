"""Odd files are loaded in a child process first: llama.cpp ends the whole process on a header that it asserts about.

A header is plain when its architecture is a common one and everything in it is consistent. Any other is odd, which is
no fault: a child process loads the file, tokenizes and decodes a little, and what passes is not tried again.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from localent.errors import LocalentError
from localent.files import cache
from localent.files.header import Header, Tensor, read_header, tensor_bytes

KNOWN = frozenset({"llama", "qwen2", "gemma2", "olmo2"})  # architectures whose hyperparameters are checked below
TOKENIZERS = frozenset({"gpt2", "llama"})
SECONDS, BYTES_PER_SECOND = 120, 20_000_000  # time limit of a child: a base, and a slow disk
NAME = re.compile(r"[a-z0-9_.]+")


def check(path: Path) -> None:
    """Raise LocalentError for a file that is odd and that a child process could not load."""
    path = Path(path).expanduser().resolve()
    if not path.is_file():
        return  # reported where the file is opened
    key = cache.file_key(path)
    if cache.read("tried", key, bool):
        return
    if odd(path) and (refused := trial(path)):
        raise LocalentError(refused)
    cache.write("tried", key, True)


def odd(path: Path) -> list[str]:
    """The oddities of a header; empty for a plain one."""
    try:
        return list(_oddities(read_header(path)))
    except LocalentError as error:
        return [str(error)]


def trial(path: Path) -> str | None:
    """Load the file in a child process: None, or why it cannot be used, in one sentence."""
    seconds = SECONDS + path.stat().st_size // BYTES_PER_SECOND
    package = str(Path(__file__).parents[3])
    env = os.environ | {"PYTHONPATH": os.pathsep.join([package, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}
    env["GGML_NO_BACKTRACE"] = "1"  # or an abort waits for a debugger to attach
    try:
        child = subprocess.run(
            [sys.executable, "-m", "localent.engine.llama.trial", str(path)],
            capture_output=True,
            timeout=seconds,
            env=env,
        )
    except subprocess.TimeoutExpired:
        return f"{path} did not load within {seconds} s: its header looks damaged, download it again."
    if child.returncode == 0:
        answer: str | None = json.loads(child.stdout.splitlines()[-1])
        return answer
    reason = _last_line(child.stderr.decode("utf-8", "replace"))
    return f"{path} makes llama.cpp crash ({reason}): it is damaged or not supported, download it again."


def _last_line(text: str) -> str:
    """The most informative line of a crash."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "ASSERT" in line or "what()" in line or "Error" in line]
    return (telling or lines or ["without a word"])[-1][:160]


# ── what makes a header plain ───────────────────────────────────────────────────────────────────────────────────


def _oddities(seen: Header) -> Iterator[str]:
    if seen.version not in (2, 3):
        yield f"GGUF version {seen.version}"
    if seen.arch not in KNOWN:
        yield f"architecture {seen.arch!r}"
        return
    try:
        for look in (_odd_numbers, _odd_tokenizer, _odd_tensors, _odd_shapes):  # each trusts what those before passed
            if found := list(look(seen)):
                yield from found
                return
    except (TypeError, ValueError, KeyError, IndexError, OverflowError, ZeroDivisionError) as error:
        yield f"a field of the wrong kind ({error})"


def _odd_numbers(seen: Header) -> Iterator[str]:
    for key, low, high in [
        ("block_count", 1, 512),
        ("embedding_length", 1, 1 << 16),
        ("context_length", 1, 1 << 28),
        ("attention.head_count", 1, 1024),
        ("attention.head_count_kv", 1, 1024),
        ("feed_forward_length", 1, 1 << 20),
    ]:
        value = seen.arch_field(key, 1 if key.endswith("_kv") else None)
        if not isinstance(value, int) or not low <= value <= high:
            yield f"{key} = {value!r}"
    for key, value in seen.fields.items():
        if isinstance(value, float) and not (math.isfinite(value) and 0 < abs(value) < 1e9):
            yield f"{key} = {value}"
        if "expert" in key or "rope.scaling" in key or key.startswith("split."):
            yield key
    if seen.fields.get("general.alignment", 32) != 32:
        yield "alignment"


def _odd_tokenizer(seen: Header) -> Iterator[str]:
    tokens = seen.fields.get("tokenizer.ggml.tokens", ())
    if seen.fields.get("tokenizer.ggml.model") not in TOKENIZERS:
        yield "tokenizer"
    if len(set(tokens)) != len(tokens) or len(tokens) < 256 or not all(tokens):
        yield "tokens that come twice, are empty, or are fewer than 256"
    if not all(map(_is_utf8, tokens)):
        yield "tokens that are no UTF-8"
    for key, value in seen.fields.items():
        if key.endswith("token_id") and not (isinstance(value, int) and 0 <= value < len(tokens)):
            yield f"{key} = {value!r}"
    for name in ("token_type", "scores"):
        if len(seen.fields.get(f"tokenizer.ggml.{name}", tokens)) != len(tokens):
            yield name
    if not set(seen.fields.get("tokenizer.ggml.token_type", (1,))) <= set(range(1, 7)):
        yield "token types"
    yield from _odd_merges(seen.fields, tokens)


def _odd_merges(fields: dict[str, Any], tokens: tuple[bytes, ...]) -> Iterator[str]:
    merges = fields.get("tokenizer.ggml.merges", ())
    if fields.get("tokenizer.ggml.model") == "gpt2":
        if not merges or any(merge.count(b" ") != 1 for merge in merges):
            yield "merges"
        if not {chr(c).encode() for c in range(33, 127)} <= set(tokens):
            yield "no byte tokens"
    elif b"<0x0A>" not in tokens:
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
    if len({tensor.name for tensor in seen.tensors}) != len(seen.tensors):
        yield "two tensors of one name"


def _odd_shapes(seen: Header) -> Iterator[str]:
    """Rows and columns that do not follow from the hyperparameters."""
    named: dict[str, Tensor] = {tensor.name: tensor for tensor in seen.tensors}
    if not named:
        return  # a vocabulary only
    embd, heads = seen.arch_field("embedding_length"), seen.arch_field("attention.head_count")
    kv_heads = seen.arch_field("attention.head_count_kv", heads)
    head, value = seen.head_dim("key_length"), seen.head_dim("value_length")
    if named["token_embd.weight"].dims != (embd, len(seen.fields["tokenizer.ggml.tokens"])):
        yield "an embedding that does not fit the vocabulary"
    rope = seen.arch_field("rope.dimension_count", head)
    if heads % kv_heads or rope > head or rope % 2 or head % 2:
        yield "attention heads that do not divide"
    layers = {int(name.split(".")[1]) for name in named if name.startswith("blk.")}
    if layers != set(range(seen.arch_field("block_count"))):
        yield "layers that do not follow each other"
    for i in layers:
        wanted = {"q": (embd, heads * head), "k": (embd, kv_heads * head), "v": (embd, kv_heads * value)}
        if any(named[f"blk.{i}.attn_{name}.weight"].dims != dims for name, dims in wanted.items()):
            yield f"attention of layer {i}"
        if named[f"blk.{i}.ffn_up.weight"].dims != (embd, seen.arch_field("feed_forward_length")):
            yield f"feed-forward of layer {i}"


def _is_utf8(token: bytes) -> bool:
    try:
        token.decode()
    except UnicodeDecodeError:
        return False
    return True
