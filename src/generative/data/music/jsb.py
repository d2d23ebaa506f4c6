"""The JSB chorales on a grid of sixteenths as published: a JSON file of splits, each of chorales, each of rows of four pitches."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from generative.data import store
from generative.data.fetch import FileName, Sha256, Urls, fetch
from generative.data.music.notation.grids import VOICES, Grids, write
from generative.data.music.notation.tokens import REST
from generative.errors import UsageError

PUBLISHED = {"train": "train", "validation": "valid", "test": "test"}
MOST = 1 << 26  # bytes of the file, which has 1.7 million


class Params(Grids):
    urls: Urls  # base addresses, tried in order
    mirror: FileName  # the folder's name in a mirror
    file: FileName
    sha256: Sha256


def download(params: Params, name: str, folder: Path) -> None:
    """Fetches the file, under its checksum."""
    fetch(params.file, params.sha256, params.urls, folder, params.mirror)


def preprocess(params: Params, name: str, raw: Path, folder: Path) -> store.Info:
    """Excerpts of the published splits, of the validation split's first `validation` chorales."""
    content, size = _read(raw / params.file), params.bars * params.steps_per_bar
    pieces = {split: [_excerpts(rows, size) for rows in content[PUBLISHED[split]]] for split in store.SPLITS}
    return write(params, name, folder, {**pieces, "validation": pieces["validation"][: params.validation]}, [])


def _excerpts(rows: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    count = len(rows) // size
    return rows[: count * size].reshape(count, size, len(VOICES))


def _read(path: Path) -> dict[str, list[NDArray[np.int64]]]:
    """The chorales of each split, rests as `REST`. Raises: UsageError: not such a file."""
    try:
        if path.stat().st_size > MOST:
            raise ValueError(f"more than {MOST:,} bytes")
        content = json.loads(path.read_bytes())
        return {split: [_rows(piece) for piece in content[split]] for split in PUBLISHED.values()}
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise UsageError(f"{path}: expected chorales as rows of four pitches in train, valid and test: {reason}") from None


def _rows(piece: object) -> NDArray[np.int64]:
    rows = np.array(piece)
    if rows.ndim != 2 or rows.shape[1] != len(VOICES) or not np.isfinite(rows).all() or rows.max() >= REST:
        raise ValueError(f"expected rows of {len(VOICES)} pitches below {REST}, got the shape {list(rows.shape)}")
    return np.where(rows < 0, REST, rows).astype(np.int64)
