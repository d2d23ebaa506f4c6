"""Stacks of strided convolutions between an image and a vector.

The vector is laid out height, width, channel: in the channels_last memory format that is the order the numbers already stand in, so
neither direction copies them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from generative.errors import UsageError


class Downward(nn.Sequential):
    """(B, C, H, W) to (B, `size`): each layer halves height and width, 3 x 3 kernels, ReLU.

    Args:
        shape: (C, H, W) of the images; H and W must be divisible by 2 as often as there are widths.
        widths: channels after each layer.
    """

    def __init__(self, shape: list[int], widths: list[int]) -> None:
        layers: list[nn.Module] = []
        for before, after in zip([shape[0], *widths], widths, strict=False):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU()]
        super().__init__(*layers)
        self.shape = smallest(shape, widths)
        self.size = self.shape[0] * self.shape[1] * self.shape[2]

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).permute(0, 2, 3, 1).flatten(1)


class Upward(nn.Module):
    """(B, Z) to (B, C, H, W), unbounded: the mirror of `Downward`, transposed convolutions, a 3 x 3 convolution at the end."""

    def __init__(self, latent_size: int, shape: list[int], widths: list[int]) -> None:
        super().__init__()
        self.shape = smallest(shape, widths)
        channels, height, width = self.shape
        self.dense = nn.Linear(latent_size, channels * height * width)
        layers: list[nn.Module] = []
        for before, after in zip([channels, *reversed(widths)], reversed(widths), strict=False):
            layers += [Spread(before, after, 3, stride=2, padding=1, output_padding=1), nn.ReLU()]
        self.layers = nn.Sequential(*layers, ToPixels(widths[0], shape[0], 3, padding=1))

    def forward(self, z: Tensor) -> Tensor:
        channels, height, width = self.shape
        x = self.dense(z).view(-1, height, width, channels).permute(0, 3, 1, 2)
        return self.layers(x)


class Spread(nn.ConvTranspose2d):
    """A transposed convolution that adds its bias afterwards: together, a CPU spends a sixth of a training step on the bias's gradient."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:  # noqa: A002, ARG002
        x = F.conv_transpose2d(input, self.weight, None, self.stride, self.padding, self.output_padding)  # type: ignore[arg-type]
        return x if self.bias is None else x + self.bias.to(x.dtype).view(-1, 1, 1)


class FromPoint(nn.ConvTranspose2d):
    """(B, C) to (B, C', k, k): a transposed convolution of a single point, as a matrix product; a third of the time on a CPU."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:  # noqa: A002, ARG002
        before, after, height, width = self.weight.shape
        x = input @ self.weight.permute(0, 2, 3, 1).reshape(before, -1)
        x = x.view(-1, height, width, after).permute(0, 3, 1, 2)
        return x if self.bias is None else x + self.bias.to(x.dtype).view(-1, 1, 1)


class ToPixels(nn.Conv2d):
    """A 3 x 3 convolution to a few channels, as a matrix product and a sum over neighbours.

    A CPU's convolution pads the output channels to 16, whatever their number. The sum is in float32, also under autocast.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        channels, height, width = input.shape[1:]
        kernels = self.weight.flip(2, 3).permute(1, 0, 2, 3).reshape(channels, -1)
        shares = input.permute(0, 2, 3, 1).reshape(-1, channels) @ kernels  # of each pixel in its 9 neighbours
        shares = shares.view(-1, height * width, kernels.shape[1]).transpose(1, 2).float()
        x = F.fold(shares, (height, width), 3, padding=1)
        return x if self.bias is None else x + self.bias.view(-1, 1, 1)


class FromPixels(nn.Conv2d):
    """A 5 x 5 convolution of stride 2 from a few channels, as a 3 x 3 convolution over the pixels gathered 2 x 2 into channels.

    It gives the same numbers; a CPU spends twice the time on the gradient of a strided convolution's input when that has few channels.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, 5, stride=2, padding=2)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        after, before = self.weight.shape[:2]
        kernels = F.pad(self.weight, (0, 1, 0, 1)).view(after, before, 3, 2, 3, 2).permute(0, 1, 3, 5, 2, 4)
        return F.conv2d(F.pixel_unshuffle(input, 2), kernels.reshape(after, 4 * before, 3, 3), self.bias, padding=1)


def smallest(shape: list[int], widths: list[int]) -> tuple[int, int, int]:
    """(C, H, W) after every layer of a stack that halves.

    Raises:
        UsageError: the images do not divide evenly, or are none.
    """
    if len(shape) != 3:
        raise UsageError(f"channels: convolutions expect images (C, H, W), the data has examples of shape {shape}")
    factor = 2 ** len(widths)
    if shape[1] % factor or shape[2] % factor:
        raise UsageError(
            f"channels: {len(widths)} layers halve {len(widths)} times, but {shape[1]} x {shape[2]} pixels do not divide by {factor}"
        )
    return widths[-1], shape[1] // factor, shape[2] // factor


def conv_norm(before: int, after: int, stride: int) -> nn.Sequential:
    """3 x 3 convolution, BatchNorm and LeakyReLU with the constants of the published notebooks (slope 0.3, momentum 0.99, eps 1e-3)."""
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride=stride, padding=1),
        nn.BatchNorm2d(after, eps=1e-3, momentum=0.01),
        nn.LeakyReLU(0.3),
    )


def spread_norm(before: int, after: int) -> nn.Sequential:
    """The mirror of `conv_norm` with stride 2: a transposed convolution that doubles height and width."""
    return nn.Sequential(
        Spread(before, after, 3, stride=2, padding=1, output_padding=1),
        nn.BatchNorm2d(after, eps=1e-3, momentum=0.01),
        nn.LeakyReLU(0.3),
    )


def grid(rows: int, low: Tensor, high: Tensor) -> Tensor:
    """(rows * rows, 2) points of a square lattice between the corners `low` and `high`, top row first."""
    across = torch.linspace(0, 1, rows, device=low.device)
    y, x = torch.meshgrid(across.flip(0), across, indexing="ij")
    return low + torch.stack([x, y], dim=-1).view(-1, 2) * (high - low)
