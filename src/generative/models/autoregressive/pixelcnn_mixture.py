"""PixelCNN with a discretised mixture of logistics over all 256 values of a pixel (Salimans et al. 2017, eq. 1 to 3).

The net has the two stacks of van den Oord et al. (2016b, figure 2): one reads whole rows above, the other its own row up to the pixel
and what the first has found, both through gates tanh(a) * sigmoid(b), eq. 2. The green and blue of a pixel move their means by a
multiple of the values before them, Salimans eq. 3. Departures from the latter: layers are dilated, not strided and joined again, so that
the image keeps its size and sampling can go on from row to row; residual connections in both stacks; weights are not normalised.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from generative.data.store import Batch, Info, to_pixels, to_unit
from generative.models import pixels
from generative.models.exhibit import Exhibit
from generative.models.model import Loss, Model, Objective
from generative.nn.masked import Above, Left, Point, draw
from generative.nn.temperature import tempered
from generative.params import Fraction, Positive

HALF = 1 / 255  # half of the distance between two values in [-1, 1]
NARROWEST = -7.0  # the least log-scale: a ninth of the distance between two values


class Params(pixels.Params):
    components: Positive  # logistic distributions in a mixture
    dropout: Fraction  # of the channels between a layer's gate and what it adds


class Layer(nn.Module):
    """One layer of both stacks, each with a gate and a residual connection."""

    def __init__(self, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.over = Above(width, 2 * width, 2, 3, "B", dilation)
        self.link = Point(2 * width, 2 * width)
        self.beside = Left(width, 2 * width, 2, "B", dilation)
        self.out = Point(width, width)
        self.dropout = nn.Dropout(dropout)

    def above(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The vertical stack's (B, `width`, H, W), and what the horizontal one takes from it, twice as wide."""
        both = self.over(x)
        return x + gate(both), self.link(both)

    def along(self, x: Tensor, link: Tensor) -> Tensor:
        return x + self.out(self.dropout(gate(self.beside(x) + link)))


