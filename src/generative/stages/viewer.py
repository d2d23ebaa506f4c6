"""Turns a data set's own examples back into what a person looks at."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from generative.data.store import Dataset
from generative.training import checkpoint


def viewer(dataset: Dataset, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Examples to images: codes pass through the frozen model that stands beside them, others are what they are."""
    if not (dataset.folder / "model").exists():
        return lambda x: x
    return checkpoint.load(dataset.folder / "model", device).decode
