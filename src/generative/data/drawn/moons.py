"""Two interleaved half moons in the plane, from scikit-learn; the smallest data that is not a blob."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from generative.data import store
from generative.params import Positive, Source, Weight


class Params(Source):
    noise: Weight  # standard deviation of the points about their moon, whose radius is 1
    train: Annotated[Positive, Field(ge=2)]  # one point has no standard deviation
    test: Positive


def download(params: Params, name: str, folder: Path) -> None:
    """Draws all points into one npz."""
    from sklearn.datasets import make_moons

    total = params.train + params.validation + params.test
    points, moons = make_moons(total, noise=params.noise, random_state=params.seed)
    x, y = np.asarray(points, np.float32), np.asarray(moons, np.int64)
    np.savez(folder / "moons.npz", allow_pickle=False, x=x, y=y)


def preprocess(params: Params, name: str, raw: Path, folder: Path) -> store.Info:
    """The points, each axis shifted and scaled to mean 0 and standard deviation 1 over the training split."""
    drawn = store.read_npz(raw / "moons.npz", "x", "y")
    points, moons = drawn["x"], drawn["y"]
    mean, deviation = points[: params.train].mean(axis=0), points[: params.train].std(axis=0)
    points = (points - mean) / deviation
    bounds = np.cumsum([params.train, params.validation])
    x, y = np.split(points, bounds), np.split(moons, bounds)
    splits = {split: {"x": x[i], "y": y[i]} for i, split in enumerate(store.SPLITS)}
    return store.write_dataset(folder, splits, name=name, kind="points", classes=["upper", "lower"])
