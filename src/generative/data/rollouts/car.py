"""Episodes of CarRacing driven by a policy that explores: the data of a world model (Ha and Schmidhuber 2018, section 4.1).

The arrays have one row a decision, an episode's one after another (`Info.sequence` of them):

    x       what was seen before the decision, uint8 (3, 64, 64): gymnasium's picture without the indicators, made smaller
    action  float32 (3,): steering in [-1, 1], gas and brake in [0, 1], held for `repeat` frames of the environment
    reward  float32, of these frames together
    done    float32, 1 where the episode ended with them
    mask    bool, False after that end; x then repeats the last picture

Every episode follows from the seed, its split and its number alone, so the data are the same for any number of workers. Workers write
shards of `shard` episodes; those that are whole wait in `WORK` should the collection be stopped, and are not made again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from generative.data import store
from generative.data.crew import share_out
from generative.params import Fraction, Positive, Source, Threads

WORK = Path("data/work/rollouts")
CODE = Path(__file__).parent
ASKEW = 0.3
KEYS = ("x", "action", "reward", "done", "mask")


class Params(Source):
    train: Positive  # episodes, as are validation and test
    test: Positive
    shard: Positive  # episodes that a worker makes and writes at once
    decisions: Annotated[int, Field(ge=2, le=10_000)]  # of an episode that are kept
    skip: Annotated[int, Field(ge=0)]  # decisions before those, in which the camera comes down
    scattered: bool  # episodes begin anywhere on their track, and up to `ASKEW` radians off its direction, so that more is seen of roads
    repeat: Positive  # frames of the environment that a decision lasts
    momentum: Annotated[list[Fraction], Field(min_length=1)]  # of the noise in episode i: number i, and from the beginning again
    means: Annotated[list[float], Field(min_length=3, max_length=3)]  # of steering, gas and brake, before they are clipped
    spreads: Annotated[list[float], Field(min_length=3, max_length=3)]
    workers: Threads  # processes that drive side by side; the data do not depend on it


class Shard(NamedTuple):
    """Episodes `first` to `last` - 1 of a split."""

    split: str
    first: int
    last: int

    @property
    def file(self) -> str:
        return f"{self.split}_{self.first:06d}.npz"


def download(params: Params, name: str, folder: Path) -> None:
    """Drives all episodes that do not wait in the work folder, and moves the shards here."""
    work = work_folder(params, name)
    waiting = [shard for shard in shards(params) if not (work / shard.file).exists()]
    share_out(partial(make, params, work), waiting, params.workers, f"download {name}", params.shard, "episodes")
    for shard in shards(params):
        shutil.move(work / shard.file, folder / shard.file)
    shutil.rmtree(work)


def preprocess(params: Params, name: str, raw: Path, folder: Path) -> store.Info:
    """The shards of each split, one after another."""
    splits: dict[str, dict[str, NDArray[Any]]] = {}
    for split in store.SPLITS:
        parts = [store.read_npz(raw / shard.file, *KEYS) for shard in shards(params) if shard.split == split]
        splits[split] = {key: np.concatenate([part[key] for part in parts]) for key in KEYS} if parts else _nothing(0)
    return store.write_dataset(folder, splits, name=name, kind="images", sequence=params.decisions)


def shards(params: Params) -> list[Shard]:
    """The parts that the collection consists of, each of which may be made anywhere."""
    return [
        Shard(split, first, min(first + params.shard, getattr(params, split)))
        for split in store.SPLITS
        for first in range(0, getattr(params, split), params.shard)
    ]


def work_folder(params: Params, name: str) -> Path:
    """Where the finished shards of these very parameters and this code wait."""
    digest = hashlib.sha256(params.model_dump_json(exclude={"workers"}).encode())
    for file in sorted(CODE.rglob("*.py")):
        digest.update(file.read_bytes())
    return WORK / f"{name}-{digest.hexdigest()[:16]}"


def make(params: Params, work: Path, shard: Shard) -> None:
    """Drives a shard's episodes and writes it, whole or not at all."""
    from generative.data.rollouts.racing.environment import FastCarRacing

    env = FastCarRacing()
    episodes = [episode(env, params, shard.split, number) for number in range(shard.first, shard.last)]
    work.mkdir(parents=True, exist_ok=True)
    partial_file = work / f"{shard.file}.{os.getpid()}.partial"
    with partial_file.open("wb") as file:
        np.savez(file, allow_pickle=False, **{key: np.concatenate([one[key] for one in episodes]) for key in KEYS})
    partial_file.replace(work / shard.file)


def episode(env: Any, params: Params, split: str, number: int) -> dict[str, NDArray[Any]]:
    """One episode: `decisions` rows of each array, the picture transposed to (3, 64, 64)."""
    from generative.data.rollouts.racing.explorer import Explorer

    random = np.random.default_rng([params.seed, store.SPLITS.index(split), number])
    explore = Explorer(params.momentum[number % len(params.momentum)], params.means, params.spreads, random)
    rows = _nothing(params.decisions)
    frame, _ = env.reset(seed=int(random.integers(2**31)))
    if params.scattered:
        env.place(int(random.integers(len(env.track))), float(random.uniform(-ASKEW, ASKEW)))
    done = False
    for step in range(-params.skip, params.decisions):
        if step >= 0:
            rows["x"][step], rows["mask"][step] = frame.transpose(2, 0, 1), not done
        if done:
            continue
        action = explore()
        frame, reward, done = env.advance(action, params.repeat)
        if step >= 0:
            rows["action"][step], rows["reward"][step], rows["done"][step] = action, reward, done
    return rows


def _nothing(rows: int) -> dict[str, NDArray[Any]]:
    return {
        "x": np.zeros((rows, 3, 64, 64), np.uint8),
        "action": np.zeros((rows, 3), np.float32),
        "reward": np.zeros(rows, np.float32),
        "done": np.zeros(rows, np.float32),
        "mask": np.zeros(rows, bool),
    }
