"""Turns a data set's own examples back into what a person looks at."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from generative.data.store import Dataset
from generative.training import checkpoint


def viewer(dataset: Dataset, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Examples to images: codes pass through the frozen models that stand beside them, the last first; others are what they are."""
    decoders: list[Callable[[Tensor], Tensor]] = []
    folder = dataset.folder
    while (folder / "model").exists():
        decoders.append(checkpoint.load(folder / "model", device).decode)
        folder = folder / "before"

    def look(x: Tensor) -> Tensor:
        for decode in decoders:
            x = decode(x)
        return x

    return look
