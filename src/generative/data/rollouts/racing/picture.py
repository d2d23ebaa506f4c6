"""What becomes of gymnasium's own picture: the bar of indicators is cut off, the rest made smaller by averaging areas."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SEEN = 64  # height and width of what the models see
KEPT = 84  # of the 96 rows, those above the indicators


def shrink(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 (96, 96, 3) to (64, 64, 3)."""
    return np.asarray(Image.fromarray(frame[:KEPT]).resize((SEEN, SEEN), Image.Resampling.BOX))
