"""Episodes of many drivers at once: through the world, seen by V and remembered by M, or through a dream of M alone.

Each row of a batch is one episode of one driver. A row depends on its driver and its seed, not on the rows beside it, but for the last
bits of the sums that a batch of another size may round otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

State = tuple[Tensor, Tensor]  # M's hidden state and cell, (K, H) each
Rows = NDArray[np.int64]
Seen = tuple[Tensor, NDArray[np.float64], NDArray[np.bool_]]  # codes (K, Z), rewards, ends
Policy = Callable[[Tensor, Tensor], Tensor]  # (rows (K,), what they know (K, Z + H)) -> actions (K, A)


class Arena(Protocol):
    """Where episodes happen; rows that are over are named no more."""

    def start(self, seeds: NDArray[np.int64]) -> Tensor:
        """(K, Z) what each row sees first."""
        ...

    def step(self, rows: Rows, action: Tensor, state: State) -> Seen:
        """What the rows see after their actions (K, A), the reward of these, and whether that was the end. `state` is M's after them."""
        ...


@dataclass
class Episodes:
    """What became of each row."""

    returns: NDArray[np.float64]
    decisions: NDArray[np.int64]


def drive(memory: Any, arena: Arena, policy: Policy, seeds: NDArray[np.int64], limit: int, patience: int) -> Episodes:
    """Lets every row live for `limit` decisions at most, or until it has had no reward for `patience` of them.

    Args:
        memory: M; what a row knows is what it sees beside M's hidden state.
    """
    seen = arena.start(seeds)
    state: State = memory.start(len(seeds))
    rows, idle = np.arange(len(seeds)), np.zeros(len(seeds), np.int64)
    episodes = Episodes(np.zeros(len(seeds)), np.zeros(len(seeds), np.int64))
    for _ in range(limit):
        action = policy(torch.from_numpy(rows).to(seen.device), torch.cat([seen, state[0]], 1).float())
        state = memory.remember(seen, action, state)
        seen, reward, done = arena.step(rows, action, state)
        episodes.returns[rows] += reward
        episodes.decisions[rows] += 1
        idle = np.where(reward > 0, 0, idle + 1)
        stay = ~done & (idle < patience)
        if not stay.any():
            break
        if not stay.all():
            kept = torch.from_numpy(np.flatnonzero(stay)).to(seen.device)
            seen, state, rows, idle = seen[kept], (state[0][kept], state[1][kept]), rows[stay], idle[stay]
    return episodes


class World:
    """The environment itself, a copy a row, seen through V.

    Args:
        make: makes a copy, with `start(seed)` and `advance(action)` that give frames, uint8 (H, W, C).
    """

    def __init__(self, make: Callable[[], Any], vision: Any) -> None:
        self.make, self.vision = make, vision
        self.copies: list[Any] = []
        self.frames: NDArray[np.uint8] = np.zeros(0, np.uint8)  # (K, H, W, C) seen last

    def start(self, seeds: NDArray[np.int64]) -> Tensor:
        while len(self.copies) < len(seeds):
            self.copies.append(self.make())
        return self._see([copy.start(int(seed)) for copy, seed in zip(self.copies, seeds, strict=False)])

    def step(self, rows: Rows, action: Tensor, state: State) -> Seen:  # noqa: ARG002 - the world needs no memory
        choices = action.double().cpu().numpy()
        frames, rewards, ends = zip(*(self.copies[row].advance(choice) for row, choice in zip(rows, choices, strict=True)), strict=True)
        return self._see(frames), np.asarray(rewards, np.float64), np.asarray(ends, np.bool_)

    def _see(self, frames: Any) -> Tensor:
        self.frames = np.stack(frames)
        device = next(self.vision.parameters()).device
        pixels = torch.from_numpy(self.frames).to(device).permute(0, 3, 1, 2)  # laid out channels_last as it is
        return self.vision.posterior(pixels.float().div_(127.5).sub_(1))[0].float()


class Dream:
    """M alone: the next frame's code is drawn from its mixture, the reward and the end from its heads.

    Rows of one seed meet the same random numbers. A temperature above 1 makes the dream less certain than M is: the logits of the
    mixture are divided by it, and the variances multiplied (Ha and Schmidhuber 2018, appendix A.2).

    Args:
        starts: (M, Z) codes of first frames, one of which a seed begins with.
    """

    def __init__(self, memory: Any, starts: Tensor, temperature: float, limit: int) -> None:
        self.memory, self.starts, self.temperature, self.limit = memory, starts, temperature, limit
        self.noise = self.chance = torch.zeros(0)
        self.age = 0

    def start(self, seeds: NDArray[np.int64]) -> Tensor:
        unique, self.of = np.unique(seeds, return_inverse=True)
        size, parts = self.starts.shape[1], []
        for seed in unique:
            generator = torch.Generator().manual_seed(int(seed))
            parts.append(
                (
                    torch.randint(len(self.starts), (), generator=generator),
                    torch.randn(self.limit, size, generator=generator),
                    torch.rand(self.limit, size + 1, generator=generator),
                )
            )
        first, noise, chance = (torch.stack(part).to(self.starts.device) for part in zip(*parts, strict=True))
        self.noise, self.chance, self.age = noise, chance, 0
        return self.starts[first[torch.from_numpy(self.of)]]

    def step(self, rows: Rows, action: Tensor, state: State) -> Seen:  # noqa: ARG002 - M's state has taken it in
        of = torch.from_numpy(self.of[rows]).to(self.starts.device)
        noise, chance = self.noise[of, self.age], self.chance[of, self.age]
        self.age += 1
        expected = self.memory.predict(state[0])
        done = chance[:, -1] < expected.done.float().sigmoid()
        codes = expected.code.drawn(self.temperature, chance[:, :-1], noise)
        return codes, expected.reward.double().cpu().numpy(), done.cpu().numpy()


class Diary:
    """The world of one driver, with all that happened written down: a list each, one entry more of what is seen than of what is done."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.frames: list[NDArray[np.uint8]] = []  # (H, W, C)
        self.codes: list[Tensor] = []  # (1, Z)
        self.actions: list[Tensor] = []  # (1, A)
        self.states: list[State] = []  # M's after each action

    def start(self, seeds: NDArray[np.int64]) -> Tensor:
        return self._note(self.world.start(seeds))

    def step(self, rows: Rows, action: Tensor, state: State) -> Seen:
        self.actions.append(action)
        self.states.append(state)
        codes, reward, done = self.world.step(rows, action, state)
        return self._note(codes), reward, done

    def redreamt(self, memory: Any, temperature: float, every: int) -> Tensor:
        """(T, Z) what M expects to see, told the actions alone; every so many decisions it is shown the truth again."""
        seen, state, told = self.codes[0], self.states[0], [self.codes[0]]
        for number, action in enumerate(self.actions):
            if number % every == 0:
                seen, state = self.codes[number], self.states[number]
            else:
                state = memory.remember(seen, action, state)
            seen = memory.predict(state[0]).code.drawn(temperature, torch.rand_like(seen), torch.randn_like(seen))
            told.append(seen)
        return torch.cat(told)

    def _note(self, codes: Tensor) -> Tensor:
        self.frames.append(self.world.frames[0])
        self.codes.append(codes)
        return codes
