"""The Wasserstein GAN with gradient penalty (Gulrajani et al. 2017, algorithm 1, eq. 3).

The critic has no BatchNorm, because the penalty is of each example's own gradient. A step is one of the critic; the generator moves after
every `critic_steps`. The penalty is taken at a uniformly drawn point between a real and a made image, in float32.
It holds the critic's slope near 1 and not at it: over a distance d, slope x d - penalty_weight x (slope - 1)^2 is largest at a slope of
1 + d / (2 x penalty_weight).
Departures: samples come from a moving average of the generator; each critic step sees a batch of its own, where the published notebook
reuses one; the critic's last layer has no bias, which no difference of scores sees; layers that the notebook leaves at Keras' slope of
0.3 have 0.2 like the others.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import Adam

from generative.data.store import Batch, Info
from generative.models.exhibit import Exhibit, Sheet
from generative.models.model import Average, Loss, Model, Objective
from generative.nn.adversarial import Downscorer, Upsampling, Upscaler, gradient_penalty, sliced_wasserstein
from generative.nn.initialise import glorot
from generative.nn.schedule import spherical
from generative.params import Fraction, Positive, Training, Weight, Widths

ROWS, COLUMNS, WALKS, COMPARED = 4, 12, 5, 10


class Params(Training):
    channels: Widths  # of the critic's strided convolutions; the generator has them in reverse
    latent_size: Positive
    upsampling: Upsampling
    dropout: Fraction  # in the critic
    critic_steps: Positive
    penalty_weight: Weight
    beta_1: Fraction  # of Adam
    beta_2: Fraction
    average: Fraction  # decay of the generator's moving average


class WGANGP(Model):
    figure = "sliced_wasserstein"

    def __init__(self, params: Params, info: Info) -> None:
        super().__init__()
        self.params, self.info = params, info
        self.critic = Downscorer(info.shape, params.channels, normalised=False, dropout=params.dropout)
        self.generator = Upscaler(params.latent_size, info.shape, params.channels, params.upsampling, bias=True)
        glorot(self)
        self.average = Average(self.generator, params.average)

    def objectives(self) -> list[Objective]:
        rate, betas = self.params.learning_rate, (self.params.beta_1, self.params.beta_2)
        adam = [Adam(net.parameters(), lr=rate, betas=betas, eps=1e-7, fused=True) for net in (self.critic, self.generator)]
        return [
            Objective("critic", self._criticise, adam[0]),
            Objective("generator", self._please, adam[1], every=self.params.critic_steps),
        ]

    def _criticise(self, batch: Batch) -> Loss:
        real = batch["x"]
        with torch.no_grad():
            made = self.generator(self._noise(len(real)))
        wasserstein = self.critic(made).mean() - self.critic(real).mean()
        penalty, norm = gradient_penalty(self.critic, real, made)
        loss = wasserstein + self.params.penalty_weight * penalty
        return loss, {"loss": loss, "wasserstein": wasserstein, "penalty": penalty, "gradient_norm": norm}

    def _please(self, batch: Batch) -> Loss:
        loss = -self.critic(self.generator(self._noise(len(batch["x"])))).mean()
        return loss, {"loss": loss}

    def after_step(self, step: int) -> None:
        self.average.update(self.generator, step)

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        made = self.sample(len(batch["x"]))
        _, norm = gradient_penalty(self.critic, batch["x"], made)
        wasserstein = self.critic(made).mean() - self.critic(batch["x"]).mean()
        return {"sliced_wasserstein": sliced_wasserstein(made, batch["x"]), "wasserstein": wasserstein, "gradient_norm": norm.detach()}

    def sample(self, n: int, condition: Tensor | None = None) -> Tensor:
        self.unconditional(condition)
        return self.average(self._noise(n))

    def _noise(self, n: int) -> Tensor:
        return torch.randn(n, self.params.latent_size, device=next(self.parameters()).device)

    def exhibits(self, batch: Batch) -> list[Exhibit]:
        made = self.sample(ROWS * COLUMNS)
        return [
            Sheet("samples", "Images that the generator makes of noise.", made.unflatten(0, (ROWS, COLUMNS))),
            Sheet("walk", "From one noise to another in even steps, a walk a row: every picture between is an image too.", self._walks()),
            Sheet("memorised", "Made images, and below each the training image nearest to it: alike in kind, but no copies.",
                  made[: 2 * COMPARED].unflatten(0, (2, COMPARED)), rows=["made", "made"], nearest=True),
        ]  # fmt: skip

    def _walks(self) -> Tensor:
        start, end = self._noise(WALKS), self._noise(WALKS)
        points = spherical(start, end, torch.linspace(0, 1, COLUMNS, device=start.device))  # (COLUMNS, WALKS, Z)
        return self.average(points.flatten(0, 1)).unflatten(0, (COLUMNS, WALKS)).transpose(0, 1)
