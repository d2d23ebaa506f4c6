"""The conditional GAN (Mirza and Osindero 2014) with the Wasserstein loss and gradient penalty (Gulrajani et al. 2017, algorithm 1).

The critic sees the label as planes beside the image's channels, all 1 for the label and all 0 for the others; the generator, one-hot
beside the noise. The penalty's point lies between a real and a made image of the same label.
Departures: as in `wgan_gp`; made images take the labels of the real ones of the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Adam

from generative.data.store import Batch, Info
from generative.errors import UsageError
from generative.models.exhibit import Exhibit, Sheet
from generative.models.model import Average, Loss, Model, Objective
from generative.nn.adversarial import Downscorer, Upsampling, Upscaler, gradient_penalty, sliced_wasserstein
from generative.nn.initialise import glorot
from generative.params import Fraction, Positive, Training, Weight, Widths

COLUMNS, COMPARED = 12, 10


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


class CGAN(Model):
    figure = "sliced_wasserstein"

    def __init__(self, params: Params, info: Info) -> None:
        super().__init__()
        if not info.classes:
            raise UsageError(f"data: a conditional GAN needs labels, and {info.name} has none")
        self.params, self.info = params, info
        channels, height, width = info.shape
        self.critic = Downscorer([channels + len(info.classes), height, width], params.channels, normalised=False, dropout=params.dropout)
        self.generator = Upscaler(params.latent_size + len(info.classes), info.shape, params.channels, params.upsampling, bias=True)
        glorot(self)
        self.average = Average(self.generator, params.average)

    def objectives(self) -> list[Objective]:
        rate, betas = self.params.learning_rate, (self.params.beta_1, self.params.beta_2)
        adam = [Adam(net.parameters(), lr=rate, betas=betas, eps=1e-7, fused=True) for net in (self.critic, self.generator)]
        return [
            Objective("critic", self._criticise, adam[0]),
            Objective("generator", self._please, adam[1], every=self.params.critic_steps),
        ]

    def score(self, x: Tensor, y: Tensor) -> Tensor:
        """(B,) what the critic says of images under labels (B,)."""
        planes = self._one_hot(y)[:, :, None, None].expand(-1, -1, *x.shape[2:]).to(x.dtype)
        return self.critic(torch.cat([x, planes], dim=1).contiguous(memory_format=torch.channels_last))

    def _criticise(self, batch: Batch) -> Loss:
        real, y = batch["x"], batch["y"]
        with torch.no_grad():
            made = self.generator(self._order(y))
        wasserstein = self.score(made, y).mean() - self.score(real, y).mean()
        penalty, norm = gradient_penalty(lambda x: self.score(x, y), real, made)
        loss = wasserstein + self.params.penalty_weight * penalty
        return loss, {"loss": loss, "wasserstein": wasserstein, "penalty": penalty, "gradient_norm": norm}

    def _please(self, batch: Batch) -> Loss:
        loss = -self.score(self.generator(self._order(batch["y"])), batch["y"]).mean()
        return loss, {"loss": loss}

    def after_step(self, step: int) -> None:
        self.average.update(self.generator, step)

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        made = self.sample(len(batch["x"]), batch["y"])
        _, norm = gradient_penalty(lambda x: self.score(x, batch["y"]), batch["x"], made)
        return {"sliced_wasserstein": sliced_wasserstein(made, batch["x"]), "gradient_norm": norm.detach()}

    def sample(self, n: int, condition: Tensor | None = None) -> Tensor:
        if condition is None:
            condition = torch.randint(len(self.info.classes), (n,), device=next(self.parameters()).device)
        return self.average(self._order(condition))

    def asked(self, batch: Batch) -> Batch:
        return {"x": self.sample(len(batch["y"]), batch["y"]), "y": batch["y"]}

    def exhibits(self, batch: Batch) -> list[Exhibit]:
        noise = self._noise(COLUMNS)
        kinds = torch.arange(len(self.info.classes), device=noise.device)
        under = torch.stack([self.average(torch.cat([noise, self._one_hot(kind.expand(COLUMNS))], dim=1)) for kind in kinds])
        made = self.sample(2 * COMPARED)
        return [
            Sheet("labels", "The same noise in a column under every label: only what the label names should change down a column.",
                  under, rows=self.info.classes),
            Sheet("memorised", "Made images, and below each the training image nearest to it: alike in kind, but no copies.",
                  made.unflatten(0, (2, COMPARED)), rows=["made", "made"], nearest=True),
        ]  # fmt: skip

    def _order(self, y: Tensor) -> Tensor:
        """(B, Z + K) noise with the labels beside it."""
        return torch.cat([self._noise(len(y)), self._one_hot(y)], dim=1)

    def _one_hot(self, y: Tensor) -> Tensor:
        return F.one_hot(y, len(self.info.classes)).float()

    def _noise(self, n: int) -> Tensor:
        return torch.randn(n, self.params.latent_size, device=next(self.parameters()).device)
