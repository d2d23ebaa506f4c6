"""How every plot looks."""

from __future__ import annotations

from typing import Any

import matplotlib

STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#80808c",
    "axes.labelcolor": "#26262e",
    "text.color": "#26262e",
    "xtick.color": "#80808c",
    "ytick.color": "#80808c",
}


def colours(count: int) -> list[tuple[float, float, float, float]]:
    """That many colours, as far apart as may be."""
    wheel = matplotlib.colormaps["tab10" if count <= 10 else "hsv"]
    return [wheel(i if count <= 10 else i / count) for i in range(count)]
