"""Distances between sets of images in the features of a judge, a classifier trained on the same data.

Weights of the customary Inception network cannot be had everywhere, so figures compare within one judge only; its hash stands with them.
Features are standardised by the training data: KID's kernel is not scale free.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from generative.metrics.manifold import nearest_ratio, overlap


class Judge:
    """Compares images with held-out ones.

    Args:
        describe: images (B, C, H, W) to features (B, D).
        train: images whose features set mean and scale.
        test: the held-out images that others are compared with.
    """

    def __init__(self, describe: Callable[[Tensor], Tensor], train: Tensor, test: Tensor) -> None:
        self.describe = describe
        features = self._features(train)
        self.mean, self.scale = features.mean(0), features.std(0).clamp(min=1e-6)
        self.train, self.test = (features - self.mean) / self.scale, self._standard(test)

    def compare(self, images: Tensor) -> dict[str, float]:
        """Distances and overlaps between the images and the held-out ones, and how near they are to the training images."""
        features = self._standard(images)
        distances = {"fid": frechet_distance(features, self.test), "kid": kernel_distance(features, self.test)}
        return distances | overlap(features, self.test) | {"nearest_ratio": nearest_ratio(features, self.train, self.test)}

    def _standard(self, images: Tensor) -> Tensor:
        return (self._features(images) - self.mean) / self.scale

    def _features(self, images: Tensor) -> Tensor:
        return torch.cat([self.describe(part).double().cpu() for part in images.split(500)])


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Squared Fréchet distance of two normals fitted to features (N, D) (Heusel et al. 2017, eq. 6); never below 0 but for rounding."""
    covariance_a, covariance_b = torch.cov(a.T), torch.cov(b.T)
    # the product of two positive semi-definite matrices has real eigenvalues >= 0, up to rounding
    roots = torch.linalg.eigvals(covariance_a @ covariance_b).real.clamp(min=0).sqrt().sum()
    difference = (a.mean(0) - b.mean(0)).square().sum()
    return float(difference + covariance_a.trace() + covariance_b.trace() - 2 * roots)


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x·y / D + 1)^3 (Bińkowski et al. 2018, eq. 4); may fall below 0."""

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def off_diagonal(x: Tensor) -> Tensor:
        k = kernel(x, x)
        return (k.sum() - k.diagonal().sum()) / (len(x) * (len(x) - 1))

    return float(off_diagonal(a) + off_diagonal(b) - 2 * kernel(a, b).mean())
