"""The affine coupling layer of RealNVP (Dinh et al. 2017, eqs. 9 to 11): one half of a vector scales and shifts the other."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AffineCoupling(nn.Module):
    """(B, D) to (B, D): x * b + (1 - b) * (x * exp(s(x * b)) + t(x * b)), with b the mask of the coordinates that pass unchanged.

    Args:
        size: D.
        widths: of the hidden layers of each of the two networks, s (bounded to [-1, 1]) and t.
        odd: whether the odd coordinates pass, or the even ones.
    """

    def __init__(self, size: int, widths: list[int], odd: bool) -> None:
        super().__init__()
        self.passing: Tensor
        self.register_buffer("passing", (torch.arange(size) % 2 == odd).float(), persistent=False)
        self.scale = nn.Sequential(dense(size, widths), nn.Tanh())
        self.shift = dense(size, widths)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The image of x, and the log-determinant (B,) of the Jacobian there."""
        s, t = self._networks(x)
        return x * s.exp() + t, s.sum(-1)  # where a coordinate passes, s and t are 0

    def inverse(self, y: Tensor) -> Tensor:
        s, t = self._networks(y)
        return (y - t) * (-s).exp()

    def _networks(self, x: Tensor) -> tuple[Tensor, Tensor]:
        kept, changed = x * self.passing, 1 - self.passing
        return self.scale(kept) * changed, self.shift(kept) * changed


def dense(size: int, widths: list[int]) -> nn.Sequential:
    """(B, `size`) to (B, `size`) through ReLU layers of these widths."""
    layers: list[nn.Module] = []
    for before, after in zip([size, *widths], widths, strict=False):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], size))
