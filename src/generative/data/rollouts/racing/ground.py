"""A track's ground, painted once from above: what gymnasium draws anew for every frame, polygon by polygon.

The map lies north up with its corner at (-HALF, -HALF). Level k of it has texels of `TEXEL` x 2^k units, each the mean over its area; the
coarse ones are for the first second of an episode, in which the camera comes down. Left out: gymnasium evens the shade of a tile, by up to
five grey levels, when a wheel first touches it.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import cache
from typing import Any

import numpy as np
from gymnasium.envs.box2d.car_racing import GRASS_DIM, PLAYFIELD
from numpy.typing import NDArray
from PIL import Image, ImageDraw

HALF = 400.0  # units from the middle to the edge of the map: the field and what the camera sees beyond it
TEXEL = 0.4
SIDE = round(2 * HALF / TEXEL)
LEVELS = 5
STEP = 2 ** (LEVELS - 1)  # a painted part begins and ends at multiples of this many texels, so that it covers whole texels at all levels
DETAIL = 2  # painted this many times finer and averaged down, which smooths the edges
DARKER = 2  # grey levels that gymnasium's pictures lose when they are scaled down
KEPT = 8  # tracks of 21 MB each

Map = list[NDArray[np.uint32]]  # the levels: (SIDE, SIDE), (SIDE / 2, SIDE / 2) ..., each number the four bytes red, green, blue, 255
Polygon = tuple[list[tuple[float, float]], Any]

_kept: OrderedDict[tuple[Any, ...], Map] = OrderedDict()


def ground(track: list[Any], road: list[Polygon], background: Any, grass: Any) -> Map:
    """The map of a track of gymnasium's CarRacing; the last few are kept, because many episodes drive on the same.

    Args:
        track: what tells this track from others.
        road: its polygons in the order of drawing, with their colours.
        background, grass: colours of the field and of the patches on it.
    """
    key = (*track, *background, *grass)
    if key not in _kept:
        _kept[key] = _paint(road, tuple(map(int, background)), tuple(map(int, grass)))
        if len(_kept) > KEPT:
            _kept.popitem(last=False)
    _kept.move_to_end(key)
    return _kept[key]


def _paint(road: list[Polygon], background: tuple[int, ...], grass: tuple[int, ...]) -> Map:
    corners = np.array([corner for polygon, _ in road for corner in polygon])
    blocks = (corners + HALF) / (TEXEL * STEP)
    low, high = np.floor(blocks.min(axis=0)).astype(int) * STEP, np.ceil(blocks.max(axis=0)).astype(int) * STEP
    levels = [level.copy() for level in _field(background, grass)]
    part = _drawn([*_meadow(background, grass), *road], low, high)
    for level, pixels in enumerate(_halved(part)):
        (left, top), (right, bottom) = low >> level, high >> level
        levels[level][top:bottom, left:right] = pixels
    return levels


@cache
def _field(background: tuple[int, ...], grass: tuple[int, ...]) -> Map:
    """The map without a road."""
    return _halved(_drawn(_meadow(background, grass), np.zeros(2, int), np.full(2, SIDE)))


def _meadow(background: tuple[int, ...], grass: tuple[int, ...]) -> list[Polygon]:
    patches = [_square(GRASS_DIM * x, GRASS_DIM * y, GRASS_DIM) for x in range(-20, 20, 2) for y in range(-20, 20, 2)]
    return [(_square(-PLAYFIELD, -PLAYFIELD, 2 * PLAYFIELD), background), *((patch, grass) for patch in patches)]


def _square(x: float, y: float, side: float) -> list[tuple[float, float]]:
    return [(x, y), (x + side, y), (x + side, y + side), (x, y + side)]


def _drawn(polygons: list[Polygon], low: NDArray[Any], high: NDArray[Any]) -> Image.Image:
    """The part of the map between two corners, in texels."""
    width, height = (int(side) for side in high - low)
    image = Image.new("RGBA", (width * DETAIL, height * DETAIL), (0, 0, 0, 255))
    pen = ImageDraw.Draw(image)
    left, top = low * TEXEL - HALF
    scale = DETAIL / TEXEL
    for polygon, colour in polygons:
        red, green, blue = (max(int(value) - DARKER, 0) for value in colour)
        pen.polygon([((x - left) * scale - 0.5, (y - top) * scale - 0.5) for x, y in polygon], fill=(red, green, blue, 255))
    return image.reduce(DETAIL)


def _halved(image: Image.Image) -> Map:
    levels = [image]
    while len(levels) < LEVELS:
        levels.append(levels[-1].reduce(2))
    return [np.asarray(level).view(np.uint32)[..., 0] for level in levels]
