"""What a comparison looks at: a trained model with its data, its block and its judge."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from generative.data.store import Dataset
from generative.models.model import Model
from generative.params import Training
from generative.training import device
from generative.training.device import Place

PART = 250  # samples drawn at a time


@dataclass(frozen=True)
class Subject:
    model: Model
    dataset: Dataset
    params: Training
    place: Place
    judge: Model | None  # a trained classifier of the same data, where the block names one

    @property
    def count(self) -> int:
        """Samples to compare: what the block says, at most as many as there are test examples and, for the floor, validation examples."""
        counts = self.dataset.info.counts
        return min(self.params.compared, counts["test"], counts["validation"])

    def samples(self, model: Model | None = None) -> Tensor:
        """(count, ...) samples of the model, or of another one of its class, always from the same random numbers."""
        device.seed(self.params.seed)
        parts = [min(PART, self.count - start) for start in range(0, self.count, PART)]
        return torch.cat([(model or self.model).sample(n).cpu() for n in parts])

    def untrained(self) -> Model:
        """The model as its training began."""
        device.seed(self.params.seed)
        model = type(self.model)(self.params, self.dataset.info).eval()  # type: ignore[call-arg]
        self.place.put(model)
        return model
