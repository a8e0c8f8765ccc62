"""The forms that fields of a GGUF header must have.

Anyone writes a header. A name that is a list, or tokens that are numbers, are refused once, where the file is read, so
that no reader of a field has to ask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MOST = 1 << 40  # of any count
TEXTS = frozenset({"general.architecture", "general.name", "general.type", "tokenizer.chat_template"})
TEXTS |= {"tokenizer.ggml.model", "tokenizer.ggml.pre"}
LISTS = {  # list -> the types of what it holds
    "tokenizer.ggml.tokens": (bytes,),
    "tokenizer.ggml.merges": (bytes,),
    "tokenizer.ggml.token_type": (int,),
    "tokenizer.ggml.scores": (float, int),
}
COUNTS: tuple[str, ...] = ("block_count", "context_length", "embedding_length", "vocab_size")
COUNTS += ("attention.key_length", "attention.value_length")
PER_LAYER = ("attention.head_count", "attention.head_count_kv", "feed_forward_length")  # a number, or one a layer


def fault(fields: dict[str, Any]) -> str | None:
    """A sentence's part on the first field that is not of its form: "its general.name is a list, not a text"."""
    arch = fields.get("general.architecture")
    for key, value in fields.items():
        wanted = _form(key, f"{arch}.")
        if wanted and not wanted[1](value):
            return f"its {key[:80]} is {_described(value)}, not {wanted[0]}"
    return None


def _form(key: str, prefix: str) -> tuple[str, Callable[[Any], bool]] | None:
    """The form of a field in words, and its test; None where any will do."""
    if key in TEXTS:
        return "a text", lambda value: isinstance(value, str)
    if key in LISTS:
        kinds = LISTS[key]
        noun = "texts" if kinds == (bytes,) else "numbers"
        return f"a list of {noun}", lambda value: isinstance(value, tuple) and {*map(type, value)} <= {*kinds}
    name = key.removeprefix(prefix)
    if name in COUNTS:
        return "a count", _is_count
    if name in PER_LAYER:
        return "a count", lambda value: all(map(_is_count, value if isinstance(value, tuple) else (value,)))
    if key.startswith("tokenizer.ggml.") and key.endswith("_token_id"):
        return "the number of a token", lambda value: type(value) is int
    return None


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < MOST


def _described(value: Any) -> str:
    if isinstance(value, str):
        return f"the text {value[:20]!r}"
    return "a list" if isinstance(value, tuple) else str(value)
