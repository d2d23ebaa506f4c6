"""Policies: how numbers become actions, and drivers who do not look.

An action has a number for each of its world's controls, whose kind says what the number may be (`SQUASHED`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generative.nn.driving import Policy


def act(controls: Sequence[str], candidates: Tensor, rows: Tensor, features: Tensor) -> Tensor:
    """(K, A) what each of the drivers in `rows` does; a candidate is the weight of its linear layer, row after row, and the bias."""
    mine, size, actions = candidates[rows], features.shape[1], len(controls)
    weight, bias = mine[:, : actions * size].view(-1, actions, size), mine[:, actions * size :]
    return squash(controls, torch.baddbmm(bias[:, :, None], weight, features[:, :, None])[..., 0])


def squash(controls: Sequence[str], raw: Tensor) -> Tensor:
    """(K, A) numbers into the ranges of their actions."""
    return torch.stack([SQUASHED[control](column) for control, column in zip(controls, raw.float().tanh().unbind(1), strict=True)], 1)


def held(action: tuple[float, ...]) -> Policy:
    """Does the same at every decision."""
    return lambda rows, features: torch.tensor(action, device=features.device).expand(len(rows), -1)


def at_random(controls: Sequence[str], seeds: NDArray[np.int64]) -> Policy:
    """Draws every action evenly from its range."""
    generator = torch.Generator().manual_seed(int(seeds[0]))
    low = torch.tensor([0.0 if control in ("half", "positive") else -1.0 for control in controls])

    def policy(rows: Tensor, features: Tensor) -> Tensor:
        drawn = low + (1 - low) * torch.rand(len(rows), len(controls), generator=generator)
        return settled(controls, drawn).to(features.device)

    return policy


def settled(controls: Sequence[str], actions: Tensor) -> Tensor:
    """(K, A) actions within their ranges, those that are a choice made one."""
    whole = torch.tensor([control == "choice" for control in controls], device=actions.device)
    return torch.where(whole, thirds(actions), actions)


def thirds(x: Tensor) -> Tensor:
    """-1, 0 or 1, for each third of [-1, 1]."""
    return x.sign() * (x.abs() > 1 / 3)


SQUASHED: dict[str, Callable[[Tensor], Tensor]] = {
    "both": lambda x: x,
    "half": lambda x: (x + 1) / 2,
    "positive": lambda x: x.clamp_min(0),
    "choice": thirds,  # M is told what the game was told
}
