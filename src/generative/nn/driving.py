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

    def start(self, seeds: NDArray[np.int64]) -> tuple[Tensor, State]:
        """What each row sees first (K, Z), and M's state at that moment."""
        ...

    def step(self, rows: Rows, action: Tensor, state: State) -> Seen:
        """What the rows see after their actions (K, A), the reward of these, and whether that was the end. `state` is M's after them."""
        ...


@dataclass
class Episodes:
    """What became of each row."""

    returns: NDArray[np.float64]
    decisions: NDArray[np.int64]
    ended: NDArray[np.bool_]  # by themselves, not at the limit nor for want of reward


def drive(memory: Any, arena: Arena, policy: Policy, seeds: NDArray[np.int64], limit: int, patience: int) -> Episodes:
    """Lets every row live for `limit` decisions at most, or until it has had no reward for `patience` of them.

    Args:
        memory: M; what a row knows is what it sees beside M's hidden state.
    """
    seen, state = arena.start(seeds)
    rows, idle = np.arange(len(seeds)), np.zeros(len(seeds), np.int64)
    episodes = Episodes(np.zeros(len(seeds)), np.zeros(len(seeds), np.int64), np.zeros(len(seeds), np.bool_))
    for _ in range(limit):
        action = policy(torch.from_numpy(rows).to(seen.device), torch.cat([seen, state[0]], 1).float())
        state = memory.remember(seen, action, state)
        seen, reward, done = arena.step(rows, action, state)
        episodes.returns[rows] += reward
        episodes.decisions[rows] += 1
        episodes.ended[rows] = done
        idle = np.where(reward > 0, 0, idle + 1)
        stay = ~done & (idle < patience)
        if not stay.any():
            break
        if not stay.all():
            kept = torch.from_numpy(np.flatnonzero(stay)).to(seen.device)
            seen, state, rows, idle = seen[kept], (state[0][kept], state[1][kept]), rows[stay], idle[stay]
    return episodes


def recall(memory: Any, codes: Tensor, actions: Tensor) -> tuple[Tensor, State]:
    """The last of the codes (K, L + 1, Z), and M's state when it has seen those before and the actions (K, L, A) taken at them."""
    state: State = memory.start(len(codes))
    for t in range(actions.shape[1]):
        state = memory.remember(codes[:, t], actions[:, t], state)
    return codes[:, -1], state


class World:
    """The environment itself, a copy a row, seen through V.

    Args:
        make: makes a copy, with `start(seed)` and `advance(action)` that give frames, uint8 (H, W, C).
    """

    def __init__(self, make: Callable[[], Any], vision: Any, memory: Any) -> None:
        self.make, self.vision, self.memory = make, vision, memory
        self.copies: list[Any] = []
        self.frames: NDArray[np.uint8] = np.zeros(0, np.uint8)  # (K, H, W, C) seen last

    def start(self, seeds: NDArray[np.int64]) -> tuple[Tensor, State]:
        frames = [copy.start(int(seed)) for copy, seed in zip(self._copies(len(seeds)), seeds, strict=True)]
        return self._see(frames), self.memory.start(len(seeds))

    def led(self, seeds: NDArray[np.int64], actions: list[NDArray[np.float64]], last: int) -> Tensor:
        """(K, last + 1, Z) what each row saw last while it did its actions (T, A), of which there are at least `last`."""
        copies = self._copies(len(seeds))
        lived = [_led(copy, int(seed), mine)[-last - 1 :] for copy, seed, mine in zip(copies, seeds, actions, strict=True)]
        return torch.stack([self._see([frames[t] for frames in lived]) for t in range(last + 1)], 1)

    def _copies(self, count: int) -> list[Any]:
        self.copies += [self.make() for _ in range(count - len(self.copies))]
        return self.copies[:count]

    def step(self, rows: Rows, action: Tensor, state: State) -> Seen:  # noqa: ARG002 - the world needs no memory
        choices = action.double().cpu().numpy()
        frames, rewards, ends = zip(*(self.copies[row].advance(choice) for row, choice in zip(rows, choices, strict=True)), strict=True)
        return self._see(frames), np.asarray(rewards, np.float64), np.asarray(ends, np.bool_)

    def _see(self, frames: Any) -> Tensor:
        self.frames = np.stack(frames)
        device = next(self.vision.parameters()).device
        pixels = torch.from_numpy(self.frames).to(device).permute(0, 3, 1, 2)  # laid out channels_last as it is
        return self.vision.posterior(pixels.float().div_(127.5).sub_(1))[0].float()


@dataclass(frozen=True)
class Beginnings:
    """Moments of recorded episodes, from which dreams go on."""

    codes: Tensor  # (M, L + 1, Z) of the moment and of the frames before it
    actions: Tensor  # (M, T, A) that led to it, and more
    at: Tensor  # (M,) how many of them did; at least L
    seeds: Tensor  # (M,) with which its world begins, from where these very actions lead to it; -1 where nobody wrote that down

    def chosen(self, seed: int) -> tuple[int, torch.Generator]:
        """The moment with which a seed begins, and where its other random numbers come from."""
        generator = torch.Generator().manual_seed(seed)
        return int(torch.randint(len(self.at), (), generator=generator)), generator

    def recent(self, which: Tensor) -> tuple[Tensor, Tensor]:
        """Codes (K, L + 1, Z) and actions (K, L, A) that lead to these moments."""
        before = torch.arange(1 - self.codes.shape[1], 0, device=self.at.device)
        return self.codes[which], self.actions[which[:, None], self.at[which, None] + before]


