"""Building bricks in three dimensions, grey on a light ground. The class is the kind of brick; these attributes vary independently of it:

    turn    about the upright axis, in radians
    tilt    how far the camera looks down, in radians
    roll    of the camera, in radians
    size    of the picture of the brick, relative to the average of its kind; large kinds are larger, less than in life
    tone    of the plastic, from 0, dark, to 1, light
    light   where it comes from, in radians about the upright axis, as seen

Orthographic projection, Lambert's law with some light from everywhere, a soft shadow on the ground. The parts of a brick are convex and are
painted from back to front. An example depends on the seed, its split and its place alone, whatever their number.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from generative.data import images, store
from generative.data.attributes import Choices, independent
from generative.data.canvas import Canvas, Points
from generative.params import Positive, Source

DETAIL = 3  # images are drawn this many times larger and averaged down
STEPS = 16  # corners of the polygon that stands for a circle

# In studs: a brick is 6/5 high, a plate 2/5; a stud is 3/10 of a stud's side in radius and 1/5 high.
STUD_RADIUS, STUD_HEIGHT = 0.3, 0.2
BRICK, PLATE = 1.2, 0.4
CLOSE = 0.86  # half the picture, in studs, for a brick that is one stud long from corner to corner


class Params(Source):
    size: images.Size
    train: Positive
    test: Positive


class Kind(NamedTuple):
    """Studs along and across, the height, and whether it is a cylinder, or slopes down over its last row of studs."""

    long: int
    wide: int
    high: float
    form: str


KINDS = {
    "brick 1x1": Kind(1, 1, BRICK, "box"),
    "brick 1x2": Kind(2, 1, BRICK, "box"),
    "brick 2x2": Kind(2, 2, BRICK, "box"),
    "brick 2x4": Kind(4, 2, BRICK, "box"),
    "plate 1x4": Kind(4, 1, PLATE, "box"),
    "plate 2x4": Kind(4, 2, PLATE, "box"),
    "round 2x2": Kind(2, 2, BRICK, "round"),
    "slope 2x2": Kind(2, 2, BRICK, "slope"),
}
RANGES = {
    "turn": (0.0, 2 * np.pi),
    "tilt": (0.4, 0.9),
    "roll": (-0.15, 0.15),
    "size": (0.9, 1.1),
    "tone": (0.0, 1.0),
    "light": (-2.6, -0.5),
}
ATTRIBUTES = list(RANGES)


def download(params: Params, name: str, folder: Path) -> None:
    """Draws the three splits into `folder`, one npz each."""
    choices = Choices({"kind": list(KINDS)}, RANGES, {})
    for number, split in enumerate(store.SPLITS):
        count = getattr(params, split)
        rows = independent(choices, params.seed, number, count)
        x = np.empty((count, 1, params.size, params.size), np.uint8)
        for i in range(count):
            x[i] = draw({key: float(column[i]) for key, column in rows.items()}, params.size)
        attributes = np.stack([rows[key] for key in ATTRIBUTES], axis=1).astype(np.float32)
        np.savez(folder / f"{split}.npz", allow_pickle=False, x=x, y=rows["kind"].astype(np.int64), attributes=attributes)


def preprocess(params: Params, name: str, raw: Path, folder: Path) -> store.Info:
    """The drawn splits in the store's format."""
    splits = {split: store.read_npz(raw / f"{split}.npz", "x", "y", "attributes") for split in store.SPLITS}
    return store.write_dataset(folder, splits, name=name, kind="images", classes=list(KINDS), attributes=ATTRIBUTES)


class Scene(NamedTuple):
    """Where the camera and the light stand. Axes: x and y on the ground, z upwards; those of the camera: right, down, away."""

    camera: Points  # (3, 3): a row each for right, down and away
    light: Points  # (3,) of length 1, towards it
    scale: float  # from studs to the picture, from -1 to 1
    middle: Points  # (3,), what the camera looks at
    tone: float

    def see(self, points: Points) -> Points:
        """(N, 3) in studs to (N, 2) in the picture."""
        return (points - self.middle) @ self.camera[:2].T * self.scale

    def shade(self, normals: Points) -> Points:
        """(N, 3) to (N,): grey of 0 to 255."""
        return 255 * self.tone * (0.32 + 0.76 * (normals @ self.light).clip(0))


def draw(row: dict[str, float], size: int) -> NDArray[np.uint8]:
    """(1, H, W): one brick on its shadow."""
    kind = list(KINDS.values())[int(row["kind"])]
    scene = _scene(row, kind)
    canvas = Canvas(_ground(scene, kind, size * DETAIL), DETAIL)
    if kind.form == "round":
        _stand(canvas, _cylinder(scene, kind.long / 2, kind.high), scene.see(np.zeros((1, 3))))
    else:
        _block(canvas, scene, kind)
    studs = _studs(kind)
    farthest_first = np.argsort(-(studs @ scene.camera[2]))
    _stand(canvas, _cylinder(scene, STUD_RADIUS, STUD_HEIGHT), scene.see(studs[farthest_first]))
    return canvas.array()


