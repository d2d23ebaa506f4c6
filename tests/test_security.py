"""What comes from elsewhere stays in its place and executes nothing, and little that asks for much gets nothing."""

from __future__ import annotations

import ast
import gzip
import hashlib
import io
import os
import pickle
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from building import build
from conftest import ROOT
from damageable import CIFAR, IDX, OWN, archive, batches, described, model, write_cifar, write_idx
from PIL import Image

import generative
from generative.data import images, store
from generative.data.real import cifar, folder, idx
from generative.data.table import read_table
from generative.errors import UsageError
from generative.params import typed
from generative.training import checkpoint

OURS = sorted(path for folder in ("src", "flows", "tasks") for path in (ROOT / folder).rglob("*.py"))
GIB = 2**30

# --- archives


def hostile(place: Path, *members: tuple[str, bytes, str], sound: bool = True) -> None:
    """An archive with the published batches, unless not `sound`, between members of a (name, type, target)."""
    write_cifar(place)
    path = place / "raw/c.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, kind, target in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            member.size = 4 if kind == tarfile.REGTYPE else 0
            tar.addfile(member, io.BytesIO(b"evil"))
        for name, content in batches().items() if sound else ():
            member = tarfile.TarInfo(f"{cifar.FOLDER}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def test_nothing_of_an_archive_is_written_anywhere(tmp_path: Path) -> None:
    regular, link = tarfile.REGTYPE, tarfile.SYMTYPE
    place = tmp_path / "deep/place"
    place.mkdir(parents=True)
    evil = [
        ("../evil", regular, ""), (f"{tmp_path}/evil", regular, ""), (f"{cifar.FOLDER}/../../../evil", regular, ""),
        ("ready", link, "/"), ("raw", link, str(tmp_path)), ("raw/evil", regular, ""), ("hard", tarfile.LNKTYPE, "/etc/passwd"),
        ("pipe", tarfile.FIFOTYPE, ""), ("null", tarfile.CHRTYPE, ""), ("disk", tarfile.BLKTYPE, ""),
    ]  # fmt: skip
    hostile(place, *evil)
    assert build(cifar, CIFAR, place, download=False).info.counts == {"train": 6, "validation": 4, "test": 2}
    assert sorted(path.name for path in place.iterdir()) == ["raw", "ready"]
    assert [path.name for path in (place / "raw").iterdir()] == ["c.tar.gz"]
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE])
@pytest.mark.parametrize("target", ["batches.meta", f"{cifar.FOLDER}/batches.meta", "/etc/passwd", "../../../../etc/passwd"])
def test_a_batch_that_is_no_plain_file_is_refused(tmp_path: Path, kind: bytes, target: str) -> None:
    hostile(tmp_path, (f"{cifar.FOLDER}/batches.meta", kind, target), sound=False)
    with pytest.raises(UsageError, match=r"c\.tar\.gz: expected a file cifar-10-batches-py/batches\.meta in it, got none"):
        build(cifar, CIFAR, tmp_path, download=False)


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "..", ".hidden", "a/b", "a\\b", "a\0b", "", "x" * 300, "a\nb"])
def test_a_file_to_be_downloaded_has_no_path(name: str) -> None:
    for key in ("file", "mirror"):
        with pytest.raises(UsageError, match=f"data.x.{key}: "):
            typed(cifar.Params, CIFAR | {key: name}, "data.x")


# --- floods: little that asks for much


def test_a_file_may_not_unpack_to_more_than_it_has_a_right_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_idx(tmp_path)
    monkeypatch.setattr(idx, "MOST", 100)
    with pytest.raises(UsageError, match=r"train-images\.gz: expected at most 100 bytes when unpacked, got more"):
        build(idx, IDX, tmp_path, download=False)


