"""Flows: exact inverses, exact determinants, a density that integrates to 1; and the density of the data that they learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from test_models import count, info, published
from torch import Tensor

from generative.data.drawn.moons import log_density
from generative.errors import UsageError
from generative.models.exhibit import Histogram, Scatter, Sheet
from generative.models.normalizing.realnvp import RealNVP
from generative.nn.coupling import AffineCoupling


def flow(size: int, kind: Any = "points", couplings: int = 4) -> RealNVP:
    model = published("realnvp", [size], widths=[16, 16], couplings=couplings)
    assert isinstance(model, RealNVP)
    model.info = info([size], classes=2, kind=kind)
    for parameter in model.parameters():  # away from the start, where biases are 0
        parameter.data += 0.2 * torch.randn(parameter.shape)
    return model.double()


def jacobian(function: Any, x: Tensor) -> Tensor:
    """(B, D, D) of a function that treats each example alone."""
    return torch.stack([torch.autograd.functional.jacobian(lambda one: function(one[None])[0], row) for row in x])


def test_the_published_size() -> None:
    assert count(published("realnvp", [2])) == 2_383_896


@pytest.mark.parametrize("size", [2, 3, 8])
def test_the_inverse_is_exact_both_ways(size: int) -> None:
    torch.manual_seed(0)
    model, x = flow(size), 2 * torch.randn(50, size, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(model.inverse(model.flow(x)[0]), x, atol=1e-9)
        assert torch.allclose(model.flow(model.inverse(x))[0], x, atol=1e-9)
        assert (model.flow(x)[0] - x).abs().mean() > 0.1


@pytest.mark.parametrize("size", [2, 3, 5])
def test_the_log_determinant_is_that_of_the_jacobian(size: int) -> None:
    torch.manual_seed(1)
    model, x = flow(size), torch.randn(6, size, dtype=torch.float64)
    expected = jacobian(lambda x: model.flow(x)[0], x).slogdet().logabsdet
    assert torch.allclose(model.flow(x)[1], expected, atol=1e-9)
    assert expected.abs().min() > 1e-3


def test_a_coupling_passes_half_and_moves_the_rest_by_that_half_alone() -> None:
    torch.manual_seed(2)
    coupling, x = AffineCoupling(5, [8], odd=True).double(), torch.randn(4, 5, dtype=torch.float64)
    y = coupling(x)[0]
    assert torch.equal(y[:, 1::2], x[:, 1::2])
    assert (y[:, ::2] != x[:, ::2]).all()
    even = jacobian(lambda x: coupling(x)[0], x)[:, ::2, ::2]
    assert torch.equal(even * (1 - torch.eye(3)), torch.zeros(4, 3, 3, dtype=torch.float64))


def test_the_masks_alternate() -> None:
    x = torch.randn(7, 2, dtype=torch.float64)
    for couplings, moved in [(1, [False, True]), (2, [True, True])]:
        assert (flow(2, couplings=couplings).flow(x)[0] != x).all(0).tolist() == moved


def test_the_density_of_a_flow_integrates_to_1() -> None:
    torch.manual_seed(3)
    model, axis = flow(2), torch.linspace(-30, 30, 900, dtype=torch.float64)
    with torch.no_grad():
        mass = model.log_likelihood(torch.cartesian_prod(axis, axis)).exp().sum() * (axis[1] - axis[0]) ** 2
    assert mass.item() == pytest.approx(1, abs=2e-3)


def test_the_true_likelihood_stands_beside_where_it_is_known() -> None:
    model = flow(2).float()
    batch = {"x": torch.randn(9, 2), "log_density": torch.linspace(-3, -1, 9)}
    with torch.no_grad():
        assert model.evaluate(batch)["nll_true"].item() == pytest.approx(2)
        assert "nll_true" not in model.evaluate({"x": batch["x"]})
        assert model.evaluate(batch)["inverse_error"] < 1e-5


def test_what_no_coupling_can_halve_is_refused() -> None:
    for shape in ([1], [1, 32, 32]):
        with pytest.raises(UsageError, match="vectors of 2 numbers or more, none has examples of shape"):
            published("realnvp", shape)


def test_the_four_scatters_and_samples_of_codes() -> None:
    model = flow(2).float()
    with torch.no_grad():
        scatter, histogram = model.exhibits({"x": torch.randn(20, 2), "y": torch.zeros(20, dtype=torch.int64)})
        sheet, _ = flow(4, "codes").float().exhibits({"x": torch.randn(20, 4)})
    assert isinstance(scatter, Scatter)
    (_, x, _), (_, z, _), (_, prior, _), (_, samples, _) = scatter.panels
    assert [title for title, _, _ in scatter.panels] == ["data x", "latent f(x)", "prior z", "samples g(z)"]
    with torch.no_grad():
        assert torch.allclose(model.flow(x)[0], z)
        assert torch.allclose(model.inverse(prior), samples)
    assert isinstance(histogram, Histogram)
    assert isinstance(sheet, Sheet)
    assert sheet.images.shape[2:] == (4,)


@pytest.mark.parametrize("noise", [0.05, 0.2, 1.0])
def test_the_density_of_the_moons_is_that_of_their_points(noise: float) -> None:
    angles = (np.arange(4000) + 0.5) / 4000 * np.pi
    upper = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = np.concatenate([upper[::200] + noise, [[0, 0.3], [-1.1, -0.1], [2.1, 0.6], [0.5, -0.6], [1, 0.5]]])
    squares = ((points[:, None] - np.concatenate([upper, [1, 0.5] - upper])) ** 2).sum(-1)
    expected = np.log(np.exp(-squares / (2 * noise**2)).mean(1) / (2 * np.pi * noise**2))
    assert log_density(points, noise) == pytest.approx(expected, abs=1e-3)
    x, y = np.arange(-6, 7, noise / 2), np.arange(-6, 6, noise / 2)
    if noise > 0.5:
        assert np.exp(log_density(np.stack(np.meshgrid(x, y), -1).reshape(-1, 2), noise)).sum() * noise**2 / 4 == pytest.approx(1, abs=1e-3)
