"""The kinds of files that damage.py damages: pictures, data sets as they come, and what the stages leave."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from building import build
from conftest import tiny_catalogue
from PIL import Image
from torch.optim import SGD

from generative import results
from generative.data import images, store
from generative.data.drawn import moons
from generative.data.real import cifar, folder, idx
from generative.errors import UsageError
from generative.models import find
from generative.params import typed
from generative.training import checkpoint


@dataclass(frozen=True)
class Kind:
    """One kind of file: how a sound one is made in a folder, and how it is read there."""

    file: str
    make: Callable[[Path], object]
    read: Callable[[Path], object]
    packed: bool = False  # half of the damage is done inside the gzip


# --- pictures


def picture(mode: str, file: str, **options: Any) -> Kind:
    """A small picture with, where its format allows, an EXIF that turns it."""

    def make(place: Path) -> None:
        pixels = np.random.default_rng(1).integers(0, 256, (24, 20, 4), dtype=np.uint8)
        image = Image.fromarray(pixels.view(np.uint16)[..., 0] if mode == "I;16" else pixels)
        exif = Image.Exif()
        exif[0x0112] = 6
        turned = {"exif": exif} if file not in ("x.gif", "x.bmp", "x.ppm") else {}
        (image if mode == "I;16" else image.convert(mode)).save(place / file, **turned, **options)

    return Kind(file, make, lambda place: see(place / file))


WAYS: list[tuple[int, images.Fit]] = [(1, "pad"), (3, "crop"), (3, "resize")]


def see(path: Path) -> None:
    try:
        for channels, how in WAYS:
            images.to_array(images.fit(images.decode(path, channels), 8, how))
    except images.UnreadableError as error:
        raise UsageError(f"{path}: {error}") from None


PICTURES = {
    "png": picture("RGBA", "x.png"),
    "png of 16 bits": picture("I;16", "x.png"),
    "png with a palette": picture("P", "x.png"),
    "jpeg": picture("RGB", "x.jpg"),
    "jpeg in cmyk": picture("CMYK", "x.jpg"),
    "progressive jpeg": picture("RGB", "x.jpg", progressive=True),
    "gif": picture("P", "x.gif"),
    "tiff": picture("RGB", "x.tiff"),
    "packed tiff": picture("RGB", "x.tiff", compression="tiff_lzw"),
    "webp": picture("RGBA", "x.webp"),
    "lossless webp": picture("RGBA", "x.webp", lossless=True),
    "bmp": picture("RGB", "x.bmp"),
    "ppm": picture("RGB", "x.ppm"),
}

# --- data sets as they come

OWN: dict[str, Any] = {
    "source": "real/folder", "seed": 3, "validation": 2, "test": 1, "fit": "pad", "size": 8, "path": "own", "attributes": "labels",
    "label": "kind", "channels": 3,
}  # fmt: skip
PUBLISHED = {"seed": 3, "fit": "pad", "urls": ["http://127.0.0.1:9"], "mirror": "things"}
FILES = {f"{split}-{what}.gz": "0" * 64 for split in ("train", "t10k") for what in ("images", "labels")}
IDX = PUBLISHED | {"source": "real/idx", "validation": 2, "files": FILES, "classes": ["a", "b"], "size": 8}
CIFAR = PUBLISHED | {"source": "real/cifar", "validation": 4, "file": "c.tar.gz", "sha256": "0" * 64, "size": 32}
MOONS = {"source": "drawn/moons", "seed": 1, "validation": 2, "noise": 0.1, "train": 6, "test": 2}
ROWS = [(f"{i}.png", ["cat", "dog"][i % 2], str(i / 7)) for i in range(6)]


def described(form: str) -> Callable[[Path], None]:
    def make(place: Path) -> None:
        (place / "raw/images").mkdir(parents=True)
        for name, _, _ in ROWS:
            Image.new("RGB", (8, 8)).save(place / "raw/images" / name)
        lines = {
            "csv": ["image_id,kind,size", *(",".join(row) for row in ROWS)],
            "txt": ["6", "kind size", *(" ".join(row) for row in ROWS)],
        }
        (place / "raw/attributes").write_text("\n".join(lines[form]) + "\n")

    return make


def write_idx(place: Path) -> None:
    (place / "raw").mkdir()
    for split in ("train", "t10k"):
        for what, shape in (("images", (6, 5, 5)), ("labels", (6,))):
            head = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes()
            (place / f"raw/{split}-{what}.gz").write_bytes(gzip.compress(head + bytes(i % 2 for i in range(int(np.prod(shape))))))


def archive(members: dict[str, bytes]) -> bytes:
    """A gzipped tar archive of these files."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, value in members.items():
            member = tarfile.TarInfo(f"{cifar.FOLDER}/{name}")
            member.size = len(value)
            tar.addfile(member, io.BytesIO(value))
    return file.getvalue()


