"""Episodes of CarRacing driven by a policy that explores: the data of a world model (Ha and Schmidhuber 2018, section 4.1).

What the arrays hold stands in data/shards.py; pictures are gymnasium's without the indicators, made smaller, an action is steering in
[-1, 1], gas and brake in [0, 1], held for `repeat` frames.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from generative.data import store
from generative.data.shards import Gathered, Shard, gather, joined, rows, write
from generative.params import Fraction

ASKEW = 0.3
ACTIONS = 3


class Params(Gathered):
    skip: Annotated[int, Field(ge=0)]  # decisions before those, in which the camera comes down
    scattered: bool  # episodes begin anywhere on their track, and up to `ASKEW` radians off its direction, so that more is seen of roads
    momentum: Annotated[list[Fraction], Field(min_length=1)]  # of the noise in episode i: number i, and from the beginning again
    means: Annotated[list[float], Field(min_length=3, max_length=3)]  # of steering, gas and brake, before they are clipped
    spreads: Annotated[list[float], Field(min_length=3, max_length=3)]


def download(params: Params, name: str, folder: Path) -> None:
    """Drives all episodes that do not wait in the work folder."""
    gather(make, params, name, folder)


def preprocess(params: Params, name: str, raw: Path, folder: Path) -> store.Info:
    """The shards of each split, one after another."""
    return joined(params, name, raw, folder, ACTIONS)


def make(params: Params, work: Path, shard: Shard) -> None:
    """Drives a shard's episodes and writes it, whole or not at all."""
    from generative.data.rollouts.racing.environment import FastCarRacing

    env = FastCarRacing()
    write(work, shard, [episode(env, params, shard.split, number) for number in range(shard.first, shard.last)])


def episode(env: Any, params: Params, split: str, number: int) -> dict[str, NDArray[Any]]:
    """One episode: `decisions` rows of each array, the picture transposed to (3, 64, 64)."""
    from generative.data.rollouts.racing.explorer import Explorer

    random = np.random.default_rng([params.seed, store.SPLITS.index(split), number])
    explore = Explorer(params.momentum[number % len(params.momentum)], params.means, params.spreads, random)
    kept = rows(params.decisions, ACTIONS)
    frame, _ = env.reset(seed=int(random.integers(2**31)))
    if params.scattered:
        env.place(int(random.integers(len(env.track))), float(random.uniform(-ASKEW, ASKEW)))
    done = False
    for step in range(-params.skip, params.decisions):
        if step >= 0:
            kept["x"][step], kept["mask"][step] = frame.transpose(2, 0, 1), not done
        if done:
            continue
        action = explore()
        frame, reward, done = env.advance(action, params.repeat)
        if step >= 0:
            kept["action"][step], kept["reward"][step], kept["done"][step] = action, reward, done
    return kept
