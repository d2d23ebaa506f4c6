"""What the models share that give each pixel a probability, given all before it: figures, and what a person looks at."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from generative.data.store import Info
from generative.errors import UsageError
from generative.models.exhibit import Exhibit, Heatmap, Sheet
from generative.params import Training, Width

Temperature = Annotated[float, Field(gt=0, le=10)]
Dilations = Annotated[list[Annotated[int, Field(gt=0, le=64)]], Field(min_length=1, max_length=64)]

SAMPLES, COMPLETED, AVERAGED = 18, 14, 200
TICKS = 4  # pixels from one number to the next on the axes of a map


class Params(Training):
    width: Width  # channels between the layers
    dilations: Dilations  # of the layers that look around, one each; the first layer of all looks at its neighbours
    temperature: Temperature  # that samples are drawn at: below 1 the likelier values are likelier still


def colours(info: Info) -> int:
    """How many values a pixel has. Raises: UsageError: the data set holds no images."""
    if info.kind != "images":
        raise UsageError(f"data: a model of pixels needs images, and {info.name} has {info.kind}")
    return info.shape[0]


def figures(nats: Tensor, info: Info) -> dict[str, Tensor]:
    """-log p in nats: of an image, summed over `nats` (B, 1 or C, H, W), and of one of its values, also in bits; means over the batch."""
    image = nats.flatten(1).sum(1).mean()
    value = image / math.prod(info.shape)
    return {"nats": image, "nats_per_dimension": value, "bits_per_dimension": value / math.log(2)}


def exhibits(
    images: Tensor, surprise: Callable[[Tensor], Tensor], sample: Callable[[int], Tensor], complete: Callable[[Tensor, int], Tensor]
) -> list[Exhibit]:
    """Samples, completions of held-out images, and where the model is surprised.

    Args:
        images: held-out ones as the model sees them.
        surprise: nats (B, 1 or C, H, W) of images.
        complete: draws the rows of images from a given one on.
    """
    half = images.shape[2] // 2
    given = images[:COMPLETED]
    cut = given.clone()
    cut[:, :, half:] = 0
    nats = torch.cat([surprise(part).sum(1, keepdim=True) for part in images[:AVERAGED].split(50)])
    brightest = nats[:COMPLETED].flatten(1).quantile(0.98)
    maps = (nats[:COMPLETED] / brightest).clamp(max=1).expand_as(given) * 2 - 1
    return [
        Sheet("samples", "Images drawn pixel by pixel, row after row, each pixel given all before it.",
              sample(2 * SAMPLES).unflatten(0, (2, SAMPLES))),
        Sheet("completions", "The upper halves of held-out images, completed three times: what is open differs, what is settled does not.",
              torch.stack([given, cut, *(complete(given, half) for _ in range(3))]), ["held out", "given", "drawn", "drawn", "drawn"]),
        Sheet("surprise", "Held-out images and the nats that each pixel costs, white the most: beginnings and edges, hardly ever areas.",
              torch.stack([given, maps]), ["held out", "nats"]),
        Heatmap("nats", "Nats a pixel, mean over held-out images: where the image is decided and where it follows from what is there.",
                nats.mean((0, 1)), _ticks(images.shape[2]), _ticks(images.shape[3]), "row", "column"),
    ]  # fmt: skip


def _ticks(length: int) -> list[str]:
    return [str(i) if i % TICKS == 0 else "" for i in range(length)]
