"""CarRacing made fast is CarRacing still: rewards and places bit for bit, pictures to a grey level; and how episodes are collected."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.box2d.car_racing import WINDOW_H, WINDOW_W, CarRacing

from generative.data import crew, shards, store
from generative.data.rollouts import car
from generative.data.rollouts.racing import environment, ground
from generative.data.rollouts.racing.environment import FastCarRacing
from generative.data.rollouts.racing.explorer import Explorer
from generative.data.rollouts.racing.picture import RAW, SEEN, shrink
from generative.data.rollouts.racing.view import draw, window
from generative.errors import UsageError
from generative.params import typed
from tests.building import arrays
from tests.crewed import doomed, fragile

CAR = {
    "source": "rollouts/car", "seed": 5, "train": 3, "validation": 1, "test": 1, "shard": 1, "decisions": 6, "skip": 1,
    "scattered": True, "repeat": 2, "momentum": [0.9, 0.0], "means": [0.0, 0.35, -0.4], "spreads": [0.5, 0.25, 0.3], "workers": 1,
}  # fmt: skip
Driver = Callable[[Any], np.ndarray]


class Undrawn(CarRacing):
    """gymnasium's environment, but for the picture."""

    def _render(self, mode: str) -> None:
        return None


def wanderer(seed: int) -> Driver:
    explore = Explorer(0.95, [0.0, 0.5, -0.3], [0.5, 0.3, 0.5], np.random.default_rng(seed))
    return lambda env: explore()


def follower(env: Any) -> np.ndarray:
    """Drives along the road, as one can who knows it."""
    x, y = env.car.hull.position
    places = np.array(env.track)[:, 2:]
    near = int(np.square(places - (x, y)).sum(1).argmin())
    ahead_x, ahead_y = places[(near + 6) % len(places)] - (x, y)
    off = (math.atan2(-ahead_x, ahead_y) - env.car.hull.angle + math.pi) % (2 * math.pi) - math.pi
    speed = math.hypot(*env.car.hull.linearVelocity)
    return np.array([np.clip(-2 * off, -1, 1), 0.4 if speed < 45 else 0.0, 0.3 if speed > 60 else 0.0], np.float32)


def straight_on(env: Any) -> np.ndarray:
    return np.array([0.0, 1.0, 0.0], np.float32)


def driven(env: Any, seed: int, driver: Driver, steps: int) -> tuple[list[Any], list[Any]]:
    """(pictures, for each step all that the physics says)."""
    frame, _ = env.reset(seed=seed)
    env = env.unwrapped
    frames, facts = [frame], []
    for _ in range(steps):
        frame, reward, ended, _, info = env.step(driver(env))
        bodies = [value for body in (env.car.hull, *env.car.wheels) for value in (*body.position, body.angle)]
        wheels = [value for wheel in env.car.wheels for value in (wheel.omega, wheel.phase, wheel.joint.angle, len(wheel.tiles))]
        frames.append(frame)
        facts.append((float(reward), ended, dict(info), env.tile_visited_count, *map(float, bodies), *map(float, wheels)))
        if ended:
            break
    return frames, facts


def difference(fast: list[Any], official: list[Any]) -> np.ndarray:
    """Mean grey levels between the pictures, one number each."""
    return np.array([np.abs(ours.astype(float) - shrink(theirs)).mean() for ours, theirs in zip(fast, official, strict=True)])


@pytest.mark.parametrize(("driver", "steps"), [(wanderer, 1000), (follower, 1000), (straight_on, 600)])
def test_a_whole_episode_is_that_of_gymnasium_bit_for_bit(driver: Any, steps: int) -> None:
    ours, theirs = (driver(3) if driver is wanderer else driver for _ in range(2))
    _, expected = driven(Undrawn(), 11, theirs, steps)
    env = FastCarRacing()
    env.watched = False
    _, got = driven(env, 11, ours, steps)
    assert got == expected
    if driver is straight_on:
        assert expected[-1][:3] == (-100, True, {"lap_finished": False})
    if driver is follower:
        assert expected[-1][3] > 100


