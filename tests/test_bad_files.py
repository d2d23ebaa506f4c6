"""Damaged data, models of another size, states of another training: one message that names the file, and no harm to what stood there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from workspace import edited, refused

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
