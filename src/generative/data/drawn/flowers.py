"""Drawn blossoms. The class is the kind, that is number, layers and shape of the petals; these attributes vary independently of it:

    colour      of the petals, a choice of eight
    heart       the colour of the middle, a choice of three
    background  a choice of five
    leaves      from none to three, a choice
    extra       petals more than the kind has at least, 0 to 2, a choice
    blend       how far the petals' tips differ from their base, in [0, 1]
    radius      of the blossom, as a fraction of the image
    turn        in petals, in [0, 1]
    lean        how far the blossom is turned away from the viewer, in [0, 1], towards
    towards     an angle in radians
    across      where its middle stands, from -1, left, to 1, right, as a fraction of the image
    down        likewise, from -1, top, to 1, bottom

Shades, spots of light in the background and the leaves' places vary too. An example depends on the seed, its split and its place alone.
Everything is a function of the distance to the middle and of the angle about it, which makes edges smooth without drawing them larger.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from generative.data import images, store
from generative.data.attributes import Choices, independent
from generative.params import Positive, Source

Field = NDArray[np.floating[Any]]  # (H, W), or (H, W, 3) of 0 to 1


class Params(Source):
    size: images.Size
    train: Positive
    test: Positive


class Kind(NamedTuple):
    """What makes a kind of blossom: layers from the outer to the inner one, each smaller by `step`."""

    petals: int  # at least
    layers: int
    step: float
    width: float  # of a petal at its widest, in the space that it has there; above 1 petals overlap
    wide: float  # where along the petal it is widest, from 0 to 1
    point: float  # 0.4 round, 1 pointed
    notch: float  # how deep the tip is cut in
    heart: float  # radius of the middle, relative to the blossom
    streak: float  # how dark a line runs along the petal


KINDS = {
    "daisy": Kind(13, 1, 1.0, 0.8, 0.75, 0.35, 0.0, 0.24, 0.05),
    "sunflower": Kind(15, 2, 0.84, 1.0, 0.5, 0.9, 0.0, 0.46, 0.2),
    "cherry": Kind(5, 1, 1.0, 0.95, 0.66, 0.4, 0.2, 0.13, 0.15),
    "poppy": Kind(4, 1, 1.0, 1.25, 0.7, 0.3, 0.0, 0.22, 0.2),
    "lily": Kind(6, 1, 1.0, 0.72, 0.42, 1.0, 0.0, 0.07, 0.55),
    "dahlia": Kind(11, 5, 0.8, 1.0, 0.6, 0.75, 0.0, 0.07, 0.25),
    "rose": Kind(5, 5, 0.76, 1.6, 0.7, 0.25, 0.0, 0.05, 0.0),
    "clematis": Kind(8, 2, 0.55, 0.9, 0.55, 0.6, 0.0, 0.12, 0.3),
}


def _colours(**named: tuple[int, int, int]) -> dict[str, Field]:
    return {name: np.array(colour, np.float32) / 255 for name, colour in named.items()}


PETAL = _colours(white=(250, 248, 240), yellow=(254, 214, 50), orange=(250, 140, 40), red=(216, 36, 44))
PETAL |= _colours(pink=(250, 150, 184), magenta=(206, 44, 140), violet=(132, 84, 200), blue=(76, 120, 224))
BASE = _colours(white=(236, 222, 170), yellow=(240, 150, 20), orange=(214, 60, 30), red=(110, 8, 36))
BASE |= _colours(pink=(214, 60, 120), magenta=(108, 14, 104), violet=(66, 30, 130), blue=(46, 50, 160))
HEART = _colours(gold=(250, 200, 40), brown=(92, 54, 30), lime=(160, 190, 70))
GROUND = _colours(meadow=(70, 122, 62), dusk=(66, 60, 104), sky=(140, 184, 214), earth=(120, 94, 72), shade=(28, 52, 48))
LEAF = np.array([52, 124, 56], np.float32) / 255

VALUES = {
    "colour": list(PETAL),
    "heart": list(HEART),
    "background": list(GROUND),
    "leaves": ["0", "1", "2", "3"],
    "extra": ["0", "1", "2"],
}
RANGES = {
    "blend": (0.0, 1.0),
    "radius": (0.33, 0.45),
    "turn": (0.0, 1.0),
    "lean": (0.0, 1.0),
    "towards": (0.0, 2 * np.pi),
    "across": (-0.07, 0.07),
    "down": (-0.07, 0.07),
}
ATTRIBUTES = [*VALUES, *RANGES]
SPOTS = 5  # of light in the background


def download(params: Params, name: str, folder: Path) -> None:
    """Draws the three splits into `folder`, one npz each."""
    choices = Choices({"kind": list(KINDS), **VALUES}, RANGES, {})
    for number, split in enumerate(store.SPLITS):
        count = getattr(params, split)
        rows = independent(choices, params.seed, number, count)
        details = np.random.default_rng([params.seed, number]).random((count, 4 + 4 * SPOTS), np.float32)
        x = np.empty((count, 3, params.size, params.size), np.uint8)
        for i in range(count):
            x[i] = draw({key: float(column[i]) for key, column in rows.items()}, details[i], params.size)
        attributes = np.stack([rows[key] for key in ATTRIBUTES], axis=1).astype(np.float32)
        np.savez(folder / f"{split}.npz", allow_pickle=False, x=x, y=rows["kind"].astype(np.int64), attributes=attributes)


def preprocess(params: Params, name: str, raw: Path, folder: Path) -> store.Info:
    """The drawn splits in the store's format."""
    splits = {split: store.read_npz(raw / f"{split}.npz", "x", "y", "attributes") for split in store.SPLITS}
    return store.write_dataset(folder, splits, name=name, kind="images", classes=list(KINDS), attributes=ATTRIBUTES, values=VALUES)


