"""Published files: idx and CIFAR-10, whole, broken and malicious."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generative.data.real import cifar, idx
from generative.errors import UsageError
from generative.params import typed
from tests.building import MIRROR, arrays, build

IDX = {
    "source": "real/idx", "seed": 3, "validation": 4, "urls": ["http://127.0.0.1:9"], "mirror": "things",
    "files": {f"{split}-{what}.gz": "0" * 64 for split in ("train", "t10k") for what in ("images", "labels")},
    "classes": ["a", "b", "c"], "size": 8, "fit": "pad",
}  # fmt: skip
CIFAR = {
    "source": "real/cifar", "seed": 3, "validation": 4, "urls": ["http://127.0.0.1:9"], "mirror": "things",
    "file": "c.tar.gz", "sha256": "0" * 64, "size": 32, "fit": "resize",
}  # fmt: skip


def idx_bytes(array: np.ndarray) -> bytes:
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return gzip.compress(head + array.astype(np.uint8).tobytes(), 1)


def write_idx(raw: Path, count: int = 12) -> np.ndarray:
    raw.mkdir(parents=True, exist_ok=True)
    x = np.random.default_rng(0).integers(1, 256, (count, 6, 6))
    for split in ("train", "t10k"):
        (raw / f"{split}-images.gz").write_bytes(idx_bytes(x))
        (raw / f"{split}-labels.gz").write_bytes(idx_bytes(np.arange(count) % 3))
    return x


def test_idx_pads_as_published_and_holds_validation_back(tmp_path: Path) -> None:
    x = write_idx(tmp_path / "raw")
    dataset = build(idx, IDX, tmp_path, download=False)
    assert dataset.info.counts == {"train": 8, "validation": 4, "test": 12}
    test = arrays(dataset, "test")
    np.testing.assert_array_equal(test["x"][:, 0, 1:-1, 1:-1], x)
    assert test["x"].sum() == x.sum()
    both = np.concatenate([arrays(dataset, split)["x"][:, 0, 1:-1, 1:-1] for split in ("train", "validation")])
    assert sorted(map(bytes, both)) == sorted(map(bytes, x.astype(np.uint8)))


def test_idx_interpolates_between_the_four_pixels_at_a_place(tmp_path: Path) -> None:
    x = write_idx(tmp_path / "raw").astype(np.float64)
    got = arrays(build(idx, IDX | {"fit": "interpolate", "size": 4}, tmp_path, download=False), "test")["x"][:, 0]
    place = (np.arange(4) + 0.5) * 6 / 4 - 0.5
    low = place.astype(int)
    share = place - low
    rows = x[:, low] * (1 - share)[:, None] + x[:, low + 1] * share[:, None]
    np.testing.assert_array_equal(got, np.floor(rows[:, :, low] * (1 - share) + rows[:, :, low + 1] * share))


def test_idx_resizes(tmp_path: Path) -> None:
    write_idx(tmp_path / "raw")
    assert build(idx, IDX | {"fit": "resize", "size": 4}, tmp_path, download=False).info.shape == [1, 4, 4]


GOOD = idx_bytes(np.zeros((12, 6, 6)))


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("train-images.gz", GOOD[:30], "expected a whole gzip file, got: .*end-of-stream"),
        ("train-images.gz", b"<html>", "expected a whole gzip file, got: .*[Nn]ot a gzipped"),
        ("train-images.gz", gzip.compress(b""), "expected an idx head 00 00 08 03 .*got nothing"),
        ("train-images.gz", gzip.compress(b"\0\0\x08\x03\0\0"), "expected a head of 16 bytes, got 6"),
        ("train-images.gz", idx_bytes(np.zeros(12)), "expected an idx head 00 00 08 03 .*got 00 00 08 01"),
        ("train-images.gz", gzip.compress(gzip.decompress(GOOD)[:-5]), "expected 432 bytes for the shape .12, 6, 6., got 427"),
        ("train-labels.gz", idx_bytes(np.zeros(11)), "expected a label for each of the 12 pictures, got 11"),
        ("train-labels.gz", idx_bytes(np.full(12, 3)), "expected labels below 3, .*got 3"),
    ],
    ids=["cut", "page", "empty", "half a head", "labels", "too short", "too few", "too many"],
)
def test_idx_names_the_file_and_what_is_wrong_with_it(file: str, content: bytes, said: str, tmp_path: Path) -> None:
    write_idx(tmp_path / "raw")
    (tmp_path / "raw" / file).write_bytes(content)
    with pytest.raises(UsageError, match=f"{file}: {said}"):
        build(idx, IDX, tmp_path, download=False)


def test_idx_wants_all_four_files_named() -> None:
    files = {name: sha for name, sha in IDX["files"].items() if name != "t10k-labels.gz"}
    with pytest.raises(UsageError, match=r"data\.x\.files: expected one file whose name begins with t10k-labels"):
        typed(idx.Params, IDX | {"files": files}, "data.x")


@pytest.mark.skipif(not (MIRROR / "mnist").is_dir(), reason="no mirror of the real data")
def test_mnist_from_the_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENERATIVE_MIRROR", str(MIRROR))
    sums = [line.split() for line in (MIRROR / "mnist" / "SHA256SUMS").read_text().splitlines()]
    files = {name.lstrip("*./"): sha for sha, name in sums if name.endswith(".gz")}
    block = IDX | {"mirror": "mnist", "files": files, "classes": list("0123456789"), "size": 32, "validation": 5000}
    dataset = build(idx, block, tmp_path)
    assert dataset.info.counts == {"train": 55000, "validation": 5000, "test": 10000}
    assert np.bincount(arrays(dataset, "test")["y"]).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def write_cifar(raw: Path, **members: bytes) -> np.ndarray:
    raw.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (6, 4, 3072), dtype=np.uint8)
    content = {"batches.meta": pickle.dumps({b"label_names": [b"cat", b"dog"]})}
    for name, batch in zip([*cifar.BATCHES, "test_batch"], x, strict=True):
        content[name] = pickle.dumps({b"data": batch, b"labels": [0, 1, 1, 0]})
    with tarfile.open(raw / "c.tar.gz", "w:gz") as archive:
        for name, value in (content | members).items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(value)
            archive.addfile(member, io.BytesIO(value))
    return x


def test_cifar_reads_pictures_labels_and_class_names(tmp_path: Path) -> None:
    x = write_cifar(tmp_path / "raw")
    dataset = build(cifar, CIFAR, tmp_path, download=False)
    assert dataset.info.counts == {"train": 16, "validation": 4, "test": 4}
    assert dataset.info.classes == ["cat", "dog"]
    test = arrays(dataset, "test")
    np.testing.assert_array_equal(test["x"].reshape(4, -1), x[-1])
    assert test["y"].tolist() == [0, 1, 1, 0]


PURE_PYTHON_PICKLER: Any = getattr(pickle, "_Pickler")  # noqa: B009


class Python2(PURE_PYTHON_PICKLER):
    """Writes all strings as byte strings, as the published file has them."""

    def save_string(self, text: str | bytes) -> None:
        content = text.encode() if isinstance(text, str) else text
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)

    dispatch = PURE_PYTHON_PICKLER.dispatch | {bytes: save_string, str: save_string}


def test_cifar_reads_what_the_old_python_and_numpy_wrote(tmp_path: Path) -> None:
    file = io.BytesIO()
    Python2(file, 2).dump({"data": np.zeros((4, 3072), np.uint8), "labels": [1, 1, 1, 1]})
    now = file.getvalue()
    then = now.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert then != now
    write_cifar(tmp_path / "raw", test_batch=then)
    assert arrays(build(cifar, CIFAR, tmp_path, download=False), "test")["y"].tolist() == [1, 1, 1, 1]


class Evil:
    def __init__(self, call: Any, *inputs: Any) -> None:
        self.call, self.inputs = call, inputs

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.inputs


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_cifar_executes_nothing(protocol: int, tmp_path: Path) -> None:
    witness = tmp_path / "executed"
    for call, inputs in [
        (os.system, (f"touch {witness}",)),
        (eval, (f"open({str(witness)!r}, 'w')",)),
        (open, (str(witness), "w")),
    ]:
        evil = pickle.dumps({b"data": Evil(call, *inputs), b"labels": []}, protocol)
        write_cifar(tmp_path / "raw", data_batch_3=evil)
        with pytest.raises(UsageError, match=r"c\.tar\.gz: cifar-10-batches-py/data_batch_3: refused: it asks for "):
            build(cifar, CIFAR, tmp_path, download=False)
        (tmp_path / "ready").rmdir()
    assert not witness.exists()


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (pickle.dumps([1]), "expected a dictionary, got list"),
        (pickle.dumps({b"data": np.zeros((4, 3), np.uint8), b"labels": [0] * 4}), r"shape \(N, 3072\), got uint8 \(4, 3\)"),
        (pickle.dumps({b"data": np.zeros((4, 3072), np.uint8), b"labels": [0, 1, 2, 0]}), "expected 4 labels from 0 to 1"),
        (pickle.dumps({b"data": np.zeros((4, 3072), np.uint8)})[:-50], "expected a whole pickle"),
        (b"", "expected a whole pickle"),
    ],
    ids=["list", "shape", "label", "cut", "empty"],
)
def test_cifar_names_the_batch_and_what_is_wrong_with_it(batch: bytes, said: str, tmp_path: Path) -> None:
    write_cifar(tmp_path / "raw", data_batch_2=batch)
    with pytest.raises(UsageError, match=f"data_batch_2: .*{said}"):
        build(cifar, CIFAR, tmp_path, download=False)


def test_cifar_says_when_the_archive_is_broken(tmp_path: Path) -> None:
    write_cifar(tmp_path / "raw")
    path = tmp_path / "raw" / "c.tar.gz"
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(UsageError, match=r"c\.tar\.gz: expected a whole gzip file"):
        build(cifar, CIFAR, tmp_path, download=False)
