"""Drivers in worlds and dreams: rows that do not touch each other, ends, mixtures, and one layer that is the same however it is applied."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from conftest import ROOT, read_yaml
from torch import Tensor

from generative.data.rollouts.racing.episode import FRAMES, Episode
from generative.data.store import SPLITS, Info
from generative.errors import UsageError
from generative.models.world import controller
from generative.models.world.controller import Controller, Params, act
from generative.nn.driving import Dream, World, drive
from generative.nn.mixture import Mixture
from generative.training.evolve import flat, put

CAR = Episode.controls
SIZE = 3  # of a code, of M's hidden state and of an action


class Expected(NamedTuple):
    code: Mixture
    reward: Tensor
    done: Tensor


class Memory(torch.nn.Module):
    """Adds up what it sees and does; expects that sum, paid by its first entry."""

    def start(self, n: int) -> tuple[Tensor, Tensor]:
        return torch.zeros(n, SIZE), torch.zeros(n, SIZE)

    def remember(self, seen: Tensor, action: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return 0.5 * state[0] + seen + action, state[1]

    def predict(self, h: Tensor) -> Expected:
        weights = torch.tensor([0.25, 0.75]).log().expand(len(h), SIZE, 2)
        means, scales = torch.stack([h, h + 1], -1), torch.zeros(len(h), SIZE, 2) - 2
        return Expected(Mixture(weights, means, scales), h[:, 0], torch.full((len(h),), -3.0))


class Copy:
    """An episode that ends after as many decisions as its seed says, and pays the number of the decision."""

    def start(self, seed: int) -> np.ndarray:
        self.seed, self.age = seed, 0
        return np.full((2, 2, 3), seed % 256, np.uint8)

    def advance(self, action: np.ndarray) -> tuple[np.ndarray, float, bool]:
        self.age += 1
        return np.full((2, 2, 3), (self.seed + self.age) % 256, np.uint8), float(self.age), self.age == self.seed


class Vision(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, :, 0, 0], x[:, :, 0, 0]


def nothing(rows: Tensor, features: Tensor) -> Tensor:
    return torch.zeros(len(rows), SIZE)


def worlds() -> World:
    return World(Copy, Vision())


def dreams(temperature: float = 1.0, limit: int = 20) -> Dream:
    return Dream(Memory(), torch.arange(12.0).view(4, SIZE) / 12, temperature, limit)


def test_an_episode_ends_by_itself_at_the_limit_or_for_want_of_reward() -> None:
    episodes = drive(Memory(), worlds(), nothing, np.array([2, 5, 30]), 10, 10)
    assert episodes.decisions.tolist() == [2, 5, 10]
    assert episodes.returns.tolist() == [3, 15, 55]

    class Poor(Copy):
        def advance(self, action: np.ndarray) -> tuple[np.ndarray, float, bool]:
            frame, age, done = super().advance(action)
            return frame, 1.0 if age == 4 else -1.0, done

    episodes = drive(Memory(), World(Poor, Vision()), nothing, np.array([3, 30]), 20, 6)
    assert episodes.decisions.tolist() == [3, 10]  # six decisions after the last reward, at the fourth


@pytest.mark.parametrize("arena", [worlds, dreams])
def test_what_happens_in_a_row_does_not_depend_on_the_others(arena: Any) -> None:
    candidates, seeds = torch.randn(6, len(CAR) * (2 * SIZE + 1)), np.array([4, 9, 4, 7, 12, 9])
    together = drive(Memory(), arena(), partial(act, CAR, candidates), seeds, 15, 15)
    for row in range(6):
        alone = drive(Memory(), arena(), partial(act, CAR, candidates[row : row + 1]), seeds[row : row + 1], 15, 15)
        assert alone.returns[0] == pytest.approx(together.returns[row], rel=1e-5)
        assert alone.decisions[0] == together.decisions[row]


def test_dreams_of_one_seed_are_one_dream_and_of_others_are_others() -> None:
    same = drive(Memory(), dreams(), nothing, np.array([5, 5, 6]), 20, 20).returns
    assert same[0] == same[1] != same[2]


def test_temperature_makes_dreams_wilder() -> None:
    def spread(temperature: float) -> float:
        return float(drive(Memory(), dreams(temperature), nothing, np.arange(200), 3, 3).returns.std())

    assert spread(0.1) < spread(1.0) < spread(4.0)


def made(**changes: Any) -> Controller:
    block = read_yaml(ROOT / "params.yaml")["models"]["world_controller"] | {"latent_size": 4} | changes
    facts = {"name": "memory", "kind": "codes", "shape": [5, 10], "classes": [], "attributes": [], "values": {}, "vocabulary": {}}
    known = {key: value for key, value in facts.items() if key in Info.model_fields}
    counts: dict[str, int] = {split: 3 for split in SPLITS}  # noqa: C420
    return Controller(Params(**block), Info(**known, counts=counts, fingerprint="", notes=[]))


@pytest.mark.parametrize("memory", ["trained", "none"])
def test_a_candidate_does_what_the_controller_of_its_weights_does(memory: str) -> None:
    model = made(memory=memory)
    candidates = torch.randn(3, len(flat(model)))
    features = torch.randn(3, model.policy.in_features)
    for row in range(3):
        put(model, candidates[row].numpy())
        there = act(CAR, candidates, torch.tensor([row]), features[row : row + 1])
        assert torch.allclose(there, model.own(torch.tensor([0]), features[row : row + 1]), atol=1e-6)
    assert len(flat(model)) == 3 * ({"trained": 10, "none": 4}[memory] + 1)


def test_actions_keep_to_their_ranges() -> None:
    steer, gas, brake = controller.squash(CAR, torch.linspace(-50, 50, 201).expand(3, -1).T).unbind(1)
    assert (steer.min(), steer.max(), gas.min(), gas.max(), brake.min(), brake.max()) == (-1, 1, 0, 1, 0, 1)


def test_an_uncalibrated_dream_is_refused_before_anything_is_evolved_in_it() -> None:
    model = made(evolved_in="dream", gate=5.0)
    model.calibration = lambda: [("gas", 50.0, 52.0), ("left", 10.0, 30.0)]  # type: ignore[method-assign]
    with pytest.raises(
        UsageError, match=r"gate: expected returns in dreams within 5.0 of the world's, got 11.0 \(gas 50 and 52, left 10 and 30\)"
    ):
        model.before_step(0)
    made(evolved_in="world", gate=5.0).before_step(0)


@pytest.mark.parametrize("repeat", [2, 3])
def test_the_last_decision_of_an_episode_is_cut_to_its_frames(repeat: int) -> None:
    class Environment:
        def __init__(self) -> None:
            self.left: list[int] = []

        def reset(self, seed: int) -> tuple[int, dict[str, Any]]:
            return seed, {}

        def advance(self, action: Any, repeat: int) -> tuple[int, float, bool]:
            self.left.append(repeat)
            return 0, 1.0, False

    episode = Episode(repeat, official=False)
    episode.environment = Environment()
    episode.start(1)
    ends = [episode.advance(np.zeros(3))[2] for _ in range(-(-FRAMES // repeat))]
    assert ends == [False] * (len(ends) - 1) + [True]
    assert sum(episode.environment.left) == FRAMES
