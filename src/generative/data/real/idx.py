"""MNIST and its successors: gzipped idx files, two of pictures and two of labels, as Yann LeCun's page defined them.

An idx file is two zero bytes, a type (8 = unsigned byte), the number of axes, the length of each axis as a big-endian int32,
and the bytes.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from generative.data import images, store
from generative.data.fetch import FileName, Sha256, Urls, fetch
from generative.data.packed import unzipped
from generative.errors import UsageError
from generative.params import Source

MOST = 1 << 30  # bytes of a file when unpacked: 20 times MNIST
PARTS = [(split, what) for split in ("train", "t10k") for what in ("images", "labels")]


class Params(Source):
    urls: Urls  # base addresses, tried in order
    mirror: FileName  # the folder's name in a mirror
    files: dict[FileName, Sha256]  # train-images..., train-labels..., t10k-images..., t10k-labels...
    classes: Annotated[list[str], Field(min_length=2)]  # the names of labels 0, 1, ...
    size: images.Size
    fit: images.Fit

    @field_validator("files")
    @classmethod
    def _complete(cls, files: dict[str, str]) -> dict[str, str]:
        for split, what in PARTS:
            if sum(name.startswith(f"{split}-{what}") for name in files) != 1:
                raise ValueError(f"expected one file whose name begins with {split}-{what}")
        return files

    def file(self, split: str, what: str) -> str:
        """The name of one of the four files."""
        return next(name for name in self.files if name.startswith(f"{split}-{what}"))


def download(params: Params, name: str, folder: Path) -> None:
    """Fetches the four files, each under its checksum."""
    for split, what in PARTS:
        file = params.file(split, what)
        fetch(file, params.files[file], params.urls, folder, params.mirror)


def preprocess(params: Params, name: str, raw: Path, folder: Path) -> store.Info:
    """Pictures fitted to `size`; validation is held back from the training files, t10k is the test split."""
    whole = _pair(params, raw, "train")
    train, validation = store.hold_back(whole, params.validation, params.seed)
    splits = {"train": train, "validation": validation, "test": _pair(params, raw, "t10k")}
    return store.write_dataset(folder, splits, name=name, kind="images", classes=params.classes)


def read(path: Path, axes: int) -> NDArray[np.uint8]:
    """The array of a gzipped idx file of unsigned bytes with `axes` axes.

    Raises:
        UsageError: missing, cut short, of another type, another number of axes or another length than its head says.
    """
    content = unzipped(path, MOST)
    head, magic = 4 + 4 * axes, bytes([0, 0, 8, axes])
    if content[:4] != magic:
        got = content[:4].hex(" ") or "nothing"
        raise UsageError(f"{path}: expected an idx head {magic.hex(' ')} (bytes in {axes} axes), got {got}")
    if len(content) < head:
        raise UsageError(f"{path}: expected a head of {head} bytes, got {len(content)}")
    shape = [int(length) for length in np.frombuffer(content, ">u4", axes, 4)]
    if len(content) - head != math.prod(shape):
        raise UsageError(f"{path}: expected {math.prod(shape):,} bytes for the shape {shape}, got {len(content) - head:,}")
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)


def _pair(params: Params, raw: Path, split: str) -> dict[str, NDArray[np.uint8] | NDArray[np.int64]]:
    x = read(raw / params.file(split, "images"), 3)
    path = raw / params.file(split, "labels")
    y = read(path, 1)
    if not x.size:
        raise UsageError(f"{raw / params.file(split, 'images')}: expected pictures, got the shape {list(x.shape)}")
    if len(y) != len(x):
        raise UsageError(f"{path}: expected a label for each of the {len(x):,} pictures, got {len(y):,}")
    if y.max() >= len(params.classes):
        raise UsageError(f"{path}: expected labels below {len(params.classes)}, as many as there are classes, got {y.max()}")
    return {"x": images.fit_all(x[:, None], params.size, params.fit), "y": y.astype(np.int64)}
