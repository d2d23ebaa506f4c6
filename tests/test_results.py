"""The figures of what was built reach results/<scale>.csv and the README, and nothing else does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from generative import results, scale
from generative.errors import UsageError

PARAMS = """data:
  glyphs: {source: drawn/glyphs, seed: 1, validation: 10}
  fashion_mnist: {source: real/fashion_mnist, seed: 1, validation: 10}
encodings: {}
models:
  mlp: {model: foundations/mlp, data: glyphs, judge: mlp, seed: 7, steps: 100}
  vae: {model: autoencoders/vae, data: fashion_mnist, judge: mlp, seed: 8, steps: 200}
"""
PUBLISHED = "model,data,figure,value,steps,source\nautoencoders/vae,fashion_mnist,loss,135.29,3000,notebook\n"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("scales").mkdir()
    Path("params.yaml").write_text(PARAMS)
    Path("scales/published.csv").write_text(PUBLISHED)
    Path("scales/showcase.yaml").write_text("models:\n  vae: {steps: 900}\n")


def build(name: str, block: dict[str, Any], figures: dict[str, Any], seconds: float | None = 12.3) -> None:
    """Leaves the files that the stages leave."""
    write = {
        f"models/{name}/model.json": {"model": block["model"], "params": block, "info": {}},
        f"metrics/{name}/figures.json": figures,
        f"runs/evaluate/{name}.json": {"params": block, "when": EVENING},
    }
    if seconds is not None:
        write[f"runs/train/{name}.json"] = {"seconds": seconds, "device": "a CPU, 1 thread", "revision": "abc-dirty", "when": MORNING}
    for path, content in write.items():
        (Path("data") / path).parent.mkdir(parents=True, exist_ok=True)
        (Path("data") / path).write_text(json.dumps(content))


MORNING, EVENING = "2026-01-02T03:04:05+00:00", "2026-01-02T20:00:00+00:00"
MLP = {"model": "foundations/mlp", "data": "glyphs", "judge": "mlp", "seed": 7, "steps": 100}
VAE = {"model": "autoencoders/vae", "data": "fashion_mnist", "judge": "mlp", "seed": 8, "steps": 200}
LOSSES = {"figure": "loss", "kl": 5.5, "loss": 135.123456789, "compared": 5000, "judge": "mlp 0123"}


def rows(scale_name: str) -> list[list[str]]:
    table = pd.read_csv(f"results/{scale_name}.csv", dtype=str, keep_default_na=False)
    assert list(table.columns) == results.COLUMNS
    return table.to_numpy().tolist()


def test_every_number_gets_a_row_with_what_was_built_and_published() -> None:
    build("vae", VAE, LOSSES)
    build("mlp", MLP, {"figure": "accuracy", "accuracy": 0.5}, seconds=None)
    results.collect()
    common = ["200", "12.3", "8", "a CPU, 1 thread", "abc-dirty"]
    assert rows("quick") == [
        ["mlp", "glyphs", "accuracy", "0.5", "", "100", "", "7", "", ""],
        ["vae", "fashion_mnist", "loss", "135.123", "135.29", *common],
        ["vae", "fashion_mnist", "kl", "5.5", "", *common],
        ["vae", "fashion_mnist", "compared", "5000", "", *common],
    ]
    before = Path("results/quick.csv").read_bytes()
    results.collect()
    assert Path("results/quick.csv").read_bytes() == before


def test_rows_of_others_stay_and_each_scale_has_its_file() -> None:
    build("vae", VAE, LOSSES)
    build("mlp", MLP, {"figure": "accuracy", "accuracy": 0.5})
    results.collect()
    scale.put("showcase", ["vae"])
    build("vae", {**VAE, "steps": 900}, {**LOSSES, "loss": 130.0})
    results.collect()
    assert [row[:4] for row in rows("quick")][1] == ["vae", "fashion_mnist", "loss", "135.123"]
    assert rows("showcase")[0][:6] == ["vae", "fashion_mnist", "loss", "130", "135.29", "900"]
    assert {row[0] for row in rows("showcase")} == {"vae"}


def test_what_was_built_from_other_parameters_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    build("vae", {**VAE, "steps": 900}, LOSSES)
    results.collect()
    assert not Path("results").exists()
    told = capsys.readouterr().out
    assert "vae: left out, built from other parameters than params.yaml has" in told and "mlp: left out, not built" in told


def test_figures_of_another_build_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    build("vae", VAE, LOSSES)
    for other in ({"params": {**VAE, "steps": 9}, "when": EVENING}, {"params": VAE, "when": MORNING.replace("03:", "02:")}, {}):
        Path("data/runs/evaluate/vae.json").write_text(json.dumps(other))
        results.collect()
        assert "vae: left out, its figures are of another build" in capsys.readouterr().out
    assert not Path("results").exists()


@pytest.mark.parametrize(("steps", "seen", "kept"), [(200, "1", True), (200, "2", False), (900, "1", False)])
def test_figures_that_dvc_kept_since_the_model_came_out_as_it_was(steps: int, seen: str, kept: bool) -> None:
    build("vae", VAE, LOSSES)
    Path("data/runs/evaluate/vae.json").unlink()
    model = {"path": "data/models/vae", "hash": "md5"}
    trained = {"cmd": "train", "params": {"params.yaml": {"models.vae": {**VAE, "steps": steps}}}, "outs": [{**model, "md5": "1"}]}
    evaluated = {"cmd": "evaluate", "deps": [{**model, "md5": seen}]}
    Path("dvc.lock").write_text(json.dumps({"stages": {"train@vae": trained, "evaluate@vae": evaluated}}))
    results.collect()
    assert Path("results/quick.csv").exists() == kept


def test_the_time_of_another_training_is_not_taken_for_this_one() -> None:
    build("mlp", MLP, {"figure": "accuracy", "accuracy": 0.5})
    run = {"seconds": 9.0, "device": "a GPU", "revision": "def", "when": MORNING, "params": {**MLP, "steps": 5}}
    Path("data/runs/train/mlp.json").write_text(json.dumps(run))
    results.collect()
    assert rows("quick")[0][6:] == ["", "7", "", ""]
    Path("data/runs/train/mlp.json").write_text(json.dumps({**run, "params": MLP}))
    results.collect()
    assert rows("quick")[0][6:] == ["9.0", "7", "a GPU", "def"]


def test_the_curve_of_a_search_at_the_books_size_is_kept_and_drawn() -> None:
    block = VAE | {"held_out_every": 2}
    Path("params.yaml").write_text(PARAMS.replace("steps: 200}", "steps: 200, held_out_every: 2}"))
    curve = "step,series,term,value\n1,evolution,mean,3.5\n1,evolution,best,4\n1,evolution,sigma,0.1\n2,validation,return,5\n"
    build("vae", block, {"figure": "return", "return": 5.0})
    Path("data/metrics/vae/curve.csv").write_text(curve)
    results.collect()
    assert not Path("results/curves").exists()  # it is at no scale
    Path("scales/book.yaml").write_text("models:\n  vae: {held_out_every: 2}\n")
    scale.put("book", ["vae"])
    results.collect()
    assert Path("results/curves/book_vae.csv").read_text() == curve
    with Image.open("docs/images/vae_book.png") as drawn:
        assert drawn.width > drawn.height > 100


def test_the_readme_shows_each_models_headline_at_each_scale() -> None:
    build("vae", VAE, LOSSES)
    build("mlp", MLP, {"figure": "accuracy", "accuracy": 0.5})
    results.collect()
    scale.put("showcase", ["vae"])
    build("vae", {**VAE, "steps": 900}, {**LOSSES, "loss": 130.0})
    results.collect()
    Path("README.md").write_text("# Title\n<!-- results -->\nold\n<!-- /results -->\nrest\n")
    results.readme()
    assert Path("README.md").read_text() == (
        "# Title\n<!-- results -->\n"
        "| model | figure | quick | showcase | published |\n"
        "|---|---|---|---|---|\n"
        "| mlp | accuracy | 0.5 (glyphs, 100 steps, 12 s) |  |  |\n"
        "| vae | loss | 135.1 (fashion_mnist, 200 steps, 12 s) | 130 (fashion_mnist, 900 steps, 12 s) | 135.29 (fashion_mnist) |\n"
        "<!-- /results -->\nrest\n"
    )


def test_a_readme_without_markers_is_left_alone() -> None:
    Path("README.md").write_text("no markers\n")
    with pytest.raises(UsageError, match=r"README.md: expected the lines <!-- results -->"):
        results.readme()
    assert Path("README.md").read_text() == "no markers\n"


def test_a_damaged_file_is_named() -> None:
    build("vae", VAE, LOSSES)
    Path("data/metrics/vae/figures.json").write_text("{")
    with pytest.raises(UsageError, match=r"data/metrics/vae/figures.json: not JSON"):
        results.collect()
