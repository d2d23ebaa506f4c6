"""The loop, on models small enough to check by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.optim import SGD

from generative.data.store import Batch, Split
from generative.errors import UsageError
from generative.models.exhibit import Exhibit
from generative.models.model import Loss, Model, Objective
from generative.params import Training
from generative.training import checkpoint, device
from generative.training.checkpoint import Work
from generative.training.curve import Curve
from generative.training.descend import Stream, descend, held_out

HERE = device.Place(torch.device("cpu"), 0, 1, "float32")
DATA = Split({"x": torch.arange(40.0).view(20, 2) / 40}, images=False)


def block(**changes: Any) -> Training:
    values = {
        "model": "toy", "data": "toy", "against": "toy", "judge": "toy", "compared": 0, "seed": 1, "steps": 6, "batch_size": 4,
        "accumulate": 1, "learning_rate": 0.1, "schedule": "constant", "clip_norm": 0.0, "precision": "float32", "threads": 1,
        "log_every": 1, "checkpoint_every": 3,
    }  # fmt: skip
    return Training.model_validate(values | changes)


class Duel(Model):
    """Two players with an optimizer each, as in a GAN, a moving average, and a loss that may break."""

    figure = "distance"

    def __init__(self, breaks_at: int = 10**9, every: int = 2) -> None:
        super().__init__()
        device.seed(0)
        self.generator, self.critic = nn.Linear(2, 2), nn.Linear(2, 1)
        self.average: Tensor
        self.register_buffer("average", torch.zeros(2))
        self.steps_seen: list[int] = []
        self.breaks_at, self.every = breaks_at, every

    def objectives(self) -> list[Objective]:
        return [
            Objective("critic", self._critic, SGD(self.critic.parameters(), lr=0.1)),
            Objective("generator", self._generator, SGD(self.generator.parameters(), lr=0.1, momentum=0.9), every=self.every),
        ]

    def _critic(self, batch: Batch) -> Loss:
        loss = (self.critic(self.sample(len(batch["x"]))) - self.critic(batch["x"])).mean()
        if self.steps_seen[-1] >= self.breaks_at:
            loss = loss * float("nan")
        return loss, {"gap": loss}

    def _generator(self, batch: Batch) -> Loss:
        loss = -self.critic(self.sample(len(batch["x"]))).mean()
        return loss, {"fooled": loss}

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        return {"distance": (self.generator(batch["x"]) - batch["x"]).square().mean()}

    def sample(self, n: int, condition: Tensor | None = None) -> Tensor:
        return self.generator(torch.randn(n, 2))

    def exhibits(self, batch: Batch) -> list[Exhibit]:
        return []

    def before_step(self, step: int) -> None:
        self.steps_seen.append(step)

    def after_step(self, step: int) -> None:
        self.average.lerp_(self.generator.bias.detach(), 0.5)


class Mean(Model):
    """One parameter vector that goes to the mean of the data."""

    figure = "distance"

    def __init__(self) -> None:
        super().__init__()
        self.centre = nn.Parameter(torch.zeros(2))

    def objectives(self) -> list[Objective]:
        return [Objective("centre", self._loss, SGD([self.centre], lr=0.1))]

    def _loss(self, batch: Batch) -> Loss:
        loss = (batch["x"] - self.centre).square().sum(-1).mean()
        return loss, {"distance": loss}

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        return self._loss(batch)[1]

    def exhibits(self, batch: Batch) -> list[Exhibit]:
        return []


def run(model: Model, params: Training, folder: Path, split: Split = DATA) -> Curve:
    return descend(model, params, split, split, HERE, Work(folder, "print"), lambda step, row: None)


def test_an_objective_takes_its_turn_at_the_end_of_every_n_steps(tmp_path: Path) -> None:
    curve = run(Duel(every=3), block(steps=7), tmp_path)
    assert [int(row["step"]) for row in curve.rows if "generator/fooled" in row] == [3, 6]
    assert len([row for row in curve.rows if "critic/gap" in row]) == 7


def test_what_an_optimizer_does_not_hold_stays_as_it_is(tmp_path: Path) -> None:
    model = Duel(every=100)
    before = {name: p.clone() for name, p in model.named_parameters()}
    run(model, block(), tmp_path)
    changed = {name.split(".")[0] for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {"critic"}
    assert all(p.requires_grad for p in model.parameters())


def test_hooks_are_told_of_each_step_also_after_a_resume(tmp_path: Path) -> None:
    run(Duel(), block(steps=3), tmp_path)
    again = Duel()
    run(again, block(steps=6), tmp_path)
    assert again.steps_seen == [3, 4, 5]
    whole = Duel()
    run(whole, block(steps=6), tmp_path / "whole")
    assert torch.equal(again.average, whole.average)
    assert again.average.abs().sum() > 0


def test_a_state_of_another_training_is_left_alone(tmp_path: Path) -> None:
    run(Duel(), block(steps=3), tmp_path)
    model = Duel()
    descend(model, block(), DATA, DATA, HERE, Work(tmp_path, "other print"), lambda step, row: None)
    assert model.steps_seen == [0, 1, 2, 3, 4, 5]


def test_a_loss_that_is_not_finite_names_step_objective_and_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"step 6: objective critic: the loss is nan; the last good checkpoint is .*checkpoint\.pt, step 3"
    ):
        run(Duel(breaks_at=5), block(steps=9, log_every=9), tmp_path)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["step"] == 3
    assert all(torch.isfinite(value).all() for value in state["model"].values())


def test_accumulated_batches_equal_one_large_batch(tmp_path: Path) -> None:
    small, large = Mean(), Mean()
    run(small, block(batch_size=2, accumulate=5, steps=4), tmp_path / "small")
    run(large, block(batch_size=10, accumulate=1, steps=4), tmp_path / "large")
    assert torch.allclose(small.centre, large.centre, atol=1e-7)


def test_the_norm_of_a_gradient_is_clipped(tmp_path: Path) -> None:
    model = Mean()
    run(model, block(clip_norm=0.01, steps=1), tmp_path)
    assert model.centre.norm().item() == pytest.approx(0.1 * 0.01, rel=1e-4)


def test_a_stream_shows_each_example_once_a_pass_and_restarts_anywhere() -> None:
    stream = Stream(DATA, batch_size=8, seed=3)
    batches = [stream(k)["x"] for k in range(10)]
    flat = torch.cat(batches)[:, 0]
    for pass_ in range(4):
        assert sorted(flat[20 * pass_ : 20 * (pass_ + 1)].tolist()) == DATA.arrays["x"][:, 0].tolist()
    assert not torch.equal(flat[:20], flat[20:40])
    assert torch.equal(Stream(DATA, 8, seed=3)(7)["x"], batches[7])
    assert not torch.equal(Stream(DATA, 8, seed=4)(0)["x"], batches[0])


def test_the_parts_of_the_processes_make_up_the_batch() -> None:
    whole = Stream(DATA, 8, seed=3)(5)["x"]
    parts = [Stream(DATA, 8, seed=3, rank=rank, world=2)(5)["x"] for rank in range(2)]
    assert torch.equal(torch.cat(parts), whole)
    with pytest.raises(UsageError, match="multiple of the 3 processes"):
        Stream(DATA, 8, seed=3, rank=0, world=3)


def test_held_out_figures_count_each_example_once() -> None:
    split = Split({"x": torch.arange(2 * 1203.0).view(1203, 2)}, images=False)  # the last batch is smaller
    figures = held_out(Mean(), split, HERE, block(), 0)
    assert figures["distance"] == pytest.approx(split.arrays["x"].square().sum(-1).mean().item(), rel=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_held_out_figures_leave_the_model_in_its_mode(training: bool) -> None:
    model = Mean().train(training)
    held_out(model, Split({"x": torch.zeros(3, 2)}, images=False), HERE, block(), 0)
    assert model.training is training


def test_the_curve_has_a_line_for_each_value_that_was_measured(tmp_path: Path) -> None:
    lines = run(Duel(), block(steps=4, checkpoint_every=4), tmp_path).csv().splitlines()
    assert lines[0] == "step,series,term,value"
    measured = [line.rsplit(",", 1)[0] for line in lines[1:]]
    first = ["1,critic,gap", "2,critic,gap", "2,generator,fooled", "3,critic,gap"]
    assert measured == [*first, "4,critic,gap", "4,generator,fooled", "4,validation,distance"]


@pytest.mark.xdist_group("built")
def test_two_processes_with_half_batches_equal_one(in_built: Path, tmp_path: Path) -> None:
    """Gradients are averaged; the autoencoder has no random numbers of its own and no BatchNorm."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/processed").symlink_to(in_built / "data/processed")
    (tmp_path / "params.yaml").write_text((in_built / "params.yaml").read_text().replace("bfloat16", "float32"))
    environment = os.environ | {"GENERATIVE_TRACKING": "off", "OMP_NUM_THREADS": "1"}
    weights = []
    for command in ([], ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]):
        subprocess.run(
            [sys.executable, *command, "-m", "generative.stages.train", "autoencoder"], cwd=tmp_path, env=environment, check=True
        )
        weights.append(safetensors.torch.load_file(tmp_path / "data/models/autoencoder/weights.safetensors"))
    difference = max((weights[0][key] - weights[1][key]).abs().max().item() for key in weights[0])
    assert difference < 1e-6


