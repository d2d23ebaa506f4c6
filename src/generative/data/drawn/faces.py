"""Drawn faces. The class is the colour of the hair; these attributes vary independently of it and of each other:

    hair        short, long, curly, bun, spiky or bob, a choice
    smiling     no or yes, a choice
    glasses     none, round or square, a choice
    beard       none, moustache or full, a choice
    hat         none, beanie or cap, a choice; hair shows below it
    eyes        brown, blue, green or grey, a choice
    background  a choice of six colours
    shirt       a choice of six colours, also the hat's
    skin        from 0, light, to 1, dark
    width       of the face, in [-1, 1]
    turn        of the head, in [-1, 1], positive to the viewer's right
    tilt        of the head, in [-1, 1], positive clockwise
    brows       in [-1, 1], positive raised

The shade of the hair varies, too. An example depends on the seed, its split and its place alone, whatever their number.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from generative.data import images, store
from generative.data.attributes import Choices, independent
from generative.data.canvas import Canvas, Colour, Points, arc, ellipse, mix, smooth
from generative.params import Fraction, Positive, Source

DETAIL = 4  # images are drawn this many times larger and averaged down


class Params(Source):
    size: images.Size
    smiling: Fraction  # how many smile, wear glasses, a beard, a hat
    glasses: Fraction
    beard: Fraction
    hat: Fraction
    train: Positive
    test: Positive


def _colours(**named: tuple[int, int, int]) -> dict[str, Colour]:
    return {name: np.array(colour, float) for name, colour in named.items()}


HAIR = _colours(black=(38, 32, 38), brown=(112, 66, 36), blond=(238, 196, 96), red=(206, 74, 28), grey=(186, 190, 200))
EYES = _colours(brown=(104, 62, 30), blue=(52, 118, 206), green=(58, 148, 84), grey=(120, 132, 146))
GROUND = _colours(sky=(150, 200, 236), mint=(166, 218, 186), peach=(250, 206, 170))
GROUND |= _colours(lilac=(202, 184, 232), rose=(244, 184, 196), sand=(236, 224, 188))
SHIRT = _colours(navy=(48, 66, 124), teal=(24, 138, 138), crimson=(184, 40, 66))
SHIRT |= _colours(violet=(122, 70, 160), forest=(56, 112, 62), white=(238, 238, 242))
SKIN = np.array([(255, 226, 204), (240, 196, 160), (206, 150, 108), (150, 98, 66), (96, 62, 46)], float)  # light to dark
WHITE, DARK, ROSE, LIP = np.array([(252.0, 252, 252), (36, 28, 32), (232, 96, 96), (176, 58, 66)])
RIM = 0.7  # of a hat's colour, at its rim

VALUES = {
    "hair": ["short", "long", "curly", "bun", "spiky", "bob"],
    "smiling": ["no", "yes"],
    "glasses": ["none", "round", "square"],
    "beard": ["none", "moustache", "full"],
    "hat": ["none", "beanie", "cap"],
    "eyes": list(EYES),
    "background": list(GROUND),
    "shirt": list(SHIRT),
}
RANGES = {"skin": (0.0, 1.0), "width": (-1.0, 1.0), "turn": (-1.0, 1.0), "tilt": (-1.0, 1.0), "brows": (-1.0, 1.0)}
ATTRIBUTES = [*VALUES, *RANGES]


class Face(NamedTuple):
    """One person, as the brush needs it."""

    hair: str
    smiling: str
    glasses: str
    beard: str
    hat: str
    skin: Colour
    strands: Colour  # of the hair
    iris: Colour
    cloth: Colour
    wide: float  # half the face's width
    turn: float  # how far the features move aside
    tilt: float  # radians
    brows: float


def download(params: Params, name: str, folder: Path) -> None:
    """Draws the three splits into `folder`, one npz each."""
    shares = {key: getattr(params, key) for key in ("smiling", "glasses", "beard", "hat")}
    choices = Choices({"colour": list(HAIR), **VALUES}, {**RANGES, "shade": (0.88, 1.08)}, shares)
    grounds = [_ground(colour, params.size * DETAIL) for colour in GROUND.values()]
    for number, split in enumerate(store.SPLITS):
        count = getattr(params, split)
        rows = independent(choices, params.seed, number, count)
        x = np.empty((count, 3, params.size, params.size), np.uint8)
        for i in range(count):
            row = {key: column[i] for key, column in rows.items()}
            x[i] = draw(face(row), grounds[int(row["background"])])
        attributes = np.stack([rows[key] for key in ATTRIBUTES], axis=1).astype(np.float32)
        np.savez(folder / f"{split}.npz", allow_pickle=False, x=x, y=rows["colour"].astype(np.int64), attributes=attributes)


def preprocess(params: Params, name: str, raw: Path, folder: Path) -> store.Info:
    """The drawn splits in the store's format."""
    splits = {split: store.read_npz(raw / f"{split}.npz", "x", "y", "attributes") for split in store.SPLITS}
    return store.write_dataset(folder, splits, name=name, kind="images", classes=list(HAIR), attributes=ATTRIBUTES, values=VALUES)


