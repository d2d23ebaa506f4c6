"""CIFAR-10 as published: one archive of pickled batches.

A pickle can run any program, so these are read by an unpickler that knows numpy's arrays and Python's own plain types and
refuses the rest; members of the archive are read in place and never written to disk.
"""

from __future__ import annotations

import pickle
import tarfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from generative.data import images, store
from generative.data.fetch import FileName, Sha256, Urls, fetch
from generative.errors import UsageError
from generative.params import Source

FOLDER = "cifar-10-batches-py"
BATCHES = [f"data_batch_{number}" for number in range(1, 6)]
SIDE = 32
ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class Params(Source):
    urls: Urls  # base addresses, tried in order
    mirror: FileName  # the folder's name in a mirror
    file: FileName
    sha256: Sha256
    size: images.Size
    fit: images.Fit


class _Refused(pickle.UnpicklingError):
    pass


class _PlainUnpickler(pickle.Unpickler):
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
        with tarfile.open(path) as archive:
            classes = _classes(_member(path, archive, "batches.meta"), path)
            batches = [_batch(path, archive, batch, len(classes)) for batch in [*BATCHES, "test_batch"]]
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise UsageError(f"{path}: expected a whole tar archive, got: {error}") from None
    x = [images.fit_all(batch["x"], params.size, params.fit) for batch in batches]
    whole = {"x": np.concatenate(x[:-1]), "y": np.concatenate([batch["y"] for batch in batches[:-1]])}
    train, validation = store.hold_back(whole, params.validation, params.seed)
    splits = {"train": train, "validation": validation, "test": {"x": x[-1], "y": batches[-1]["y"]}}
    return store.write_dataset(folder, splits, name=name, kind="images", classes=classes)


def unpickle(file: IO[bytes], where: str) -> dict[bytes, Any]:
    """A pickled dictionary of numpy arrays and plain values.

    Raises:
        UsageError: it holds anything else, which is not executed; or it is cut short or no pickle.
    """
    try:
        content = _PlainUnpickler(file, encoding="bytes").load()
    except _Refused as error:
        raise UsageError(f"{where}: refused: {error}") from None
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError) as error:
        raise UsageError(f"{where}: expected a whole pickle, got: {error}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{where}: expected a dictionary, got {type(content).__name__}")
    return content


def _member(path: Path, archive: tarfile.TarFile, member: str) -> dict[bytes, Any]:
    try:
        file = archive.extractfile(f"{FOLDER}/{member}")
    except KeyError:
        file = None
    if file is None:
        raise UsageError(f"{path}: expected a file {FOLDER}/{member} in it, got none")
    return unpickle(file, f"{path}: {FOLDER}/{member}")


def _classes(meta: dict[bytes, Any], path: Path) -> list[str]:
    names = meta.get(b"label_names")
    if not isinstance(names, list) or not names or not all(isinstance(name, bytes) for name in names):
        raise UsageError(f"{path}: {FOLDER}/batches.meta: expected a list label_names")
    return [name.decode() for name in names]


def _batch(path: Path, archive: tarfile.TarFile, member: str, classes: int) -> dict[str, NDArray[Any]]:
    content, where = _member(path, archive, member), f"{path}: {FOLDER}/{member}"
    x, y = content.get(b"data"), content.get(b"labels")
    if not isinstance(x, np.ndarray) or x.dtype != np.uint8 or x.ndim != 2 or x.shape[1] != 3 * SIDE**2:
        got = f"{x.dtype} {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
        raise UsageError(f"{where}: expected data as bytes of shape (N, {3 * SIDE**2}), got {got}")
    if not isinstance(y, list) or len(y) != len(x) or not all(isinstance(label, int) and 0 <= label < classes for label in y):
        raise UsageError(f"{where}: expected {len(x)} labels from 0 to {classes - 1}")
    return {"x": x.reshape(-1, 3, SIDE, SIDE), "y": np.array(y, np.int64)}
