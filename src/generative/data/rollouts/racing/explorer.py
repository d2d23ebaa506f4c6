"""A policy that explores: each control is noise with momentum about a mean, so that the car gets somewhere before it turns."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

LOWEST, HIGHEST = np.array([-1.0, 0.0, 0.0]), np.array([1.0, 1.0, 1.0])  # of steering, gas, brake


class Explorer:
    """Called once a decision; returns float32 (3,): steering in [-1, 1], gas and brake in [0, 1].

    Args:
        momentum: share of the noise that stays from one decision to the next; 0 is white noise.
        means, spreads: of the three controls before they are clipped to their range.
    """

    def __init__(self, momentum: float, means: list[float], spreads: list[float], random: np.random.Generator) -> None:
        self.momentum, self.random = momentum, random
        self.means, self.spreads = np.array(means), np.array(spreads)
        self.noise = random.normal(size=3)

    def __call__(self) -> NDArray[np.float32]:
        action = np.clip(self.means + self.spreads * self.noise, LOWEST, HIGHEST).astype(np.float32)
        fresh = self.random.normal(size=3)
        self.noise = self.momentum * self.noise + math.sqrt(1 - self.momentum**2) * fresh
        return action
