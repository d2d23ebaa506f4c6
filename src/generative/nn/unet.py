"""The U-Net of a denoiser: residual blocks on the way down, skips to their mirror on the way up (Ronneberger et al. 2015, fig. 1)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

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
        before, told = [widths[0], *widths[:-1]], [embedding_size, *[0] * (len(widths) - 1)]
        self.down = nn.ModuleList(Down(a, b, depth, c) for a, b, c in zip(before, widths[:-1], told, strict=False))
        self.bottom = nn.Sequential(*residuals(before[-1], lowest, depth, told[-1]))
        after = [lowest, *reversed(widths[:-1])]
        self.up = nn.ModuleList(Up(a, b, depth) for a, b in pairwise(after))
        self.leave = nn.Conv2d(widths[0], channels, 1)
        glorot(self)
        nn.init.normal_(self.leave.weight, std=NEARLY_ZERO)

    def forward(self, x: Tensor, number: Tensor) -> Tensor:
        inside: Any = (self.enter(x), self.embed(number))  # the first block takes both, all others one
        skips: list[Tensor] = []
        for down in self.down:
            inside = down(inside, skips)
        inside = self.bottom(inside)
        for up in self.up:
            inside = up(inside, skips)
        return self.leave(inside)


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


class Told(nn.Module):
    """A residual block of images (B, C, H, W) and a vector (B, D), which it takes for D more channels that are the same in every place.

    What a convolution makes of such channels in an image of 3 x 3, it makes of them in any: corners, edges, and a place inside.
    """

    def __init__(self, before: int, told: int, after: int) -> None:
        super().__init__()
        self.skip = nn.Conv2d(before + told, after, 1)
        self.norm = nn.BatchNorm2d(before, eps=1e-3, momentum=0.01, affine=False)
        self.norm_told = nn.BatchNorm2d(told, eps=1e-3, momentum=0.01, affine=False)
        self.first = nn.Conv2d(before + told, after, 3, padding=1)
        self.second = nn.Conv2d(after, after, 3, padding=1)

    def forward(self, x: tuple[Tensor, Tensor]) -> Tensor:
        image, vector = x
        told = vector[:, :, None, None].expand(-1, -1, 3, 3).contiguous(memory_format=torch.channels_last)
        inner = F.silu(convolved(self.first, self.norm(image), self.norm_told(told)))
        return convolved(self.skip, image, told) + self.second(inner)


def convolved(layer: nn.Conv2d, image: Tensor, told: Tensor) -> Tensor:
    """The layer applied to image (B, C, H, W) and (B, D, 3, 3), of which the middle stands for all that lies inside, as to one image."""
    channels = image.shape[1]
    y = F.conv2d(image, layer.weight[:, :channels], layer.bias, padding=layer.padding)
    return y + enlarged(F.conv2d(told, layer.weight[:, channels:], padding=layer.padding), y.shape[2], y.shape[3])


def enlarged(x: Tensor, height: int, width: int) -> Tensor:
    """(B, C, 3, 3) to (B, C, height, width), both at least 2, by repeating what is in the middle."""
    x = x.permute(0, 2, 3, 1)  # the order in which the numbers stand, so that nothing is laid out anew
    x = torch.cat([x[:, :, :1], x[:, :, 1:2].expand(-1, -1, width - 2, -1), x[:, :, 2:]], 2)
    return torch.cat([x[:, :1], x[:, 1:2].expand(-1, height - 2, -1, -1), x[:, 2:]], 1).permute(0, 3, 1, 2)


class Down(nn.Module):
    """Residual blocks, each of whose outputs is kept in `skips`, then half the height and width."""

    def __init__(self, before: int, after: int, depth: int, told: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(residuals(before, after, depth, told))

    def forward(self, x: Any, skips: list[Tensor]) -> Tensor:
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


def residuals(before: int, after: int, depth: int, told: int) -> list[nn.Module]:
    """A series of blocks, of which the first is told a vector of this size, if it is one."""
    first = Told(before, told, after) if told else Residual(before, after)
    return [first, *(Residual(after, after) for _ in range(depth - 1))]


def halved(shape: list[int], widths: list[int]) -> None:
    """Raises: UsageError: the data are no images, or do not divide evenly."""
    if len(shape) != 3:
        raise UsageError(f"widths: a U-Net expects images (C, H, W), the data has examples of shape {shape}")
    factor = 2 ** (len(widths) - 1)
    if shape[1] % factor or shape[2] % factor:
        raise UsageError(
            f"widths: {len(widths)} of them halve {len(widths) - 1} times, but {shape[1]} x {shape[2]} pixels do not divide by {factor}"
        )
