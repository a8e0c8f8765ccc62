"""Damaged GGUF files: bits turned, numbers made absurd, fields of the wrong kind, names doubled."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import gguf
import random_model

from breaking.runner import Case
from localent.files.header import read_header

SHAPES = ("tiny-llama", "tiny-qwen2", "tiny-gemma2", "tiny-olmo2", "tiny-mamba")
READING = (  # commands that read a header alone
    ("inspect", "{}"),
    ("inspect", "{}", "--json"),
    ("models", "--in", "{folder}"),
    ("doctor", "{}", "--quick"),
)
LOADING = (  # commands that load the file, too: each may need a child process
    ("prompt", "{}", "demo-number", "-n", "1", "--text"),
    ("ask", "{}", "2 + 3?", "--max-tokens", "4", "--threads", "1"),
    (
        "run",
        "{}",
        "demo-number",
        "-n",
        "1",
        "--max-tokens",
        "4",
        "--threads",
        "1",
        "--lanes",
        "1",
        "--db",
        "{folder}/a.db",
    ),
    ("quantize", "{}", "Q8_0", "--out", "{folder}/out", "--threads", "1"),
    ("compare", "{}", "{sound}", "--text", "{text}", "--threads", "1"),
)
Mutation = Callable[
    [bytes, int, random.Random], bytes
]  # (the file, bytes of its header, random numbers) -> another file


def flipped(content: bytes, n_header: int, draw: random.Random) -> bytes:
    """Some bits of the header turned."""
    found = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 8])):
        found[draw.randrange(4, n_header)] ^= 1 << draw.randrange(8)
    return bytes(found)


def overwritten(content: bytes, n_header: int, draw: random.Random) -> bytes:
    """A length, a count or a number replaced by an absurd one."""
    value = draw.choice([0, 1, 2**16, 2**31 - 1, 2**32 - 1, 2**63, 2**64 - 1])
    at = draw.randrange(4, n_header - 8)
    return content[:at] + struct.pack("<Q", value)[: draw.choice([1, 2, 4, 8])].ljust(1, b"\0") + content[at + 8 :]


def numbers_replaced(content: bytes, n_header: int, draw: random.Random) -> bytes:
    """A hyperparameter of the right kind and an impossible value."""
    keys = [b"head_count", b"head_count_kv", b"block_count", b"embedding_length", b"context_length", b"dimension_count"]
    keys += [b"feed_forward_length", b"bos_token_id", b"eos_token_id", b"key_length", b"vocab_size"]
    at = content.find(draw.choice(keys), 0, n_header)
    if at < 0:
        return overwritten(content, n_header, draw)
    while content[at : at + 1].isalpha() or content[at : at + 1] == b"_":
        at += 1
    value = draw.choice([0, 1, 3, 7, 65535, 2**20, 2**31 - 1, 2**32 - 1])
    return content[: at + 4] + struct.pack("<I", value) + content[at + 8 :]


def floats_replaced(content: bytes, n_header: int, draw: random.Random) -> bytes:
    """A hyperparameter that is a real number, with one that ends ggml or makes no sense."""
    key = draw.choice([b"layer_norm_rms_epsilon", b"freq_base", b"softcapping"])
    at = content.find(key, 0, n_header)
    if at < 0:
        return overwritten(content, n_header, draw)
    value = draw.choice([-1.0, -1e-6, 0.0, 1e-45, 1e38, float("inf"), float("-inf"), float("nan"), 1.0])
    at += len(key)
    return content[: at + 4] + struct.pack("<f", value) + content[at + 8 :]


def cut(content: bytes, n_header: int, draw: random.Random) -> bytes:
    """The end is missing."""
    return content[: draw.randrange(0, len(content))]


def spliced(content: bytes, n_header: int, draw: random.Random) -> bytes:
    """A piece of the header put elsewhere in it."""
    start, at = draw.randrange(4, n_header - 64), draw.randrange(4, n_header - 64)
    return content[:at] + content[start : start + draw.randrange(1, 64)] + content[at:]


def renamed(content: bytes, n_header: int, draw: random.Random) -> bytes:
    """A key, a tensor or a token with the name of another, or with bytes that are no text."""
    names = [key.encode() for key in HEADERS[content][0]]
    names += [name.encode() for name in HEADERS[content][1]]
    one, other = draw.sample(names, 2)
    same = other.ljust(len(one), b".")[: len(one)] if draw.random() < 0.7 else bytes(draw.randbytes(len(one)))
    length = struct.pack("<Q", len(one))
    if len(one) == len(other) and draw.random() < 0.8:
        same = other
    return content.replace(length + one, length + same, 1)


def retyped(content: bytes, n_header: int, draw: random.Random) -> bytes:
    """A field that says it is of another type."""
    key = draw.choice(list(HEADERS[content][0])).encode()
    at = content.find(struct.pack("<Q", len(key)) + key) + 8 + len(key)
    return content[:at] + struct.pack("<I", draw.randrange(13)) + content[at + 4 :]


def resized(content: bytes, n_header: int, draw: random.Random) -> bytes:
    """A tensor of another shape, type or place."""
    name = draw.choice(list(HEADERS[content][1])).encode()
    at = content.find(struct.pack("<Q", len(name)) + name) + 8 + len(name)
    (n_dims,) = struct.unpack_from("<I", content, at)
    place = at + 4 + draw.choice([8 * i for i in range(n_dims)] + [8 * n_dims, 8 * n_dims + 4])
    form, values = (
        ("<I", range(40)) if place == at + 4 + 8 * n_dims else ("<Q", (0, 1, 2, 3, 32, 63, 64, 65, 128, 2**40))
    )
    value = struct.pack(form, draw.choice(values))
    return content[:place] + value + content[place + len(value) :]


WAYS: tuple[Mutation, ...] = (
    flipped,
    overwritten,
    numbers_replaced,
    floats_replaced,
    cut,
    spliced,
    renamed,
    retyped,
    resized,
)
HEADERS: dict[bytes, tuple[tuple[str, ...], tuple[str, ...]]] = {}  # file -> its keys, its tensors


def rewritten(path: Path, draw: random.Random) -> str:
    """A sound file but for one field of another kind, written anew; the field's name."""
    u32, text, array = gguf.GGUFValueType.UINT32, gguf.GGUFValueType.STRING, gguf.GGUFValueType.ARRAY
    odd = [
        ("general.name", ["a", "b"], array, text),
        ("general.name", "\x1b[2J\x07\x9b" + "x" * 5000, text, None),
        ("general.name", 3, u32, None),
        ("general.architecture", ["llama"], array, text),
        ("general.alignment", draw.choice([0, 1, 3, 2**31]), u32, None),
        ("general.file_type", draw.choice([1000, 2**31]), u32, None),
        ("tokenizer.ggml.tokens", [1, 2, 3], array, u32),
        ("tokenizer.ggml.tokens", "a", text, None),
        ("tokenizer.ggml.merges", [1, 2, 3], array, u32),
        ("tokenizer.ggml.merges", ["a", "b c d", ""], array, text),
        ("tokenizer.ggml.token_type", ["a"] * 260, array, text),
        ("tokenizer.ggml.model", draw.choice(["bert", "t5", "rwkv", "none", "plamo2", ""]), text, None),
        ("tokenizer.ggml.pre", draw.choice(["", "deepseek-llm", "nonsense"]), text, None),
        ("tokenizer.chat_template", [1, 2], array, u32),
        ("tokenizer.chat_template", "{{ 10 ** (10 ** 9) }}", text, None),
        ("quantize.imatrix.chunks_count", ["x"], array, text),
        ("llama.block_count", draw.choice(["two", ""]), text, None),
        ("llama.context_length", [2048], array, u32),
        ("llama.attention.head_count", [4], array, u32),
        ("llama.rope.scaling.type", draw.choice(["yarn", "linear", "longrope"]), text, None),
        ("llama.expert_count", draw.choice([1, 8, 10**6]), u32, None),
        ("adapter.type", "lora", text, None),
        ("split.count", draw.choice([0, 2, 65535]), gguf.GGUFValueType.UINT16, None),
    ]
    key, value, kind, sub = draw.choice(odd)
    before = random_model._add_hyperparameters

    def add(writer: gguf.GGUFWriter, shape: random_model.Shape, n_vocab: int) -> None:
        before(writer, shape, n_vocab)
        writer.kv_data[0].pop(key, None)
        writer.add_key_value(key, value, kind, sub_type=sub)

    random_model._add_hyperparameters = add
    try:
        random_model.write(path, random_model.SHAPES["tiny-llama"])
    finally:
        random_model._add_hyperparameters = before
    return key