class Network(nn.Module):
    """Images (B, C, H, W) in [-1, 1] to `outputs` parameters of each pixel's distribution (B, `outputs`, H, W)."""

    def __init__(self, colours: int, outputs: int, width: int, dilations: list[int], dropout: float) -> None:
        super().__init__()
        self.first_above = Above(colours, width, 3, 7, "A", 1)
        self.first_along = Left(colours, width, 3, "A", 1)
        self.layers = nn.ModuleList(Layer(width, dilation, dropout) for dilation in dilations)
        self.head = nn.Sequential(nn.ELU(), Point(width, 2 * width), nn.ELU(), Point(2 * width, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.along(x, self.above(x))

    def above(self, x: Tensor) -> list[Tensor]:
        hidden = self.first_above(x)
        links = [hidden]
        for layer in self.layers:
            hidden, link = layer.above(hidden)  # type: ignore[operator]
            links.append(link)
        return links

    def along(self, x: Tensor, above: list[Tensor]) -> Tensor:
        hidden = self.first_along(x) + above[0]
        for layer, link in zip(self.layers, above[1:], strict=True):
            hidden = layer.along(hidden, link)  # type: ignore[operator]
        return self.head(hidden)


class PixelCNNMixture(Model):
    figure = "bits_per_dimension"

    def __init__(self, params: Params, info: Info) -> None:
        super().__init__()
        self.params, self.info = params, info
        self.colours = pixels.colours(info)
        self.mixed = self.colours * (self.colours - 1) // 2  # pairs of an earlier and a later colour
        outputs = params.components * (1 + 2 * self.colours + self.mixed)
        self.network = Network(self.colours, outputs, params.width, params.dilations, params.dropout)

    def objectives(self) -> list[Objective]:
        optimizer = Adam(self.parameters(), lr=self.params.learning_rate, fused=True)
        return [Objective("likelihood", self._loss, optimizer)]

    def _loss(self, batch: Batch) -> Loss:
        figures = pixels.figures(self.surprise(batch["x"]), self.info)
        return figures["nats_per_dimension"], figures

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        return self._loss(batch)[1]

    def surprise(self, x: Tensor) -> Tensor:
        """-log p of each pixel, in nats, (B, 1, H, W)."""
        pixel = to_pixels(x)
        x = to_unit(pixel).to(x.dtype)
        mixture = self.mixture(self.network(x))
        logs = log_probability(pixel[:, :, None], x[:, :, None], mixture.centres(x), mixture.log_scales).sum(1)  # (B, K, H, W)
        return -torch.logsumexp(logs + mixture.logits.log_softmax(1), 1, keepdim=True)

    def mixture(self, parameters: Tensor) -> Mixture:
        """The parameters (B, P, ...) by what they are."""
        parts = parameters.float().contiguous().unflatten(1, (-1, self.params.components))
        logits, means, log_scales, mixing = parts.split([1, self.colours, self.colours, self.mixed], 1)
        return Mixture(logits[:, 0], means, log_scales.clamp(min=NARROWEST), mixing.tanh())

    def sample(self, n: int, condition: Tensor | None = None, *, temperature: float | None = None) -> Tensor:
        self.unconditional(condition)
        return self.complete(next(self.parameters()).new_full((n, *self.info.shape), -1), 0, temperature)

    def complete(self, x: Tensor, start: int, temperature: float | None = None) -> Tensor:
        """The images with the rows from `start` on drawn anew."""
        heat = self.params.asked(temperature=temperature).temperature
        return draw(self.network, x.clone(), start, self.pixel(heat), together=self.colours)

    def pixel(self, temperature: float) -> Callable[[Tensor, slice], Tensor]:
        """What draws pixels (B, C) in [-1, 1] from their parameters (B, P): a component, then each colour around its mean.

        Args:
            temperature: divides the logits of the components and multiplies the scales.
        """

        def choose(parameters: Tensor, _: slice) -> Tensor:
            mixture = self.mixture(parameters)
            uniform = torch.rand(len(parameters), 1 + self.colours, device=parameters.device)
            below = tempered(mixture.logits, temperature, 1).cumsum(1) < uniform[:, :1]
            component = below.sum(1).clamp(max=self.params.components - 1)
            means, log_scales, mixing = (part[torch.arange(len(part), device=part.device), :, component] for part in mixture[1:])
            noise = temperature * log_scales.exp() * uniform[:, 1:].logit()
            x = torch.empty_like(means)
            for colour in range(self.colours):
                mean = means[:, colour] + sum(mixing[:, pair(earlier, colour)] * x[:, earlier] for earlier in range(colour))
                x[:, colour] = to_unit(to_pixels(mean + noise[:, colour]))
            return x

        return choose

    def exhibits(self, batch: Batch) -> list[Exhibit]:
        return pixels.exhibits(batch["x"], self.surprise, self.sample, self.complete)


class Mixture(NamedTuple):
    """Logits of the components (B, K, ...); means and log-scales (B, C, K, ...); what a colour takes from another (B, pairs, K, ...)."""

    logits: Tensor
    means: Tensor
    log_scales: Tensor
    mixing: Tensor

    def centres(self, x: Tensor) -> Tensor:
        """The means moved by the colours before, x (B, C, ...), Salimans et al. 2017, eq. 3."""
        moved = []
        for colour in range(x.shape[1]):
            moved.append(self.means[:, colour] + sum(self.mixing[:, pair(e, colour)] * x[:, e, None] for e in range(colour)))
        return torch.stack(moved, 1)


def pair(earlier: int, later: int) -> int:
    """The place of two colours in a list of all pairs: (0, 1), (0, 2), (1, 2), ..."""
    return later * (later - 1) // 2 + earlier


def gate(x: Tensor) -> Tensor:
    a, b = x.chunk(2, 1)
    return a.tanh() * b.sigmoid()


def log_probability(pixel: Tensor, x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """log of the share of a logistic distribution that rounds to a value: to 0 all below, to 255 all above (eq. 2).

    With s the sigmoid, s(a) - s(b) = s(a) s(-b) (1 - exp(b - a)): no difference of nearly equal numbers.

    Args:
        pixel: 0 to 255.
        x: the same in [-1, 1].
    """
    narrow = torch.exp(-log_scale)
    below, above = (x - mean + HALF) * narrow, (x - mean - HALF) * narrow
    inside = torch.log(-torch.expm1(-2 * HALF * narrow))
    low, high = F.logsigmoid(below), F.logsigmoid(-above)
    return torch.where(pixel == 0, low, torch.where(pixel == 255, high, low + high + inside))
