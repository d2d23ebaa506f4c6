"""The controller of a world model: what it does, what its dreams go on from, and what it collects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT, read_yaml
from sandbox import CAR, SIZE, Memory, Small, Vision, frozen

from generative.data.store import SPLITS, Info, Split
from generative.errors import UsageError
from generative.models.world.controller import Controller, Params
from generative.nn.controls import act, squash
from generative.nn.driving import Beginnings, Led, World
from generative.training.evolve import flat, put


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
