"""Distances between sets of images, against closed forms."""

from __future__ import annotations

import pytest
import torch

from generative.metrics.fid import Judge, frechet_distance, kernel_distance
from generative.metrics.manifold import nearest_ratio, overlap


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


def test_two_sets_of_one_distribution_overlap_and_two_far_apart_do_not() -> None:
    ones = torch.ones(2, dtype=torch.float64)
    real, same, far = normal(800, ones, 0.0, 1), normal(800, ones, 0.0, 2), normal(800, ones, 50.0, 3)
    shared = overlap(same, real)
    assert all(shared[key] > 0.9 for key in ("precision", "recall", "coverage"))
    assert shared["density"] == pytest.approx(1, abs=0.1)
    assert set(overlap(far, real).values()) == {0.0}


def test_precision_sees_fidelity_and_recall_sees_variety() -> None:
    ones = torch.ones(2, dtype=torch.float64)
    real, narrow, wide = normal(800, ones, 0.0, 1), normal(800, ones * 0.1, 0.0, 2), normal(800, ones * 8, 0.0, 3)
    assert overlap(narrow, real)["precision"] > 0.99 and overlap(narrow, real)["recall"] < 0.2
    assert overlap(wide, real)["precision"] < 0.3 and overlap(wide, real)["recall"] > 0.9
    assert overlap(narrow, real)["coverage"] < 0.3  # many samples in few balls


def test_overlap_counts_by_hand() -> None:
    real, made = torch.tensor([[0.0], [1.0], [10.0]]), torch.tensor([[0.5], [1.5], [30.0]])
    # with k = 1 the balls of the real ones reach 1, 1 and 9; those of the made ones 1, 1 and 28.5
    expected = {"precision": 2 / 3, "recall": 3 / 3, "density": (2 + 2 + 0) / 3, "coverage": 3 / 3}
    assert overlap(made, real, k=1) == pytest.approx(expected)


def test_copies_of_training_examples_show() -> None:
    ones = torch.ones(4, dtype=torch.float64)
    train, test, fresh = normal(500, ones, 0.0, 1), normal(500, ones, 0.0, 2), normal(500, ones, 0.0, 3)
    assert nearest_ratio(fresh, train, test) == pytest.approx(1, abs=0.1)
    assert nearest_ratio(train[:300] + 1e-6, train, test) < 1e-4
