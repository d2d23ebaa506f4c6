"""What an energy-based model rests on: chains that run downhill, a loss that is contrastive divergence, a buffer that lasts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from test_models import count, published
from torch import Tensor, nn

from generative.data.store import SPLITS, Dataset, open_dataset, write_dataset
from generative.errors import UsageError
from generative.metrics.strangers import tell_apart
from generative.models.energy.ebm import EBM, blend
from generative.nn.convolution import FromPixels
from generative.nn.ranking import auroc
from generative.training.device import Place


def ebm(**changes: Any) -> EBM:
    model = published("ebm", [1, 16, 16], **{"channels": [4, 8], "dense": 8, "buffer_size": 40, "batch_size": 16, **changes})
    assert isinstance(model, EBM)
    return model


class Bowl(nn.Module):
    """E(x) = |x - middle|^2 / (2 variance)."""

    def __init__(self, middle: float, variance: float) -> None:
        super().__init__()
        self.middle, self.variance = middle, variance

    def forward(self, x: Tensor) -> Tensor:
        return ((x - self.middle).square() / (2 * self.variance)).flatten(1).sum(1, keepdim=True)


def test_the_published_size() -> None:
    assert count(published("ebm", [1, 32, 32])) == 76_993


@pytest.mark.parametrize("channels", [1, 3])
def test_the_first_layer_equals_torchs_own(channels: int) -> None:
    ours, torchs = FromPixels(channels, 7).double(), nn.Conv2d(channels, 7, 5, stride=2, padding=2).double()
    ours.load_state_dict(torchs.state_dict())
    x = torch.randn(2, channels, 8, 12, dtype=torch.float64)
    first, second = x.clone().requires_grad_(), x.clone().requires_grad_()
    assert torch.allclose(ours(first), torchs(second))
    ours(first).square().sum().backward()
    torchs(second).square().sum().backward()
    assert torch.allclose(first.grad, second.grad)  # type: ignore[arg-type]
    assert torch.allclose(ours.weight.grad, torchs.weight.grad)  # type: ignore[arg-type]


def test_langevin_lowers_the_energy_of_every_chain() -> None:
    torch.manual_seed(0)
    model, x = ebm(noise=0.0, step_size=1.0), torch.rand(12, 1, 16, 16) * 2 - 1
    with torch.no_grad():
        energies = torch.stack([model.energy(model.langevin(x, steps)) for steps in (0, 1, 5, 25)])
    assert (energies.diff(dim=0) < 0).all()


def test_one_step_is_the_slope_clipped_within_the_range_of_pixels() -> None:
    model = ebm(noise=0.0, step_size=10.0, gradient_limit=0.03)
    model.network = Bowl(0.5, 1.0)  # type: ignore[assignment]
    x = torch.tensor([0.49, 0.9, -1.0, 0.52]).view(4, 1, 1, 1)
    moved = model.langevin(x, 1).flatten()
    assert moved.tolist() == pytest.approx([0.59, 0.6, -0.7, 0.32], abs=1e-6)
    model.network = Bowl(9.0, 1.0)  # type: ignore[assignment]
    assert model.langevin(x, 10).flatten().tolist() == [1.0] * 4


def test_long_chains_have_the_distribution_of_the_energy() -> None:
    """With step_size = noise^2 / 2 it is the dynamics of the paper's eq. 1, whose samples have the density exp(-E)."""
    torch.manual_seed(1)
    model = ebm(noise=0.05, step_size=0.05**2 / 2, gradient_limit=1e9)
    model.network = Bowl(0.2, 0.15**2)  # type: ignore[assignment]
    x = model.langevin(torch.zeros(4000, 1, 1, 1), 150)
    assert x.mean().item() == pytest.approx(0.2, abs=0.01)
    assert x.std().item() == pytest.approx(0.15, rel=0.06)


