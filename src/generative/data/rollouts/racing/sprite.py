"""The car as gymnasium draws it, small. The camera turns with it, so that only its front wheels and the height of the camera change it."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import Box2D
import numpy as np
import pygame
from gymnasium.envs.box2d.car_dynamics import Car
from gymnasium.envs.box2d.car_racing import WINDOW_H, WINDOW_W
from numpy.typing import NDArray

from generative.data.rollouts.racing.picture import shrink

TURNS, WIDEST = 8, 0.4  # pictures to each side of straight on, and how far the front wheels turn, in radians
PHASES = 4  # of the wheels' own turning, averaged: their marks are smaller than a pixel


class Sprite(NamedTuple):
    """A rectangle of the picture: `colour` + `through` x what lies below, both float32 (h, w, 3)."""

    rows: slice
    columns: slice
    colour: NDArray[np.float32]
    through: NDArray[np.float32]


def turn(angle: float) -> int:
    """The number of the picture for an angle of the front wheels."""
    return round(min(max(angle / WIDEST, -1.0), 1.0) * TURNS)


@cache
def sprite(number: int, zoom: float) -> Sprite:
    """The car with its front wheels at a `turn`, seen from a height of `zoom` pixels of gymnasium's window a unit."""
    car = Car(Box2D.b2World((0, 0)), 0.0, 0.0, 0.0)
    for wheel in car.wheels[:2]:
        wheel.angle = number / TURNS * WIDEST
    black, white = (_averaged(car, zoom, ground) for ground in (0, 255))
    even = white.max()  # 255, less what gymnasium's scaling down takes off
    covered = (white < even).any(axis=2) & (white > 0).any(axis=2)
    through = np.clip((white - black) / even, 0, 1)
    rows, columns = (slice(int(at.min()), int(at.max()) + 1) for at in np.nonzero(covered))
    return Sprite(rows, columns, black[rows, columns], through[rows, columns])


def _averaged(car: Car, zoom: float, ground: int) -> NDArray[np.float32]:
    """float32 (64, 64, 3): the picture of nothing but the car on an even ground; elsewhere black."""
    total = np.zeros((96, 96, 3), np.float32)
    for phase in range(PHASES):
        for wheel in car.wheels:
            wheel.phase = 2 * np.pi * phase / PHASES
        surface = pygame.Surface((WINDOW_W // 4, WINDOW_H // 4))
        surface.fill((ground, ground, ground))
        car.draw(surface, zoom, (WINDOW_W / 8, WINDOW_H / 8), 0.0, draw_particles=False)
        small = pygame.transform.smoothscale(pygame.transform.flip(surface, False, True), (24, 24))
        total[60:84, 36:60] += np.transpose(pygame.surfarray.array3d(small), (1, 0, 2))
    return shrink((total / PHASES).round().astype(np.uint8)).astype(np.float32)
