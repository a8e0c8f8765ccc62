"""Documents as padded token batches. Chunk c is a function of (recipe, seed, stage, c), so that runs can resume."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from documents import SHIPPED, Piece, document
from tokenizers import Tokenizer
from torch import Tensor

IGNORE = -100  # torch's own mark for a target that does not count
Row = tuple[list[int], list[int]]
Batch = tuple[Tensor, Tensor]


def encode(pieces: list[Piece], tokenizer: Tokenizer) -> Row:
    """Token ids and next-token targets; a target counts if the token's first byte is in a trained piece.

    The whole text is tokenized at once, as in llama.cpp, never piece by piece.
    """
    encoding = tokenizer.encode("".join(piece.text for piece in pieces))
    trained = [piece.trained for piece in pieces for _ in piece.text]
    targets = [
        token if trained[start] else IGNORE for token, (start, _) in zip(encoding.ids, encoding.offsets, strict=True)
    ]
    return encoding.ids[:-1], targets[1:]


def pad(rows: list[Row]) -> Batch:
    """Rows of different length -> ids (b, t) and targets (b, t); padding is on the right and never counts."""
    width = max(len(ids) for ids, _ in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    targets = torch.full((len(rows), width), IGNORE)
    for i, (row, goal) in enumerate(rows):
        ids[i, : len(row)], targets[i, : len(goal)] = torch.tensor(row), torch.tensor(goal)
    return ids, targets


def by_budget(rows: list[Row], budget: int) -> Iterator[list[Row]]:
    """Sorted rows in groups of at most `budget` padded tokens."""
    group: list[Row] = []
    for row in sorted(rows, key=lambda r: len(r[0])):
        if group and (len(group) + 1) * len(row[0]) > budget:
            yield group
            group = []
        group.append(row)
    yield group


@dataclass(frozen=True, slots=True)
class Course:
    """What a stage is taught, and from which seed."""

    stage: str
    seed: int
    recipe: str = SHIPPED


def chunk(course: Course, index: int, budget: int, tokenizer: Tokenizer, n_documents: int = 512) -> list[Batch]:
    """The batches of one chunk of documents, similar lengths together, in random order."""
    rng = random.Random(f"{course.seed}/{course.stage}/{index}")
    rows = [encode(document(course.stage, index, rng, course.recipe), tokenizer) for _ in range(n_documents)]
    groups = list(by_budget(rows, budget))
    rng.shuffle(groups)
    return [pad(group) for group in groups]
