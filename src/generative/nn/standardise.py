"""Data brought to mean 0 and deviation 1 by what has been seen of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Standardise(nn.Module):
    """Images (B, C, H, W) to and from mean 0 and standard deviation 1 a channel; as they are until the first are observed."""

    mean: Tensor
    square: Tensor
    seen: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("square", torch.ones(channels, 1, 1))  # mean of the squares
        self.register_buffer("seen", torch.zeros(()))  # batches

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Takes a batch into the means, each batch with the same weight."""
        self.seen += 1
        self.mean.lerp_(x.mean((0, 2, 3)).view_as(self.mean), 1 / self.seen)
        self.square.lerp_(x.square().mean((0, 2, 3)).view_as(self.square), 1 / self.seen)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self._deviation()

    def undo(self, x: Tensor) -> Tensor:
        return x * self._deviation() + self.mean

    def _deviation(self) -> Tensor:
        return (self.square - self.mean.square()).clamp(min=1e-6).sqrt()
