"""Probabilities at a temperature."""

from __future__ import annotations

import torch
from torch import Tensor


def tempered(logits: Tensor, temperature: float, dim: int = -1) -> Tensor:
    """softmax(logits / temperature) in float32 along `dim`; the colder, the more of it the largest has, and all next to 0.

    Args:
        temperature: above 0, however little: no logit becomes an infinity.
    """
    logits = logits.float()
    below = logits - logits.amax(dim, keepdim=True)
    return (below / max(temperature, torch.finfo(below.dtype).tiny)).softmax(dim)
