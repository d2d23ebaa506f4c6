"""PixelCNN: the probability of an image as a product over its pixels, each given all before it (van den Oord et al. 2016a, eq. 1 and 2).

A pixel is one of `levels` brightnesses and the output a softmax over them. The net is the published notebook's: a 7 x 7 convolution under
mask A; residual blocks of 1 x 1, 3 x 3 under mask B, and 1 x 1, the first two at half the width; two 1 x 1 convolutions; ReLU after each.
The colours of a pixel follow one another, and the channels of every layer belong to one of them each. Departures: the input is in [-1, 1];
the 3 x 3 convolutions may be dilated, so that few of them see far; level k of L is shown as k / (L - 1): black is black and white is white.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from generative.data.store import Batch, Info, to_pixels
from generative.models import pixels
from generative.models.exhibit import Exhibit
from generative.models.model import Loss, Model, Objective
from generative.nn.initialise import glorot
from generative.nn.masked import Masked, draw
from generative.nn.temperature import tempered


class Params(pixels.Params):
    levels: Literal[2, 4, 8, 16, 32, 64, 128, 256]  # brightnesses that are told apart, each of 256 / levels values


class Block(nn.Module):
    """(B, `width`, H, W) to the same: what the neighbours add."""

    def __init__(self, width: int, dilation: int, colours: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Masked(width, width // 2, 1, "B", colours, 1), nn.ReLU(),
            Masked(width // 2, width // 2, 3, "B", colours, dilation), nn.ReLU(),
            Masked(width // 2, width, 1, "B", colours, 1), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Network(nn.Sequential):
    """Images (B, C, H, W) in [-1, 1] to logits (B, C x `levels`, H, W)."""

    def __init__(self, colours: int, levels: int, width: int, dilations: list[int]) -> None:
        super().__init__(
            Masked(colours, width, 7, "A", colours, 1), nn.ReLU(),
            *(Block(width, dilation, colours) for dilation in dilations),
            Masked(width, width, 1, "B", colours, 1), nn.ReLU(),
            Masked(width, width, 1, "B", colours, 1), nn.ReLU(),
            Masked(width, colours * levels, 1, "B", colours, 1),
        )  # fmt: skip

    def above(self, x: Tensor) -> list[Tensor]:
        return []  # one stack: nothing follows from the rows above alone

    def along(self, x: Tensor, above: list[Tensor]) -> Tensor:
        return self(x)


class PixelCNN(Model):
    figure = "bits_per_dimension"

    def __init__(self, params: Params, info: Info) -> None:
        super().__init__()
        self.params, self.info = params, info
        self.network = Network(pixels.colours(info), params.levels, params.width, params.dilations)
        glorot(self)

    def objectives(self) -> list[Objective]:
        optimizer = Adam(self.parameters(), lr=self.params.learning_rate, eps=1e-7, fused=True)
        return [Objective("likelihood", self._loss, optimizer)]

    def _loss(self, batch: Batch) -> Loss:
        figures = pixels.figures(self.surprise(batch["x"]), self.info)
        return figures["nats_per_dimension"], figures

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        return self._loss(batch)[1]

    def surprise(self, x: Tensor) -> Tensor:
        """-log p of each value's level, in nats, (B, C, H, W)."""
        level = self.level(x)
        logits = (
            self.network(self.shown(level).to(x.dtype)).permute(0, 2, 3, 1).unflatten(3, (x.shape[1], -1)).float()
        )  # (B, H, W, C, levels)
        nats = F.cross_entropy(logits.flatten(0, 3), level.permute(0, 2, 3, 1).flatten(), reduction="none")
        return nats.view(logits.shape[:4]).permute(0, 3, 1, 2)

    def level(self, x: Tensor) -> Tensor:
        """The level, int64, of each value in [-1, 1]."""
        return to_pixels(x).long() * self.params.levels // 256

    def shown(self, level: Tensor) -> Tensor:
        """A level's value in [-1, 1]; black is -1 and white 1, whatever their number."""
        return level * (2 / (self.params.levels - 1)) - 1

    def sample(self, n: int, condition: Tensor | None = None, *, temperature: float | None = None) -> Tensor:
        self.unconditional(condition)
        return self.complete(next(self.parameters()).new_full((n, *self.info.shape), -1), 0, temperature)

    def complete(self, x: Tensor, start: int, temperature: float | None = None) -> Tensor:
        """The images with the rows from `start` on drawn anew."""
        heat = self.params.asked(temperature=temperature).temperature
        return draw(self.network, x.clone(), start, self.pixel(heat), together=1)

    def pixel(self, temperature: float) -> Callable[[Tensor, slice], Tensor]:
        """What draws one colour (B, 1) in [-1, 1] of a pixel from its logits (B, C x levels), by the inverse of its distribution."""

        def choose(logits: Tensor, chosen: slice) -> Tensor:
            probabilities = tempered(logits.unflatten(1, (self.info.shape[0], -1))[:, chosen], temperature)
            threshold = torch.rand(*probabilities.shape[:2], 1, device=logits.device)
            return self.shown((probabilities.cumsum(-1) < threshold).sum(-1).clamp(max=self.params.levels - 1))

        return choose

    def exhibits(self, batch: Batch) -> list[Exhibit]:
        return pixels.exhibits(self.shown(self.level(batch["x"])), self.surprise, self.sample, self.complete)