def test_pictures_are_those_of_gymnasium_to_a_grey_level_on_average() -> None:
    official, _ = driven(CarRacing(), 4, follower, 130)
    fast, _ = driven(FastCarRacing(), 4, follower, 130)
    off = difference(fast, official)
    assert off.mean() < 0.55
    assert off.max() < 1.2


def test_points_are_looked_up_where_gymnasiums_pixels_come_from() -> None:
    """Evenly spaced points lie a quarter of gymnasium's pixel off, always to the same side."""
    grade = np.repeat(2 * np.arange(RAW, dtype=np.uint8), 3).reshape(1, RAW, 3).repeat(RAW, 0)  # twice the number of the column
    across, ahead = window()
    columns = across.reshape(SEEN, -1).mean(1) * RAW / WINDOW_W + RAW / 2 - 0.5
    rows = (WINDOW_H * 3 / 4 - ahead) * RAW / WINDOW_H - 0.5
    assert np.abs(2 * columns - shrink(grade)[0, :, 0]).max() < 0.51
    assert np.abs(2 * rows - shrink(grade.transpose(1, 0, 2))[:, 0, 0]).max() < 0.51


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_whole_episodes_of_the_unmodified_environment(seed: int) -> None:
    ours, theirs = (follower if seed % 2 else wanderer(seed) for _ in range(2))
    official, expected = driven(gymnasium.make("CarRacing-v3"), seed, theirs, 1000)
    fast, got = driven(FastCarRacing(), seed, ours, 1000)
    assert got == expected
    off = difference(fast, official)
    assert off.mean() < 0.8  # on the road more than on grass: gymnasium evens the shades of tiles that were driven over
    assert off.max() < 2


def test_an_action_that_is_held_is_that_many_steps_and_draws_the_last_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(environment, "draw", lambda env: drawn.append(env) or draw(env))
    one, two, action, done = FastCarRacing(), FastCarRacing(), straight_on(None), False
    seen: Any
    one.reset(seed=11)
    two.reset(seed=11)
    while not done:
        drawn.clear()
        frame, reward, done = one.advance(action, 7)
        assert len(drawn) == 1
        seen, total, ended = frame, 0.0, False
        for _ in range(7):
            seen, earned, ended, _, _ = two.step(action)
            total += earned
            if ended:
                break
        assert np.array_equal(frame, seen)
        assert (reward, done) == (total, ended)
    assert total < -99


def test_an_episode_does_not_depend_on_what_the_environment_drove_before() -> None:
    used, new = FastCarRacing(), FastCarRacing()
    driven(used, 1, wanderer(1), 40)
    first, second = (driven(env, 9, wanderer(2), 60) for env in (used, new))
    assert first[1] == second[1]
    assert all(np.array_equal(a, b) for a, b in zip(first[0], second[0], strict=True))


def test_a_car_that_is_placed_stands_whole_on_its_tile() -> None:
    env: Any = FastCarRacing()
    env.reset(seed=3)
    before = [wheel.joint.angle for wheel in env.car.wheels]
    env.place(50, 0.2)
    _, heading, x, y = env.track[50]
    assert tuple(env.car.hull.position) == pytest.approx((x, y), abs=1e-4)
    assert env.car.hull.angle == pytest.approx(heading + 0.2, abs=1e-5)
    assert [wheel.joint.angle for wheel in env.car.wheels] == pytest.approx(before, abs=1e-5)
    for _ in range(10):
        env.step(np.zeros(3))
    assert math.dist(env.car.hull.position, (x, y)) < 0.1
    assert any(wheel.tiles for wheel in env.car.wheels)


def test_maps_of_a_few_tracks_are_kept() -> None:
    env = FastCarRacing()
    for seed in range(ground.KEPT + 2):
        env.reset(seed=seed)
    assert len(ground._kept) == ground.KEPT
    kept = env.ground
    env.reset(seed=ground.KEPT + 1)
    assert env.ground is kept


def params(**changes: Any) -> car.Params:
    return typed(car.Params, CAR | changes, "here")


