"""V, the vision model of World Models (Ha and Schmidhuber 2018, section 4.2 and appendix A.1): a variational autoencoder of frames.

The loss is `reconstruction_weight` (1 in the paper) times the squared error summed over the image, values in [0, 1], and the KL divergence
to the prior, which costs nothing below `free_nats` a latent number: the more the error weighs, the more a code tells. With channels 32,
64, 128, 256 it is the paper's network of 4,348,547 weights.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from generative.data.store import Batch, Info
from generative.errors import UsageError
from generative.models.exhibit import Exhibit, Sheet
from generative.models.model import Loss, Model, Objective
from generative.nn.convolution import FromPoint, Spread
from generative.params import Positive, Training, Weight, Width

SIDE = 64  # what the paper's kernels lead to one point and back
SHOWN, MOVED, POSITIONS = 14, 16, 9  # pictures a row; latent numbers that are moved; to how many values
REACH = 3.0  # standard deviations of the prior


class Params(Training):
    channels: Annotated[list[Width], Field(min_length=4, max_length=4)]  # of the encoder's layers
    latent_size: Positive
    reconstruction_weight: Weight
    free_nats: Weight  # of KL divergence a latent number


class Vision(Model):
    figure = "reconstruction"

    def __init__(self, params: Params, info: Info) -> None:
        super().__init__()
        if info.shape != [3, SIDE, SIDE]:
            raise UsageError(f"data: expected frames of shape {[3, SIDE, SIDE]}, got examples of shape {info.shape}")
        self.params, self.info = params, info
        one, two, three, four = params.channels
        self.encoder = nn.Sequential(
            nn.Conv2d(3, one, 4, stride=2), nn.ReLU(),
            nn.Conv2d(one, two, 4, stride=2), nn.ReLU(),
            nn.Conv2d(two, three, 4, stride=2), nn.ReLU(),
            nn.Conv2d(three, four, 4, stride=2), nn.ReLU(), nn.Flatten(),
        )  # fmt: skip
        self.mean, self.log_variance = (nn.Linear(four * 4, params.latent_size) for _ in range(2))
        self.decoder = nn.Sequential(
            nn.Linear(params.latent_size, four * 4),
            FromPoint(four * 4, three, 5), nn.ReLU(),
            Spread(three, two, 5, stride=2), nn.ReLU(),
            Spread(two, one, 6, stride=2), nn.ReLU(),
            nn.ConvTranspose2d(one, 3, 6, stride=2),
        )  # fmt: skip

    def objectives(self) -> list[Objective]:
        return [Objective("elbo", self._loss, Adam(self.parameters(), lr=self.params.learning_rate, fused=True))]

    def _loss(self, batch: Batch) -> Loss:
        mean, log_variance = self.posterior(batch["x"])
        z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        squares = F.mse_loss(self.decode(z), batch["x"], reduction="sum")
        reconstruction = squares / len(z) / 4  # [-1, 1] is twice as wide as [0, 1]
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        free = self.params.free_nats * self.params.latent_size
        loss = self.params.reconstruction_weight * reconstruction + kl.clamp(min=free).mean()
        return loss, {"loss": loss, "reconstruction": reconstruction, "kl": kl.mean()}

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, Z) of q(z | x), a diagonal normal."""
        hidden = self.encoder(x)
        return self.mean(hidden).float(), self.log_variance(hidden).float()

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        return self._loss(batch)[1]

    def sample(self, n: int, condition: Tensor | None = None) -> Tensor:
        self.unconditional(condition)
        return self.decode(torch.randn(n, self.params.latent_size, device=self.mean.weight.device))

    def encode(self, batch: Batch) -> Batch:
        mean, log_variance = self.posterior(batch["x"])
        return {**batch, "x": mean, "log_variance": log_variance}

    def decode(self, code: Tensor) -> Tensor:
        return torch.tanh(self.decoder(code).float())  # as the paper's sigmoid, but for the range

    def exhibits(self, batch: Batch) -> list[Exhibit]:
        x = batch["x"]
        given = x[torch.linspace(0, len(x) - 1, SHOWN, device=x.device).long()]
        pairs = torch.stack([given, self.decode(self.posterior(given)[0])])
        return [
            Sheet("reconstructions", "Held-out frames and the decoded means of their posteriors: what is fine fades.",
                  pairs, ["held out", "reconstructed"]),
            Sheet("samples", "Codes drawn from the prior N(0, 1), decoded: places where nobody has been.",
                  self.sample(2 * SHOWN).unflatten(0, (2, SHOWN))),
            self._explorer(x),
        ]  # fmt: skip

    def _explorer(self, x: Tensor) -> Sheet:
        """Each latent number moved alone from that of a frame; the rows by how much is told through the number, most first."""
        mean, log_variance = self.posterior(x)
        told = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean(0)
        order = told.argsort(descending=True)[:MOVED]
        values = torch.linspace(-REACH, REACH, POSITIONS, device=x.device)
        z = mean[len(x) // 2].repeat(len(order), POSITIONS, 1)
        z[torch.arange(len(order)), :, order] = values
        return Sheet(
            "explorer",
            f"One frame's code with each number moved alone from -{REACH:g} to {REACH:g}; each row says how many nats its number tells.",
            self.decode(z.flatten(0, 1)).unflatten(0, (len(order), POSITIONS)),
            [f"z{i + 1}: {told[i]:.1f}" for i in order.tolist()],
        )
