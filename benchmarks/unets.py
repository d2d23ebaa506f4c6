"""Training steps of other libraries' U-Nets at the widths of the published one, without attention where they can do without.

Contestants of `python -m benchmarks diffusion`: `python -m benchmarks.unets diffusers bfloat16 16 32,64,96,128 2`. They average none.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock

import torch
from torch.nn import functional as F

from benchmarks.worker import serve
from generative.training.device import place

SIDE, CHANNELS = 64, 3
UNUSED = "torchvision", "torchvision.transforms", "torchvision.utils", "ema_pytorch", "accelerate"  # by the U-Net that is imported


def diffusers(widths: list[int], depth: int) -> Any:
    from diffusers.models.unets.unet_2d import UNet2DModel

    levels = len(widths)
    network = UNet2DModel(
        SIDE, CHANNELS, CHANNELS, block_out_channels=tuple(widths), layers_per_block=depth, add_attention=False,
        down_block_types=("DownBlock2D",) * levels, up_block_types=("UpBlock2D",) * levels,
    )  # fmt: skip
    return network, lambda x, time: network(x, time * 1000).sample


def lucidrains(widths: list[int], depth: int) -> Any:  # noqa: ARG001 - it has two blocks a level
    for name in UNUSED:
        sys.modules[name] = MagicMock()
    from denoising_diffusion_pytorch.denoising_diffusion_pytorch import Unet

    network = Unet(widths[0], dim_mults=tuple(width // widths[0] for width in widths), channels=CHANNELS)
    return network, lambda x, time: network(x, time * 1000)


def train(library: str, precision: str, batch_size: int, widths: list[int], depth: int) -> Callable[[int], None]:
    here = place(precision, 1)
    torch.manual_seed(1)
    network, predict = {"diffusers": diffusers, "lucidrains": lucidrains}[library](widths, depth)
    here.put(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.001, weight_decay=0.0001, fused=True)
    x = torch.randn(batch_size, SIDE, SIDE, CHANNELS).permute(0, 3, 1, 2)

    def run(steps: int) -> None:
        for _ in range(steps):
            noise = torch.randn(batch_size, SIDE, SIDE, CHANNELS).permute(0, 3, 1, 2)
            with here.autocast():
                predicted = predict(0.8 * x + 0.6 * noise, torch.rand(batch_size))
            loss = F.l1_loss(predicted.float(), noise)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


if __name__ == "__main__":
    library_, precision_, size, levels_, depth_ = sys.argv[1:]
    serve(train(library_, precision_, int(size), [int(width) for width in levels_.split(",")], int(depth_)))
