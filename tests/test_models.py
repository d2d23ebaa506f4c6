"""What only a model's paper states."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import ROOT, read_yaml
from torch import nn
from torch.distributions import Normal, kl_divergence

from generative import models
from generative.data.store import Info
from generative.errors import UsageError
from generative.models.autoencoders.vae import VAE, kl_to_standard_normal
from generative.models.exhibit import Scatter
from generative.models.model import Model
from generative.nn.convolution import Downward, Spread, ToPixels, Upward, grid
from generative.params import typed


def info(shape: list[int], classes: int = 10, kind: Any = "images") -> Info:
    counts = {"train": 1, "validation": 1, "test": 1}
    return Info(name="none", kind=kind, shape=shape, classes=[str(i) for i in range(classes)], attributes=[], values={},
                vocabulary={}, counts=counts, fingerprint="", notes=[])  # fmt: skip


def published(name: str, shape: list[int], classes: int = 10, **changes: Any) -> Model:
    """An entry at the scale of the book."""
    block = read_yaml(ROOT / "params.yaml")["models"][name] | read_yaml(ROOT / "scales/book.yaml")["models"][name] | changes
    params, kind = models.find(block["model"], name)
    return kind(typed(params, block, name), info(shape, classes))  # type: ignore[call-arg]


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("name", "shape", "parameters"),
    [
        ("mlp", [3, 32, 32], 646_260),
        ("cnn", [3, 32, 32], 591_914),  # the trainable ones of the published summary
        ("autoencoder", [1, 32, 32], 343_043),
        ("vae", [1, 32, 32], 100_868 + 246_273),
    ],
)
def test_the_book_scale_has_the_published_number_of_parameters(name: str, shape: list[int], parameters: int) -> None:
    assert count(published(name, shape)) == parameters


def test_kl_equals_that_of_torch_distributions() -> None:
    mean, log_variance = torch.randn(50, 3), torch.randn(50, 3)
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(-1)
    assert torch.allclose(kl_to_standard_normal(mean, log_variance), expected, atol=1e-5)


def test_the_vae_loss_weighs_its_terms() -> None:
    model = published("vae", [1, 32, 32], beta=3.0, reconstruction_weight=7.0)
    _, logs = model.objectives()[0].loss({"x": torch.rand(4, 1, 32, 32) * 2 - 1})
    assert logs["loss"].item() == pytest.approx(7 * logs["bce"].item() + 3 * logs["kl"].item(), rel=1e-5)


def test_the_posterior_is_sampled_with_its_own_mean_and_variance() -> None:
    model = published("vae", [1, 32, 32])
    assert isinstance(model, VAE)
    seen: list[torch.Tensor] = []
    model.decoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    x = (torch.rand(1, 1, 32, 32) * 2 - 1).expand(20_000, -1, -1, -1)
    model.posterior = lambda x: (torch.full((len(x), 2), 0.5), torch.full((len(x), 2), -1.0))  # type: ignore[method-assign]
    with torch.no_grad():
        model.decoder.layers = nn.Sequential(nn.Flatten(), nn.Linear(2048, 1024), nn.Unflatten(1, (1, 32, 32)))  # quick stand-in
        model.evaluate({"x": x})
    assert seen[0].mean(0).tolist() == pytest.approx([0.5, 0.5], abs=0.02)
    assert seen[0].std(0).tolist() == pytest.approx([torch.tensor(-0.5).exp().item()] * 2, abs=0.02)


def test_denoising_disturbs_the_input_and_asks_for_the_clean_image() -> None:
    plain, noisy = published("autoencoder", [1, 32, 32]), published("autoencoder", [1, 32, 32], noise=0.5)
    noisy.load_state_dict(plain.state_dict())
    seen: list[torch.Tensor] = []
    noisy.encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))  # type: ignore[operator]
    x = torch.rand(32, 1, 32, 32) * 2 - 1
    noisy.evaluate({"x": x})
    assert (seen[0] - x).std().item() == pytest.approx(0.5, rel=0.05)


def test_the_up_path_mirrors_the_down_path() -> None:
    down, up = Downward([3, 48, 32], [4, 8, 16]), Upward(5, [3, 48, 32], [4, 8, 16])
    x = torch.rand(2, 3, 48, 32).to(memory_format=torch.channels_last)
    assert down(x).shape == (2, 16 * 6 * 4)
    assert up(torch.rand(2, 5)).shape == x.shape


def test_images_that_do_not_divide_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"channels: 3 layers.*28 x 28.*8"):
        Downward([1, 28, 28], [4, 8, 16])


def test_the_lattice_starts_at_the_top_left_corner() -> None:
    points = grid(3, torch.tensor([0.0, 10.0]), torch.tensor([2.0, 20.0]))
    assert points[0].tolist() == [0, 20]
    assert points[2].tolist() == [2, 20]
    assert points[-1].tolist() == [2, 10]


@pytest.mark.parametrize(
    ("ours", "torchs", "shape"),
    [
        (
            Spread(6, 4, 3, stride=2, padding=1, output_padding=1),
            nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1),
            [2, 6, 5, 7],
        ),
        (ToPixels(6, 3, 3, padding=1), nn.Conv2d(6, 3, 3, padding=1), [2, 6, 5, 7]),
    ],
)
def test_the_quick_layers_equal_torchs_own(ours: nn.Module, torchs: nn.Module, shape: list[int]) -> None:
    ours, torchs = ours.double(), torchs.double()
    ours.load_state_dict(torchs.state_dict())
    x, again = (torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_() for _ in range(2))
    out, expected = ours(x), torchs(again)
    assert torch.allclose(out.double(), expected, atol=1e-5)
    out.square().sum().backward()
    expected.square().sum().backward()
    assert torch.allclose(x.grad, again.grad, atol=1e-4)  # type: ignore[arg-type]
    for mine, theirs in zip(ours.parameters(), torchs.parameters(), strict=True):
        assert torch.allclose(mine.grad, theirs.grad, atol=1e-3)  # type: ignore[arg-type]


def test_a_classifier_of_points_shows_them_in_the_plane() -> None:
    model = published("mlp", [2])
    model.info = info([2], classes=2, kind="points")  # type: ignore[assignment]
    with torch.no_grad():
        (shown,) = model.exhibits({"x": torch.randn(20, 2), "y": torch.zeros(20, dtype=torch.int64)})
    assert isinstance(shown, Scatter)
    assert [title for title, _, _ in shown.panels] == ["true", "predicted"]
