"""The two networks of a convolutional GAN, and what is measured between their images and real ones.

The networks are the published notebooks': 4 x 4 kernels of stride 2 between an image and 4 x 4 pixels, and one that spans those. Reals and
gradients of a penalty are float32, whatever the precision of the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from generative.errors import UsageError
from generative.nn.convolution import FromPoint, Spread, smallest

SLOPE = 0.2  # of the LeakyReLU
DIRECTIONS = 256
Upsampling = Literal["transposed", "resize"]  # a transposed convolution; or nearest pixels twice as large, then a convolution


class Downscorer(nn.Module):
    """Images (B, C, H, W) to a score each (B,): a discriminator or a critic.

    Args:
        channels: after each layer of stride 2; the last must be 4 x 4 pixels.
        normalised: BatchNorm after all such layers but the first, which then have no bias.
        dropout: after all such layers but the first where not `normalised`, as published; after every one where it is.
    """

    def __init__(self, shape: list[int], channels: list[int], normalised: bool, dropout: float) -> None:
        super().__init__()
        _four(shape, channels)
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(pairwise([shape[0], *channels])):
            layers.append(nn.Conv2d(before, after, 4, stride=2, padding=1, bias=not normalised))
            layers += [nn.BatchNorm2d(after, eps=1e-3, momentum=0.1)] if normalised and number else []
            layers.append(nn.LeakyReLU(SLOPE))
            layers += [nn.Dropout(dropout)] if normalised or number else []
        self.layers = nn.Sequential(*layers)
        self.score = nn.Linear(channels[-1] * 16, 1, bias=False)  # a difference of scores does not see a bias

    def forward(self, x: Tensor) -> Tensor:
        return self.score(self.layers(x).permute(0, 2, 3, 1).flatten(1)).flatten().float()


class Upscaler(nn.Module):
    """Noise (B, Z) to images (B, C, H, W) in [-1, 1]: a generator, the mirror of `Downscorer`."""

    def __init__(self, latent_size: int, shape: list[int], channels: list[int], upsampling: Upsampling, bias: bool) -> None:
        super().__init__()
        _four(shape, channels)
        widths = list(reversed(channels))
        layers: list[nn.Module] = [FromPoint(latent_size, widths[0], 4, bias=False)]
        for before, after in pairwise(widths):
            layers += [*_norm(before), *_larger(before, after, upsampling, False)]
        layers += [*_norm(widths[-1]), *_larger(widths[-1], shape[0], upsampling, bias)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.layers(z).float())


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """((norm - 1)^2, norm), both means over pairs: of the critic's gradient at a uniformly drawn point between the two of each pair.

    Gulrajani et al. 2017, eq. 3 and algorithm 1. The published notebook draws the point from a normal distribution, which leaves the
    line between them.
    """
    share = torch.rand(len(real), 1, 1, 1, device=real.device)
    between = torch.lerp(real.float(), fake.float(), share).requires_grad_()
    with torch.enable_grad(), torch.autocast(real.device.type, enabled=False):
        (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    norm = gradient.flatten(1).norm(dim=1)
    return (norm - 1).square().mean(), norm.mean()


def sliced_wasserstein(a: Tensor, b: Tensor) -> Tensor:
    """The mean distance between two sets of as many examples, seen from random directions (Rabin et al. 2011), by torch's random state."""
    a, b = a.flatten(1).float(), b.flatten(1).float()
    directions = torch.randn(a.shape[1], DIRECTIONS, device=a.device)
    directions /= directions.norm(dim=0)
    return ((a @ directions).sort(0).values - (b @ directions).sort(0).values).abs().mean()


def _norm(width: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(width, eps=1e-3, momentum=0.1), nn.LeakyReLU(SLOPE)]


def _larger(before: int, after: int, upsampling: Upsampling, bias: bool) -> list[nn.Module]:
    if upsampling == "transposed":
        return [Spread(before, after, 4, stride=2, padding=1, bias=bias)]
    return [nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, padding=1, bias=bias)]


def _four(shape: list[int], channels: list[int]) -> None:
    _, height, width = smallest(shape, channels)
    if (height, width) != (4, 4):
        raise UsageError(
            f"channels: expected as many as halve {shape[1]} x {shape[2]} pixels down to 4 x 4, got {len(channels)}, "
            f"which leave {height} x {width}"
        )