def batches() -> dict[str, bytes]:
    batch = pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 1]}, 4)
    return {"batches.meta": pickle.dumps({b"label_names": [b"cat", b"dog"]}, 4), **dict.fromkeys([*cifar.BATCHES, "test_batch"], batch)}


def write_cifar(place: Path) -> None:
    (place / "raw").mkdir()
    (place / "raw/c.tar.gz").write_bytes(archive(batches()))


def write_batch(place: Path) -> None:
    """One batch by itself, so that all the damage is done to the pickle."""
    write_cifar(place)
    (place / "batch").write_bytes(batches()["test_batch"])


def read_batch(place: Path) -> None:
    (place / "raw/c.tar.gz").write_bytes(archive(batches() | {"test_batch": (place / "batch").read_bytes()}))
    read(cifar, CIFAR)(place)


def read(module: Any, block: dict[str, Any]) -> Callable[[Path], None]:
    def preprocess(place: Path) -> None:
        shutil.rmtree(place / "ready", ignore_errors=True)
        dataset = build(module, block, place, download=False)
        for split in store.SPLITS:
            dataset.split(split)

    return preprocess


# --- what the stages leave


def model() -> tuple[Any, Any, Any]:
    """A small network with its block and the facts of its data."""
    params, kind = find("foundations/mlp", "x")
    facts: dict[str, Any] = {
        "attributes": [],
        "values": {},
        "vocabulary": {},
        "counts": dict.fromkeys(store.SPLITS, 9),
        "notes": [],
        "fingerprint": "",
    }
    info = store.Info(name="moons", kind="points", shape=[2], classes=["upper", "lower"], **facts)
    block = typed(params, tiny_catalogue()["models"]["mlp"], "x")
    return kind(block, info), block, info  # type: ignore[call-arg]


def write_state(place: Path) -> None:
    network, _, _ = model()
    checkpoint.Work(place, "f").save(1, network, [SGD(network.parameters(), momentum=0.9)], {"curve": [1.0]})


def read_state(place: Path) -> None:
    network, _, _ = model()
    if checkpoint.Work(place, "f").restore(network, [SGD(network.parameters(), momentum=0.9)])[0] == 0:
        raise UsageError(f"{place}: not used")


def write_ready(place: Path) -> None:
    moons_raw(place)
    build(moons, MOONS, place, download=False)


def moons_raw(place: Path) -> None:
    (place / "raw").mkdir()  # by hand: to draw them takes scikit-learn, whose import takes seconds
    np.savez(place / "raw/moons.npz", x=np.arange(20, dtype=np.float32).reshape(10, 2), y=np.arange(10) % 2)


def read_ready(place: Path) -> None:
    dataset = store.open_dataset(place / "ready")
    for split in store.SPLITS:
        for batch in dataset.split(split).batches(4):
            assert torch.is_tensor(batch["x"])


def read_figures(place: Path) -> None:
    results.numbers(results.read_json(place / "figures.json"))


FIGURES = {"figure": "loss", "loss": 1.5, "fid": 12.25, "judge": "cnn 0123", "compared": 500}
KINDS = {
    **PICTURES,
    "csv": Kind("raw/attributes", described("csv"), read(folder, OWN)),
    "txt": Kind("raw/attributes", described("txt"), read(folder, OWN)),
    "idx images": Kind("raw/train-images.gz", write_idx, read(idx, IDX), packed=True),
    "idx labels": Kind("raw/t10k-labels.gz", write_idx, read(idx, IDX), packed=True),
    "cifar archive": Kind("raw/c.tar.gz", write_cifar, read(cifar, CIFAR), packed=True),
    "cifar batch": Kind("batch", write_batch, read_batch),
    "npz": Kind("raw/moons.npz", moons_raw, read(moons, MOONS)),
    "npy": Kind("ready/train/x.npy", write_ready, read_ready),
    "npy labels": Kind("ready/test/y.npy", write_ready, read_ready),
    "info.json": Kind("ready/info.json", write_ready, read_ready),
    "model.json": Kind("model.json", lambda place: checkpoint.save(place, *model()), checkpoint.load),
    "weights": Kind("weights.safetensors", lambda place: checkpoint.save(place, *model()), checkpoint.load),
    "checkpoint": Kind("checkpoint.pt", write_state, read_state),
    "figures.json": Kind("figures.json", lambda place: (place / "figures.json").write_text(json.dumps(FIGURES)), read_figures),
}
