"""gymnasium's car, one step of it in Python's own floats: numpy's cost three times as much, and every bit comes out the same."""

from __future__ import annotations

import math
from typing import Any

from gymnasium.envs.box2d.car_dynamics import ENGINE_POWER, FRICTION_LIMIT, SIZE, WHEEL_MOMENT_OF_INERTIA, Car

STIFFNESS = 205000 * SIZE * SIZE  # of a tyre against slipping
BRAKING = 15  # radians per second and step at most
GRASS = FRICTION_LIMIT * 0.6


class QuickCar(Car):
    """The order of every operation is that of the class below; only skid marks, which the small picture never shows, are left out."""

    def step(self, dt: float) -> None:
        for wheel in self.wheels:
            self._steer(wheel)
            self._roll(wheel, dt)
            self._push(wheel, dt)

    def _steer(self, wheel: Any) -> None:
        joint = wheel.joint
        off = float(wheel.steer) - joint.angle
        joint.motorSpeed = _sign(off) * min(50.0 * abs(off), 3.0)

    def _roll(self, wheel: Any, dt: float) -> None:
        """What engine and brake do to the wheel's own turning."""
        gas, brake, omega = float(wheel.gas), float(wheel.brake), float(wheel.omega)
        omega += dt * ENGINE_POWER * gas / WHEEL_MOMENT_OF_INERTIA / (abs(omega) + 5.0)
        self.fuel_spent += dt * ENGINE_POWER * gas
        if brake >= 0.9:
            omega = 0.0
        elif brake > 0:
            omega += -_sign(omega) * min(BRAKING * brake, abs(omega))
        wheel.phase += omega * dt
        wheel.omega = omega

    def _push(self, wheel: Any, dt: float) -> None:
        """The force of the ground on the wheel, as large as friction allows."""
        limit = GRASS
        for tile in wheel.tiles:
            limit = max(limit, FRICTION_LIMIT * tile.road_friction)
        (ahead_x, ahead_y), (aside_x, aside_y) = wheel.GetWorldVector((0, 1)), wheel.GetWorldVector((1, 0))
        speed_x, speed_y = wheel.linearVelocity
        slip_ahead = -(ahead_x * speed_x + ahead_y * speed_y) + wheel.omega * wheel.wheel_rad
        slip_aside = -(aside_x * speed_x + aside_y * speed_y)
        ahead, aside = slip_ahead * STIFFNESS, slip_aside * STIFFNESS
        force = math.sqrt(ahead * ahead + aside * aside)
        if force > limit:
            ahead, aside = ahead / force * limit, aside / force * limit
        wheel.omega -= dt * ahead * wheel.wheel_rad / WHEEL_MOMENT_OF_INERTIA
        wheel.ApplyForceToCenter((aside * aside_x + ahead * ahead_x, aside * aside_y + ahead * ahead_y), True)


def _sign(value: float) -> float:
    return (value > 0) - (value < 0)
