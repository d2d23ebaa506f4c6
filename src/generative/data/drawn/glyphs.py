"""Letters and digits from the fonts that matplotlib ships, each under a random affine distortion; white on black.

Every image has a label (its character) and five attributes that are drawn independently of it and of each other:

    font      the design, a choice
    weight    regular or bold, a choice, as far as the font has both
    slant     lean of the upright strokes in degrees, positive to the right, in [-slant, slant]
    rotation  of the whole character in degrees, positive anticlockwise, in [-rotation, rotation]
    scale     size relative to the average, in [1 - scale, 1 + scale]
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydantic import Field, field_validator

from generative.data import store
from generative.data.images import to_array
from generative.params import Fraction, Positive, Source

ATTRIBUTES = ["font", "weight", "slant", "rotation", "scale"]
WEIGHTS = ["regular", "bold"]
DETAIL = 2  # images are drawn this many times larger and averaged down, which smooths the edges
TILE = 96  # side of the square each character is first rendered into, in pixels
CAP = 48  # height of a capital letter in that square
HEIGHT = 0.62  # of an average capital letter, as a fraction of the image
WIDEST = 0.84  # a character may be this fraction of the image wide; M and W shrink to fit


class Params(Source):
    size: Annotated[int, Field(ge=8, le=4096)]  # height and width in pixels
    characters: str  # the classes, in order
    slant: Annotated[float, Field(ge=0, le=45)]  # degrees at most
    rotation: Annotated[float, Field(ge=0, le=45)]  # degrees at most
    scale: Annotated[float, Field(ge=0, le=0.5)]  # at most, relative to the average size
    shift: Fraction  # at most, in each direction, as a fraction of the image
    train: Positive
    test: Positive

    @field_validator("characters")
    @classmethod
    def _drawable(cls, characters: str) -> str:
        # Beyond these, the older of the fonts put other signs where ASCII has its own.
        if not (characters.isascii() and characters.isalnum() and len(set(characters)) == len(characters)):
            raise ValueError("expected letters A-Z, a-z and digits, each once")
        return characters


class Face(NamedTuple):
    """One font file, the design and weight it is drawn in, and how far it leans by itself, in degrees."""

    file: str
    font: str
    weight: str
    lean: float


# Sloped copies of an upright design are left out: slanting makes them anyway.
FACES = [
    Face("DejaVuSans.ttf", "DejaVu Sans", "regular", 0),
    Face("DejaVuSans-Bold.ttf", "DejaVu Sans", "bold", 0),
    Face("DejaVuSansMono.ttf", "DejaVu Sans Mono", "regular", 0),
    Face("DejaVuSansMono-Bold.ttf", "DejaVu Sans Mono", "bold", 0),
    Face("DejaVuSerif.ttf", "DejaVu Serif", "regular", 0),
    Face("DejaVuSerif-Bold.ttf", "DejaVu Serif", "bold", 0),
    Face("DejaVuSerif-Italic.ttf", "DejaVu Serif Italic", "regular", 11),
    Face("DejaVuSerif-BoldItalic.ttf", "DejaVu Serif Italic", "bold", 11),
    Face("STIXGeneral.ttf", "STIX", "regular", 0),
    Face("STIXGeneralBol.ttf", "STIX", "bold", 0),
    Face("STIXGeneralItalic.ttf", "STIX Italic", "regular", 16.3),
    Face("STIXGeneralBolIta.ttf", "STIX Italic", "bold", 16.3),
    Face("cmr10.ttf", "Computer Modern", "regular", 0),
    Face("cmb10.ttf", "Computer Modern", "bold", 0),
    Face("cmti10.ttf", "Computer Modern Italic", "regular", 14),
    Face("cmss10.ttf", "Computer Modern Sans", "regular", 0),
    Face("cmtt10.ttf", "Computer Modern Typewriter", "regular", 0),
]
FONTS = list(dict.fromkeys(face.font for face in FACES))


class Tile(NamedTuple):
    """A character of one face, centred, and the factor that its width asks it to shrink by."""

    image: Image.Image
    lean: float
    fit: float


def download(params: Params, name: str, folder: Path) -> None:
    """Draws the three splits into `folder`, one npz each."""
    tiles = [[_tile(face, character) for character in params.characters] for face in FACES]
    for number, split in enumerate(store.SPLITS):
        random = np.random.default_rng([params.seed, number])
        np.savez(folder / f"{split}.npz", allow_pickle=False, **_draw(params, tiles, getattr(params, split), random))


def preprocess(params: Params, name: str, raw: Path, folder: Path) -> store.Info:
    """The drawn splits in the store's format."""
    splits = {split: store.read_npz(raw / f"{split}.npz", "x", "y", "attributes") for split in store.SPLITS}
    return store.write_dataset(
        folder,
        splits,
        name=name,
        kind="images",
        classes=list(params.characters),
        attributes=ATTRIBUTES,
        values={"font": FONTS, "weight": WEIGHTS},
    )


