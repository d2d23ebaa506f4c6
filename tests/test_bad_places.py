"""Places that cannot be written, full disks, a folder in use: one message that names the place, and no harm to what stood there."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from workspace import refused, snapshot

from generative.files import new_folder, sole_owner
from generative.stages.download import download
from generative.stages.encode import encode
from generative.stages.evaluate import evaluate
from generative.stages.preprocess import preprocess
from generative.stages.sample import sample
from generative.stages.train import train

pytestmark = pytest.mark.xdist_group("built")
Stage = Callable[[str], None]

STAGES = [(download, "moons", "raw"), (preprocess, "moons", "processed"), (encode, "vae_codes", "processed"), (train, "mlp", "models"),
          (train, "mlp", "work"), (evaluate, "mlp", "metrics"), (sample, "mlp", "samples")]  # fmt: skip


@pytest.mark.parametrize(("stage", "name", "place"), STAGES)
def test_a_file_in_the_way_of_a_folder_is_named(project: Path, stage: Stage, name: str, place: str) -> None:
    folder = Path("data") / place / (name if place in ("work", "metrics") else f"{name}.partial")
    if folder.exists():
        shutil.rmtree(folder)
    folder.write_text("in the way")
    assert refused(stage, name) == f"{folder}: something is in the way; move it away"


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a folder that nobody can write to")
@pytest.mark.parametrize(("stage", "name", "place"), [entry for entry in STAGES if entry[2] != "processed"])
def test_an_unwritable_folder_is_named(project: Path, stage: Stage, name: str, place: str) -> None:
    folder = Path("data") / place
    shutil.rmtree(folder / name, ignore_errors=True)
    if folder.exists():
        folder.rename(f"{folder}_before")
    folder.symlink_to("/sys/kernel")
    if stage in (evaluate, sample):
        assert Path("data/models").exists()
    message = refused(stage, name)
    assert message.startswith(f"{folder}/")
    assert "writable" in message


@contextmanager
def small_disk(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: a write comes short as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("stage", "name", "path"),
    [
        (download, "moons", "data/raw/moons"),
        (preprocess, "glyphs", "data/processed/glyphs"),
        (encode, "vae_codes", "data/processed/vae_codes"),
        (train, "vae", "data/work/vae/"),
        (sample, "vae", "data/samples/vae"),
    ],
)
def test_a_disk_that_fills_up_is_named(project: Path, stage: Stage, name: str, path: str) -> None:
    shutil.rmtree("data/work", ignore_errors=True)
    with small_disk(1000):
        message = refused(stage, name)
    assert message.startswith(path)
    assert "disk is full" in message or "ulimit" in message or "is the disk full?" in message


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize(
    ("stage", "path"),
    [(train, "data/work/mlp/checkpoint.pt"), (train, "data/metrics/mlp/curve.csv"), (evaluate, "data/metrics/mlp/figures.json")],
)
def test_a_full_disk_is_named(project: Path, stage: Stage, path: str) -> None:
    Path(f"{path}.partial").symlink_to("/dev/full")
    if path.endswith("curve.csv"):
        shutil.copytree("data/models/mlp", "data/work/model")
    assert refused(stage, "mlp") == f"{path}: the disk is full; free some space and run the command again"


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    place = tmp_path / "place"
    for content in ("old", "new"):
        with new_folder(place) as folder:
            (folder / "file").write_text(content)
    with pytest.raises(ZeroDivisionError), new_folder(place) as folder:
        (folder / "file").write_text("half")
        raise ZeroDivisionError
    assert snapshot(tmp_path) == {"place/file": b"new"}


def test_a_training_that_runs_already_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("generative.files.PATIENCE", 0.0)
    with sole_owner(Path("data/work/vae")):
        assert refused(train, "vae") == f"data/work/vae: in use by process {os.getpid()}; wait for it or stop it"
