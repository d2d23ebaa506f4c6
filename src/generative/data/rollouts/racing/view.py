"""The picture of a moment: one look-up a point in the map of the ground, and the car on top of it."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from gymnasium.envs.box2d.car_racing import SCALE, WINDOW_H, WINDOW_W, ZOOM
from numpy.typing import NDArray

from generative.data.rollouts.racing.ground import HALF, LEVELS, ground
from generative.data.rollouts.racing.picture import KEPT, RAW, SEEN, parts
from generative.data.rollouts.racing.sprite import sprite, turn

if TYPE_CHECKING:
    from generative.data.rollouts.racing.environment import FastCarRacing

ACROSS = 2  # look-ups a pixel side by side: gymnasium's are wider than high
NEAR = ZOOM * SCALE  # pixels of gymnasium's window a unit, when the camera has come down
HALVES = np.uint32(0xFEFEFEFE)


def draw(env: FastCarRacing) -> NDArray[np.uint8]:
    """uint8 (64, 64, 3) of the environment as it stands."""
    assert env.car is not None
    zoom = 0.1 * SCALE * max(1 - env.t, 0) + NEAR * min(env.t, 1)
    (x, y), angle = env.car.hull.position, env.car.hull.angle
    level = round(math.log2(NEAR / zoom))
    painted = env.ground[min(level, LEVELS - 1)]
    points = painted.take(_places(x, y, angle, zoom, painted.shape[0])).reshape(SEEN, SEEN, ACROSS)
    left, right = points[..., 0], points[..., 1]
    mean = (left & right) + (((left ^ right) & HALVES) >> np.uint32(1))  # of each of the four bytes
    frame = np.empty((SEEN, SEEN, 3), np.uint8)
    for channel in range(3):  # one by one: numpy is slow with rows of three
        frame[..., channel] = mean.view(np.uint8)[:, channel::4]
    car = sprite(0 if level else turn(env.car.wheels[0].joint.angle), zoom)
    below = frame[car.rows, car.columns]
    frame[car.rows, car.columns] = car.colour + car.through * below + 0.5
    return frame


def look(env: FastCarRacing) -> list[NDArray[np.uint32]]:
    """The map of the ground that the environment has laid out."""
    return ground(env.track, env.road_poly, env.bg_color, env.grass_color)


def _places(x: float, y: float, angle: float, zoom: float, side: int) -> NDArray[np.intp]:
    """Where in a map of this side each point of the picture lies, (SEEN, SEEN x ACROSS): the window turned by the angle about the car."""
    right, ahead = window()
    scale = side / (2 * HALF)
    cosine, sine = math.cos(angle) * scale / zoom, math.sin(angle) * scale / zoom
    columns = np.add.outer(ahead * -sine + (x + HALF) * scale, right * cosine).astype(np.int64)
    rows = np.add.outer(ahead * cosine + (y + HALF) * scale, right * sine).astype(np.int64)
    if zoom < NEAR:  # only then does the camera see beyond the map
        columns, rows = columns.clip(0, side - 1), rows.clip(0, side - 1)
    rows *= side
    rows += columns
    return rows


@cache
def window() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pixels of gymnasium's window to the right of the car and ahead of it, for the columns and rows of points.

    They lie in the middle of those pixels of gymnasium's picture that `shrink` makes one of. Rows and columns at even distances would be
    off by a quarter of such a pixel, always to the same side, and V sees that.
    """
    (left, wide), (top, high) = parts(RAW), parts(KEPT)
    across = (left[:, None] + wide[:, None] * (np.arange(ACROSS) + 0.5) / ACROSS).ravel() * WINDOW_W / RAW - WINDOW_W / 2
    down = (top + high / 2) * WINDOW_H / RAW
    return across.astype(np.float32), (WINDOW_H * 3 / 4 - down).astype(np.float32)
