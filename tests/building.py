"""Builds a data set from a source as the stages do, for tests to look at."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from generative.data import store
from generative.params import typed

MIRROR = Path(os.environ.get("GENERATIVE_MIRROR") or Path(__file__).parents[2] / "shared" / "datasets")  # real data, where it is there


def build(module: ModuleType, block: dict[str, Any], to: Path, download: bool = True) -> store.Dataset:
    """Both stages of a source; `to`/raw must be filled where `download` is off."""
    params = typed(module.Params, block, "params.yaml: data.x")
    raw, ready = to / "raw", to / "ready"
    if download:
        raw.mkdir(parents=True)
        module.download(params, "x", raw)
    ready.mkdir()
    module.preprocess(params, "x", raw, ready)
    return store.open_dataset(ready)


def arrays(dataset: store.Dataset, split: str) -> dict[str, np.ndarray]:
    return {key: value.numpy() for key, value in dataset.split(split).arrays.items()}
