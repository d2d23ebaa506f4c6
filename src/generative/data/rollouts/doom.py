"""Episodes of take cover under choices at random that last a while: the data of a world model (Ha and Schmidhuber 2018, section 4.2).

What the arrays hold stands in data/shards.py; an action is -1 (left), 0 or 1 (right), held for `repeat` tics, each a reward of 1.
The extra `doom` installs vizdoom, which this needs.
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

ACTIONS = 1


class Params(Gathered):
    persistence: Annotated[list[Fraction], Field(min_length=1)]  # chance in episode i that a choice is the one before: number i, and again


def download(params: Params, name: str, folder: Path) -> None:
    """Plays all episodes that do not wait in the work folder."""
    gather(make, params, name, folder)


def preprocess(params: Params, name: str, raw: Path, folder: Path) -> store.Info:
    """The shards of each split, one after another."""
    return joined(params, name, raw, folder, ACTIONS)


def make(params: Params, work: Path, shard: Shard) -> None:
    """Plays a shard's episodes and writes it, whole or not at all."""
    from generative.data.rollouts.cover.episode import Episode

    game = Episode(params.repeat, official=True)
    write(work, shard, [episode(game, params, shard.split, number) for number in range(shard.first, shard.last)])
    game.close()


def episode(game: Any, params: Params, split: str, number: int) -> dict[str, NDArray[Any]]:
    """One episode: `decisions` rows of each array, the picture transposed to (3, 64, 64)."""
    random = np.random.default_rng([params.seed, store.SPLITS.index(split), number])
    persistence = params.persistence[number % len(params.persistence)]
    kept, done, choice = rows(params.decisions, ACTIONS), False, int(random.integers(-1, 2))
    frame = game.start(int(random.integers(2**31)))
    for step in range(params.decisions):
        kept["x"][step], kept["mask"][step] = frame.transpose(2, 0, 1), not done
        if done:
            continue
        if random.random() >= persistence:
            choice = int(random.integers(-1, 2))
        frame, reward, done = game.advance(np.array([choice]))
        kept["action"][step], kept["reward"][step], kept["done"][step] = choice, reward, done
    return kept
