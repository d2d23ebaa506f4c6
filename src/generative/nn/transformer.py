"""Transformer decoders: blocks of causal attention and a feed-forward net, and codes for positions (Vaswani et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from generative.nn.attention import Cache, CausalAttention


class Block(nn.Module):
    """Attention, then a feed-forward net with ReLU; each with dropout, added to its input and normalised after that (eps 1e-6)."""

    def __init__(self, width: int, heads: int, head_size: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention = CausalAttention(width, heads, head_size)
        self.norm_attention = nn.LayerNorm(width, eps=1e-6)
        self.inward, self.outward = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm_feed = nn.LayerNorm(width, eps=1e-6)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        x = self.norm_attention(x + self.dropout(self.attention(x, cache)))
        return self.norm_feed(x + self.dropout(self.outward(F.relu(self.inward(x)))))


class Decoder(nn.Module):
    """A stack of blocks, (B, T, width) to (B, T, width); position t depends on positions 0 to t alone."""

    def __init__(self, blocks: int, width: int, heads: int, head_size: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(width, heads, head_size, hidden, dropout) for _ in range(blocks)])

    def forward(self, x: Tensor, caches: list[Cache] | None = None) -> Tensor:
        """With caches (`caches()`), x continues the positions that they have seen."""
        for number, block in enumerate(self.blocks):
            x = block(x, caches[number] if caches else None)
        return x

    def caches(self, length: int) -> list[Cache]:
        """An empty cache a block, for texts of `length` positions at most."""
        return [Cache(length) for _ in self.blocks]

    def attention(self, x: Tensor) -> list[Tensor]:
        """The attention of each block, (B, heads, T, T)."""
        seen = []
        for block in self.blocks:
            seen.append(block.attention.weights(x))  # type: ignore[union-attr,operator]
            x = block(x)
        return seen


def sine_positions(length: int, width: int) -> Tensor:
    """(length, width) sines and cosines of the position in wavelengths from 2 pi to 20,000 pi (section 3.5)."""
    angles = torch.arange(length)[:, None] * 10_000 ** (-torch.arange(0, width, 2) / width)
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :width]
