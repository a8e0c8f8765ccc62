"""The tokenizer: byte-level BPE behind the qwen2 pre-tokenizer pattern, so that every digit is a token of its own."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from documents import (
    CLUE_SHARE,
    CLUED,
    END_OF_TEXT,
    SHIPPED,
    TURN_END,
    TURN_START,
    clue_document,
    finetune_document,
    pretrain_document,
)
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY = 1024
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = (END_OF_TEXT, TURN_START, TURN_END)


def texts(seed: int, n: int, recipe: str = SHIPPED) -> Iterator[str]:
    """`n` documents of all kinds of a recipe, with the special tokens taken out."""
    rng = random.Random(seed)
    for i in range(n):
        if recipe == CLUED and rng.random() < CLUE_SHARE:
            pieces = clue_document(rng, chat=i % 2 == 0)
        else:
            pieces = (pretrain_document if i % 2 else finetune_document)(rng)
        text = "".join(piece.text for piece in pieces)
        for special in SPECIAL:
            text = text.replace(special, "\n")
        yield text


def build(seed: int, n_documents: int = 20_000, recipe: str = SHIPPED) -> Tokenizer:
    """A tokenizer of 1,024 entries: the specials, 256 bytes, then merges learnt from generated documents."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(QWEN2), behavior="isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(seed, n_documents, recipe), trainer)
    return tokenizer


def load(path: Path, seed: int, recipe: str = SHIPPED) -> Tokenizer:
    """The tokenizer kept at `path`; built and written there first where it is missing."""
    if not path.exists():
        build(seed, recipe=recipe).save(str(path))
    return Tokenizer.from_file(str(path))
