"""Two interleaved half moons in the plane, from scikit-learn; the smallest data that is not a blob.

Their density is known, so each point carries its own true log density: the bar that no model passes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
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
    arrays = {"x": (points - mean) / deviation, "y": moons}
    if params.noise:
        density = log_density(points.astype(np.float64), params.noise) + np.log(deviation.astype(np.float64)).sum()
        arrays["log_density"] = density.astype(np.float32)
    bounds = np.cumsum([params.train, params.validation])
    parts = {key: np.split(array, bounds) for key, array in arrays.items()}
    splits = {split: {key: part[i] for key, part in parts.items()} for i, split in enumerate(store.SPLITS)}
    return store.write_dataset(folder, splits, name=name, kind="points", classes=["upper", "lower"])


def log_density(points: NDArray[np.float64], noise: float) -> NDArray[np.float64]:
    """The true log density in nats, (N,), of points (N, 2) as scikit-learn draws them: half of each moon, even along its arc.

    The integral over the angle is taken by Gauss and Legendre's rule where a point's own moon is near; beyond twenty standard deviations of
    the noise nothing is left of it.
    """
    lower = np.array([1.0, 0.5]) - points  # the lower moon, turned by half a circle onto the upper one
    nodes, weights = np.polynomial.legendre.leggauss(96)
    logs = []
    for x, y in (points.T, lower.T):
        nearest = np.where(y < 0, np.pi * (x < 0), np.arctan2(y, x))
        low, high = (np.clip(nearest + side * 20 * noise, 0, np.pi) for side in (-1, 1))
        angles = (low + high)[:, None] / 2 + (high - low)[:, None] / 2 * nodes
        squares = (x[:, None] - np.cos(angles)) ** 2 + (y[:, None] - np.sin(angles)) ** 2
        logs.append(np.log(weights * (high - low)[:, None] / (2 * np.pi)) - squares / (2 * noise**2))
    return np.logaddexp.reduce(np.concatenate(logs, axis=1), axis=1) - np.log(2 * 2 * np.pi * noise**2)