def face(row: dict[str, float]) -> Face:
    names, place = {key: values[int(row[key])] for key, values in VALUES.items()}, row["skin"] * (len(SKIN) - 1)
    return Face(
        *(names[key] for key in ("hair", "smiling", "glasses", "beard", "hat")),
        skin=np.array([np.interp(place, range(len(SKIN)), channel) for channel in SKIN.T]),
        strands=(list(HAIR.values())[int(row["colour"])] * row["shade"]).clip(0, 255),
        iris=EYES[names["eyes"]],
        cloth=SHIRT[names["shirt"]],
        wide=0.44 + 0.045 * row["width"],
        turn=0.075 * row["turn"],
        tilt=0.13 * row["tilt"],
        brows=0.03 * row["brows"],
    )


def draw(one: Face, ground: Image.Image) -> NDArray[np.uint8]:
    """(3, H, W): one face, from what is behind to what is in front."""
    canvas = Canvas(ground, DETAIL)
    turned = np.array([[np.cos(one.tilt), -np.sin(one.tilt)], [np.sin(one.tilt), np.cos(one.tilt)]])
    neck, down = np.array([0, 0.6]), np.array([0, 0.07])  # the head tilts about the neck; all stands a little below the middle
    tilted, upright = (turned, neck - turned @ neck + down), (np.eye(2), down)
    for part in (_back_hair, _body, _head, _beard, _mouth, _eyes, _front_hair, _glasses, _hat):
        canvas.move(*(upright if part is _body else tilted))
        part(canvas, one)
    return canvas.array()


