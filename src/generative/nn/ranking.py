"""How well one number tells two kinds of examples apart."""

import torch
from torch import Tensor


def auroc(inside: Tensor, outside: Tensor) -> Tensor:
    """The area under the ROC curve: the share of pairs (N, M) in which the outsider's number is the higher one; a tie counts half."""
    ordered = inside.sort().values
    below, reached = (torch.searchsorted(ordered, outside.contiguous(), side=side) for side in ("left", "right"))
    return ((below + reached).double() / (2 * len(ordered))).mean().float()
