"""Sources are found by name; what is drawn is drawn from its seed."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from generative import data
from generative.data import store
from generative.data.drawn import glyphs, moons
from generative.errors import UsageError
from generative.params import typed
from tests.building import arrays, build

GLYPHS = {
    "source": "drawn/glyphs", "seed": 3, "size": 32, "characters": "AHI7", "slant": 20.0, "rotation": 10.0,
    "scale": 0.1, "shift": 0.05, "train": 200, "validation": 20, "test": 200,
}  # fmt: skip
MOONS = {"source": "drawn/moons", "seed": 3, "noise": 0.05, "train": 2000, "validation": 200, "test": 301}
IDX = {
    "source": "real/idx", "seed": 3, "validation": 4, "urls": ["http://127.0.0.1:9"], "mirror": "things",
    "files": {f"{split}-{what}.gz": "0" * 64 for split in ("train", "t10k") for what in ("images", "labels")},
    "classes": ["a", "b", "c"], "size": 8, "fit": "pad",
}  # fmt: skip


def tree(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_every_source_is_found_by_its_name() -> None:
    for name in ("drawn/glyphs", "drawn/moons", "real/idx", "real/cifar", "real/folder"):
        module = data.find(name, "here")
        assert all(hasattr(module, part) for part in ("Params", "download", "preprocess"))
    with pytest.raises(UsageError, match=r"here: no source 'drawn/glyph'.*did you mean drawn/glyphs"):
        data.find("drawn/glyph", "here")


@pytest.mark.parametrize(("module", "block"), [(glyphs, GLYPHS), (moons, MOONS)])
def test_drawn_data_is_the_same_bit_for_bit_under_a_seed_and_another_under_another(
    module: ModuleType, block: dict[str, Any], tmp_path: Path
) -> None:
    first = build(module, block, tmp_path / "1")
    build(module, block, tmp_path / "2")
    other = build(module, block | {"seed": 4}, tmp_path / "3")
    assert tree(tmp_path / "1") == tree(tmp_path / "2")
    assert first.info.fingerprint != other.info.fingerprint
    assert first.info.counts == {split: block[split] for split in store.SPLITS}


def test_glyphs_are_white_on_black_whole_and_balanced(tmp_path: Path) -> None:
    dataset = build(glyphs, GLYPHS, tmp_path)
    train, test = arrays(dataset, "train"), arrays(dataset, "test")
    assert train["x"].dtype == np.uint8
    assert dataset.info.shape == [1, 32, 32]
    assert dataset.info.classes == list("AHI7")
    assert np.bincount(train["y"]).tolist() == [50] * 4
    assert (train["x"].max(axis=(1, 2, 3)) > 200).all()
    edges = np.concatenate([train["x"][:, 0, [0, -1]].ravel(), train["x"][:, 0, :, [0, -1]].ravel()])
    assert (edges > 100).mean() < 0.002
    assert not any((train["x"] == one).all(axis=(1, 2, 3)).any() for one in test["x"])


def test_glyph_attributes_say_what_is_seen(tmp_path: Path) -> None:
    block = GLYPHS | {"characters": "I", "slant": 25.0, "rotation": 0.0, "shift": 0.0, "train": 400}
    dataset = build(glyphs, block, tmp_path)
    train, names = arrays(dataset, "train"), dataset.info.attributes
    column = {name: train["attributes"][:, i] for i, name in enumerate(names)}
    assert np.abs(column["slant"]).max() <= 25
    assert set(column["rotation"]) == {0.0}
    x, where = train["x"][:, 0].astype(float), np.arange(32)
    upper, lower = (np.array([(one * where).sum() / one.sum() for one in half]) for half in (x[:, 9:15], x[:, 17:23]))
    seen = np.degrees(np.arctan((upper - lower) / 8))  # the two bands lie 8 rows apart
    assert np.corrcoef(seen, column["slant"])[0, 1] > 0.97
    assert np.abs(seen - column["slant"]).mean() < 4
    ink = x.mean(axis=(1, 2))
    bold = column["weight"] == dataset.info.values["weight"].index("bold")
    assert ink[bold].mean() > 1.3 * ink[~bold].mean()
    assert np.corrcoef((x.max(axis=2) > 60).sum(axis=1), column["scale"])[0, 1] > 0.8
    assert set(column["font"]) == set(range(len(dataset.info.values["font"])))


@pytest.mark.parametrize("characters", ["", "AA", "A ", "é", "<"])
def test_glyphs_refuse_characters_that_the_fonts_do_not_share(characters: str) -> None:
    with pytest.raises(UsageError, match=r"data\.x\.characters: expected letters A-Z, a-z and digits, each once"):
        typed(glyphs.Params, GLYPHS | {"characters": characters}, "params.yaml: data.x")


def test_moons_are_standardised_by_the_training_split_and_labelled(tmp_path: Path) -> None:
    dataset = build(moons, MOONS, tmp_path)
    train = arrays(dataset, "train")
    assert dataset.info.kind == "points"
    assert train["x"].dtype == np.float32
    np.testing.assert_allclose(train["x"].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(train["x"].std(axis=0), 1, atol=1e-5)
    assert dataset.info.classes == ["upper", "lower"]
    assert train["x"][train["y"] == 0, 1].mean() > 0.5 > -0.5 > train["x"][train["y"] == 1, 1].mean()