def test_the_loss_is_the_divergence_and_its_regularisation(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ebm(noise=0.0, regularisation=0.5)
    fake, data = torch.rand(16, 1, 16, 16) * 2 - 1, torch.rand(16, 1, 16, 16) * 2 - 1
    monkeypatch.setattr(model, "_replay", lambda n: fake)
    loss, logs = model.objectives()[0].loss({"x": data})
    real, made = model.energy(data), model.energy(fake)
    assert logs["divergence"].item() == pytest.approx((real.mean() - made.mean()).item(), abs=1e-6)
    assert (loss - logs["divergence"]).item() == pytest.approx(0.5 * (real.square().mean() + made.square().mean()).item(), rel=1e-4)
    loss.backward()
    weight = next(reversed(list(model.network.parameters())[:-1]))
    expected = torch.autograd.grad(real.mean() - made.mean() + 0.5 * (real.square().mean() + made.square().mean()), weight)[0]
    assert torch.allclose(weight.grad, expected, atol=1e-6)  # type: ignore[arg-type]


def test_the_data_get_the_same_noise_as_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(5)
    model, seen = ebm(noise=0.1, step_size=0.0, langevin_steps=1), []
    monkeypatch.setattr(model, "energy", lambda x: seen.append(x.detach()) or x.flatten(1).sum(1))
    data = torch.rand(16, 1, 16, 16) - 0.5
    model.objectives()[0].loss({"x": data})
    disturbed = seen[-1][:16]
    assert (disturbed - data).std().item() == pytest.approx(0.1, rel=0.05)
    seen.clear()
    model.objectives()[0].loss({"x": torch.ones(16, 1, 16, 16)})
    assert seen[-1].max() == 1


def test_training_moves_chains_on_where_they_lie_in_the_buffer_and_measuring_does_not() -> None:
    torch.manual_seed(2)
    model, batch = ebm(fresh=0.0, step_size=0.0, noise=0.0), {"x": torch.rand(16, 1, 16, 16) * 2 - 1}
    before = model.buffer.clone()
    model.objectives()[0].loss(batch)
    assert torch.equal(model.buffer, before), "chains that do not move come back as they were"
    model = ebm(fresh=0.0, step_size=10.0)
    before = model.buffer.clone()
    model.evaluate(batch)
    assert torch.equal(model.buffer, before)
    model.objectives()[0].loss(batch)
    assert (model.buffer != before).flatten(1).any(1).sum() == 16
    assert "buffer" in model.state_dict()


@pytest.mark.parametrize(("fresh", "old"), [(0.0, 16), (1.0, 0)])
def test_fresh_chains_start_from_noise(fresh: float, old: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ebm(fresh=fresh)
    model.buffer.fill_(255)
    starts: list[Tensor] = []
    monkeypatch.setattr(model, "langevin", lambda x, steps: starts.append(x) or x)
    model.objectives()[0].loss({"x": torch.zeros(16, 1, 16, 16)})
    assert (starts[0] == 1).flatten(1).all(1).sum() == old
    assert (starts[0].abs() <= 1).all()


def test_a_sampler_can_be_told_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    model, told = ebm(sampling_steps=7), []
    monkeypatch.setattr(model, "langevin", lambda x, steps: told.append(steps) or x)
    model.sample(2)
    model.sample(2, steps=3)
    assert told == [7, 3]
    with pytest.raises(UsageError, match="no use for a condition"):
        model.sample(2, torch.zeros(2))


def grey(folder: Path, name: str, shade: int, size: int = 8) -> Dataset:
    pixels = np.random.default_rng(shade).integers(shade - 20, shade + 20, (30, 1, size, size)).astype(np.uint8)
    write_dataset(folder / name, {split: {"x": pixels} for split in SPLITS}, name=name, kind="images")
    return open_dataset(folder / name)


def test_strangers_are_told_from_the_data_by_their_energy(tmp_path: Path) -> None:
    model, here = ebm(), Place(torch.device("cpu"), 0, 1, "float32")
    model.network = Bowl(0.0, 1.0)  # type: ignore[assignment]
    middle, bright = grey(tmp_path, "middle", 128), grey(tmp_path, "bright", 200)
    assert tell_apart(model, middle, bright, here, 1) == {"auroc_against": 1.0}
    assert tell_apart(model, bright, middle, here, 1) == {"auroc_against": 0.0}
    assert tell_apart(model, middle, middle, here, 1) == {"auroc_against": 0.5}
    with pytest.raises(UsageError, match=r"against: expected images of shape \[1, 8, 8\], as middle has, got large with .* \[1, 16, 16\]"):
        tell_apart(model, middle, grey(tmp_path, "large", 128, 16), here, 1)


def test_auroc_counts_pairs() -> None:
    torch.manual_seed(4)
    inside, outside = torch.randint(9, (80,)).float(), torch.randint(2, 12, (70,)).float()
    expected = roc_auc_score([0] * 80 + [1] * 70, torch.cat([inside, outside]).numpy())
    assert auroc(inside, outside).item() == pytest.approx(expected, abs=1e-6)


def test_blends_are_of_two_different_images() -> None:
    x = torch.arange(4.0).view(4, 1, 1, 1)
    assert blend(x).flatten().tolist() == [1.5, 0.5, 1.5, 2.5]


def test_a_buffer_smaller_than_a_batch_is_refused() -> None:
    with pytest.raises(UsageError, match=r"buffer_size: expected batch_size \(16\) or more, got 8"):
        ebm(buffer_size=8)
