"""The model: llama architecture with tied embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes; n_embd and n_ff are multiples of 256, so that every K-quant applies."""

    n_vocab: int = 1024
    n_embd: int = 256
    n_ff: int = 768
    n_layer: int = 4
    n_head: int = 4
    n_ctx: int = 1024
    rope_base: float = 10_000.0
    norm_eps: float = 1e-5

    @property
    def head_dim(self) -> int:
        return self.n_embd // self.n_head


def rope_table(shape: Shape) -> tuple[Tensor, Tensor]:
    """cos and sin of every position and pair: (n_ctx, head_dim / 2) each."""
    frequency = shape.rope_base ** (-torch.arange(0, shape.head_dim, 2).double() / shape.head_dim)
    angle = torch.arange(shape.n_ctx).double()[:, None] * frequency[None]
    return angle.cos().float(), angle.sin().float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position, rotate-half layout: (..., n_pos, head_dim) -> same."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


class Cache:
    """Keys and values of one layer while generating: (b, head, n_most, head_dim) each, `n` columns in use."""

    def __init__(self, n_rows: int, n_most: int, shape: Shape) -> None:
        self.k = torch.zeros(n_rows, shape.n_head, n_most, shape.head_dim)
        self.v = torch.zeros_like(self.k)
        self.n = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store new columns; returns all keys and values in use."""
        end = self.n + k.shape[2]
        self.k[:, :, self.n : end], self.v[:, :, self.n : end] = k, v
        self.n = end
        return self.k[:, :, :end], self.v[:, :, :end]

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these."""
        self.k, self.v = self.k[rows], self.v[rows]


class Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.q, self.k, self.v, self.out = (nn.Linear(shape.n_embd, shape.n_embd, bias=False) for _ in range(4))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, cache: Cache | None, mask: Tensor | None) -> Tensor:
        b, t, d = x.shape
        heads = (b, t, self.shape.n_head, self.shape.head_dim)
        q, k, v = (part(x).view(heads).transpose(1, 2) for part in (self.q, self.k, self.v))  # (b, head, t, head_dim)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if cache is None:
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            y = functional.scaled_dot_product_attention(q, *cache.append(k, v), attn_mask=mask)
        return self.out(y.transpose(1, 2).reshape(b, t, d))


class Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(shape.n_embd, eps=shape.norm_eps)
        self.attention = Attention(shape)
        self.ffn_norm = nn.RMSNorm(shape.n_embd, eps=shape.norm_eps)
        self.gate = nn.Linear(shape.n_embd, shape.n_ff, bias=False)
        self.up = nn.Linear(shape.n_embd, shape.n_ff, bias=False)
        self.down = nn.Linear(shape.n_ff, shape.n_embd, bias=False)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, cache: Cache | None = None, mask: Tensor | None = None
    ) -> Tensor:
        x = x + self.attention(self.attention_norm(x), cos, sin, cache, mask)
        h = self.ffn_norm(x)
        return x + self.down(functional.silu(self.gate(h)) * self.up(h))


class Abacus(nn.Module):
    """Token ids (b, t) -> hidden states (b, t, n_embd); `logits` reads them with the tied embedding."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed = nn.Embedding(shape.n_vocab, shape.n_embd)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.n_layer))
        self.norm = nn.RMSNorm(shape.n_embd, eps=shape.norm_eps)
        cos, sin = rope_table(shape)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.apply(self._init)
        nn.init.constant_(self.norm.weight, 0.1)

    def _init(self, module: nn.Module) -> None:
        """Matrices that write into the residual stream start at zero, so that it starts as the embedding.

        Embeddings start large and the last norm small: interchangeable words (all the names) get the same gradient
        from the tied output, and from a small start their embeddings became too similar for attention to tell apart.
        Query, key and value are separate matrices, because Muon makes the update of a matrix equally strong in all
        directions: in a fused matrix, the values dominated and queries and keys learnt too little.
        """
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.3)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.8 * module.in_features**-0.5)
        if isinstance(module, Block):
            nn.init.zeros_(module.attention.out.weight)
            nn.init.zeros_(module.down.weight)

    def forward(self, ids: Tensor) -> Tensor:
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x, cos, sin)
        return self.norm(x)

    def cached(self, ids: Tensor, positions: Tensor, mask: Tensor, caches: list[Cache]) -> Tensor:
        """Hidden states of new tokens at `positions` (b, t); they see columns where `mask` (b, 1, t, n) is true."""
        cos, sin = self.cos[positions][:, None], self.sin[positions][:, None]  # (b, 1, t, head_dim / 2)
        x = self.embed(ids)
        for block, cache in zip(self.blocks, caches, strict=True):
            x = block(x, cos, sin, cache, mask)
        return self.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        return functional.linear(hidden, self.embed.weight)