def _tile(face: Face, character: str) -> Tile:
    from matplotlib import get_data_path

    path = Path(get_data_path()) / "fonts" / "ttf" / face.file
    # At size 1000 the height of H says which size makes capital letters CAP pixels high.
    top, bottom = _font(path, 1000).getbbox("H", anchor="ls")[1::2]
    font = _font(path, CAP * 1000 / (bottom - top))
    left, _, right, _ = font.getbbox(character, anchor="ls")
    image = Image.new("L", (TILE, TILE))
    position = (TILE / 2 - (left + right) / 2, TILE / 2 + CAP / 2)
    ImageDraw.Draw(image).text(position, character, fill=255, font=font, anchor="ls")
    width = (right - left) / CAP * HEIGHT  # as a fraction of the image
    return Tile(image, face.lean, min(1.0, WIDEST / width))


def _font(path: Path, size: float) -> ImageFont.FreeTypeFont:
    # The basic layout draws the same everywhere; the other one depends on a library that may be there or not.
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


def _draw(params: Params, tiles: list[list[Tile]], count: int, random: np.random.Generator) -> dict[str, NDArray[Any]]:
    labels = random.permutation(np.arange(count) % len(params.characters))
    faces = random.integers(len(FACES), size=count)
    slants = random.uniform(-params.slant, params.slant, count)
    rotations = random.uniform(-params.rotation, params.rotation, count)
    scales = random.uniform(1 - params.scale, 1 + params.scale, count)
    shifts = random.uniform(-params.shift, params.shift, (count, 2))
    images = np.empty((count, 1, params.size, params.size), np.uint8)
    for i in range(count):
        tile = tiles[faces[i]][labels[i]]
        matrix = _matrix(slants[i], tile.lean, rotations[i], scales[i] * tile.fit)
        images[i] = to_array(_distort(tile.image, matrix, shifts[i], params.size))
    fonts = np.array([FONTS.index(face.font) for face in FACES])[faces]
    weights = np.array([WEIGHTS.index(face.weight) for face in FACES])[faces]
    attributes = np.stack([fonts, weights, slants, rotations, scales], axis=1)
    return {"x": images, "y": labels.astype(np.int64), "attributes": attributes.astype(np.float32)}


def _matrix(slant: float, lean: float, rotation: float, scale: float) -> NDArray[np.float64]:
    """(2, 2): from the tile's coordinates to the image's, y downwards, both in units of a capital letter."""
    shear = np.tan(np.radians(slant)) - np.tan(np.radians(lean))
    cosine, sine = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
    return scale * np.array([[cosine, sine], [-sine, cosine]]) @ np.array([[1, -shear], [0, 1]])


def _distort(tile: Image.Image, matrix: NDArray[np.float64], shift: NDArray[np.float64], size: int) -> Image.Image:
    side = size * DETAIL
    inverse = np.linalg.inv(matrix) * CAP / (HEIGHT * side)  # from the image's pixels to the tile's
    offset = TILE / 2 - inverse @ (side / 2 + shift * side)
    coefficients = (*inverse[0], offset[0], *inverse[1], offset[1])
    large = tile.transform((side, side), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC)
    return large.reduce(DETAIL)
