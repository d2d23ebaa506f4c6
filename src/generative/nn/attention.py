"""Causal self-attention (Vaswani et al. 2017, eq. 1, masked), with a cache of keys and values for generation one position at a time."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Cache:
    """Keys and values of the positions that one layer has read so far, of `length` positions at most."""

    def __init__(self, length: int) -> None:
        self.length, self.size = length, 0
        self.stored: tuple[Tensor, Tensor] | None = None

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Appends those of new positions, (B, H, T, D) each; returns all so far."""
        if self.stored is None:
            batch, heads, _, width = keys.shape
            self.stored = keys.new_empty(batch, heads, self.length, width), values.new_empty(batch, heads, self.length, width)
        end = self.size + keys.shape[2]
        for kept, new in zip(self.stored, (keys, values), strict=True):
            kept[:, :, self.size : end] = new
        self.size = end
        return self.stored[0][:, :, :end], self.stored[1][:, :, :end]


class CausalAttention(nn.Module):
    """Multi-head attention from each position to itself and those before it, (B, T, width) to (B, T, width).

    Padding at the end needs no mask: nothing before it looks there.

    Args:
        head_size: of a head's queries, keys and values; `heads * head_size` need not be `width`.
    """

    def __init__(self, width: int, heads: int, head_size: int) -> None:
        super().__init__()
        self.heads, self.head_size = heads, head_size
        self.inward = nn.Linear(width, 3 * heads * head_size)
        self.outward = nn.Linear(heads * head_size, width)

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        """With a cache, x continues the positions that the cache has seen."""
        query, keys, values = self._split(x)
        if cache:
            keys, values = cache.extend(keys, values)
        mixed = self._weigh(query, keys).to(values.dtype) @ values
        return self.outward(mixed.transpose(1, 2).flatten(2))

    def weights(self, x: Tensor) -> Tensor:
        """How much each position attends to each: (B, heads, T, T), rows that add up to 1."""
        query, keys, _ = self._split(x)
        return self._weigh(query, keys).float()

    def _weigh(self, query: Tensor, keys: Tensor) -> Tensor:
        # torch's fused attention takes five times as long on a CPU for short texts in bfloat16
        rows, columns = query.shape[2], keys.shape[2]
        bias = query.new_zeros(rows, columns).masked_fill(~allowed(rows, columns, query.device), -torch.inf)
        one, other = query.flatten(0, 1), keys.flatten(0, 1).transpose(1, 2)
        return torch.baddbmm(bias, one, other, alpha=self.head_size**-0.5).softmax(-1).unflatten(0, query.shape[:2])

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = self.inward(x).unflatten(2, (3, self.heads, self.head_size)).permute(2, 0, 3, 1, 4)  # (3, B, H, T, D)
        query, keys, values = parts.unbind(0)  # unlike three indices, its gradient is one copy
        return query, keys, values


def allowed(rows: int, columns: int, device: torch.device) -> Tensor:
    """(rows, columns), True = may attend: the last `rows` of `columns` positions, each to itself and those before it."""
    return torch.ones(rows, columns, dtype=torch.bool, device=device).tril(columns - rows)
