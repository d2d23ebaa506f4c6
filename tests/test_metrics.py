"""Distances between sets of images, against closed forms."""

from __future__ import annotations

import pytest
import torch

from generative.metrics.fid import Judge, frechet_distance, kernel_distance


def normal(n: int, scale: torch.Tensor, shift: float, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, len(scale), generator=generator, dtype=torch.float64) * scale + shift


def test_frechet_distance_equals_its_closed_form_for_diagonal_normals() -> None:
    a, b = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64), torch.tensor([2.0, 2.0, 0.5], dtype=torch.float64)
    expected = 3 * 0.5**2 + (a - b).square().sum().item()
    assert frechet_distance(normal(200_000, a, 0.0, 1), normal(200_000, b, 0.5, 2)) == pytest.approx(expected, rel=0.02)


def test_frechet_distance_of_a_set_to_itself_is_0() -> None:
    x = normal(500, torch.ones(8, dtype=torch.float64), 0.0, 3)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-6)


def test_frechet_distance_stays_real_with_fewer_examples_than_dimensions() -> None:
    ones = torch.ones(40, dtype=torch.float64)
    value = frechet_distance(normal(10, ones, 0.0, 4), normal(10, ones, 0.0, 5))
    assert value > 0


def test_kernel_distance_is_unbiased_and_grows_with_the_shift() -> None:
    ones = torch.ones(5, dtype=torch.float64)
    same = [kernel_distance(normal(100, ones, 0.0, 2 * i), normal(100, ones, 0.0, 2 * i + 1)) for i in range(200)]
    mean, error = torch.tensor(same).mean().item(), torch.tensor(same).std().item() / 200**0.5
    assert abs(mean) < 4 * error
    assert min(same) < 0
    near, far = (kernel_distance(normal(500, ones, 0.0, 1), normal(500, ones, shift, 2)) for shift in (0.5, 1.0))
    assert 0 < near < far


def test_a_judge_orders_corruptions_and_does_not_depend_on_the_scale_of_features() -> None:
    generator = torch.Generator().manual_seed(0)
    train, test = torch.rand(300, 1, 4, 4, generator=generator), torch.rand(300, 1, 4, 4, generator=generator)
    noise = torch.randn(300, 1, 4, 4, generator=generator)
    plain = Judge(lambda x: x.flatten(1), train, test)
    scaled = Judge(lambda x: x.flatten(1) * torch.arange(1, 17), train, test)
    values = [plain.compare(train + amount * noise) for amount in (0.0, 0.2, 0.5)]
    assert values[0]["fid"] < values[1]["fid"] < values[2]["fid"]
    assert values[0]["kid"] < values[1]["kid"] < values[2]["kid"]
    assert scaled.compare(train + noise)["fid"] == pytest.approx(plain.compare(train + noise)["fid"], rel=1e-6)
