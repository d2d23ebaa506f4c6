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
from generative.data.store import SPLITS, Info, Split
from generative.errors import UsageError
from generative.models.world.controller import Controller, Params
from generative.nn.controls import act, squash
from generative.nn.driving import Archive, Beginnings, Dream, Led, World, drive
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


def made(**changes: Any) -> Controller:
    block = read_yaml(ROOT / "params.yaml")["models"]["world_controller"] | {"latent_size": 4, "lead": 2} | changes
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
    steer, gas, brake = squash(CAR, torch.linspace(-50, 50, 201).expand(3, -1).T).unbind(1)
    assert (steer.min(), steer.max(), gas.min(), gas.max(), brake.min(), brake.max()) == (-1, 1, 0, 1, 0, 1)


def test_an_uncalibrated_dream_is_refused_before_anything_is_evolved_in_it() -> None:
    model = made(evolved_in="dream", gate=5.0)
    model.calibration = lambda: [("gas", 50.0, 52.0, 0.0, 0.0), ("left", 10.0, 30.0, 0.0, 1.0)]  # type: ignore[method-assign]
    with pytest.raises(
        UsageError, match=r"gate: expected returns in dreams within 5.0 of the world's, got 11.0 \(gas 50 and 52, left 10 and 30\)"
    ):
        model.before_step(0)
    made(evolved_in="world", gate=5.0).before_step(0)


def told(alive: list[int]) -> Split:
    """Episodes of five frames, each number of which says where it stands; of the last ones, some have ended."""
    torch.manual_seed(9)
    places = torch.arange(len(alive) * 5.0).view(-1, 5, 1)
    mask = torch.arange(5) < torch.tensor(alive)[:, None]
    return Split({"x": places.expand(-1, -1, 10), "action": places.expand(-1, -1, 3), "mask": mask}, False)


def test_dreams_go_on_from_moments_of_training_episodes_that_had_not_ended() -> None:
    model, lead = made(lead=2), 2
    model.receive(frozen(), told([5, 2, 3, 4]))
    episodes, moments = model.actions[:, 0, 0] // 5, model.codes[:, -1, 0] % 5
    assert torch.equal(moments, model.at.float())
    assert set(zip(episodes.tolist(), moments.tolist(), strict=True)) == {(0, 2), (0, 3), (0, 4), (2, 2), (3, 2), (3, 3)}
    assert torch.equal(model.codes[:, 0, 0], model.codes[:, -1, 0] - lead)
    led = torch.arange(model.actions.shape[1]) < model.at[:, None]
    assert torch.equal(model.actions[:, :5, 0], (episodes[:, None] * 5 + torch.arange(5)) * led[:, :5])
    assert not model.actions[:, 5:].any()


def test_dreams_that_are_led_longer_than_any_episode_lasts_are_refused() -> None:
    with pytest.raises(UsageError, match="lead: expected less than the 5 frames of an episode, got 5"):
        made(lead=5)
    with pytest.raises(UsageError, match="lead: expected less than the 3 frames of the longest training episode, got 3"):
        made(lead=3).receive(frozen(), told([3, 2, 3]))


def test_what_a_controller_collects_is_its_own_driving_and_that_of_ever_less_like_it() -> None:
    drives, wander = 400, 0.3
    model = made(memory="none", latent_size=SIZE, decisions=5, wander=wander)
    put(model, np.random.default_rng(1).normal(0, 0.3, len(flat(model))).astype(np.float32))
    model.receive(frozen(), None)
    model.world = Small  # type: ignore[assignment]
    given = torch.rand(drives, 5, 3)
    with torch.no_grad():
        got, again = (model.encode({"action": given}) for _ in range(2))
        other = model.encode({"action": given + 0.1})
    assert all(torch.equal(got[key], again[key]) for key in got)
    assert (got["x"].shape, got["x"].dtype) == ((drives, 5, 3, 2, 2), torch.uint8)
    assert not torch.equal(got["x"][:, 0], other["x"][:, 0])  # other tracks
    seen = got["x"][:, 0, :, 0, 0].float().div(127.5).sub(1)
    own = model.policy(seen).detach()
    assert torch.allclose(got["action"][0, 0], squash(CAR, own[:1])[0], atol=1e-6)
    strayed = (got["action"][:, 0, 0].atanh() - own[:, 0]) / (1 + seen.square().sum(1)).sqrt()  # of as many normal numbers the mean square
    assert (strayed[1:] / torch.linspace(0, wander, drives)[1:]).std().item() == pytest.approx(1, abs=0.1)
    assert torch.equal(got["reward"], torch.arange(1.0, 6).expand(drives, -1))
    assert got["mask"].all()


def test_every_round_collects_as_much_elsewhere() -> None:
    given = {"action": torch.rand(6, 5, 3)}
    rounds = []
    for data in ("memory", "memory_2"):
        model = made(memory="none", latent_size=SIZE, decisions=15, data=data, against=data)
        model.receive(frozen(), None)
        model.world = Small  # type: ignore[assignment]
        with torch.no_grad():
            rounds.append(model.encode(given))
            known = {
                "action": torch.cat([given["action"], rounds[0]["action"]]),
                "seed": torch.cat([torch.full((6, 5), -1), rounds[0]["seed"]]),
            }
            again = model.encode(known)
            nothing = model.encode({key: rows[6:] for key, rows in known.items()})
        assert len(again["x"]) == 6
        assert nothing["x"].shape == (0, 5, 3, 2, 2)
    assert not set(rounds[0]["seed"].flatten().tolist()) & set(rounds[1]["seed"].flatten().tolist())


def test_the_world_is_led_to_the_very_moments_of_what_a_controller_collected() -> None:
    model = made(memory="none", latent_size=SIZE, decisions=15, lead=2)
    model.receive(frozen(), None)
    model.world = Small  # type: ignore[assignment]
    with torch.no_grad():
        got = model.encode({"action": torch.rand(6, 5, 3)})  # two drives of three episodes each
    got["x"] = got["x"][..., 0, 0].float().div(127.5).sub(1)
    model.receive(frozen(), Split({key: rows[[4, 2, 0, 5, 1, 3]] for key, rows in got.items()}, False))
    assert model.at.max() > 5  # further on than an episode lasts
    begun = Beginnings(model.codes, model.actions, model.at, model.seeds)
    seeds = np.arange(60)
    seen, _ = Led(World(lambda: Small(2, False), Vision(), Memory()), begun).start(seeds)
    which = [begun.chosen(seed)[0] for seed in range(60)]
    assert torch.allclose(seen, begun.codes[which, -1], atol=1e-6)
    drives = {int(got["seed"][row, 0]): got["action"][row : row + 3].flatten(0, 1) for row in (0, 3)}
    for at, actions, seed in zip(model.at.tolist(), model.actions, model.seeds.tolist(), strict=True):
        assert torch.equal(actions[:at], drives[seed][:at])


def test_dreams_from_drives_longer_than_those_to_be_led_are_refused() -> None:
    model, split = made(lead=2, decisions=6), told([5, 5, 5])
    split.arrays.update(seed=torch.tensor([[7], [3], [7]]).expand(-1, 5), age=torch.tensor([[0], [0], [5]]) + torch.arange(5))
    with pytest.raises(UsageError, match=r"decisions: expected at least the \d+ that led to a moment of the data, got 6"):
        model.receive(frozen(), split)


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
