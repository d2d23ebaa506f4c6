"""Pictures as arrays: decoding what people have on their disks, and fitting it to one square size."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pydantic import Field

# pad: whole, centred on black, made smaller only where it must; crop: the central square; resize: stretched; interpolate: the same, each
# pixel from the four at its place, also where a picture gets smaller, as tf.image.resize does
Fit = Literal["pad", "crop", "resize", "interpolate"]
Size = Annotated[int, Field(ge=4, le=4096)]  # height and width in pixels

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"}

# What Pillow and its decoders raise on files that are broken, cut short, of no known format or absurdly large.
UNREADABLE = (
    OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, ArithmeticError, AttributeError, AssertionError, RuntimeError,
    MemoryError, struct.error, zlib.error,
)  # fmt: skip


class UnreadableError(Exception):
    """A file that is no usable picture; says why."""


def fit(image: Image.Image, size: int, how: Fit) -> Image.Image:
    """The picture as a square of `size`; smaller is made by averaging over areas, larger by interpolation."""
    if how == "crop":
        return ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    if how == "resize":
        return image.resize((size, size), Image.Resampling.BILINEAR)
    if how == "interpolate":
        to_picture = (image.width / size, 0, 0, 0, image.height / size, 0)
        return image.transform((size, size), Image.Transform.AFFINE, to_picture, Image.Resampling.BILINEAR)
    if max(image.size) > size:
        image = ImageOps.contain(image, (size, size), Image.Resampling.BILINEAR)
    square = Image.new(image.mode, (size, size))
    square.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
    return square


def fit_all(images: NDArray[np.uint8], size: int, how: Fit) -> NDArray[np.uint8]:
    """(N, C, H, W) with C of 1 or 3 to (N, C, size, size)."""
    height, width = images.shape[2:]
    if height == width == size:
        return images
    if how == "pad" and max(height, width) <= size:
        top, left = (size - height) // 2, (size - width) // 2
        return np.pad(images, ((0, 0), (0, 0), (top, size - height - top), (left, size - width - left)))
    fitted = np.empty((*images.shape[:2], size, size), np.uint8)
    for image, target in zip(images, fitted, strict=True):
        target[:] = to_array(fit(to_image(image), size, how))
    return fitted


def to_image(array: NDArray[np.uint8]) -> Image.Image:
    """(1, H, W) to a grey picture, (3, H, W) to a coloured one."""
    return Image.fromarray(array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0)))


def to_array(image: Image.Image) -> NDArray[np.uint8]:
    """A grey picture to (1, H, W), a coloured one to (3, H, W)."""
    array = np.asarray(image)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def decode(path: Path, channels: int) -> Image.Image:
    """The first frame as a person sees it: turned as its EXIF says, on white where it is transparent.

    Args:
        channels: 1 for grey, 3 for colour.

    Raises:
        UnreadableError: broken, cut short, of no known format, or of more pixels than Pillow holds for harmless.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                image.load()
                ImageOps.exif_transpose(image, in_place=True)
                return _flat(image).convert("L" if channels == 1 else "RGB")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableError(f"more than the {Image.MAX_IMAGE_PIXELS:,} pixels that are safe to open") from None
    except Image.UnidentifiedImageError:
        raise UnreadableError(f"not an image in one of the formats {', '.join(FORMATS)}") from None
    except UNREADABLE as error:
        raise UnreadableError(" ".join(str(error).split()) or type(error).__name__) from None


def _flat(image: Image.Image) -> Image.Image:
    """8 bits a channel and no transparency."""
    if image.mode.startswith("I"):  # 16 bits, which Pillow would clip at 255 instead of scaling
        wide: NDArray[Any] = np.asarray(image)
        return Image.fromarray((wide // 257).clip(0, 255).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("floating-point pixels, of which nobody knows the white")
    if not image.has_transparency_data:
        return image
    visible = image if image.mode == "RGBA" else image.convert("RGBA")
    white = Image.new("RGBA", visible.size, "white")
    return Image.alpha_composite(white, visible)
