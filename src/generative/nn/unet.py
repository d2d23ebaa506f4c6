"""The U-Net of a denoiser: residual blocks on the way down, skips to their mirror on the way up (Ronneberger et al. 2015, fig. 1)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from generative.errors import UsageError
from generative.nn.embedding import Sinusoidal
from generative.nn.initialise import glorot

HIGHEST = 1000.0  # frequency that describes the noise
NEARLY_ZERO = 1e-5


class UNet(nn.Module):
    """Images (B, C, H, W) and a number (B,) in [0, 1] about each to images (B, C, H, W), unbounded; nearly 0 before training.

    Args:
        shape: (C, H, W); H and W must be divisible by 2 once less often than there are widths.
        widths: channels at each resolution, the full one first.
        depth: residual blocks at each resolution, in each direction.
        embedding_size: channels that describe the number.
    """

    def __init__(self, shape: list[int], widths: list[int], depth: int, embedding_size: int) -> None:
        super().__init__()
        halved(shape, widths)
        channels, lowest = shape[0], widths[-1]
        self.embed = Sinusoidal(embedding_size, HIGHEST)
        self.enter = nn.Conv2d(channels, widths[0], 1)
        before = [widths[0] + embedding_size, *widths[:-1]]
        self.down = nn.ModuleList(Down(a, b, depth) for a, b in zip(before, widths[:-1], strict=False))
        self.bottom = nn.Sequential(*residuals(before[-1], lowest, depth))
        after = [lowest, *reversed(widths[:-1])]
        self.up = nn.ModuleList(Up(a, b, depth) for a, b in pairwise(after))
        self.leave = nn.Conv2d(widths[0], channels, 1)
        glorot(self)
        nn.init.normal_(self.leave.weight, std=NEARLY_ZERO)

    def forward(self, x: Tensor, number: Tensor) -> Tensor:
        x = self.enter(x)
        embedded = self.embed(number).to(x.dtype)[:, None, None, :].expand(-1, *x.shape[2:], -1)
        x = torch.cat([x, embedded.contiguous().permute(0, 3, 1, 2)], dim=1)  # laid out like x, or every layer would copy
        skips: list[Tensor] = []
        for down in self.down:
            x = down(x, skips)
        x = self.bottom(x)
        for up in self.up:
            x = up(x, skips)
        return self.leave(x)


class Residual(nn.Module):
    """Normalisation, two 3 x 3 convolutions with SiLU between, and the input added, through a 1 x 1 convolution where widths differ."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.skip = nn.Identity() if before == after else nn.Conv2d(before, after, 1)
        self.norm = nn.BatchNorm2d(before, eps=1e-3, momentum=0.01, affine=False)
        self.first = nn.Conv2d(before, after, 3, padding=1)
        self.second = nn.Conv2d(after, after, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + self.second(F.silu(self.first(self.norm(x))))


class Down(nn.Module):
    """Residual blocks, each of whose outputs is kept in `skips`, then half the height and width."""

    def __init__(self, before: int, after: int, depth: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(residuals(before, after, depth))

    def forward(self, x: Tensor, skips: list[Tensor]) -> Tensor:
        for block in self.blocks:
            x = block(x)
            skips.append(x)
        return F.avg_pool2d(x, 2)


class Up(nn.Module):
    """Twice the height and width, then residual blocks, each of which also sees the newest of `skips` and takes it away."""

    def __init__(self, before: int, after: int, depth: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Residual(b + after, after) for b in [before] + [after] * (depth - 1))

    def forward(self, x: Tensor, skips: list[Tensor]) -> Tensor:
        x = F.interpolate(x, scale_factor=2, mode="bilinear")
        if x.requires_grad:
            x.register_hook(_laid_out)
        for block in self.blocks:
            x = block(torch.cat([x, skips.pop()], dim=1))
        return x


def _laid_out(gradient: Tensor) -> Tensor:
    """A part of the gradient of a concatenation as a tensor of its own: the interpolation's backward is eight times as slow on a part."""
    return gradient.contiguous(memory_format=torch.channels_last)


def residuals(before: int, after: int, depth: int) -> list[Residual]:
    return [Residual(b, after) for b in [before] + [after] * (depth - 1)]


def halved(shape: list[int], widths: list[int]) -> None:
    """Raises: UsageError: the data are no images, or do not divide evenly."""
    if len(shape) != 3:
        raise UsageError(f"widths: a U-Net expects images (C, H, W), the data has examples of shape {shape}")
    factor = 2 ** (len(widths) - 1)
    if shape[1] % factor or shape[2] % factor:
        raise UsageError(
            f"widths: {len(widths)} of them halve {len(widths) - 1} times, but {shape[1]} x {shape[2]} pixels do not divide by {factor}"
        )
