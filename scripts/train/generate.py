"""Sampling many solutions at once in PyTorch: left-padded prompts, one cache, rows dropped as they finish."""

from __future__ import annotations

import torch
from model import Abacus, Cache
from tokenizers import Tokenizer
from torch import Tensor


def left_pad(prompts: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Prompts -> ids (b, t) and which of them count (b, t)."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts])
    real = torch.tensor([[False] * (width - len(p)) + [True] * len(p) for p in prompts])
    return ids, real


def draw_token(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """One token a row: (b, n_vocab) -> (b,). Temperature 0 takes the most probable."""
    if temperature == 0:
        return logits.argmax(-1)
    return torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)[:, 0]


@torch.inference_mode()
def sample(
    model: Abacus,
    prompts: list[list[int]],
    *,
    end: int,
    temperature: float,
    generator: torch.Generator,
    most: int = 320,
) -> list[list[int]]:
    """A continuation of each prompt, up to and with `end`, at most `most` tokens."""
    ids, real = left_pad(prompts)
    n, width = ids.shape
    caches = [Cache(n, width + most, model.shape) for _ in model.blocks]
    causal = torch.ones(width, width, dtype=torch.bool).tril()
    mask = causal & real[:, None, None, :] | torch.eye(width, dtype=torch.bool)  # padding sees itself: no empty softmax
    position = (real.cumsum(1) - 1).clamp(min=0)
    hidden = model.cached(ids, position, mask, caches)[:, -1]
    out: list[list[int]] = [[] for _ in prompts]
    alive, going, position = torch.arange(n), torch.ones(n, dtype=torch.bool), position[:, -1]
    for _ in range(most):
        token = draw_token(model.logits(hidden), temperature, generator)
        for row, t in zip(alive.tolist(), token.tolist(), strict=True):
            out[row].append(t)
        going = going & (token != end)
        if not going.any():
            break
        if going.float().mean() < 0.8 or len(alive) < 8:  # compacting copies the cache, so not for each row
            keep = going.nonzero()[:, 0]
            alive, going, token, position, real = (x[keep] for x in (alive, going, token, position, real))
            for cache in caches:
                cache.keep(keep)
        position = position + 1
        real = torch.cat((real, torch.ones(len(alive), 1, dtype=torch.bool)), dim=1)
        hidden = model.cached(token[:, None], position[:, None], real[:, None, None, :], caches)[:, -1]
    return [row[: row.index(end) + 1] if end in row else row for row in out]


def sample_in_groups(model: Abacus, prompts: list[list[int]], group: int = 96, **settings) -> list[list[int]]:
    """`sample` over any number of prompts, those of similar length together, results in the given order."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    out: list[list[int]] = [[] for _ in prompts]
    for start in range(0, len(order), group):
        rows = order[start : start + group]
        for row, ids in zip(rows, sample(model, [prompts[i] for i in rows], **settings), strict=True):
            out[row] = ids
    return out


def texts(tokenizer: Tokenizer, rows: list[list[int]]) -> list[str]:
    """Generated ids as text, without special tokens."""
    return tokenizer.decode_batch(rows, skip_special_tokens=True)
