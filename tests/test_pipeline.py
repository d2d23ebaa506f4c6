"""What a person does with DVC: build everything, change one thing, look at figures and pictures, try an experiment."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from workspace import Workspace, commit, copy, make, snapshot

pytestmark = [pytest.mark.xdist_group("pipeline"), pytest.mark.timeout(600)]
MODELS = ("mlp", "vae", "vae_probe")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Two models and a second phase, built from nothing by `dvc repro` and committed. Tests must not write into it."""
    workspace = make(tmp_path_factory.mktemp("pipeline") / "built", MODELS)
    workspace.dvc("repro")
    commit(workspace)
    return workspace


@pytest.fixture
def own(built: Workspace, tmp_path: Path) -> Workspace:
    return copy(built, tmp_path / "own")


def ran(output: str) -> set[str]:
    return set(re.findall(r"Running stage '(.+)'", output))


def stages_of(model: str) -> set[str]:
    return {f"{stage}@{model}" for stage in ("train", "evaluate", "sample")}


def test_a_second_repro_does_nothing(built: Workspace) -> None:
    before = snapshot(built.folder / "data")
    assert {f"models/{name}/weights.safetensors" for name in MODELS} <= set(before)
    assert not ran(built.dvc("repro"))
    assert json.loads(built.dvc("status", "--json")) == {}
    assert snapshot(built.folder / "data") == before


def test_one_parameter_rebuilds_its_model_and_what_is_made_from_it(own: Workspace) -> None:
    others = snapshot(own.folder / "data/models/mlp")
    own.change("models", "vae", beta=3.0)
    assert ran(own.dvc("repro")) == {"check", "encode@vae_codes", *stages_of("vae"), *stages_of("vae_probe")}
    assert snapshot(own.folder / "data/models/mlp") == others
    changed = json.loads(own.dvc("metrics", "diff", "--json"))
    assert set(changed) == {"data/metrics/vae/figures.json", "data/metrics/vae_probe/figures.json"}


def test_figures_wait_for_the_data_that_a_model_is_set_against(tmp_path: Path) -> None:
    workspace = make(tmp_path / "set_against", ["ebm"], ["bricks"])
    above = workspace.dvc("dag", "evaluate@ebm")
    assert "preprocess@bricks" in above
    assert "preprocess@bricks" not in workspace.dvc("dag", "train@ebm")


def test_the_code_of_one_model_makes_the_models_of_that_file_stale(own: Workspace) -> None:
    with (own.folder / "src/generative/models/foundations/mlp.py").open("a") as file:
        file.write("# changed\n")
    stale = set(json.loads(own.dvc("status", "--json")))
    assert stale - {"encode@vae_codes"} == {"check", *stages_of("mlp"), *stages_of("vae_probe")}  # dvc.yaml cannot name an encoding's file


def test_the_code_that_models_are_made_of_makes_stale_whatever_runs_it(own: Workspace) -> None:
    layers = own.folder / "src/generative/nn/mixture.py"
    layers.write_text(layers.read_text() + "\n# touched\n")
    stale = json.loads(own.dvc("status", "--json")).keys()
    assert stale >= stages_of("vae") | {"encode@vae_codes"}


def test_a_misspelt_key_is_refused_before_anything_is_removed(own: Workspace) -> None:
    before = snapshot(own.folder / "data")
    own.change("models", "vae", latent_sise=3, beta=3.0)
    output = own.dvc("repro", "sample@vae", code=None)  # all that the target needs, hence `check` too
    assert "check: params.yaml: models.vae.latent_sise: no such key; did you mean latent_size?" in output
    assert "Traceback" not in output
    assert ran(output) == {"check"}
    del before["checked.txt"]
    assert snapshot(own.folder / "data") == before


def test_figures_graph_and_plots_can_be_looked_at(built: Workspace) -> None:
    figures = json.loads(built.dvc("metrics", "show", "--json"))[""]["data"]
    assert set(figures) == {f"data/metrics/{name}/figures.json" for name in MODELS}
    assert isinstance(figures["data/metrics/vae/figures.json"]["data"]["loss"], float)
    graph = built.dvc("dag", "--dot")
    assert '"train@vae" -> "encode@vae_codes"' in graph
    assert '"encode@vae_codes" -> "train@vae_probe"' in graph
    built.dvc("plots", "show")
    page = (built.folder / "dvc_plots/index.html").read_text()
    assert not re.findall(r'<script[^>]*src="http[^"]*"', page), "the page needs a network"
    pictures = re.findall(r'src="(static/[^"]+\.png)"', page)
    for name in MODELS:
        assert f"data/metrics/{name}/curve.csv" in page
        assert [path for path in pictures if f"samples_{name}_" in path]
    assert all((built.folder / "dvc_plots" / path).stat().st_size for path in pictures)


def test_an_experiment_changes_a_parameter_and_shows_what_came_of_it(own: Workspace) -> None:
    output = own.dvc("exp", "run", "-S", "models.vae.steps=4", "evaluate@vae")
    assert ran(output) == {"check", "train@vae", "evaluate@vae"}
    assert own.read("data/metrics/vae/curve.csv").splitlines()[-1].startswith(b"4,validation,")
    table = own.dvc("exp", "show", "--csv", "--only-changed")
    assert "models.vae.steps" in table.splitlines()[0]


@pytest.mark.slow
def test_the_whole_catalogue_is_built_from_nothing(tmp_path: Path) -> None:
    workspace = make(tmp_path / "whole")
    everything = set(workspace.dvc("stage", "list", "--name-only").split())
    assert ran(workspace.dvc("repro")) == everything
    assert not ran(workspace.dvc("repro"))
