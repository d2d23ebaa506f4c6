"""What becomes of gymnasium's own picture: the bar of indicators is cut off, the rest made smaller by averaging areas."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SEEN = 64  # height and width of what the models see
RAW = 96  # of gymnasium's
KEPT = 84  # of these rows, those above the indicators


def shrink(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 (RAW, RAW, 3) to (SEEN, SEEN, 3)."""
    return np.asarray(Image.fromarray(frame[:KEPT]).resize((SEEN, SEEN), Image.Resampling.BOX))


def parts(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the SEEN parts begin that `shrink` makes of so many rows or columns, and how wide they are: whole ones, one or two."""
    each = np.asarray(Image.fromarray(np.eye(size, dtype=np.float32)).resize((SEEN, size), Image.Resampling.BOX)) > 0
    return each.argmax(axis=0).astype(np.float64), each.sum(axis=0).astype(np.float64)
