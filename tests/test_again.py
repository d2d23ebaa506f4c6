"""Sampling a trained model once more from the command line, into a folder of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from workspace import snapshot

from generative.errors import UsageError
from generative.models.autoencoders.vae import VAE
from generative.stages.again import again
from generative.stages.command import command_line
from generative.stages.sample import OPTIONS, sample

pytestmark = pytest.mark.xdist_group("built")


def test_as_many_samples_as_asked_for_the_same_under_one_seed(in_built: Path, tmp_path: Path) -> None:
    before = snapshot(in_built / "data")
    for folder, seed in (("one", "7"), ("same", "7"), ("other", "8")):
        sample("vae", count="5", seed=seed, out=str(tmp_path / folder))
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == [*(f"0000{i}.png" for i in range(5)), "sheet.png"]
    one, same, other = ([(tmp_path / folder / file).read_bytes() for file in files] for folder in ("one", "same", "other"))
    assert one == same
    assert one != other
    assert snapshot(in_built / "data") == before


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"count": "many"}, "--count: expected a whole number, got 'many'"),
        ({"count": "0"}, "--count: expected a whole number from 1 to"),
        ({"label": "Q"}, "--label: no 'Q' in glyphs; there are: 0, 1"),
        ({"label": "A"}, "VAE has no use for a condition"),
        ({"stepz": "5"}, "--stepz: VAE has no such option; did you mean steps?"),
        ({"steps": "1.5"}, "--steps: expected a whole number, got '1.5'"),
        ({"scale": "nan"}, "--scale: expected a number"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    in_built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, str], message: str
) -> None:
    monkeypatch.setattr(VAE, "sample", optional)
    with pytest.raises(UsageError) as error:
        again("vae", {**asked, "out": str(tmp_path / "x")})
    assert str(error.value).startswith(message)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_is_left_alone(in_built: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--out: .* is there already"):
        again("vae", {"out": str(tmp_path)})


def test_the_models_own_options_reach_it_as_their_types(in_built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: dict[str, Any] = {}
    monkeypatch.setattr(VAE, "sample", optional)
    monkeypatch.setattr("test_again.HEARD", heard)
    monkeypatch.setattr(
        "sys.argv", ["sample", "vae", "--out", str(tmp_path / "x"), "--count=2", "--steps", "3", "--scale=-0.5", "--way", "up"]
    )
    with pytest.raises(SystemExit) as end:
        command_line(sample, "models", OPTIONS)
    assert end.value.code == 0
    assert heard == {"n": 2, "steps": 3, "scale": -0.5, "way": "up"}


HEARD: dict[str, Any] = {}


def optional(
    self: VAE, n: int, condition: Tensor | None = None, *, steps: int | None = None, scale: float | None = None, way: str | None = None
) -> Tensor:
    self.unconditional(condition)
    HEARD.update(n=n, steps=steps, scale=scale, way=way)
    return torch.zeros(n, *self.info.shape)
