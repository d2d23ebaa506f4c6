"""What every model of the catalogue keeps to, at the sizes of tests/tiny.yaml. A new entry is tested without a line here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import ROOT, read_yaml

import generative
from generative.catalogue import Catalogue
from generative.data.store import Dataset, open_dataset
from generative.exhibited import exhibit
from generative.files import exhibit_file
from generative.models.model import Model
from generative.params import Training
from generative.training import checkpoint, device
from generative.training.descend import descend, held_out
from generative.training.learn import learn

NAMES = list(read_yaml(ROOT / "params.yaml")["models"])
pytestmark = [pytest.mark.xdist_group("built"), pytest.mark.parametrize("name", NAMES)]
HERE = device.Place(torch.device("cpu"), 0, 1, "float32")


def fresh(name: str, **changes: object) -> tuple[Model, Training, Dataset]:
    block, kind = Catalogue.read().model(name)
    params = block.model_copy(update=changes)
    dataset = open_dataset(Path("data/processed") / params.data)
    device.seed(params.seed)
    return kind(params, dataset.info), params, dataset  # type: ignore[call-arg]


def trained(name: str, work: Path, watch: Callable[[int, dict[str, float]], None] | None = None, **changes: object) -> Model:
    model, params, dataset = fresh(name, **changes)
    place = device.Place(torch.device("cpu"), 0, 1, params.precision)
    store = checkpoint.Work(work, checkpoint.fingerprint(params, dataset.info, 1))
    learn(model, params, dataset, place, store, watch)
    return model


def weights(model: Model) -> dict[str, bytes]:
    return {key: value.contiguous().numpy().tobytes() for key, value in model.state_dict().items()}


def test_the_block_of_params_yaml_is_valid(name: str) -> None:
    catalogue = Catalogue.read(ROOT / "params.yaml")
    catalogue.model(name)


def test_an_objective_moves_what_its_optimizer_holds_and_nothing_else(name: str, in_built: Path) -> None:
    model, params, dataset = fresh(name)
    HERE.put(model)
    model.train()
    batch = HERE.take(dataset.split("train")[: params.batch_size])
    for objective in model.objectives():
        held = {id(p) for group in objective.optimizer.param_groups for p in group["params"]}
        model.zero_grad(set_to_none=True)
        loss, logs = objective.loss(batch)
        loss.backward()
        assert torch.isfinite(loss)
        assert all(torch.isfinite(value) for value in logs.values())
        without = [n for n, p in model.named_parameters() if id(p) in held and (p.grad is None or not p.grad.abs().sum())]
        assert not without, "parameters of the optimizer that the loss does not reach"


def test_samples_have_the_shape_and_range_of_the_data_and_repeat_under_a_seed(name: str, in_built: Path) -> None:
    model = generative.load(in_built / "data/models" / name)
    if not model.can("sample"):
        return
    with torch.no_grad():
        device.seed(7)
        first = model.sample(5)
        device.seed(7)
        again = model.sample(5)
        other = model.sample(5)
    assert list(first.shape) == [5, *model.info.shape]
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    if model.info.kind == "images":
        assert first.min() >= -1
        assert first.max() <= 1


def test_the_named_figure_improves_on_64_examples(name: str, in_built: Path, tmp_path: Path) -> None:
    if not fresh(name)[0].objectives():
        return  # it evolves: test_evolve.py
    model, params, dataset = fresh(name, steps=60, log_every=60, checkpoint_every=60, batch_size=64, learning_rate=0.01)
    few = type(split := dataset.split("train"))({key: array[:64] for key, array in split.arrays.items()}, split.images)
    HERE.put(model)
    before = held_out(model, few, HERE, params, 0)[model.figure]
    descend(model, params, few, few, HERE, checkpoint.Work(tmp_path, ""), lambda step, row: None)
    after = held_out(model, few, HERE, params, 0)[model.figure]
    assert after > before if model.larger_is_better else after < before


def test_a_resumed_training_equals_the_uninterrupted_one_bit_for_bit(name: str, in_built: Path, tmp_path: Path) -> None:
    class StopHere(Exception):  # noqa: N818
        pass

    def stop(step: int, row: dict[str, float]) -> None:
        steps.append(step)
        if step == 5:
            raise StopHere

    steps: list[int] = []
    changes = {"steps": 8, "checkpoint_every": 3, "log_every": 1}
    whole = trained(name, tmp_path / "whole", None, **changes)
    with pytest.raises(StopHere):
        trained(name, tmp_path / "parts", stop, **changes)
    steps.clear()
    resumed = trained(name, tmp_path / "parts", lambda step, row: steps.append(step), **changes)
    assert steps[0] == 4, "the checkpoint of step 3 was not used"
    assert weights(resumed) == weights(whole)


def test_figures_and_pictures_are_there(name: str, in_built: Path) -> None:
    figures = json.loads((in_built / "data/metrics" / name / "figures.json").read_text())
    assert isinstance(figures[figures["figure"]], float)
    captions = json.loads((in_built / "data/samples" / f"{name}.json").read_text())
    assert captions
    for file, caption in captions.items():
        shown, (width, height) = exhibit(file, in_built / exhibit_file(name, file))
        assert shown
        assert width > 0
        assert height > 0
        assert len(caption) > 20


def test_a_saved_model_gives_the_same_in_a_fresh_process(name: str, in_built: Path) -> None:
    script = (
        "import sys, torch, generative; from generative.training.device import seed; from generative.data.store import open_dataset\n"
        "torch.set_num_threads(1); m = generative.load(f'data/models/{sys.argv[1]}'); seed(3)\n"
        "assert 'torch._dynamo' not in sys.modules, 'torch has imported its compiler, which takes more than a second'\n"
        "with torch.no_grad():\n"
        "    y = m.sample(4) if m.can('sample') else m.features(open_dataset(f'data/processed/{m.params.data}').split('test')[:4])\n"
        "print(y.double().sum().item().hex())"
    )
    answer = subprocess.run([sys.executable, "-c", script, name], capture_output=True, text=True, check=True).stdout.strip()
    torch.set_num_threads(1)
    model = generative.load(f"data/models/{name}")
    device.seed(3)
    with torch.no_grad():
        test = open_dataset(f"data/processed/{model.params.data}").split("test")
        here = model.sample(4) if model.can("sample") else model.features(test[:4])
    assert here.double().sum().item().hex() == answer
