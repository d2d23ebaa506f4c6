"""The one on-disk format of a data set that is ready for training.

    info.json             what the numbers mean (`Info`)
    train/x.npy ...       one array a key and split, first axis = examples; splits: train, validation, test

The keys, on disk and in a `Batch`:

    x          images: uint8 (N, C, H, W) on disk, float32 in [-1, 1] in memory, always; films: the same for (N, T, C, H, W);
               points and codes: float32 (N, ...); text and music: int64 tokens (N, T), or (N, T, S) of S streams
    y          class labels, int64 (N,), indices into `Info.classes`
    attributes float32 (N, A), columns named by `Info.attributes`
    mask       bool (N, T), True = may attend
    log_density  float32 (N,): the true log density of x in nats, where the data were drawn from one that is known
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import Tensor

from generative.data.packed import UNREADABLE
from generative.errors import UsageError
from generative.params import Block, Positive, typed

if TYPE_CHECKING:
    Batch = dict[str, Tensor]
else:
    Batch = dict

SPLITS = ("train", "validation", "test")
TYPES = {"images": "uint8", "films": "uint8", "points": "float32", "codes": "float32", "text": "int64", "music": "int64"}  # of x, by kind
PICTURES = ("images", "films")
OTHERS = {"y": "int64", "attributes": "float32", "mask": "bool", "log_density": "float32"}
Arrays = Mapping[str, NDArray[Any]]


class Info(Block):
    """What the numbers of a data set mean; stored as info.json."""

    name: str
    kind: Literal["images", "films", "points", "codes", "text", "music"]
    shape: Annotated[list[Positive], Field(min_length=1)]  # of one x
    sequence: Positive = 1  # so many examples in a row are one episode, the first at a multiple of it; encoded, they become one example
    classes: list[str]  # empty where there are no labels
    attributes: list[str]
    values: dict[str, list[str]]  # the names of an attribute's values, where it is a choice
    vocabulary: dict[str, list[str]]  # of each stream of tokens, in the order of their numbers
    counts: dict[str, Annotated[int, Field(ge=0)]]  # examples a split
    fingerprint: str  # sha256 over the arrays: the data hash that runs record
    notes: list[str]  # what preprocessing skipped or changed, for the person

    @field_validator("counts")
    @classmethod
    def _complete(cls, counts: dict[str, int]) -> dict[str, int]:
        if set(counts) != set(SPLITS):
            raise ValueError(f"expected a number for each of {', '.join(SPLITS)}")
        return counts


@dataclass(frozen=True)
class Split:
    """One split of a data set, its arrays mapped from disk or held on a device."""

    arrays: dict[str, Tensor]
    images: bool

    def __len__(self) -> int:
        return len(self.arrays["x"])

    def __getitem__(self, index: Tensor | slice) -> Batch:
        batch = {key: array[index] for key, array in self.arrays.items()}
        if self.images:
            batch["x"] = to_unit(batch["x"])
        return batch

    def to(self, device: torch.device) -> Split:
        return Split({key: array.to(device) for key, array in self.arrays.items()}, self.images)

    def batches(self, size: int) -> Iterator[Batch]:
        """All examples once, in order; the last batch may be smaller."""
        for start in range(0, len(self), size):
            yield self[slice(start, start + size)]


@dataclass(frozen=True)
class Dataset:
    """A folder in this format."""

    folder: Path
    info: Info

    def split(self, name: str) -> Split:
        """Raises: UsageError: an array is missing, truncated, or of another type or length than info.json says."""
        arrays: dict[str, Tensor] = {}
        for path in sorted((self.folder / name).glob("*.npy")):
            arrays[path.stem] = torch.from_numpy(self._load(path, self.info.counts[name]))
        if "x" not in arrays:
            raise UsageError(f"{self.folder / name / 'x.npy'}: missing; `dvc repro preprocess@{self.info.name}` makes it")
        if list(arrays["x"].shape[1:]) != self.info.shape:
            raise UsageError(
                f"{self.folder / name / 'x.npy'}: expected examples of shape {self.info.shape} as info.json says, "
                f"got {list(arrays['x'].shape[1:])}"
            )
        return Split(arrays, self.info.kind in PICTURES)

    def _load(self, path: Path, count: int) -> NDArray[Any]:
        array, key = _mapped(path), path.stem
        expected = TYPES[self.info.kind] if key == "x" else OTHERS.get(key, str(array.dtype))
        if str(array.dtype) != expected or array.dtype.kind not in "buif":
            raise UsageError(f"{path}: expected {self.info.kind if key == 'x' else key} of type {expected}, got {array.dtype}")
        if array.ndim == 0 or len(array) != count:
            raise UsageError(f"{path}: expected {count} examples as info.json says, got {len(array) if array.ndim else 'one number'}")
        if key == "y" and (array.ndim != 1 or (count and not 0 <= array.min() <= array.max() < len(self.info.classes))):
            raise UsageError(f"{path}: expected a label an example, from 0 to {len(self.info.classes) - 1}, as info.json says")
        return array


def to_unit(pixels: Tensor) -> Tensor:
    """uint8 in 0..255 to float32 in [-1, 1]."""
    return pixels.float().div_(127.5).sub_(1)


def to_pixels(images: Tensor) -> Tensor:
    """float in [-1, 1] to uint8, rounded; what lies outside is clipped."""
    return images.float().add(1).mul(127.5).round_().clamp_(0, 255).to(torch.uint8)


def open_dataset(folder: str | Path) -> Dataset:
    """Raises: UsageError: the folder holds no data set."""
    folder = Path(folder)
    try:
        raw = json.loads((folder / "info.json").read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{folder / 'info.json'}: not a data set: {error}; `dvc repro` makes it, `dvc pull` fetches it") from None
    return Dataset(folder, typed(Info, raw, str(folder / "info.json")))


def write_dataset(
    folder: Path,
    splits: Mapping[str, Arrays],
    *,
    name: str,
    kind: str,
    classes: list[str] | None = None,
    attributes: list[str] | None = None,
    values: dict[str, list[str]] | None = None,
    vocabulary: dict[str, list[str]] | None = None,
    notes: list[str] | None = None,
    sequence: int = 1,
) -> Info:
    """Writes the arrays and info.json into an empty folder; shape, counts and fingerprint follow from the arrays."""
    digest = hashlib.sha256()
    for split in SPLITS:
        (folder / split).mkdir(parents=True)
        for key, array in sorted(splits[split].items()):
            array = np.ascontiguousarray(array)
            np.save(folder / split / f"{key}.npy", array, allow_pickle=False)
            digest.update(f"{split}/{key} {array.dtype} {array.shape}".encode())
            digest.update(array.tobytes())
    info = typed(
        Info,
        {
            "name": name,
            "kind": kind,
            "shape": list(splits["train"]["x"].shape[1:]),
            "sequence": sequence,
            "classes": classes or [],
            "attributes": attributes or [],
            "values": values or {},
            "vocabulary": vocabulary or {},
            "counts": {split: len(splits[split]["x"]) for split in SPLITS},
            "fingerprint": digest.hexdigest(),
            "notes": notes or [],
        },
        f"{name}/info.json",
    )
    (folder / "info.json").write_text(json.dumps(info.model_dump(), indent=1) + "\n")
    return info


def hold_back(arrays: Arrays, count: int, seed: int) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """(rest, held back): `count` examples drawn without replacement, both parts in their old order."""
    total = len(arrays["x"])
    if count >= total:
        raise UsageError(f"validation: expected less than the {total} training examples, got {count}")
    held = np.zeros(total, dtype=bool)
    held[np.random.default_rng(seed).permutation(total)[:count]] = True
    return {k: a[~held] for k, a in arrays.items()}, {k: a[held] for k, a in arrays.items()}


def read_npz(path: Path, *names: str) -> dict[str, NDArray[Any]]:
    """The arrays of these names in a file that a download stage drew. Raises: UsageError: it is missing or damaged, or lacks one."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except UNREADABLE as error:
        raise UsageError(f"{path}: not a whole file of arrays: {error}; `dvc repro download@{path.parent.name}` makes it") from None


def _mapped(path: Path) -> NDArray[Any]:
    try:
        # copy-on-write: pages come from the file as they are needed, and torch may hold the array without a warning
        return np.load(path, mmap_mode="c", allow_pickle=False)
    except UNREADABLE as error:
        size = path.stat().st_size if path.exists() else 0
        raise UsageError(f"{path}: not a whole array ({size} bytes): {error}; `dvc checkout` restores it") from None
