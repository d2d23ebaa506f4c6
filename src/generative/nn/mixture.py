"""Mixtures of normal densities over each of several numbers, as a network's output (Bishop 1994, eq. 23)."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

LOWEST, HIGHEST = -5.0, 3.0  # of the logarithm of a deviation: below, a density on one example grows without end


class Mixture(NamedTuple):
    """K normals for each number: all three (..., K, Z), with the numbers side by side, over which a CPU vectorises; K are too few."""

    log_weights: Tensor  # normalised over K
    means: Tensor
    log_scales: Tensor

    @classmethod
    def of(cls, outputs: Tensor, components: int) -> Mixture:
        """From a network's outputs (..., 3 * K * Z)."""
        weights, means, log_scales = outputs.float().unflatten(-1, (3, components, -1)).unbind(-3)
        return cls(weights.log_softmax(-2), means, log_scales.clamp(LOWEST, HIGHEST))

    def log_density(self, x: Tensor) -> Tensor:
        """Of each number of x (..., Z), in nats."""
        off = (x.unsqueeze(-2) - self.means) * (-self.log_scales).exp()
        normal = -0.5 * off.square() - self.log_scales - 0.5 * math.log(2 * math.pi)
        return (self.log_weights + normal).logsumexp(-2)

    def drawn(self, temperature: float, uniform: Tensor, normal: Tensor) -> Tensor:
        """Numbers (..., Z): logarithms of weights are divided by the temperature, variances multiplied (Ha and Schmidhuber 2018, 4.3).

        Args:
            uniform, normal: random numbers (..., Z) in [0, 1) and from the standard normal.
        """
        shares = (self.log_weights / temperature).softmax(-2).cumsum(-2)
        chosen = (shares[..., :-1, :] < uniform.unsqueeze(-2)).sum(-2, keepdim=True)
        mean, log_scale = (values.gather(-2, chosen).squeeze(-2) for values in (self.means, self.log_scales))
        return mean + log_scale.exp() * math.sqrt(temperature) * normal
