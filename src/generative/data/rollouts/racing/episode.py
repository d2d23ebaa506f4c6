"""CarRacing as drivers meet it: decisions that hold for some frames, an end after a thousand, the small picture in either environment."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

FRAMES = 1000  # gymnasium ends an episode of CarRacing-v3 after these


class Episode:
    """One car and its track; `start` gives it the track of a seed.

    Args:
        repeat: frames for which a decision holds.
        official: gymnasium's own environment, unmodified, made as `gymnasium.make` makes it, instead of the fast one.
    """

    controls: ClassVar[tuple[str, ...]] = ("both", "half", "positive")  # how a driver's numbers become the actions
    held: ClassVar[dict[str, tuple[float, ...]]] = {  # what drivers who do not look may do all the time
        "nothing": (0.0, 0.0, 0.0),
        "gas": (0.0, 0.5, 0.0),
        "full gas": (0.0, 1.0, 0.0),
        "left": (-0.5, 0.5, 0.0),
        "right": (0.5, 0.5, 0.0),
        "gas and brake": (0.0, 0.5, 0.5),
    }
    frames_per_second: ClassVar[int] = 50
    end: ClassVar[float] = -90.0  # what leaving the field costs beyond the ten that M is told of at most

    def __init__(self, repeat: int, official: bool) -> None:
        self.repeat, self.frames = repeat, 0
        self.environment: Any = _official() if official else _fast()
        self.official = official

    def start(self, seed: int) -> NDArray[np.uint8]:
        """What is seen first, (64, 64, 3)."""
        self.frames = 0
        frame, _ = self.environment.reset(seed=seed)
        return self._small(frame)

    def advance(self, action: NDArray[np.float64]) -> tuple[NDArray[np.uint8], float, bool]:
        """(what is seen, the sum of rewards, whether it ended) after the decision (3,): steering in [-1, 1], gas and brake in [0, 1]."""
        left = min(self.repeat, FRAMES - self.frames)
        self.frames += left
        if not self.official:
            frame, reward, done = self.environment.advance(action, left)
            return frame, reward, done or self.frames == FRAMES
        reward, done, frame = 0.0, False, None
        for _ in range(left):
            frame, gained, ended, cut, _ = self.environment.step(action)
            reward, done = reward + float(gained), ended or cut
            if done:
                break
        return self._small(frame), reward, done

    def _small(self, frame: Any) -> NDArray[np.uint8]:
        if not self.official:
            return frame
        from generative.data.rollouts.racing.picture import shrink

        return shrink(frame)


def _fast() -> Any:
    from generative.data.rollouts.racing.environment import FastCarRacing

    return FastCarRacing()


def _official() -> Any:
    import gymnasium

    return gymnasium.make("CarRacing-v3")
