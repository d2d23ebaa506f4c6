"""Drivers in worlds and dreams: rows that do not touch each other, ends, mixtures, and one layer that is the same however it is applied."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from sandbox import CAR, SIZE, Copy, Memory, Vision, dreams, moments, nothing, worlds

from generative.data.rollouts.racing.episode import FRAMES, Episode
from generative.nn.controls import act
from generative.nn.driving import Archive, Led, World, drive


def test_an_episode_ends_by_itself_at_the_limit_or_for_want_of_reward() -> None:
    episodes = drive(Memory(), worlds(), nothing, np.array([2, 5, 30]), 10, 10)
    assert episodes.decisions.tolist() == [2, 5, 10]
    assert episodes.returns.tolist() == [3, 15, 55]
    assert episodes.ended.tolist() == [True, True, False]

    class Poor(Copy):
        def advance(self, action: np.ndarray) -> tuple[np.ndarray, float, bool]:
            frame, age, done = super().advance(action)
            return frame, 1.0 if age == 4 else -1.0, done

    episodes = drive(Memory(), World(Poor, Vision(), Memory()), nothing, np.array([3, 30]), 20, 6)
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


def test_a_dream_goes_on_from_what_was_seen_and_done_before_it() -> None:
    begun = moments()
    for seed in range(6):
        row, _ = begun.chosen(seed)
        seen, (hidden, _) = dreams().start(np.array([seed]))
        at = int(begun.at[row])
        by_hand = 0.5 * (begun.codes[row, 0] + begun.actions[row, at - 2]) + begun.codes[row, 1] + begun.actions[row, at - 1]
        assert torch.equal(seen[0], begun.codes[row, 2])
        assert torch.allclose(hidden[0], by_hand)
    assert len({begun.chosen(seed)[0] for seed in range(40)}) == 4


def test_the_world_is_led_to_the_moment_at_which_a_dream_begins() -> None:
    world, begun, done = worlds(), moments(), []

    class Noted(Copy):
        def advance(self, action: np.ndarray) -> tuple[np.ndarray, float, bool]:
            done.append(action)
            return super().advance(action)

    world.make = Noted
    row, _ = begun.chosen(11)
    seen, (hidden, _) = Led(world, begun).start(np.array([11]))
    at = int(begun.at[row])
    assert np.allclose(done, begun.actions[row, :at])
    codes = [torch.full((SIZE,), (11 + age) / 127.5 - 1) for age in (at - 2, at - 1, at)]
    assert torch.allclose(seen[0], codes[2])
    assert torch.allclose(hidden[0], 0.5 * (codes[0] + begun.actions[row, at - 2]) + codes[1] + begun.actions[row, at - 1], atol=1e-5)


def test_a_world_that_ends_on_the_way_to_the_moment_is_replaced_by_another() -> None:
    begun = moments()
    seed = next(seed for seed in range(1, 9) if int(begun.at[begun.chosen(seed)[0]]) >= seed)  # a copy lasts as long as its seed says
    world = Led(worlds(), begun)
    world.start(np.array([seed]))
    assert world.world.copies[0].seed == int(begun.at[begun.chosen(seed)[0]]) + 1


def test_the_end_of_a_dream_has_its_price() -> None:
    seeds = np.arange(300)
    free, priced = (drive(Memory(), dreams(end=end), nothing, seeds, 20, 20) for end in (0.0, -50.0))
    paid = (free.returns - priced.returns).round(3)
    assert set(paid[free.decisions < 20]) == {50}
    assert set(paid) == {0, 50}


def test_an_archive_has_what_rollouts_have() -> None:
    archive = Archive(worlds(), 6)
    drive(Memory(), archive, lambda rows, known: rows[:, None] + torch.ones(SIZE), np.array([3, 20]), 6, 6)
    x = archive.arrays["x"][:, :, 0, 0, 0]
    assert x.tolist() == [[3, 4, 5, 6, 6, 6], [20, 21, 22, 23, 24, 25]]
    assert archive.arrays["x"].shape == (2, 6, 3, 2, 2)
    assert archive.arrays["mask"].tolist() == [[True] * 3 + [False] * 3, [True] * 6]
    assert archive.arrays["reward"].tolist() == [[1, 2, 3, 0, 0, 0], [1, 2, 3, 4, 5, 6]]
    assert archive.arrays["done"].tolist() == [[0, 0, 1, 0, 0, 0], [0] * 6]
    assert archive.arrays["action"][:, :, 0].tolist() == [[1, 1, 1, 0, 0, 0], [2] * 6]
    assert archive.arrays["seed"].tolist() == [[3] * 6, [20] * 6]
    assert archive.arrays["age"].tolist() == [[0, 1, 2, 3, 4, 5]] * 2


def test_temperature_makes_dreams_wilder() -> None:
    def spread(temperature: float) -> float:
        return float(drive(Memory(), dreams(temperature), nothing, np.arange(200), 3, 3).returns.std())

    assert spread(0.1) < spread(1.0) < spread(4.0)


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
