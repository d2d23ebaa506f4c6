"""Episodes gathered by several processes: each writes shards of some episodes, which wait for the rest of them should they be stopped.

The arrays have one row a decision, an episode's one after another (`Info.sequence` of them):

    x       what was seen before the decision, uint8 (3, H, W)
    action  float32 (A,)
    reward  float32, of the decision
    done    float32, 1 where the episode ended with it
    mask    bool, False after that end; x then repeats the last picture

Every episode follows from the seed, its split and its number alone, so the data are the same for any number of workers.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from generative.data import store
from generative.data.crew import share_out
from generative.params import Positive, Source, Threads

WORK = Path("data/work/rollouts")
CODE = [Path(__file__), *sorted((Path(__file__).parent / "rollouts").rglob("*.py"))]
KEYS = ("x", "action", "reward", "done", "mask")
SIDE = 64  # of a picture


class Gathered(Source):
    """What every source of episodes states; `validation` counts episodes too."""

    train: Positive  # episodes, as are validation and test
    test: Positive
    shard: Positive  # episodes that a worker makes and writes at once
    decisions: Annotated[int, Field(ge=2, le=10_000)]  # of an episode that are kept
    repeat: Positive  # frames of the environment that a decision lasts
    workers: Threads  # processes that gather side by side; the data do not depend on it


class Shard(NamedTuple):
    """Episodes `first` to `last` - 1 of a split."""

    split: str
    first: int
    last: int

    @property
    def file(self) -> str:
        return f"{self.split}_{self.first:06d}.npz"


def gather(make: Callable[[Any, Path, Shard], None], params: Gathered, name: str, folder: Path) -> None:
    """Makes all shards that do not wait in the work folder, and moves them here."""
    work = work_folder(params, name)
    waiting = [shard for shard in planned(params) if not (work / shard.file).exists()]
    share_out(partial(make, params, work), waiting, params.workers, f"download {name}", params.shard, "episodes")
    for shard in planned(params):
        shutil.move(work / shard.file, folder / shard.file)
    shutil.rmtree(work)


def joined(params: Gathered, name: str, raw: Path, folder: Path, actions: int) -> store.Info:
    """The shards of each split, one after another, as a data set."""
    splits: dict[str, dict[str, NDArray[Any]]] = {}
    for split in store.SPLITS:
        parts = [store.read_npz(raw / shard.file, *KEYS) for shard in planned(params) if shard.split == split]
        splits[split] = {key: np.concatenate([part[key] for part in parts]) for key in KEYS} if parts else rows(0, actions)
    return store.write_dataset(folder, splits, name=name, kind="images", sequence=params.decisions)


def planned(params: Gathered) -> list[Shard]:
    """The parts that the collection consists of, each of which may be made anywhere."""
    return [
        Shard(split, first, min(first + params.shard, getattr(params, split)))
        for split in store.SPLITS
        for first in range(0, getattr(params, split), params.shard)
    ]


def work_folder(params: Gathered, name: str) -> Path:
    """Where the finished shards of these very parameters and this code wait."""
    digest = hashlib.sha256(params.model_dump_json(exclude={"workers"}).encode())
    for file in CODE:
        digest.update(file.read_bytes())
    return WORK / f"{name}-{digest.hexdigest()[:16]}"


def write(work: Path, shard: Shard, episodes: Sequence[dict[str, NDArray[Any]]]) -> None:
    """Writes a shard's episodes, whole or not at all."""
    work.mkdir(parents=True, exist_ok=True)
    partial_file = work / f"{shard.file}.{os.getpid()}.partial"
    with partial_file.open("wb") as file:
        np.savez(file, allow_pickle=False, **{key: np.concatenate([one[key] for one in episodes]) for key in KEYS})
    partial_file.replace(work / shard.file)


def rows(count: int, actions: int) -> dict[str, NDArray[Any]]:
    """The arrays of an episode in which nothing has happened yet."""
    return {
        "x": np.zeros((count, 3, SIDE, SIDE), np.uint8),
        "action": np.zeros((count, actions), np.float32),
        "reward": np.zeros(count, np.float32),
        "done": np.zeros(count, np.float32),
        "mask": np.zeros(count, bool),
    }
