"""The affine coupling layer of RealNVP (Dinh et al. 2017, eqs. 9 to 11): one half of a vector scales and shifts the other."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
        self.networks = Twins([size, *widths, size])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The image of x, and the log-determinant (B,) of the Jacobian there."""
        s, t = self._scale_and_shift(x)
        return x * s.exp() + t, s.sum(-1)  # where a coordinate passes, s and t are 0

    def inverse(self, y: Tensor) -> Tensor:
        s, t = self._scale_and_shift(y)
        return (y - t) * (-s).exp()

    def _scale_and_shift(self, x: Tensor) -> tuple[Tensor, Tensor]:
        changed = 1 - self.passing
        s, t = self.networks(x * self.passing)
        return s.tanh() * changed, t * changed


class Twins(nn.Module):
    """Two networks of ReLU layers that share their input and no weight, (B, D) to (2, B, D'), in half the calls: they are small.

    Weights start Glorot-uniform, biases at 0.
    """

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        pairs = list(pairwise(widths))
        self.weights = nn.ParameterList(torch.empty(2, before, after) for before, after in pairs)
        self.biases = nn.ParameterList(torch.zeros(2, 1, after) for _, after in pairs)
        for weight in self.weights:
            for one in weight:
                nn.init.xavier_uniform_(one)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.baddbmm(self.biases[0], x.expand(2, -1, -1), self.weights[0])
        for bias, weight in zip(self.biases[1:], self.weights[1:], strict=False):  # type: ignore[arg-type]
            hidden = torch.baddbmm(bias, F.relu(hidden), weight)
        return hidden