def sources(folder: Path) -> list[bytes]:
    """Small sound files to be damaged."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for shape in SHAPES:
        path = random_model.write(folder / f"{shape}.gguf", random_model.SHAPES[shape])
        head = read_header(path)
        found.append(path.read_bytes())
        HEADERS[found[-1]] = (tuple(head.fields), tuple(tensor.name for tensor in head.tensors))
    return found


def cases(n: int, draw: random.Random, home: Path, commands: tuple[tuple[str, ...], ...] = READING) -> Iterator[Case]:
    """Damaged files, each with these commands."""
    sound = sources(home / "sound")
    text = home / "text.txt"
    text.write_text("Ann has 3 apples and gets 5 more. " * 20)
    for i in range(n):
        folder = home / f"case-{i}"
        folder.mkdir()
        way, path = draw.choice([*WAYS, rewritten]), folder / "model.gguf"
        if way is rewritten:
            rewritten(path, draw)
        else:
            path.write_bytes(damaged(draw.choice(sound), way, draw))
        filled = {
            "": str(path),
            "folder": str(folder),
            "text": str(text),
            "sound": str(home / "sound" / "tiny-llama.gguf"),
        }
        yield Case(f"{way.__name__}-{i}", folder, tuple(tuple(_filled(w, filled) for w in words) for words in commands))


def _filled(word: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        word = word.replace("{" + name + "}", value)
    return word


def damaged(content: bytes, way: Mutation, draw: random.Random) -> bytes:
    """One of the sound files, damaged in this way."""
    return way(content, _header_bytes(content), draw)


def _header_bytes(content: bytes) -> int:
    """Bytes of a sound file's header, about: up to its last tensor."""
    last = HEADERS[content][1][-1].encode()
    return content.find(struct.pack("<Q", len(last)) + last) + 8 + len(last) + 40
