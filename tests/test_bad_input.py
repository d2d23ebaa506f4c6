"""What a user can get wrong in params.yaml and on a command line: one message that names file, key and what was expected."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from workspace import edited, refused

from generative.params import PARAMS_FILE
from generative.stages.check import check
from generative.stages.download import download
from generative.stages.encode import encode
from generative.stages.evaluate import evaluate
from generative.stages.preprocess import preprocess
from generative.stages.sample import sample
from generative.stages.train import train

Edit = Callable[[dict[str, Any]], object]


def vae(**values: Any) -> Edit:
    return lambda content: content["models"]["vae"].update(values)


# --- params.yaml


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (vae(latent_sise=2), "models.vae.latent_sise: no such key; did you mean latent_size?"),
        (vae(steps="many"), "models.vae.steps: expected a valid integer, got 'many'"),
        (vae(steps=2.5), "models.vae.steps: expected a valid integer, got 2.5"),
        (vae(steps=True), "models.vae.steps: expected a valid integer, got True"),
        (vae(beta=True), "models.vae.beta: expected a valid number, got True"),
        (vae(learning_rate="2e-4"), "models.vae.learning_rate: expected a valid number, got '2e-4'"),
        (vae(steps=0), "models.vae.steps: expected greater than 0, got 0"),
        (vae(beta=-1.0), "models.vae.beta: expected greater than or equal to 0, got -1.0"),
        (vae(channels=[4, 0]), "models.vae.channels.1: expected greater than 0, got 0"),
        (vae(precision="float16"), "models.vae.precision: expected 'float32' or 'bfloat16', got 'float16'"),
        (vae(model="autoencoders/vea"), "models.vae.model: no model 'autoencoders/vea'"),
        (vae(data="glyfs"), "models.vae.data: no 'glyfs' in data or encodings; did you mean glyphs?"),
        (vae(against="brics"), "models.vae.against: no 'brics' in data or encodings; did you mean bricks?"),
        (vae(against="moons"), "models.vae.against: autoencoders/vae has no figure for it; expected its own data, glyphs, got moons"),
        (vae(judge="nobody"), "models.vae.judge: no 'nobody' in models; there are: mlp, cnn"),
        (vae(judge="vae_probe"), "models.vae.judge: vae_probe knows vae_codes, but vae is trained on glyphs"),
        (vae(judge="autoencoder"), "models.vae.judge: autoencoder is no classifier"),
        (lambda c: c["models"]["vae"].pop("beta"), "models.vae.beta: missing; nothing has a default"),
        (lambda c: c["models"]["vae"].pop("model"), "models.vae.model: missing; nothing has a default"),
        (lambda c: c["models"].update(vae=3), "models.vae: expected a block of keys, got int"),
        (lambda c: c["models"].update(VAE=c["models"].pop("vae")), "models.VAE: a name is of lower-case letters, digits and _"),
        (lambda c: c["data"]["moons"].pop("source"), "data.moons.source: missing; nothing has a default"),
        (lambda c: c["data"]["moons"].update(source="drawn/suns"), "data.moons.source: no source 'drawn/suns'"),
        (lambda c: c["data"]["glyphs"].update(characters="AA"), "data.glyphs.characters: expected letters A-Z"),
        (lambda c: c["encodings"]["vae_codes"].update(model="mlp"), "encodings.vae_codes.model: mlp does not encode"),
        (lambda c: c["encodings"]["vae_codes"].update(data="moons"), "encodings.vae_codes.model: vae is trained on glyphs, not on moons"),
        (lambda c: c["encodings"]["vae_codes"].update(beside="glyfs"), "encodings.vae_codes.beside: no 'glyfs' in data or encodings"),
        (lambda c: c["encodings"].update(glyphs=c["encodings"]["vae_codes"]), "encodings.glyphs: a data set has this name already"),
        (lambda c: c.update(modles={}), "modles: no such section; did you mean models?"),
        (lambda c: c.update(models=[1]), "models: expected named blocks, got list"),
    ],
)  # fmt: skip
def test_a_fault_in_a_block_is_named(tmp_path: Path, edit: Edit, message: str) -> None:
    with chdir(tmp_path):
        edited(edit)
        Path("data").mkdir()
        assert refused(check).startswith(f"params.yaml: {message}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "params.yaml: no such file here; run from the project's folder"),
        (b"models: {vae: [", "params.yaml: not YAML: "),
        (b"models: {}\nmodels: {}\n", "params.yaml: not YAML: "),
        (b"models: \xff\xfe", "params.yaml: cannot be read: "),
        (b"- models\n", "params.yaml: expected the sections data, encodings, models, got list"),
        (b"", "params.yaml: expected the sections data, encodings, models, got NoneType"),
    ],
)
def test_a_file_that_is_no_catalogue_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    with chdir(tmp_path):
        if content is not None:
            PARAMS_FILE.write_bytes(content)
        assert refused(check).startswith(message)
        assert refused(train, "vae").startswith(message)


@pytest.mark.parametrize(
    ("stage", "section"),
    [(download, "data"), (preprocess, "data"), (encode, "encodings"), (train, "models"), (evaluate, "models"), (sample, "models")],
)
def test_an_unknown_entry_is_refused_by_every_stage(tmp_path: Path, stage: Callable[[str], None], section: str) -> None:
    with chdir(tmp_path):
        edited(vae())
        assert refused(stage, "nobody").startswith(f"params.yaml: {section}.nobody: no such entry; there are: ")


def command(*arguments: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def test_the_command_lines_print_one_message_and_exit_with_1(tmp_path: Path) -> None:
    with chdir(tmp_path):
        assert command("generative.stages.check") == (1, "check: params.yaml: no such file here; run from the project's folder\n")
        edited(vae())
        expected = "train vea: params.yaml: models.vea: no such entry; did you mean vae?\n"
        assert command("generative.stages.train", "vea") == (1, expected)
        code, message = command("generative.stages.sample", "vae")
        assert message.startswith("sample vae: data/processed/glyphs/info.json: not a data set: ")
        assert (code, message.count("\n")) == (1, 1)
        code, message = command("generative.stages.train")
        assert code == 2
        assert "the following arguments are required: name" in message
