"""Melodies as a data set of windows of events; split by piece, never by window."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from generative.data import store
from generative.data.music.notation import tokens
from generative.data.music.notation.piece import Piece
from generative.errors import UsageError
from generative.params import PARAMS_FILE, Positive, Source


class Melodies(Source):
    """What every source of melodies states. `validation` and `test` count groups of pieces that belong together, such as suites."""

    test: Annotated[int, Field(ge=0)]
    window: Positive  # events that a model reads at once; an example has one more, since each is foretold from those before it
    stride: Positive  # events from the beginning of one training example to the next; held-out events are counted once each


def write(params: Melodies, name: str, folder: Path, pieces: Sequence[tuple[str, Piece]], notes: list[str]) -> store.Info:
    """Writes the windows of pieces, each with the group that it belongs to; the pieces of a split stand one after another.

    Raises:
        UsageError: nothing to read, or too few pieces for a window in each split.
    """
    try:
        splits, vocabulary = _splits(params, name, pieces)
    except UsageError as refusal:  # what was skipped may be why
        raise UsageError("\n  ".join([str(refusal), *notes])) from None
    return store.write_dataset(folder, splits, name=name, kind="music", vocabulary=vocabulary, notes=notes)


def _splits(params: Melodies, name: str, pieces: Sequence[tuple[str, Piece]]) -> tuple[dict[str, store.Arrays], dict[str, list[str]]]:
    where = f"{PARAMS_FILE}: data.{name}"
    if not pieces:
        raise UsageError(f"{where}.source: no piece could be used")
    events = [tokens.events_of(piece) for _, piece in pieces]
    vocabulary = tokens.vocabulary_of(events)
    split_of = split_by_group([group for group, _ in pieces], params.validation, params.test, params.seed, where)
    splits: dict[str, store.Arrays] = {}
    for split in store.SPLITS:
        mine = [tokens.encoded(event, vocabulary) for event, place in zip(events, split_of, strict=True) if place == split]
        stream = np.concatenate(mine) if mine else np.empty((0, 2), np.int64)
        wanted = split == "train" or getattr(params, split)
        splits[split] = {"x": windows(stream, params.window + 1, params.stride if split == "train" else params.window)}
        if wanted and not len(splits[split]["x"]):
            raise UsageError(f"{where}.window: expected less than the {len(stream)} events of the {split} pieces, got {params.window}")
    return splits, vocabulary


def split_by_group(groups: Sequence[str], validation: int, test: int, seed: int, where: str) -> list[str]:
    """The split of each piece: whole groups are drawn for the test split first, then for validation."""
    names = sorted(set(groups))
    if validation + test >= len(names):
        raise UsageError(f"{where}.test: expected test + validation below the {len(names)} groups of pieces, got {validation + test}")
    order = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    place = dict.fromkeys(order[:test], "test") | dict.fromkeys(order[test : test + validation], "validation")
    return [place.get(group, "train") for group in groups]


def windows(stream: NDArray[np.int64], length: int, stride: int) -> NDArray[np.int64]:
    """(N, length, S) of a stream (T, S); what is left over at the end is not used."""
    if len(stream) < length:
        return np.empty((0, length, stream.shape[1]), np.int64)
    return np.lib.stride_tricks.sliding_window_view(stream, length, axis=0)[::stride].transpose(0, 2, 1)
