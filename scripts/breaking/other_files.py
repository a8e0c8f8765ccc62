"""Damaged files of problems, importance matrices, and base files of llama-perplexity."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import random_model

from breaking.runner import Case

WORDS = (
    "",
    "x",
    "\x1b[2J\x07",
    "é" * 300,
    "<|im_end|>",
    "A" * 200_000,
    "1e999",
    "-0",
    "NaN",
    "½",
    "\u202e",
    "٣",
    "1,0,0",
    "#### ",
)
VALUES: tuple[object, ...] = (
    None,
    True,
    0,
    -1,
    10**400,
    1.5,
    1e308,
    float("nan"),
    [],
    {},
    [1],
    ["a", "b"],
    {"text": ["a"]},
)
VALUES += ({"text": ["a", "b"], "label": ["A"]}, [[[]]], "A", *WORDS)
READ = 20_000  # bytes of a text that is read by a model, too: one of 200,000 takes minutes
NAMES = ("question", "answer", "choices", "id", "problem", "solution", "options", "label", "answerKey", "x", "")


def matter(draw: random.Random) -> bytes:
    """A file of problems as somebody may have written it."""
    kind = draw.randrange(5)
    names = draw.sample(NAMES, draw.randrange(1, 5)) + draw.choice([[], ["question", "answer"]])
    rows = [{name: draw.choice(VALUES) for name in names} for _ in range(draw.randrange(4))]
    if draw.random() < 0.5:
        rows = [{"question": "What is 2 + 3?", "answer": "5"}, *rows]
    if kind == 0:
        content = "\n".join(json.dumps(row) for row in rows).encode()
    elif kind == 1:
        content = json.dumps(draw.choice([rows, {"data": rows}, rows[:1] or None, "x", 3])).encode()
    elif kind == 2:
        content = "\n".join(",".join(json.dumps(str(cell)) for cell in row.values()) for row in rows).encode()
    elif kind == 3:
        content = ("[" * draw.choice([10, 100_000]) + "1" + "]" * 10).encode()
    else:
        content = draw.randbytes(draw.randrange(300))
    if draw.random() < 0.3 and content:
        damaged = bytearray(content)
        damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        content = bytes(damaged)
    return draw.choice([b"", b"", b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\0"]) + content


def datasets(n: int, draw: random.Random, home: Path) -> Iterator[Case]:
    """Problems from files that are no files of problems."""
    for i in range(n):
        folder = home / f"case-{i}"
        folder.mkdir(parents=True)
        path = folder / f"data.{draw.choice(['jsonl', 'json', 'csv', 'parquet', 'txt'])}"
        path.write_bytes(matter(draw))
        more = draw.choice(
            [(), ("--kind", "choice"), ("--kind", "text"), ("--kind", "expression"), ("--skip-unreadable",)]
        )
        prompt = ("prompt", "abacus-sft", "mine", "--data", str(path), "-n", "1", *more)
        score = ("score", "abacus-sft", str(path), "--threads", "1")
        yield Case(f"data-{i}", folder, (prompt, score) if path.stat().st_size < READ else (prompt,))


def matrices(n: int, draw: random.Random, home: Path) -> Iterator[Case]:
    """Importance matrices and base files: bytes turned, numbers replaced, the end missing, values that cannot be."""
    home.mkdir(parents=True, exist_ok=True)
    model = random_model.write(home / "model.gguf", random_model.SHAPES["tiny-llama"])
    sound = _matrix()
    base = _base()
    for i in range(n):
        folder = home / f"case-{i}"
        folder.mkdir()
        is_matrix = draw.random() < 0.5
        path = folder / ("m.imatrix" if is_matrix else "base.kld")
        path.write_bytes(_damaged(sound if is_matrix else base, draw))
        if is_matrix:
            words = ("quantize", str(model), draw.choice(["Q4_0", "IQ4_NL", "Q8_0"]), "--imatrix", str(path))
            command = (*words, "--out", str(folder), "--threads", "1")
        else:
            command = ("compare", "--kld-base", str(path), str(model), "--threads", "1")
        yield Case(f"{path.name}-{i}", folder, (command,))


def _damaged(content: bytes, draw: random.Random) -> bytes:
    found = bytearray(content)
    for _ in range(draw.choice([0, 1, 1, 4])):
        found[draw.randrange(min(len(found), draw.choice([64, len(found)])))] = draw.randrange(256)
    for _ in range(draw.choice([0, 1])):
        at = draw.randrange(len(found) - 4)
        number = draw.choice(
            [struct.pack("<i", n) for n in (-1, 0, 2**31 - 1)]
            + [struct.pack("<f", x) for x in (-1, 3e38, float("nan"))]
        )
        found[at : at + 4] = number
    return bytes(found[: draw.choice([len(found), len(found), draw.randrange(len(found))])])


def _matrix() -> bytes:
    """The older plain form, of some tensors of the model."""
    names = [f"blk.{i}.{name}.weight" for i in range(2) for name in ("attn_q", "attn_k", "ffn_up", "ffn_down")]
    found = struct.pack("<i", len(names))
    for name in names:
        n = 128 if "down" in name else 64
        found += struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", 2, n)
        found += struct.pack(f"<{n}f", *([1.0] * n))
    return found + struct.pack("<i", 2) + struct.pack("<i", 4) + b"text"


def _base(n_ctx: int = 8, n_vocab: int = 260, n_chunk: int = 2) -> bytes:
    """llama-perplexity's own form, with one and the same row everywhere."""
    found = b"_logits_" + struct.pack("<Iii", n_ctx, n_vocab, n_chunk)
    found += struct.pack(f"<{n_ctx * n_chunk}i", *(65 + i % 26 for i in range(n_ctx * n_chunk)))
    row = struct.pack("<ff", 1e-4, -9.0) + struct.pack(f"<{n_vocab}H", *([3000] * n_vocab))
    row += bytes(2 * (2 * ((n_vocab + 1) // 2) + 4) - len(row))
    return found + row * (n_chunk * (n_ctx - 1 - n_ctx // 2))
