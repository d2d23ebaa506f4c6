"""Models of any size: a small one is built at once, one that this machine cannot hold is refused before it takes memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from damageable import model

from generative.errors import UsageError
from generative.training import checkpoint


def test_a_model_too_large_for_this_machine_is_refused_before_memory_is_asked_for() -> None:
    network, params, info = model()
    vast = params.model_copy(update={"widths": [2**16] * 64})
    with pytest.raises(UsageError, match=r"foundations/mlp: expected sizes whose weights fit into [\d,]+ GB of memory, got 1,08\d GB"):
        checkpoint.build(type(network), vast, info)
    with pytest.raises(UsageError, match="got inf GB"):
        checkpoint.build(type(network), params.model_copy(update={"widths": [2**60, 2**60]}), info)


@pytest.mark.parametrize("limit", [checkpoint.SMALL, 1000])
def test_to_look_at_the_sizes_leaves_the_random_numbers_alone(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    network, params, info = model()
    monkeypatch.setattr(checkpoint, "SMALL", limit)
    torch.manual_seed(5)
    expected = type(network)(params, info).state_dict()
    torch.manual_seed(5)
    built = checkpoint.build(type(network), params, info).state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in built.items())


@pytest.mark.parametrize("make", [
    lambda: torch.zeros(2**40),
    lambda: torch.empty((2**20, 2**20)),
    lambda: torch.ones(size=(2**20, 2**20)),
    lambda: torch.arange(2**40),
    lambda: [torch.empty(200) for _ in range(2)],
    lambda: torch.ones(100).expand(100, 100),
])  # fmt: skip
def test_no_more_is_made_than_is_allowed(make: Callable[[], Any]) -> None:
    with pytest.raises(checkpoint.TooLargeError), checkpoint.Sparing(1000):
        make()