def draw(row: dict[str, float], details: NDArray[np.float32], size: int) -> NDArray[np.uint8]:
    """(3, H, W): one blossom over its leaves over the background."""
    kind = list(KINDS.values())[int(row["kind"])]
    names = {key: values[int(row[key])] for key, values in VALUES.items()}
    line = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    x, y = (line - row["across"])[None], (line - row["down"])[:, None]
    image = _ground(GROUND[names["background"]], details[4:].reshape(SPOTS, 4), line)
    if leaves := int(row["leaves"]):
        leaf = Kind(leaves, 1, 1.0, 0.2 * leaves, 0.45, 1.0, 0.0, 0.0, 0.5)
        green = LEAF * (0.7 + 0.6 * details[0])
        _layer(image, _polar(x, y, 0.0, 0.0), leaf, leaves, 0.58, details[1], green, green * 0.6)
    field = _polar(x, y, 0.45 * row["lean"], row["towards"])
    tip, base = PETAL[names["colour"]], BASE[names["colour"]]
    tip, base = tip * (0.9 + 0.1 * details[2]), tip + (base - tip) * (0.35 + 0.65 * row["blend"])
    petals = kind.petals + int(row["extra"]) * (1 + kind.petals // 8)
    for layer in range(kind.layers):
        radius = row["radius"] * kind.step**layer
        _layer(image, field, kind, petals, radius, row["turn"] + 0.5 * (layer % 2) + 0.19 * layer, tip, base)
    _heart(image, field, row["radius"] * kind.heart, HEART[names["heart"]])
    return (image.clip(0, 1) * 255 + 0.5).astype(np.uint8).transpose(2, 0, 1)


def _ground(colour: Field, spots: Field, line: Field) -> Field:
    """Lighter at the top, with spots of light that are out of focus."""
    light = np.repeat((1.1 - 0.5 * line)[:, None], len(line), axis=1)
    for across, down, wide, bright in spots:
        distance = np.hypot(line[None] - across + 0.5, line[:, None] - down + 0.5)
        light += (0.1 + 0.3 * bright) * ((0.06 + 0.14 * wide - distance) * 30).clip(0, 1)
    return light[..., None] * colour * np.float32(0.8)


def _polar(x: Field, y: Field, lean: float, towards: float) -> tuple[Field, Field]:
    """Distance to the middle and angle about it, on a plane that leans away."""
    cosine, sine = np.float32(np.cos(towards)), np.float32(np.sin(towards))
    along, aside = (x * cosine + y * sine) / np.float32(1 - lean * lean), y * cosine - x * sine
    return np.hypot(along, aside), np.arctan2(aside, along) + np.float32(towards)


def _layer(image: Field, field: tuple[Field, Field], kind: Kind, petals: int, radius: float, turn: float, tip: Field, base: Field) -> None:
    """Puts one ring of petals on the image. Each overlaps the next one: a point belongs to the petal before, or else to its own."""
    distance, angle = field
    place = angle * np.float32(petals / (2 * np.pi)) + np.float32(turn)
    own = place - np.floor(place) - np.float32(0.5)  # from the petal's middle line, in petals
    pixels = image.shape[0]
    room = distance * np.float32(2 * np.pi / petals * pixels)  # a petal's, in pixels
    cover, along, aside = _petal(own, distance, room, radius, pixels, kind)
    if kind.width > 0.8:
        upper, above, beside = _petal(own + np.float32(1), distance, room, radius, pixels, kind)
        aside, along = aside + (beside - aside) * upper, along + (above - along) * upper
        cover = cover + upper - cover * upper
    bright = 0.86 + 0.14 * along - 0.26 * aside - kind.streak * 0.6 * np.exp(-60 * aside * aside) * (1 - along)
    bright += 0.07 * np.cos(angle + np.float32(2.3))  # the light comes from the upper left
    bright *= 1 - 0.35 * np.exp(-9 * (along * along))  # darker towards the middle
    colour = (base + (tip - base) * along[..., None]) * bright[..., None]
    image += (colour - image) * cover[..., None]


def _petal(aside: Field, distance: Field, room: Field, radius: float, pixels: int, kind: Kind) -> tuple[Field, Field, Field]:
    """(how much of the pixel it covers, how far along it, from 0 to 1, and how far aside, from -0.5 to 0.5 at the widest place)."""
    along = distance / np.float32(radius)
    if kind.notch:
        along = along * (1 + kind.notch * np.exp(-(aside * aside) * np.float32(60)))
    within = ((1 - along) * np.float32(radius * pixels) + 0.5).clip(0, 1)
    along = along.clip(0, 1)
    rise, fall = np.float32(kind.point * kind.wide / (1 - kind.wide)), np.float32(kind.point)
    peak = kind.wide**rise * (1 - kind.wide) ** fall
    half = np.float32(kind.width * kind.wide / 2 / peak) * along**rise * (1 - along) ** fall / (along + np.float32(0.02))
    cover = np.minimum(((half - np.abs(aside)) * room + 0.5).clip(0, 1), within)
    return cover, along, (aside / (half + np.float32(0.05))).clip(-1, 1) * np.float32(0.5)


def _heart(image: Field, field: tuple[Field, Field], radius: float, colour: Field) -> None:
    """A dome of small seeds that lie on spirals."""
    distance, angle = field
    cover = ((radius - distance) * image.shape[0] + 0.5).clip(0, 1)
    share = (distance / radius).clip(0, 1)
    seeds = np.cos(8 * angle + 9 * share) * np.cos(5 * angle - 12 * share) * share
    bright = 1.1 - 0.5 * share**3 + 0.22 * seeds + 0.1 * np.cos(angle + np.float32(2.3)) * share
    image += (bright[..., None] * colour - image) * cover[..., None]
