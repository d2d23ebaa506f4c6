"""How much signal and how much noise is left at a time in [0, 1], and the way back from noise.

At time t an image x has become signal(t) x + noise(t) e with e ~ N(0, 1) and signal^2 + noise^2 = 1, which preserves unit variance.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from generative.nn.normal import noise_like

Schedule = Literal["linear", "cosine", "offset_cosine"]
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)

RATES = 0.1, 20.0  # of the linear schedule, noise added per unit of time at its two ends: 1000 times Ho et al.'s 0.0001 and 0.02
ENDS: dict[Schedule, tuple[float, float]] = {"cosine": (1.0, 0.01), "offset_cosine": (0.95, 0.02)}  # signal at the times 0 and 1


def rates(schedule: Schedule, time: Tensor) -> tuple[Tensor, Tensor]:
    """Signal and noise at these times, each of the shape of `time`.

    `linear` is the limit of Ho et al. 2020, section 4, for many steps (Song et al. 2021, eq. 33). `cosine` goes round a quarter of the
    circle at an even pace (Nichol and Dhariwal 2021, eq. 17, without their offset) and stops short of its end, from where nothing could be
    recovered; `offset_cosine` spares both ends.
    """
    if schedule == "linear":
        low, high = RATES
        log_signal = -time.square() * (high - low) / 4 - time * low / 2
        return log_signal.exp(), (-torch.expm1(2 * log_signal)).sqrt()
    first, last = map(math.acos, ENDS[schedule])
    angle = first + time * (last - first)
    return angle.cos(), angle.sin()


def back(clean: Tensor, noise: Tensor, now: tuple[Tensor, Tensor], then: tuple[Tensor, Tensor], freshness: float) -> Tensor:
    """The image at an earlier time, of what it is thought to consist of now (Song et al. 2020, eq. 12 and 16).

    Args:
        clean, noise: the image without its noise, and the noise, as far as they are known.
        now, then: signal and noise at the time that the image comes from, and at the earlier one.
        freshness: 0 keeps the noise (DDIM), 1 draws as much of it anew as the posterior of the forward process has (DDPM).
    """
    kept = (now[0] / then[0]).square()  # share of the variance at the earlier time that is left now
    drawn = freshness * then[1] / now[1] * (1 - kept).clamp(min=0).sqrt()
    image = then[0] * clean + (then[1].square() - drawn.square()).clamp(min=0).sqrt() * noise
    return image + drawn * noise_like(image) if freshness else image


def spherical(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """From `a` to `b` around the origin (Shoemake 1985): between two draws of noise, each point is as likely as a draw.

    Args:
        a, b: (...), of about the same length.
        share: (S,) in [0, 1], of the way.

    Returns:
        (S, ...).
    """
    angle = share.view(-1, *[1] * a.dim()) * (math.pi / 2)
    return angle.cos() * a + angle.sin() * b
