"""The moving average of a module's weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from generative.models.model import Average


def test_an_average_follows_the_weights_by_its_decay_and_the_first_steps_faster() -> None:
    module = nn.Linear(1, 1, bias=False)
    average = Average(module, 0.5)
    with torch.no_grad():
        module.weight.fill_(0.0)
        average.module.get_buffer("weight").fill_(1.0)
    average.update(module, 0)
    assert average.module.get_buffer("weight").item() == pytest.approx(0.1)  # (1 + 0) / (10 + 0) stays
    average.update(module, 1000)
    assert average.module.get_buffer("weight").item() == pytest.approx(0.05)


def test_an_average_is_called_like_its_module_and_nothing_of_it_trains() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).eval()
    average = Average(module, 0.9).eval()
    x = torch.randn(2, 1, 5, 5)
    assert torch.equal(average(x), module(x))
    assert not list(average.parameters())
    assert set(average.state_dict()) == {f"module.{name}" for name in module.state_dict()}
    module.train()(x)
    average.update(module, 0)
    assert torch.equal(average.module.get_buffer("1.running_mean"), module.get_buffer("1.running_mean"))
