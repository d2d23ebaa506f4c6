"""Fidelity and variety apart: how two sets of features overlap, judged by nearest neighbours.

Precision and recall: Kynkäänniemi et al. 2019, eq. 1 and 2. Density and coverage: Naeem et al. 2020, eq. 2 and 3. The ball about a
point reaches to its k-th nearest neighbour within its own set.
"""

from __future__ import annotations

import torch
from torch import Tensor

NEIGHBOURS = 5


def overlap(made: Tensor, real: Tensor, k: int = NEIGHBOURS) -> dict[str, float]:
    """Shares of the two sets of features (N, D) and (M, D).

    precision: of the made, how many fall into a ball of real ones; recall: of the real, into a ball of made ones; density: in how many
    balls of real ones a made one lies, divided by k (may exceed 1); coverage: of the balls of real ones, how many hold a made one.
    """
    k = min(k, len(made) - 1, len(real) - 1)
    between = torch.cdist(made, real)
    real_radius, made_radius = _radius(real, k), _radius(made, k)
    inside = between <= real_radius
    return {
        "precision": inside.any(1).double().mean().item(),
        "recall": (between <= made_radius[:, None]).any(0).double().mean().item(),
        "density": inside.double().sum(1).mean().item() / k,
        "coverage": inside.any(0).double().mean().item(),
    }


def nearest_ratio(made: Tensor, train: Tensor, test: Tensor) -> float:
    """How much closer samples lie to training examples than to held-out ones: the median ratio of the nearest distances.

    Towards 0 for a model that copies its training data. What a model that generalises reaches depends on how many there are of either:
    the ratio of real examples that nothing was trained on says it.
    """
    distance = torch.cdist(made, train).amin(1) / torch.cdist(made, test).amin(1).clamp(min=1e-12)
    return distance.median().item()


def _radius(points: Tensor, k: int) -> Tensor:
    return torch.cdist(points, points).kthvalue(k + 1, dim=1).values  # the nearest is the point itself
