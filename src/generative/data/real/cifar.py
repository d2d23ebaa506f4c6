"""CIFAR-10 as published: one archive of pickled batches.

A pickle can run any program, so these are read by an unpickler that knows Python's own plain types and arrays of bytes, and refuses
the rest. It is Python's older one, written in Python: the one written in C takes any amount of memory when a few bytes ask for it.
Members of the archive are read in place and never written to disk.
"""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from generative.data import images, store
from generative.data.fetch import FileName, Sha256, Urls, fetch
from generative.data.packed import unzipped
from generative.errors import UsageError
from generative.params import Source

FOLDER = "cifar-10-batches-py"
BATCHES = [f"data_batch_{number}" for number in range(1, 6)]
SIDE = 32
MOST = 1 << 29  # bytes of the archive when unpacked, which has 184 million
# What unpicklers raise on bytes that are no pickle.
BROKEN = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError, MemoryError, struct.error,
)  # fmt: skip


class Params(Source):
    urls: Urls  # base addresses, tried in order
    mirror: FileName  # the folder's name in a mirror
    file: FileName
    sha256: Sha256
    size: images.Size
    fit: images.Fit


class _Refused(pickle.UnpicklingError):
    pass


class _Bytes:
    """Stands for numpy's type of an element: all that matters is which it was."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        """The byte order and the like, of which bytes have none."""


class _Array:
    """Stands for an array of bytes while it is unpickled; nothing of numpy's own unpickling runs."""

    array: NDArray[np.uint8]

    def __init__(self, *_: Any) -> None:
        self.array = np.empty(0, np.uint8)

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, columns_first, content = state
        if not isinstance(kind, _Bytes) or kind.code not in ("u1", b"u1"):
            raise ValueError("expected an array of bytes, got another type")
        self.array = np.frombuffer(content, np.uint8).reshape(shape, order="F" if columns_first else "C")


ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Bytes,
}


class _PlainUnpickler(pickle._Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return ALLOWED[module_name, global_name]
        except KeyError:
            raise _Refused(f"it asks for {module_name}.{global_name}, which no picture needs") from None


def download(params: Params, name: str, folder: Path) -> None:
    """Fetches the archive under its checksum."""
    fetch(params.file, params.sha256, params.urls, folder, params.mirror)


def preprocess(params: Params, name: str, raw: Path, folder: Path) -> store.Info:
    """Pictures fitted to `size`; validation is held back from the five training batches."""
    path = raw / params.file
    try:
        with tarfile.open(fileobj=io.BytesIO(unzipped(path, MOST)), mode="r:") as archive:
            classes = _classes(_member(path, archive, "batches.meta"), path)
            batches = [_batch(path, archive, batch, len(classes)) for batch in [*BATCHES, "test_batch"]]
    except (OSError, ValueError, OverflowError, tarfile.TarError) as error:
        raise UsageError(f"{path}: expected a whole tar archive, got: {error}") from None
    x = [images.fit_all(batch["x"], params.size, params.fit) for batch in batches]
    whole = {"x": np.concatenate(x[:-1]), "y": np.concatenate([batch["y"] for batch in batches[:-1]])}
    train, validation = store.hold_back(whole, params.validation, params.seed)
    splits = {"train": train, "validation": validation, "test": {"x": x[-1], "y": batches[-1]["y"]}}
    return store.write_dataset(folder, splits, name=name, kind="images", classes=classes)


def unpickle(content: bytes, where: str) -> dict[bytes, Any]:
    """A pickled dictionary of plain values and arrays of bytes.

    Raises:
        UsageError: it holds anything else, which is not executed; or it is cut short or no pickle.
    """
    try:
        value = _PlainUnpickler(io.BytesIO(content), encoding="bytes").load()
    except _Refused as error:
        raise UsageError(f"{where}: refused: {error}") from None
    except BROKEN as error:
        raise UsageError(f"{where}: expected a whole pickle, got: {' '.join(str(error).split()) or type(error).__name__}") from None
    if not isinstance(value, dict):
        raise UsageError(f"{where}: expected a dictionary, got {type(value).__name__}")
    return value


def _member(path: Path, archive: tarfile.TarFile, member: str) -> dict[bytes, Any]:
    found = [entry for entry in archive if entry.name == f"{FOLDER}/{member}" and entry.isreg() and not entry.issparse()]
    file = archive.extractfile(found[-1]) if found else None
    if file is None:
        raise UsageError(f"{path}: expected a file {FOLDER}/{member} in it, got none")
    return unpickle(file.read(), f"{path}: {FOLDER}/{member}")


def _classes(meta: dict[bytes, Any], path: Path) -> list[str]:
    names = meta.get(b"label_names")
    if not isinstance(names, list) or not names or not all(isinstance(name, bytes) for name in names):
        raise UsageError(f"{path}: {FOLDER}/batches.meta: expected a list label_names")
    return [name.decode(errors="replace") for name in names]


def _batch(path: Path, archive: tarfile.TarFile, member: str, classes: int) -> dict[str, NDArray[Any]]:
    content, where = _member(path, archive, member), f"{path}: {FOLDER}/{member}"
    data, y = content.get(b"data"), content.get(b"labels")
    x: NDArray[Any] = data.array if isinstance(data, _Array) else np.empty(0, np.uint8)
    if x.ndim != 2 or x.shape[1] != 3 * SIDE**2 or not len(x):
        got = f"uint8 {x.shape}" if isinstance(data, _Array) else type(data).__name__
        raise UsageError(f"{where}: expected data as bytes of shape (N, {3 * SIDE**2}), got {got}")
    if not isinstance(y, list) or len(y) != len(x) or not all(isinstance(label, int) and 0 <= label < classes for label in y):
        raise UsageError(f"{where}: expected {len(x)} labels from 0 to {classes - 1}")
    return {"x": x.reshape(-1, 3, SIDE, SIDE), "y": np.array(y, np.int64)}
