"""CarRacing as gymnasium has it, with a small picture that costs a hundredth of gymnasium's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.envs.box2d.car_racing import CarRacing
from numpy.typing import NDArray

from generative.data.rollouts.racing.ground import Map
from generative.data.rollouts.racing.physics import QuickCar
from generative.data.rollouts.racing.picture import SEEN
from generative.data.rollouts.racing.view import draw, look

Frame = NDArray[np.uint8]


class FastCarRacing(CarRacing):
    """Frames are uint8 (64, 64, 3): gymnasium's picture without the bar of indicators, made smaller. There is no limit of steps."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = spaces.Box(low=0, high=255, shape=(SEEN, SEEN, 3), dtype=np.uint8)
        self.watched = True  # whether the next step draws its picture
        self.ground: Map = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Frame, dict[str, Any]]:
        self.watched = True
        self.ground = []
        frame: Any
        frame, info = super().reset(seed=seed, options=options)
        assert self.car is not None
        self.car.__class__ = QuickCar  # gymnasium names its class where it makes the car, and leaves no other way in
        return frame, info

    def place(self, tile: int, turned: float) -> None:
        """Puts the car, as it stands after a reset, onto a tile of the track, turned from its direction by an angle in radians."""
        assert self.car is not None
        _, heading, x, y = self.track[tile]
        old, by = self.car.hull.position.copy(), heading + turned - self.car.hull.angle
        cosine, sine = math.cos(by), math.sin(by)
        for body in (self.car.hull, *self.car.wheels):
            off_x, off_y = body.position - old
            body.transform = (x + cosine * off_x - sine * off_y, y + sine * off_x + cosine * off_y), body.angle + by

    def advance(self, action: NDArray[Any], repeat: int) -> tuple[Frame, float, bool]:
        """The same action for `repeat` steps or until the episode ends: (the last frame, the sum of rewards, whether it ended)."""
        frame: Any = None
        total, done = 0.0, False
        for left in reversed(range(repeat)):
            self.watched = left == 0
            frame, reward, done, _, _ = self.step(action)
            total += reward
            if done:
                break
        if not self.watched:
            self.watched = True
            frame = self._render("state_pixels")
        return frame, total, done

    def _render(self, mode: str) -> Frame | None:  # noqa: ARG002 - there is one picture only
        self.ground = self.ground or look(self)
        return draw(self) if self.watched else None