def collected(folder: Path, **changes: Any) -> dict[str, bytes]:
    folder.mkdir()
    car.download(params(**changes), "x", folder)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_rollouts_are_the_same_for_any_number_of_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    alone, shared, other = collected(tmp_path / "1"), collected(tmp_path / "2", workers=2), collected(tmp_path / "3", seed=6)
    assert len(alone) == 5
    assert alone == shared
    assert alone.keys() == other.keys()
    assert not set(alone.values()) & set(other.values())


def test_a_stopped_collection_keeps_its_shards_and_makes_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    whole, made = collected(tmp_path / "1"), []
    work, make = shards.work_folder(params(), "x"), car.make
    car.make(params(), work, shards.Shard("train", 1, 2))
    (work / "train_000002.npz.1.partial").write_bytes(b"half")
    monkeypatch.setattr(car, "make", lambda p, w, shard: (made.append(shard.file), make(p, w, shard)))
    assert collected(tmp_path / "2") == whole
    assert sorted(made) == sorted(set(whole) - {"train_000001.npz"})
    assert not work.exists()


def test_a_worker_that_dies_costs_what_it_had_not_finished(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    crew.share_out(partial(fragile, tmp_path), range(5), 2, "collect", 1, "episodes")
    assert {file.name for file in tmp_path.glob("*.done")} == {f"{i}.done" for i in range(5)}
    out, err = capfd.readouterr()
    assert "a worker died" in err
    assert "5/5 episodes" in out


def test_workers_that_die_again_and_again_are_given_up() -> None:
    with pytest.raises(UsageError, match="collect: the workers died 3 times"):
        crew.share_out(doomed, [1], 2, "collect", 1, "episodes")


def test_rollouts_in_the_store_are_frames_in_order_with_what_was_done_and_earned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    collected(tmp_path / "raw", skip=0, scattered=False)
    (tmp_path / "ready").mkdir()
    car.preprocess(params(), "x", tmp_path / "raw", tmp_path / "ready")
    dataset = store.open_dataset(tmp_path / "ready")
    assert (dataset.info.kind, dataset.info.shape, dataset.info.sequence) == ("images", [3, 64, 64], 6)
    train = arrays(dataset, "train")
    assert {key: array.shape for key, array in train.items()} == {
        "x": (18, 3, 64, 64), "action": (18, 3), "reward": (18,), "done": (18,), "mask": (18,),
    }  # fmt: skip
    random, env = np.random.default_rng([5, 0, 1]), FastCarRacing()
    Explorer(0.0, CAR["means"], CAR["spreads"], random)
    frame, _ = env.reset(seed=int(random.integers(2**31)))
    for action, seen, reward in zip(train["action"][6:12], train["x"][6:12], train["reward"][6:12], strict=True):
        assert np.array_equal(seen, frame.transpose(2, 0, 1))
        frame, earned, _ = env.advance(action, 2)
        assert reward == np.float32(earned)


def test_what_follows_the_end_of_an_episode_is_masked() -> None:
    class Short:
        """An environment that ends with its third decision."""

        def reset(self, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
            self.decisions = 0
            return np.zeros((64, 64, 3), np.uint8), {}

        def advance(self, action: np.ndarray, repeat: int) -> tuple[np.ndarray, float, bool]:
            self.decisions += 1
            return np.full((64, 64, 3), self.decisions, np.uint8), 1.0, self.decisions == 3

    rows = car.episode(Short(), params(skip=1, scattered=False), "train", 0)
    assert rows["mask"].tolist() == [True, True, False, False, False, False]
    assert rows["done"].tolist() == [0, 1, 0, 0, 0, 0]
    assert rows["reward"].tolist() == [1, 1, 0, 0, 0, 0]
    assert rows["x"][:, 0, 0, 0].tolist() == [1, 2, 3, 3, 3, 3]


def test_noise_with_momentum_has_its_deviation_and_its_memory() -> None:
    explore = Explorer(0.9, [0.0, 0.5, 0.5], [0.2, 0.05, 0.05], np.random.default_rng(1))
    steering = np.array([explore() for _ in range(20_000)])[:, 0]
    assert steering.std() == pytest.approx(0.2, rel=0.1)
    assert np.corrcoef(steering[:-1], steering[1:])[0, 1] == pytest.approx(0.9, abs=0.02)