def _scene(row: dict[str, float], kind: Kind) -> Scene:
    turn, tilt, roll = row["turn"], row["tilt"], row["roll"]
    right = np.array([np.cos(turn), np.sin(turn), 0])
    level = np.array([-np.sin(turn), np.cos(turn), 0])  # away from the camera, along the ground
    up = np.array([0.0, 0, 1])
    down, away = -np.cos(tilt) * up - np.sin(tilt) * level, np.cos(tilt) * level - np.sin(tilt) * up
    right, down = np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right
    flat = np.cos(row["light"]) * right + np.sin(row["light"]) * level
    light = 0.9 * flat + up
    extent = np.linalg.norm([kind.long, kind.wide, kind.high])
    scale = CLOSE * row["size"] / float(extent) ** 0.6
    middle = np.array([0, 0, kind.high / 2])
    return Scene(np.stack([right, down, away]), light / np.linalg.norm(light), scale, middle, 0.42 + 0.5 * row["tone"])


def _ground(scene: Scene, kind: Kind, side: int) -> Image.Image:
    """Light paper with the shadow of the brick's body, softened."""
    sheet = Image.fromarray(np.repeat(np.linspace(244, 226, side).astype(np.uint8)[:, None], side, axis=1))
    canvas = Canvas(sheet, 1)
    foot, top = _corners(kind, 0.0), _corners(kind, kind.high)
    fallen = top - scene.light * (kind.high / scene.light[2])  # along the light down to the ground
    outline = _hull(scene.see(np.concatenate([foot, fallen])))
    canvas.fill(np.array([128.0]), outline)
    return canvas.image.filter(ImageFilter.BoxBlur(side * 0.02)).filter(ImageFilter.BoxBlur(side * 0.02))


def _corners(kind: Kind, z: float) -> Points:
    """The body's outline at a height, anticlockwise seen from above."""
    if kind.form == "round":
        return _circle(kind.long / 2, z)
    x, y = kind.long / 2, kind.wide / 2
    near = x - (kind.long - 1) * z / kind.high if kind.form == "slope" else x
    return np.array([(-x, -y, z), (near, -y, z), (near, y, z), (-x, y, z)])


def _circle(radius: float, z: float) -> Points:
    angles = np.linspace(0, 2 * np.pi, STEPS, endpoint=False)
    return np.stack([radius * np.cos(angles), radius * np.sin(angles), np.full(STEPS, z)], axis=1)


def _block(canvas: Canvas, scene: Scene, kind: Kind) -> None:
    foot, top = _corners(kind, 0.0), _corners(kind, kind.high)
    after, above = np.roll(foot, -1, axis=0), np.roll(top, -1, axis=0)
    faces = np.concatenate([np.stack([foot, after, above, top], axis=1), top[None]])  # (5, 4, 3)
    normals = np.cross(faces[:, 1] - faces[:, 0], faces[:, 3] - faces[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    for i in np.flatnonzero(normals @ scene.camera[2] < 0):  # those towards the camera
        canvas.fill(scene.shade(normals[i : i + 1]), scene.see(faces[i]))


def _cylinder(scene: Scene, radius: float, high: float) -> list[tuple[Points, Points]]:
    """(grey, outline) of its side in upright strips, then of its top; seen from where its foot's middle is."""
    foot = _circle(radius, 0.0)
    after = np.roll(foot, -1, axis=0)
    normals = (foot + after) / np.linalg.norm(foot + after, axis=1, keepdims=True)
    up = np.array([0.0, 0, high])
    corners = np.stack([foot, after, after + up, foot + up], axis=1)  # (STEPS, 4, 3)
    flat = corners @ scene.camera[:2].T * scene.scale
    towards = np.flatnonzero(normals @ scene.camera[2] < 0)
    strips = [(grey, flat[i]) for i, grey in zip(towards, scene.shade(normals[towards])[:, None], strict=True)]
    return [*strips, (scene.shade(np.array([[0.0, 0, 1]])), flat[:, 3])]


def _stand(canvas: Canvas, parts: list[tuple[Points, Points]], feet: Points) -> None:
    """Puts the same thing on each of several places in the picture, (N, 2)."""
    for foot in feet:
        for grey, outline in parts:
            canvas.fill(grey, outline + foot)


def _studs(kind: Kind) -> Points:
    """(N, 3): the middle of each stud's foot; a slope has them on its first row alone."""
    columns = 1 if kind.form == "slope" else kind.long
    x, y = np.meshgrid(np.arange(columns) - (kind.long - 1) / 2, np.arange(kind.wide) - (kind.wide - 1) / 2)
    return np.stack([x.ravel(), y.ravel(), np.full(x.size, kind.high)], axis=1)


def _hull(points: Points) -> Points:
    """The corners of the smallest convex outline about (N, 2) points (Andrew's monotone chain)."""
    ordered = sorted(map(tuple, points.tolist()))
    outline: list[tuple[float, ...]] = []
    for run in (ordered, ordered[::-1]):
        start = len(outline)
        for x, y in run:
            while len(outline) > start + 1 and _turns_right(outline[-2], outline[-1], (x, y)):
                outline.pop()
            outline.append((x, y))
        outline.pop()
    return np.array(outline)


def _turns_right(a: tuple[float, ...], b: tuple[float, ...], c: tuple[float, ...]) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) <= 0
