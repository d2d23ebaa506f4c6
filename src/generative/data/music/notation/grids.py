"""Four-part pieces as a data set of excerpts on a grid of sixteenths; split by piece."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from generative.data import store
from generative.data.music.notation import tokens
from generative.errors import UsageError
from generative.params import PARAMS_FILE, Positive, Source

VOICES = ["soprano", "alto", "tenor", "bass"]


class Grids(Source):
    """What every source of grids states."""

    bars: Positive  # of an example
    steps_per_bar: Positive  # sixteenths
    excerpts: Literal["first", "all"]  # of a piece: its beginning, as published, or all of it in examples one after another


def write(params: Grids, name: str, folder: Path, pieces: Mapping[str, Sequence[NDArray[np.int64]]], notes: list[str]) -> store.Info:
    """Writes the excerpts (N, T, 4) of the pieces of each split.

    Raises:
        UsageError: a split that is to have pieces has no excerpt.
    """
    size, splits = params.bars * params.steps_per_bar, {}
    for split in store.SPLITS:
        chosen = [excerpts[:1] if params.excerpts == "first" else excerpts for excerpts in pieces[split]]
        splits[split] = {"x": np.concatenate([np.empty((0, size, len(VOICES)), np.int64), *chosen])}
        if pieces[split] and not len(splits[split]["x"]):
            raise UsageError(f"{PARAMS_FILE}: data.{name}.bars: no {split} piece has {params.bars} bars of {params.steps_per_bar} steps")
    return store.write_dataset(folder, splits, name=name, kind="music", vocabulary=tokens.grid_vocabulary(VOICES), notes=notes)
