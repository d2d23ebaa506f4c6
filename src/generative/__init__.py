"""Generative models to make things with: a reproducible catalogue in PyTorch.

import generative
model = generative.load("data/models/vae")
images = model.sample(16)  # (16, C, H, W) in [-1, 1]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from generative.training.checkpoint import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    # torch takes seconds to import, and most commands answer without it
    if name == "load":
        from generative.training.checkpoint import load

        return load
    raise AttributeError(f"module 'generative' has no attribute {name!r}")
