"""Steps a second and core of CarRacing: gymnasium's own, ours, and envpool's where it is installed, alone and in a world model's loop.

`python -m benchmarks.racing`. In the loop each decision of one step is made by V at its full size, M and a linear C: one car and one
picture at a time as it is usually done, or several cars side by side and one pass over all their pictures. CPU time of one thread; the
contestants take turns, and ratios compare the same round. A step of a dream is M's alone: it foresees what is seen, and a C a row decides.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import gymnasium
import numpy as np
import torch
from gymnasium.envs.box2d.car_racing import CarRacing

from generative.data.rollouts.racing.environment import FastCarRacing
from generative.data.rollouts.racing.episode import Episode
from generative.data.rollouts.racing.explorer import Explorer
from generative.data.rollouts.racing.picture import shrink
from generative.data.store import Info
from generative.models.world.memory import Memory
from generative.models.world.memory import Params as MemoryParams
from generative.models.world.vision import Params as VisionParams
from generative.models.world.vision import Vision
from generative.nn.controls import act
from generative.nn.driving import Beginnings, Dream

CARS, DREAMS = 64, 256
STEPS = {"gymnasium": 100, "ours": 2048, "envpool": 800, "dreams": 8192}
TRAINING: dict[str, Any] = {
    "model": "", "data": "", "against": "", "judge": "", "compared": 0, "seed": 1, "steps": 1, "batch_size": 1, "accumulate": 1,
    "learning_rate": 0.1, "schedule": "constant", "clip_norm": 0.0, "precision": "float32", "threads": 1, "log_every": 1,
    "checkpoint_every": 1,
}  # fmt: skip
Run = Callable[[], int]  # takes steps and says how many


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.racing", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    contestants = alone() | looped()
    for run in contestants.values():
        run()  # paints the tracks, draws the sprites, fills the caches
    speeds = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            began = time.process_time()
            steps = run()
            speeds[name].append(steps / (time.process_time() - began))
    for name, values in speeds.items():
        against = speeds["gymnasium" if "M, C" not in name else "gymnasium, V, M, C"]
        times = [value / other for value, other in zip(values, against, strict=True)]
        print(f"{name:36s}{median(values):10,.0f} steps/s ({min(values):,.0f}..{max(values):,.0f})   x {median(times):.1f}")


def alone() -> dict[str, Run]:
    """Explorers, who do not look at the picture."""
    contestants = {
        "gymnasium": _wander(gymnasium.make("CarRacing-v3"), STEPS["gymnasium"]),
        "ours": _wander(FastCarRacing(), STEPS["ours"]),
    }
    try:
        import envpool  # type: ignore[import-not-found]
    except ImportError:
        return contestants
    pool = envpool.make_gymnasium("CarRacing-v3", num_envs=1, num_threads=1)
    return contestants | {"envpool": _wander_pool(pool, STEPS["envpool"])}


def looped() -> dict[str, Run]:
    """V, M and C decide from what they see."""
    vision, memory = _networks()
    return {
        "gymnasium, V, M, C": _drive(vision, memory, [CarRacing()], shrink, STEPS["gymnasium"], torch.float32),
        "ours, V, M, C": _drive(vision, memory, [FastCarRacing()], np.asarray, STEPS["ours"] // 8, torch.float32),
        f"ours, {CARS} cars, V, M, C, bfloat16": _drive(
            vision, memory, [FastCarRacing() for _ in range(CARS)], np.asarray, STEPS["ours"], torch.bfloat16
        ),
        f"{DREAMS} dreams, M, C, bfloat16": _dream(memory, STEPS["dreams"]),
    }


def _wander(env: Any, steps: int) -> Run:
    """An episode goes on from one round to the next, so that no round pays for more resets than another."""
    explore = Explorer(0.9, [0.0, 0.35, -0.4], [0.5, 0.25, 0.3], np.random.default_rng(1))
    env.reset(seed=1)

    def run() -> int:
        for _ in range(steps):
            if env.step(explore())[2]:
                env.reset(seed=1)
        return steps

    return run


def _wander_pool(pool: Any, steps: int) -> Run:
    explore = Explorer(0.9, [0.0, 0.35, -0.4], [0.5, 0.25, 0.3], np.random.default_rng(1))
    pool.reset()

    def run() -> int:
        for _ in range(steps):
            pool.step(explore()[None])
        return steps

    return run


def _networks() -> tuple[Vision, Memory]:
    counts = {"train": 1, "validation": 0, "test": 0}
    facts: dict[str, Any] = {
        "name": "", "classes": [], "attributes": [], "values": {}, "vocabulary": {}, "counts": counts, "fingerprint": "", "notes": [],
    }  # fmt: skip
    sizes: dict[str, Any] = {"channels": [32, 64, 128, 256], "latent_size": 32, "reconstruction_weight": 1.0, "free_nats": 0.5}
    vision = Vision(VisionParams(**TRAINING, **sizes), Info(kind="images", shape=[3, 64, 64], **facts))
    kinds: dict[str, Any] = {"hidden_size": 256, "components": 5, "action_size": 3, "window": 2, "temperature": 1.0}
    weights: dict[str, Any] = {"reward_weight": 1.0, "done_weight": 1.0}
    memory = Memory(MemoryParams(**TRAINING, **kinds, **weights), Info(kind="codes", shape=[2, 32], **facts))
    vision.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return vision.eval(), memory.eval()


def _drive(vision: Vision, memory: Memory, cars: list[Any], look: Callable[..., Any], steps: int, precision: torch.dtype) -> Run:
    """Rounds of decisions by a random C; tracks are those of the first reset."""
    torch.manual_seed(1)
    controller = torch.nn.Linear(32 + 256, 3)
    frames = [look(car.reset(seed=1)[0]) for car in cars]

    def run() -> int:
        state = memory.start(len(cars))
        for _ in range(steps // len(cars)):
            pixels = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
            with torch.inference_mode(), torch.autocast("cpu", precision, precision == torch.bfloat16):
                z = vision.posterior(pixels)[0]
                action = controller(torch.cat([z, state[0]], 1)).float().tanh()
                action[:, 1:] = (action[:, 1:] + 1) / 2
                state = memory.remember(z, action, state)
            for index, (car, choice) in enumerate(zip(cars, action.numpy(), strict=True)):
                frame, _, ended, _, _ = car.step(choice)
                frames[index] = look(car.reset(seed=1)[0] if ended else frame)
        return steps // len(cars) * len(cars)

    return run


def _dream(memory: Memory, steps: int) -> Run:
    """Rounds of decisions by as many random C as there are dreams, which go on when M would end them."""
    torch.manual_seed(1)
    candidates, moments = (
        torch.randn(DREAMS, 3 * (32 + 256 + 1)) / 10,
        Beginnings(torch.randn(8, 2, 32), torch.rand(8, 1, 3), torch.ones(8).long(), torch.full((8,), -1)),
    )
    arena, rows = Dream(memory, moments, 1.0, steps // DREAMS, 0.0), np.arange(DREAMS)
    everyone = torch.arange(DREAMS)

    def run() -> int:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            seen, state = arena.start(rows % 16)
            for _ in range(steps // DREAMS):
                action = act(Episode.controls, candidates, everyone, torch.cat([seen, state[0]], 1).float())
                state = memory.remember(seen, action, state)
                seen, _, _ = arena.step(rows, action, state)
        return steps

    return run


if __name__ == "__main__":
    main()