def test_loading_names_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"model\.json: not a model's record.*dvc repro train@"):
        checkpoint.load(tmp_path)


def test_the_device_that_was_asked_for_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENERATIVE_DEVICE", "tpu")
    with pytest.raises(UsageError, match="GENERATIVE_DEVICE: expected cpu, or cuda"):
        device.place("float32", 1)


def test_the_cosine_schedule_is_a_function_of_the_step_alone(tmp_path: Path) -> None:
    class Moved(Mean):
        """Its loss is linear, so each step moves it by the learning rate."""

        def _loss(self, batch: Batch) -> Loss:
            return self.centre.sum(), {"distance": self.centre.sum()}

    whole, parts, again = Moved(), Moved(), Moved()
    run(whole, block(schedule="cosine", steps=4, checkpoint_every=2), tmp_path / "whole")
    assert whole.centre[0].item() == pytest.approx(-0.1 * (1 + 0.853553 + 0.5 + 0.146447), rel=1e-5)
    with pytest.raises(RuntimeError):
        descend(parts, block(schedule="cosine", steps=4, checkpoint_every=2), DATA, DATA, HERE, Work(tmp_path, "print"), stop_after(3))
    run(again, block(schedule="cosine", steps=4, checkpoint_every=2), tmp_path)
    assert torch.equal(again.centre, whole.centre)


def stop_after(last: int) -> Callable[[int, dict[str, float]], None]:
    def watch(step: int, row: dict[str, float]) -> None:
        if step == last:
            raise RuntimeError

    return watch
