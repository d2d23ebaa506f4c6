"""Numbers as vectors that a network can read."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Sinusoidal(nn.Module):
    """(B,) values in [0, 1] to (B, `width`): sines, then cosines, of frequencies that grow geometrically (Vaswani et al. 2017, §3.5).

    Args:
        width: even.
        highest: of the frequencies, in periods over [0, 1]; the lowest is 1.
    """

    speeds: Tensor

    def __init__(self, width: int, highest: float) -> None:
        super().__init__()
        frequencies = torch.logspace(0, math.log10(highest), width // 2, dtype=torch.float64)
        self.register_buffer("speeds", (2 * math.pi * frequencies).float(), persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        angles = values[:, None] * self.speeds
        return torch.cat([angles.sin(), angles.cos()], dim=-1)
