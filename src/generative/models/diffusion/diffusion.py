"""A denoising diffusion model (Ho et al. 2020, Algorithms 1 and 2) with the deterministic sampler of Song et al. 2020 (DDIM, eq. 12).

The U-Net, its loss (the mean absolute error of the noise), the schedules and the averaged weights follow the published notebook: time is
continuous, the network reads the variance of the noise, and the figures and samples are those of the averaged weights.

Departures:
* The statistics that standardise the images are those of the batches seen so far, not of a pass over the data before training.
* The times of a batch are spread evenly over [0, 1] from one random offset (Kingma et al. 2021, section I.1) instead of drawn one by one.
* The last kernel starts at nearly 0, not at 0, so that the first step already reaches every parameter.
* The predicted image is clipped to [-1, 1] in each step of a sampler, as Ho et al. do and the notebook does only at the end; the noise is
  then what is left.
* The linear schedule is the continuous limit of the 1000 steps, and the cosine schedule ends at a signal of 0.01 rather than 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Literal, get_args

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F
from torch.optim import AdamW

from generative.data.store import Batch, Info
from generative.errors import UsageError
from generative.models.exhibit import Exhibit, Film, Heatmap, Lines, Sheet
from generative.models.model import Average, Loss, Model, Objective
from generative.nn.normal import noise_like
from generative.nn.schedule import SCHEDULES, Schedule, back, rates, spherical
from generative.nn.standardise import Standardise
from generative.nn.unet import UNet
from generative.params import Fraction, Positive, Training, Weight, Widths

Sampler = Literal["ddim", "ddpm"]
ROWS, SHOWN = 4, 12  # of samples
STEPS, NOISES = {"ddim": (1, 2, 5, 20, 100), "ddpm": (20, 100)}, 8  # of the sheet that compares them
PAIRS, POINTS = 5, 11  # of interpolations
FRAMES, PAUSE, STAGES = 40, 12, 10  # of the film, of its standing end, and of the strip that is cut from it


class Params(Training):
    widths: Widths  # channels at each resolution, the full one first
    depth: Positive  # residual blocks at each resolution
    embedding_size: Annotated[int, Field(gt=0, le=1024, multiple_of=2)]  # channels that tell how much noise there is
    noise_schedule: Schedule
    weight_decay: Weight
    average_decay: Fraction
    sampler: Sampler
    sampling_steps: Positive


class Diffusion(Model):
    figure = "noise_mae"

    def __init__(self, params: Params, info: Info) -> None:
        super().__init__()
        self.params, self.info = params, info
        self.standard = Standardise(info.shape[0])
        self.denoiser = UNet(info.shape, params.widths, params.depth, params.embedding_size)
        self.average = Average(self.denoiser, params.average_decay)

    def objectives(self) -> list[Objective]:
        params = self.params
        optimizer = AdamW(self.denoiser.parameters(), lr=params.learning_rate, weight_decay=params.weight_decay, eps=1e-7, fused=True)
        return [Objective("noise", self._loss, optimizer)]

    def after_step(self, step: int) -> None:
        self.average.update(self.denoiser, step)

    def _loss(self, batch: Batch) -> Loss:
        self.standard.observe(batch["x"])
        loss = self._errors(batch, self.denoiser)["noise_mae"]
        return loss, {"noise_mae": loss}

    def _errors(self, batch: Batch, denoiser: UNet | Average) -> dict[str, Tensor]:
        """How far the predicted noise is from the true one, and the image that follows from it, in units of [-1, 1]."""
        x = self.standard(batch["x"])
        offset = torch.rand((), device=x.device)
        time = (offset + torch.arange(len(x), device=x.device) / len(x)) % 1
        signal, noise_rate = self.rates(time)
        noise = noise_like(x)
        predicted = denoiser(signal * x + noise_rate * noise, noise_rate.flatten().square()).float()
        image = x + noise_rate / signal * (noise - predicted)
        return {"noise_mae": F.l1_loss(predicted, noise), "image_mae": F.l1_loss(self.standard.undo(image).clamp(-1, 1), batch["x"])}

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        return self._errors(batch, self.average)

    def rates(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and noise at times (B,), each (B, 1, 1, 1)."""
        return rates(self.params.noise_schedule, time.view(-1, 1, 1, 1))

    def clean(self, x: Tensor, now: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """The image in [-1, 1] and the noise that x (B, C, H, W), at this signal and noise above 0, is thought to consist of."""
        signal, noise_rate = now
        noise = self.average(x, noise_rate.flatten().square().expand(len(x))).float()
        clean = self.standard.undo((x - noise_rate * noise) / signal).clamp(-1, 1)
        return clean, (x - signal * self.standard(clean)) / noise_rate

    def sample(self, n: int, condition: Tensor | None = None, *, steps: int | None = None, sampler: str | None = None) -> Tensor:
        self.unconditional(condition)
        return self.generate(self.noise(n), steps, sampler)

    def noise(self, n: int) -> Tensor:
        return torch.randn(n, *self.info.shape, device=self.denoiser.leave.weight.device)

    def generate(self, noise: Tensor, steps: int | None = None, sampler: str | None = None) -> Tensor:
        """Images in [-1, 1] from noise (B, C, H, W) at time 1."""
        *_, (_, clean) = self.walk(noise, steps, sampler)
        return clean

    def walk(self, x: Tensor, steps: int | None = None, sampler: str | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """At each of the sampler's times, from 1 down to 1 / steps: x, and the image that it is thought to come from.

        Raises:
            UsageError: no steps, or no such sampler.
        """
        steps, sampler = self.params.sampling_steps if steps is None else steps, sampler or self.params.sampler
        if steps < 1:
            raise UsageError(f"steps: expected at least 1, got {steps}")
        if sampler not in get_args(Sampler):
            raise UsageError(f"sampler: expected one of {', '.join(get_args(Sampler))}, got {sampler}")
        for now, then in pairwise(self.rates(time[None]) for time in torch.linspace(1, 0, steps + 1, device=x.device)):
            clean, noise = self.clean(x, now)
            yield x, clean
            x = back(self.standard(clean), noise, now, then, freshness=float(sampler == "ddpm"))

    def exhibits(self, batch: Batch) -> list[Exhibit]:
        way = [(self.standard.undo(x), clean) for x, clean in self.walk(self.noise(2 * SHOWN), FRAMES)]
        frames = [montage(x.unflatten(0, (2, SHOWN))) for x in [noisy for noisy, _ in way] + [way[-1][1]] * PAUSE]
        stages = torch.stack([torch.stack([noisy[0], clean[0]]) for noisy, clean in way[:: FRAMES // STAGES]], dim=1)
        return [
            Sheet("samples", f"From noise to image in {self.params.sampling_steps} steps, with the averaged weights.",
                  self.sample(ROWS * SHOWN).unflatten(0, (ROWS, SHOWN))),
            self._steps(),
            Sheet("interpolation", "Between two noises around the origin, the outer columns: each point on the way becomes an image.",
                  self._interpolation()),
            Film("film", f"Noise becomes images in {FRAMES} steps.", torch.stack(frames), 10, 2),
            Sheet("stages", "One noise on its way, and what the network takes it for: colours come first, then the shape, details last.",
                  stages, ["noisy", "seen in it"]),
            self._denoised(batch["x"][:SHOWN]),
            self._schedules(),
            self._embedding(),
        ]  # fmt: skip

    def _steps(self) -> Sheet:
        noise = self.noise(NOISES)
        runs = [(sampler, steps) for sampler, counts in STEPS.items() for steps in counts]
        images = torch.stack([self.generate(noise, steps, sampler) for sampler, steps in runs])
        caption = (
            "The same noises by each sampler and number of steps: DDIM comes to the same image, sharper with each step; DDPM to others."
        )
        return Sheet("steps", caption, images, [f"{sampler.upper()}, {steps}" for sampler, steps in runs])

    def _interpolation(self) -> Tensor:
        first, last = self.noise(PAIRS), self.noise(PAIRS)
        points = spherical(first, last, torch.linspace(0, 1, POINTS, device=first.device)).transpose(0, 1)
        return self.generate(points.flatten(0, 1), sampler="ddim").unflatten(0, (PAIRS, POINTS))

    def _denoised(self, x: Tensor) -> Sheet:
        rows, titles = [x], ["held out"]
        for time in (0.3, 0.6, 0.8):
            now = self.rates(torch.tensor([time], device=x.device))
            noisy = now[0] * self.standard(x) + now[1] * torch.randn_like(x)
            rows += [self.standard.undo(noisy), self.clean(noisy, now)[0]]
            titles += [f"noise {now[1].item():.2f}", "denoised"]
        caption = "Held-out images under growing noise, and what one look of the network makes of each."
        return Sheet("denoised", caption, torch.stack(rows), titles)

    def _schedules(self) -> Lines:
        time = torch.linspace(0, 1, 101)
        pairs = {name.replace("_", " "): rates(name, time) for name in SCHEDULES}
        panels = [(title, {name: (time, pair[i]) for name, pair in pairs.items()}) for i, title in enumerate(("signal", "noise"))]
        caption = "How much is left of the image and how much noise has come, under each schedule."
        return Lines("schedules", caption, panels, "time", "rate")

    def _embedding(self) -> Heatmap:
        variances = torch.linspace(0, 1, 48, device=self.standard.mean.device)
        values = self.denoiser.embed(variances).T
        rows = [str(channel) for channel in range(len(values))]
        columns = [f"{variance:.2f}" if place % 6 == 0 else "" for place, variance in enumerate(variances.tolist())]
        caption = "What the network reads of the noise's variance: sines, then cosines, of growing frequency."
        return Heatmap("embedding", caption, values, rows, columns, "channel", "variance of the noise")


def montage(images: Tensor) -> Tensor:
    """(R, N, C, H, W) to (C, R H, N W)."""
    return images.permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)
