"""How well a model tells the data it was trained on from another data set."""

from __future__ import annotations

import torch
from torch import Tensor

from generative.data.store import Dataset, Split
from generative.errors import UsageError
from generative.models.model import Model
from generative.nn.ranking import auroc
from generative.training import device
from generative.training.device import Place

PART = 500  # examples looked at at a time


def tell_apart(model: Model, own: Dataset, other: Dataset, place: Place, seed: int) -> dict[str, float]:
    """The area under the ROC curve of the model's `strangeness`, over all test examples of the two: 1 where every stranger is found.

    Likelihoods need not pass: they may find the images of a simpler data set likelier than their own (Nalisnick et al. 2019).

    Raises:
        UsageError: their examples differ in kind or shape.
    """
    kinds = [f"{dataset.info.kind} of shape {dataset.info.shape}" for dataset in (own, other)]
    if kinds[0] != kinds[1]:
        raise UsageError(f"against: expected {kinds[0]}, as {own.info.name} has, got {other.info.name} with {kinds[1]}")
    inside, outside = (_strangeness(model, dataset.split("test"), place, seed) for dataset in (own, other))
    return {"auroc_against": auroc(inside, outside).item()}


def _strangeness(model: Model, split: Split, place: Place, seed: int) -> Tensor:
    device.seed(seed)
    return torch.cat([model.strangeness(place.take(batch)).cpu() for batch in split.batches(PART)])