PICKLES = {
    "place of a memo": b"\x80\x04Nr\xff\xff\xff\x0f.",
    "bytes": b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b"x.",
    "bytearray": b"\x80\x05\x96" + (2**40).to_bytes(8, "little") + b"x.",
    "text": b"\x80\x04\x8d" + (2**62).to_bytes(8, "little") + b"x.",
    "number": b"I" + b"9" * 100_000 + b"\n.",
    "array": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(L99999999999L\ntS'b'\ntR.",
    "shape": b"cnumpy\nndarray\n(tR(I1\n(L99999999999L\ntcnumpy\ndtype\n(S'u1'\ntRI00\nS'x'\ntb.",
    "itself": b"\x80\x04]\x94h\x00a.",
}
FLOODS = """
import io, sys, warnings
from pathlib import Path
from generative.data import images
from generative.data.real import cifar, folder
from generative.errors import UsageError
for path in sorted(Path('pickles').iterdir()):
    try:
        print('accepted', cifar.unpickle(path.read_bytes(), path.name))
    except UsageError as error:
        print(error)
for path in sorted(Path('pictures').iterdir()):
    for channels in (1, 3):
        try:
            print('read', path.name, images.fit(images.decode(path, channels), 32, 'crop').size)
        except images.UnreadableError as error:
            print(path.name, error)
print(next(int(line.split()[1]) * 1024 for line in open('/proc/self/status') if line.startswith('VmHWM')))
"""  # the peak since exec, where ru_maxrss has in it that of the process which forked this one


def png(width: int, height: int, bits: int, colour: int) -> bytes:
    """A grey (colour 0) or RGBA (6) picture that is all black, or claims to be."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([bits, colour, 0, 0, 0])
    pack, row = zlib.compressobj(1), bytes(1 + min(width, 10_000) * {0: 1, 6: 4}[colour] * bits // 8)
    rows = b"".join([*(pack.compress(row) for _ in range(height if height < 10_000 else 10)), pack.flush()])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def floods(folder: Path, pictures: dict[str, bytes]) -> list[str]:
    """What is said of the pickles and the pictures; all of it must take less than 2 GiB."""
    for place, files in (("pickles", PICKLES), ("pictures", pictures)):
        (folder / place).mkdir()
        for name, content in files.items():
            (folder / place / name).write_bytes(content)
    done = subprocess.run([sys.executable, "-c", FLOODS], cwd=folder, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    *said, most = done.stdout.splitlines()
    assert int(most) < 2 * GIB
    return said


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
def test_little_that_asks_for_much_gets_nothing(tmp_path: Path) -> None:
    said = floods(tmp_path, {"vast.png": png(50_000, 50_000, 8, 6), "wide.png": png(2**31 - 1, 1, 8, 0)})
    for line, name in zip(said[: len(PICKLES)], sorted(PICKLES), strict=True):
        assert line.startswith(f"{name}: expected "), line
    assert "vast.png more than the 89,478,485 pixels that are safe to open" in said
    assert not [line for line in said if line.startswith("read")]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
def test_the_largest_pictures_that_are_read_take_less_than_two_gibibytes(tmp_path: Path) -> None:
    said = floods(tmp_path, {f"{bits} {colour}.png": png(9400, 9400, bits, colour) for bits, colour in ((8, 6), (16, 6), (16, 0))})
    assert len([line for line in said if line.startswith("read")]) == 6, said


@pytest.mark.slow
def test_a_gzip_bomb_is_refused(tmp_path: Path) -> None:
    write_idx(tmp_path)
    with gzip.open(tmp_path / "raw/train-images.gz", "wb", 1) as file:
        for _ in range(1200):
            file.write(bytes(2**20))
    with pytest.raises(UsageError, match="expected at most 1,073,741,824 bytes when unpacked"):
        build(idx, IDX, tmp_path, download=False)


@pytest.mark.parametrize(("size", "how"), [((1, 5000), "pad"), ((5000, 1), "pad"), ((1, 5000), "crop"), ((1, 5000), "resize")])
def test_a_picture_that_is_a_thread_is_fitted(size: tuple[int, int], how: Any) -> None:
    assert images.fit(Image.new("L", size), 8, how).size == (8, 8)


# --- text that is none


def test_a_table_with_a_vast_cell_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("a,b\nx.png," + "y" * 200_000)
    with pytest.raises(UsageError, match=r"labels\.csv: expected a table of comma-separated values, got: field larger"):
        read_table(tmp_path / "labels.csv")


@pytest.mark.parametrize("first", ["\u00b2", "9" * 5000])
def test_a_number_that_is_none_counts_no_rows(tmp_path: Path, first: str) -> None:
    (tmp_path / "labels.csv").write_text(f"{first},b\nx.png,1\n", encoding="utf-8")
    assert read_table(tmp_path / "labels.csv").rows == {"x.png": ["1"]}
    (tmp_path / "labels.csv").write_text(f"{first}\nx.png\n", encoding="utf-8")
    assert read_table(tmp_path / "labels.csv").rows == {"x.png": []}


def test_a_class_whose_name_is_no_text_is_read_all_the_same(tmp_path: Path) -> None:
    write_cifar(tmp_path)
    names = pickle.dumps({b"label_names": [b"caf\xe9", b"dog"]}, 4)
    (tmp_path / "raw/c.tar.gz").write_bytes(archive(batches() | {"batches.meta": names}))
    assert build(cifar, CIFAR, tmp_path, download=False).info.classes == ["caf\ufffd", "dog"]


def test_a_picture_whose_name_is_no_text_is_skipped_with_a_note_that_is(tmp_path: Path) -> None:
    described("csv")(tmp_path)
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/raw/images/\xff.png")).write_bytes(b"broken")
    notes = build(folder, OWN | {"attributes": "", "label": ""}, tmp_path, download=False).info.notes
    assert any("\\udcff.png" in note for note in notes), notes
    print(*notes)  # as the stage does


# --- code that comes as data


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.path}'",)


def test_loading_a_model_executes_nothing(tmp_path: Path) -> None:
    witness = tmp_path / "executed"
    checkpoint.save(tmp_path, *model())
    (tmp_path / "weights.safetensors").unlink()
    torch.save({"hidden.1.weight": Evil(witness)}, tmp_path / "weights.safetensors")
    with pytest.raises(UsageError, match=r"weights\.safetensors: not a whole file of weights"):
        generative.load(tmp_path)
    assert not witness.exists()


def test_a_state_with_a_seal_executes_nothing_either(tmp_path: Path) -> None:
    witness, work = tmp_path / "executed", checkpoint.Work(tmp_path, "f")
    file = io.BytesIO()
    torch.save({"step": 1, "model": Evil(witness)}, file)
    work.file.write_bytes(file.getvalue() + hashlib.sha256(b"f" + file.getvalue()).digest())
    with pytest.raises(pickle.UnpicklingError):
        work.restore(model()[0], [])
    assert not witness.exists()


def test_an_array_of_objects_executes_nothing(tmp_path: Path) -> None:
    witness, place = tmp_path / "executed", tmp_path / "ready"
    splits = {split: {"x": np.zeros((2, 2), np.float32)} for split in store.SPLITS}
    place.mkdir()
    store.write_dataset(place, splits, name="x", kind="points")
    np.save(place / "train/x.npy", np.array([Evil(witness), 1]), allow_pickle=True)
    with pytest.raises(UsageError, match=r"train/x\.npy: not a whole array"):
        store.open_dataset(place).split("train")
    assert not witness.exists()


def called(path: Path) -> list[tuple[str, ast.Call]]:
    nodes = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    return [(ast.unparse(node.func), node) for node in nodes]


@pytest.mark.parametrize(
    ("call", "wanted"),
    [("torch.load", "weights_only=True"), ("np.load", "allow_pickle=False"), ("YAML", "typ='safe'"), ("tarfile.open", "mode='r:'")],
)
def test_every_reader_is_the_safe_one(call: str, wanted: str) -> None:
    found = [ast.unparse(node) for path in OURS for name, node in called(path) if name == call and (node.args or node.keywords)]
    assert found
    assert not [text for text in found if wanted not in text]


def test_no_code_of_ours_executes_text() -> None:
    doubtful = {"eval", "exec", "pickle.load", "pickle.loads", "os.system", "tar.extractall", "archive.extractall", "shutil.unpack_archive"}
    assert not [(path, name) for path in OURS for name, node in called(path) if name in doubtful or "shell=True" in ast.unparse(node)]
