"""Damaged data, places that cannot be written, models of another size: one message that names the file, and no harm to what stood there."""

from __future__ import annotations

import json
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from workspace import edited, refused, snapshot

from generative.files import new_folder, sole_owner
from generative.stages.download import download
from generative.stages.encode import encode
from generative.stages.evaluate import evaluate
from generative.stages.preprocess import preprocess
from generative.stages.sample import sample
from generative.stages.train import train

pytestmark = pytest.mark.xdist_group("built")
Stage = Callable[[str], None]
Spoil = Callable[[Path], object]
WEIGHTS, RECORD = Path("data/models/vae/weights.safetensors"), Path("data/models/vae/model.json")


@pytest.fixture
def project(built: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the tiny catalogue as it is built, to be spoilt; the current directory."""
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    with chdir(tmp_path):
        yield tmp_path


# --- data


X = Path("data/processed/glyphs/train/x.npy")
INFO = Path("data/processed/glyphs/info.json")


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def garbage(path: Path) -> None:
    path.write_bytes(b"garbage")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def array(value: np.ndarray) -> Callable[[Path], None]:
    return lambda path: np.save(path, value)


@pytest.mark.parametrize(
    ("path", "spoil", "message"),
    [
        (X, Path.unlink, f"{X}: missing; `dvc repro preprocess@glyphs` makes it"),
        (X, truncated, f"{X}: not a whole array"),
        (X, garbage, f"{X}: not a whole array (7 bytes)"),
        (X, empty, f"{X}: not a whole array (0 bytes)"),
        (X, array(np.zeros((200, 1, 16, 16), np.uint8)), f"{X}: expected examples of shape [1, 32, 32] as info.json says, got [1, 16, 16]"),
        (X, array(np.zeros((7, 1, 32, 32), np.uint8)), f"{X}: expected 200 examples as info.json says, got 7"),
        (X, array(np.array([None])), f"{X}: not a whole array"),
        (X.with_name("y.npy"), truncated, f"{X.with_name('y.npy')}: not a whole array"),
        (INFO, Path.unlink, f"{INFO}: not a data set: "),
        (INFO, truncated, f"{INFO}: not a data set: "),
        (INFO, lambda path: path.write_text("{}"), f"{INFO}.name: missing"),
        (INFO, lambda path: path.write_text("[]"), f"{INFO}: "),
    ],
)  # fmt: skip
def test_a_damaged_data_set_is_named(project: Path, path: Path, spoil: Spoil, message: str) -> None:
    spoil(path)
    assert refused(train, "vae").startswith(message)


@pytest.mark.parametrize("spoil", [Path.unlink, truncated, garbage, empty])
@pytest.mark.parametrize(("name", "file"), [("moons", "moons.npz"), ("glyphs", "train.npz")])
def test_a_damaged_raw_file_is_named(project: Path, name: str, file: str, spoil: Spoil) -> None:
    path = Path("data/raw") / name / file
    spoil(path)
    assert refused(preprocess, name).startswith(f"{path}: ")


# --- places that cannot be written

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


# --- models and checkpoints


def other_model(name: str) -> Spoil:
    return lambda path: shutil.copyfile(Path("data/models") / name / path.name, path)


def record(**values: Any) -> Spoil:
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("file", "spoil", "message"),
    [
        (WEIGHTS, Path.unlink, f"{WEIGHTS}: not a whole file of weights: "),
        (WEIGHTS, truncated, f"{WEIGHTS}: not a whole file of weights: "),
        (WEIGHTS, garbage, f"{WEIGHTS}: not a whole file of weights: "),
        (WEIGHTS, empty, f"{WEIGHTS}: not a whole file of weights: "),
        (WEIGHTS, other_model("mlp"), f"{WEIGHTS}: expected the weights that {RECORD} describes: "),
        (WEIGHTS, other_model("autoencoder"), f"{WEIGHTS}: expected the weights that {RECORD} describes: "),
        (RECORD, Path.unlink, f"{RECORD}: not a model's record "),
        (RECORD, garbage, f"{RECORD}: not a model's record "),
        (RECORD, truncated, f"{RECORD}: not a model's record "),
        (RECORD, lambda path: path.write_text("[]"), f"{RECORD}: not a model's record "),
        (RECORD, other_model("mlp"), f"{RECORD}: model: expected 'autoencoders/vae'"),
        (RECORD, record(model="autoencoders/vea"), f"{RECORD}: model: no model 'autoencoders/vea'"),
        (RECORD, record(params={}), f"{RECORD}: params.model: missing"),
        (RECORD, record(info={}), f"{RECORD}: info.name: missing"),
    ],
)
@pytest.mark.parametrize(("stage", "name"), [(evaluate, "vae"), (sample, "vae"), (encode, "vae_codes")])
def test_a_damaged_model_is_named(project: Path, stage: Stage, name: str, file: Path, spoil: Spoil, message: str) -> None:
    spoil(file)
    assert refused(stage, name).startswith(message)


def test_an_encoder_that_fell_silent_is_refused_and_the_old_codes_stay(project: Path) -> None:
    codes = Path("data/processed/vae_codes/train/x.npy")
    before = codes.read_bytes()
    weights = load_file(WEIGHTS)
    save_file({key: value * 0 if key.startswith("encoder.") else value for key, value in weights.items()}, WEIGHTS)
    assert refused(encode, "vae_codes").startswith("data/models/vae: expected codes that tell examples apart, got ")
    assert codes.read_bytes() == before


@pytest.mark.parametrize(("stage", "name"), [(evaluate, "vae"), (sample, "vae"), (encode, "vae_codes")])
def test_a_model_of_another_size_is_refused(project: Path, stage: Stage, name: str) -> None:
    edited(lambda content: content["models"]["vae"].update(latent_size=5))
    expected = "latent_size: expected 5 as params.yaml and the data say now, got 2; `dvc repro train@vae` makes the model"
    assert refused(stage, name) == f"{RECORD}: {expected}"


def test_a_model_of_other_data_is_refused(project: Path) -> None:
    edited(lambda content: content["data"]["glyphs"].update(seed=99))
    download("glyphs")
    preprocess("glyphs")
    assert refused(sample, "vae").startswith(f"{RECORD}: fingerprint: expected ")


def test_a_judge_that_is_missing_is_named(project: Path) -> None:
    shutil.rmtree("data/models/cnn")
    assert "`dvc repro train@cnn` makes the model" in refused(evaluate, "vae")


def states() -> dict[str, Spoil]:
    def foreign(path: Path) -> None:
        torch.save({"fingerprint": "another", "step": 4, "model": {}, "optimizers": [], "extra": {}}, path)

    return {"garbage": garbage, "empty": empty, "foreign": foreign, "truncated": truncated, "flipped": flipped, "another model's": anothers}


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def anothers(path: Path) -> None:
    """The state of the same model under another seed."""
    edited(lambda content: content["models"]["vae"].update(seed=77))
    unfinished()
    edited(lambda content: None)


def unfinished() -> None:
    """Leaves the state of a training of the vae that was stopped after its first checkpoint."""
    from generative.training import checkpoint

    class StoppedError(Exception):
        pass

    save = checkpoint.Work.save

    def stop(*arguments: Any) -> None:
        save(*arguments)
        raise StoppedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint.Work, "save", stop)
        with pytest.raises(StoppedError):
            train("vae")


@pytest.mark.parametrize("state", states())
def test_a_state_that_is_damaged_or_foreign_is_ignored(project: Path, capsys: pytest.CaptureFixture[str], state: str) -> None:
    before = WEIGHTS.read_bytes()
    unfinished()
    states()[state](Path("data/work/vae/checkpoint.pt"))
    capsys.readouterr()
    train("vae")
    assert "resumes" not in capsys.readouterr().out
    assert WEIGHTS.read_bytes() == before


def test_a_sound_state_is_used(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = WEIGHTS.read_bytes()
    unfinished()
    train("vae")
    assert "vae: resumes at step 3\n" in capsys.readouterr().out
    assert WEIGHTS.read_bytes() == before