class Led:
    """The world, where a row first does all that was done until the moment that a dream of its seed begins with.

    It is the moment itself where the data say which world that was in. Else, in another world, it is one like it if the actions were
    those of somebody who does not look.
    """

    def __init__(self, world: World, beginnings: Beginnings) -> None:
        self.world, self.beginnings = world, beginnings

    def start(self, seeds: NDArray[np.int64]) -> tuple[Tensor, State]:
        which = [self.beginnings.chosen(int(seed))[0] for seed in seeds]
        actions = [self.beginnings.actions[i, : int(self.beginnings.at[i])].double().cpu().numpy() for i in which]
        known = self.beginnings.seeds.cpu().numpy()[which]
        _, recent = self.beginnings.recent(torch.tensor(which, device=self.beginnings.at.device))
        return recall(self.world.memory, self.world.led(np.where(known < 0, seeds, known), actions, recent.shape[1]), recent)

    def step(self, rows: Rows, action: Tensor, state: State) -> Seen:
        return self.world.step(rows, action, state)


class Dream:
    """M alone: the next frame's code is drawn from its mixture, the reward and the end from its heads.

    Rows of one seed meet the same random numbers. A temperature above 1 makes the dream less certain than M is: the logits of the
    mixture are divided by it, and the variances multiplied (Ha and Schmidhuber 2018, appendix A.2).

    Args:
        beginnings: moments that a seed begins with one of, shown to M with what led to them.
        limit: decisions of a dream, at most.
        end: what an end pays beside the reward that M expects.
    """

    def __init__(self, memory: Any, beginnings: Beginnings, temperature: float, limit: int, end: float) -> None:
        self.memory, self.beginnings, self.temperature, self.limit, self.end = memory, beginnings, temperature, limit, end
        self.noise = self.chance = torch.zeros(0)
        self.age = 0

    def start(self, seeds: NDArray[np.int64]) -> tuple[Tensor, State]:
        unique, self.of = np.unique(seeds, return_inverse=True)
        size, parts, which = self.beginnings.codes.shape[-1], [], []
        for seed in unique:
            moment, generator = self.beginnings.chosen(int(seed))
            which.append(moment)
            parts.append((torch.randn(self.limit, size, generator=generator), torch.rand(self.limit, size + 1, generator=generator)))
        device = self.beginnings.codes.device
        self.noise, self.chance = (torch.stack(part).to(device) for part in zip(*parts, strict=True))
        self.age, of = 0, torch.from_numpy(self.of).to(device)
        seen, state = recall(self.memory, *self.beginnings.recent(torch.tensor(which, device=device)))
        return seen[of], (state[0][of], state[1][of])

    def step(self, rows: Rows, action: Tensor, state: State) -> Seen:  # noqa: ARG002 - M's state has taken it in
        of = torch.from_numpy(self.of[rows]).to(self.noise.device)
        noise, chance = self.noise[of, self.age], self.chance[of, self.age]
        self.age += 1
        expected = self.memory.predict(state[0])
        done = chance[:, -1] < expected.done.float().sigmoid()
        codes = expected.code.drawn(self.temperature, chance[:, :-1], noise)
        return codes, (expected.reward.double() + self.end * done).cpu().numpy(), done.cpu().numpy()


class Diary:
    """The world of one driver, with all that happened written down: a list each, one entry more of what is seen than of what is done."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.frames: list[NDArray[np.uint8]] = []  # (H, W, C)
        self.codes: list[Tensor] = []  # (1, Z)
        self.actions: list[Tensor] = []  # (1, A)
        self.states: list[State] = []  # M's after each action

    def start(self, seeds: NDArray[np.int64]) -> tuple[Tensor, State]:
        seen, state = self.world.start(seeds)
        return self._note(seen), state

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


class Archive:
    """The world of many drivers, with all that happens written down in the arrays of an episode each (K, T, ...), as rollouts have them.

    And which world it was: `seed`, with which it began, and `age`, the decisions made in it before; int64 (K, T).
    """

    def __init__(self, world: World, length: int) -> None:
        self.world, self.length, self.age = world, length, 0
        self.arrays: dict[str, NDArray[Any]] = {}

    def start(self, seeds: NDArray[np.int64]) -> tuple[Tensor, State]:
        seen, state = self.world.start(seeds)
        first = self.world.frames.transpose(0, 3, 1, 2)
        whole = len(seeds), self.length
        self.arrays = {"x": np.repeat(first[:, None], self.length, 1), "mask": np.zeros(whole, np.bool_)}
        self.arrays |= {key: np.zeros(whole, np.float32) for key in ("reward", "done")}
        self.arrays["seed"] = np.repeat(seeds[:, None], self.length, 1)
        self.arrays["age"] = np.repeat(np.arange(self.length)[None], len(seeds), 0)
        return seen, state

    def step(self, rows: Rows, action: Tensor, state: State) -> Seen:
        arrays, t = self.arrays, self.age
        codes, reward, done = self.world.step(rows, action, state)
        arrays.setdefault("action", np.zeros((*arrays["mask"].shape, action.shape[1]), np.float32))[rows, t] = action.cpu().numpy()
        arrays["reward"][rows, t], arrays["done"][rows, t], arrays["mask"][rows, t] = reward, done, True
        seen = self.world.frames.transpose(0, 3, 1, 2)[:, None]
        arrays["x"][rows, t + 1 : t + 2] = seen
        arrays["x"][rows[done], t + 1 :] = seen[done]  # the last picture stays
        self.age += 1
        return codes, reward, done


def _led(copy: Any, seed: int, actions: NDArray[np.float64]) -> list[NDArray[np.uint8]]:
    """The frames that a copy shows while it does the actions; of the next seed where the episode would not last."""
    while True:
        frames, ended = [copy.start(seed)], False
        for action in actions:
            frame, _, ended = copy.advance(action)
            frames.append(frame)
            if ended:
                break
        if not ended:
            return frames
        seed += 1
