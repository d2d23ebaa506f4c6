"""A canvas for drawn data: polygons in plain coordinates, smooth at the edges."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

Points = NDArray[np.floating[Any]]  # (N, 2): x to the right, y downwards, the picture from -1 to 1
Colour = NDArray[np.floating[Any]]  # (3,) of 0 to 255

CORNERS = 28  # of the polygon that stands for an ellipse
_ANGLES = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


class Canvas:
    """Draws `detail` times larger than asked for and averages down, which smooths the edges.

    Args:
        ground: (S, S, 3) or (S, S) of 0 to 255, where S = size * detail; what is drawn upon.
    """

    def __init__(self, ground: Image.Image, detail: int) -> None:
        self.image, self.detail = ground.copy(), detail
        self.pen = ImageDraw.Draw(self.image)
        self.half = ground.width / 2
        self.matrix, self.shift = np.eye(2), np.zeros(2)

    def move(self, matrix: ArrayLike, shift: ArrayLike) -> None:
        """What is drawn from now on passes through this affine map first."""
        self.matrix, self.shift = np.asarray(matrix, float), np.asarray(shift, float)

    def fill(self, colour: Colour, *outline: ArrayLike) -> None:
        """The area inside an outline, given in pieces that follow each other: points, or lists of points."""
        self.pen.polygon(self._pixels(outline), fill=ink(colour))

    def line(self, colour: Colour, width: float, *path: ArrayLike) -> None:
        self.pen.line(self._pixels(path), fill=ink(colour), width=max(1, round(width * self.half)), joint="curve")

    def ellipse(self, colour: Colour, centre: ArrayLike, radius: ArrayLike) -> None:
        self.fill(colour, ellipse(centre, radius))

    def array(self) -> NDArray[np.uint8]:
        """(C, H, W)."""
        small = np.asarray(self.image.reduce(self.detail))
        return small[None] if small.ndim == 2 else small.transpose(2, 0, 1)

    def _pixels(self, pieces: tuple[ArrayLike, ...]) -> list[float]:
        points = np.concatenate([np.reshape(piece, (-1, 2)) for piece in pieces])
        return ((points @ self.matrix.T + self.shift + 1) * self.half).ravel().tolist()


def ink(colour: Colour) -> Any:
    """What Pillow takes for a colour: three whole numbers, or one for grey."""
    return tuple(int(c) for c in colour) if len(colour) > 1 else int(colour[0])


def ellipse(centre: ArrayLike, radius: ArrayLike) -> Points:
    return np.asarray(centre, float) + _CIRCLE * np.asarray(radius, float)


def smooth(corners: ArrayLike, times: int = 3) -> Points:
    """A closed curve that rounds the polygon off (Chaikin: each corner is cut at a quarter of its sides)."""
    points = np.asarray(corners, float)
    for _ in range(times):
        after = np.roll(points, -1, axis=0)
        points = np.stack([0.75 * points + 0.25 * after, 0.25 * points + 0.75 * after], axis=1).reshape(-1, 2)
    return points


def arc(start: ArrayLike, middle: ArrayLike, end: ArrayLike) -> Points:
    """Nine points of the parabola that leaves `start` and ends at `end`, drawn towards `middle`."""
    t = np.linspace(0, 1, 9)[:, None]
    return (1 - t) ** 2 * np.asarray(start, float) + 2 * t * (1 - t) * np.asarray(middle, float) + t**2 * np.asarray(end, float)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """`share` of the second colour in the first."""
    return first + (second - first) * share