def _ground(colour: Colour, side: int) -> Image.Image:
    """Brighter in the upper left, darker towards the lower right."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    light = np.exp(-0.45 * ((x + 0.35) ** 2 + (y + 0.45) ** 2))[..., None]
    return Image.fromarray((colour * (0.8 + 0.2 * light) + 16 * light).clip(0, 255).astype(np.uint8))


def _mirrored(half: list[tuple[float, float]]) -> Points:
    """The right half of an outline, top to bottom, closed by its reflection."""
    return np.array(half + [(-x, y) for x, y in reversed(half)])


def _dome(wide: float, high: float, low: float) -> Points:
    """The outline of a head of hair from the left ear over the top to the right one: half an ellipse on two straight sides."""
    angles = np.linspace(np.pi, 0, 15)
    over = np.stack([np.cos(angles) * wide, -0.2 - np.sin(angles) * high], axis=1)
    return np.concatenate([[(-wide, low)], over, [(wide, low)]])


def _back_hair(canvas: Canvas, one: Face) -> None:
    w, colour = one.wide, mix(one.strands, DARK, 0.22)
    if one.hair == "long":
        canvas.fill(colour, _dome(w + 0.15, 0.62, 0.3), (w + 0.25, 0.84), (0.3, 0.92), (-0.3, 0.92), (-w - 0.25, 0.84))
    elif one.hair == "bob":
        canvas.fill(colour, _dome(w + 0.17, 0.62, 0.1), (w + 0.23, 0.4), (0.3, 0.5), (-0.3, 0.5), (-w - 0.23, 0.4))
    elif one.hair == "bun":
        canvas.ellipse(colour, (one.turn * -0.5, -0.8), (0.22, 0.17))
        canvas.ellipse(one.strands, (one.turn * -0.5 - 0.03, -0.82), (0.15, 0.11))
    elif one.hair == "curly":
        for angle in np.linspace(-0.3, np.pi + 0.3, 11):
            canvas.ellipse(colour, (np.cos(angle) * (w + 0.1), -0.12 - np.sin(angle) * 0.48), (0.19, 0.18))


def _body(canvas: Canvas, one: Face) -> None:
    canvas.fill(one.cloth, smooth(_mirrored([(0.16, 0.66), (0.5, 0.7), (0.82, 0.86), (0.86, 1.3)])))
    canvas.fill(one.skin, (-0.17, 0.3), (0.17, 0.3), (0.19, 0.76), (0, 0.86), (-0.19, 0.76))
    canvas.fill(mix(one.skin, DARK, 0.26), (-0.17, 0.3), (0.17, 0.3), (0.18, 0.6), (one.turn, 0.72), (-0.18, 0.6))
    for side in (-1, 1):
        canvas.fill(mix(one.cloth, DARK, 0.3), (side * 0.17, 0.66), (side * 0.3, 0.7), (side * 0.1, 0.98), (0, 0.84))


def _head(canvas: Canvas, one: Face) -> None:
    w, x, shade = one.wide, one.turn, mix(one.skin, DARK, 0.16)
    for side in (-1, 1):
        canvas.ellipse(shade if side * x >= 0 else one.skin, (side * (w - 0.005) - x * 0.6, 0.06), (0.085, 0.12))
    outline = smooth(_mirrored([(0.12, -0.6), (w + 0.02, -0.56), (w + 0.05, 0.1), (w * 0.86, 0.5), (0.17, 0.68)]))
    canvas.fill(shade, outline)
    canvas.fill(one.skin, outline * (0.94, 0.98) + (-0.025 + 0.2 * x, -0.015))
    for side in (-1, 1):
        canvas.ellipse(mix(one.skin, ROSE, 0.26), (side * 0.27 + x, 0.24), (0.09, 0.06))
    tip = 1.3 * x
    canvas.line(mix(one.skin, DARK, 0.34), 0.034, arc((tip + 0.015, 0.02), (tip + 0.085, 0.17), (tip - 0.045, 0.19)))


def _beard(canvas: Canvas, one: Face) -> None:
    if one.beard == "none":
        return
    w, x, colour = one.wide, one.turn, mix(one.strands, DARK, 0.1)
    if one.beard == "full":
        inner = [
            (-w + 0.05, 0.16),
            (-w * 0.7 + x, 0.36),
            (-0.2 + x, 0.27),
            (x, 0.23),
            (0.2 + x, 0.27),
            (w * 0.7 + x, 0.36),
            (w - 0.05, 0.16),
        ]
        canvas.fill(colour, _mirrored([(w + 0.035, 0.12), (w * 0.97, 0.44), (w * 0.6, 0.68), (0.12, 0.77)]), inner)
    for side in (-1, 1):
        tip = (x + side * 0.21, 0.36)
        canvas.fill(colour, arc((x, 0.235), (x + side * 0.16, 0.2), tip), arc(tip, (x + side * 0.1, 0.35), (x, 0.32)))


def _mouth(canvas: Canvas, one: Face) -> None:
    x, y = one.turn * 1.1, 0.37
    if one.smiling == "yes":
        left, right = (x - 0.185, y - 0.05), (x + 0.185, y - 0.05)
        canvas.fill(LIP, arc(left, (x, y + 0.03), right), arc(right, (x, y + 0.26), left))
        left, right = (x - 0.14, y - 0.02), (x + 0.14, y - 0.02)
        canvas.fill(WHITE, arc(left, (x, y + 0.035), right), arc(right, (x, y + 0.13), left))
    else:
        canvas.line(mix(LIP, one.skin, 0.15), 0.05, arc((x - 0.115, y + 0.02), (x, y + 0.005), (x + 0.115, y + 0.02)))


def _eyes(canvas: Canvas, one: Face) -> None:
    for side in (-1, 1):
        x, y = side * 0.185 + one.turn, -0.03
        gaze = x + one.turn * 0.4
        canvas.ellipse(WHITE, (x, y), (0.1, 0.076))
        canvas.ellipse(one.iris, (gaze, y), (0.062, 0.066))
        canvas.ellipse(DARK, (gaze, y), (0.03, 0.033))
        canvas.ellipse(WHITE, (gaze - 0.022, y - 0.024), (0.019, 0.019))
        canvas.line(DARK, 0.03, arc((x - 0.105, y - 0.03), (x, y - 0.125), (x + 0.105, y - 0.03)))
        high = y - 0.165 - one.brows
        canvas.line(mix(one.strands, DARK, 0.55), 0.048, arc((x - 0.11, high + 0.015), (x, high - 0.07), (x + 0.11, high + 0.015)))


def _front_hair(canvas: Canvas, one: Face) -> None:
    w, x, colour = one.wide, one.turn, one.strands
    if one.hair == "spiky":
        at = np.pi * (1.06 - 1.12 * np.arange(7) / 6)
        valleys = np.stack([np.cos(at + 0.1) * (w + 0.05), -0.26 - np.sin(at + 0.1) * 0.36], axis=1)
        tips = np.stack([np.cos(at) * (w + 0.16), -0.3 - np.sin(at) * 0.54], axis=1)
        canvas.fill(colour, np.stack([valleys, tips], axis=1), *_fringe(one.hair, w, x))
        return
    canvas.fill(colour, _dome(w + 0.07, 0.5, 0.3 if one.hair in {"long", "bob"} else 0.02), *_fringe(one.hair, w, x))
    if one.hair == "curly":
        for k, angle in enumerate(np.linspace(0.1, np.pi - 0.1, 8)):
            where = (np.cos(angle) * (w - 0.03) + x * 0.5, -0.32 - np.sin(angle) * 0.24)
            canvas.ellipse(mix(colour, WHITE, 0.06 * (k % 3)), where, (0.13, 0.13))
    else:
        canvas.line(mix(colour, WHITE, 0.3), 0.05, arc((-w * 0.8, -0.44), (-w * 0.6, -0.62), (-0.06, -0.62)))


def _fringe(hair: str, w: float, x: float) -> list[Points]:
    """Where the hair ends upon the face, from right to left."""
    left, right = np.array([-w + 0.01, 0.0]), np.array([w - 0.01, 0.0])
    if hair == "spiky":
        across = [w - 0.06, 0.2 + x, 0.08 + x, -0.08 + x, -0.22 + x, -w + 0.06]
        return [np.array([across, [-0.3, -0.24, -0.36, -0.24, -0.36, -0.28]]).T]
    if hair == "short":
        part = (0.16 + x, -0.44)
        return [right, arc((w - 0.05, -0.24), (w - 0.08, -0.38), part), arc(part, (0.02 + x, -0.3), (-w + 0.06, -0.25)), left]
    if hair == "long":
        part = (-0.1 + x, -0.56)
        return [arc((w - 0.02, 0.3), (w - 0.06, -0.2), part), arc(part, (-w + 0.06, -0.3), (-w + 0.02, 0.3))]
    if hair == "bob":
        straight = arc((0.16 + x, -0.22), (x, -0.25), (-0.16 + x, -0.22))
        sides = [arc((s * (w - 0.02), 0.3), (s * (w - 0.1), 0), (s * (w - 0.1), -0.24)) for s in (1, -1)]
        return [sides[0], straight, sides[1][::-1]]
    return [right, arc((w - 0.06, -0.2), (x, -0.66), (-w + 0.06, -0.2)), left]


def _glasses(canvas: Canvas, one: Face) -> None:
    if one.glasses == "none":
        return
    x, y = one.turn, -0.02
    for side in (-1, 1):
        middle = x + side * 0.2
        square = [(middle - 0.165, y - 0.12), (middle + 0.165, y - 0.12), (middle + 0.155, y + 0.12), (middle - 0.155, y + 0.12)]
        rim = ellipse((middle, y), (0.155, 0.15)) if one.glasses == "round" else np.array(square)
        canvas.line(DARK, 0.042, rim, rim[:2])
        canvas.line(DARK, 0.04, (x + side * 0.355, y - 0.03), (side * (one.wide + 0.02) - x * 0.3, y - 0.02))
    canvas.line(DARK, 0.04, arc((x - 0.05, y - 0.02), (x, y - 0.07), (x + 0.05, y - 0.02)))


def _hat(canvas: Canvas, one: Face) -> None:
    if one.hat == "none":
        return
    w, x, rim = one.wide + 0.11, one.turn, one.cloth * RIM
    canvas.fill(one.cloth, np.add(_dome(w, 0.62 if one.hat == "beanie" else 0.54, -0.2), (0, -0.16)))
    if one.hat == "beanie":
        canvas.ellipse(mix(one.cloth, WHITE, 0.5), (x * -0.3, -0.93), (0.12, 0.1))
        canvas.fill(rim, arc((-w - 0.02, -0.33), (x, -0.46), (w + 0.02, -0.33)), arc((w + 0.02, -0.5), (x, -0.64), (-w - 0.02, -0.5)))
    else:
        canvas.line(rim, 0.03, arc((x, -0.88), (x * 2, -0.7), (x * 1.2, -0.5)))
        left, right = x * 1.2 - w * 0.86, x * 1.2 + w * 0.86
        canvas.fill(rim, arc((-w, -0.36), (x, -0.58), (w, -0.36)), arc((right, -0.3), (x * 2.4, -0.42), (left, -0.3)))
