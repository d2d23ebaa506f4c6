"""A world, a V and an M so small that what they do is known by hand."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from generative.data.rollouts.racing.episode import Episode
from generative.nn.driving import Beginnings, Dream, World
from generative.nn.mixture import Mixture

CAR = Episode.controls
SIZE = 3  # of a code, of M's hidden state and of an action


class Expected(NamedTuple):
    code: Mixture
    reward: Tensor
    done: Tensor


class Memory(torch.nn.Module):
    """Adds up what it sees and does; expects that sum, paid by its first entry."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def start(self, n: int) -> tuple[Tensor, Tensor]:
        return torch.zeros(n, SIZE), torch.zeros(n, SIZE)

    def remember(self, seen: Tensor, action: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return 0.5 * state[0] + seen + action, state[1]

    def predict(self, h: Tensor) -> Expected:
        weights = torch.tensor([0.25, 0.75]).log()[:, None].expand(len(h), 2, SIZE)
        means, scales = torch.stack([h, h + 1], -2), torch.zeros(len(h), 2, SIZE) - 2
        return Expected(Mixture(weights, means, scales), h[:, 0], torch.full((len(h),), -3.0))


class Copy:
    """An episode that ends after as many decisions as its seed says, and pays the number of the decision."""

    def start(self, seed: int) -> np.ndarray:
        self.seed, self.age = seed, 0
        return np.full((2, 2, 3), seed % 256, np.uint8)

    def advance(self, action: np.ndarray) -> tuple[np.ndarray, float, bool]:
        self.age += 1
        return np.full((2, 2, 3), (self.seed + self.age) % 256, np.uint8), float(self.age), self.age == self.seed


class Small(Copy):
    """The same as a world of a controller."""

    controls = CAR

    def __init__(self, repeat: int, official: bool) -> None:
        assert (repeat, official) == (2, False)


class Vision(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, :, 0, 0], x[:, :, 0, 0]


def nothing(rows: Tensor, features: Tensor) -> Tensor:
    return torch.zeros(len(rows), SIZE)


def worlds() -> World:
    return World(Copy, Vision(), Memory())


def frozen() -> Any:
    return [Vision(), Memory()]


def moments() -> Beginnings:
    """Four, each after its own number of decisions, the last two of which M is shown."""
    torch.manual_seed(8)
    return Beginnings(torch.randn(4, 3, SIZE) / 4, torch.randn(4, 6, SIZE), torch.tensor([2, 3, 4, 5]), torch.full((4,), -1))


def dreams(temperature: float = 1.0, limit: int = 20, end: float = 0.0) -> Dream:
    return Dream(Memory(), moments(), temperature, limit, end)
