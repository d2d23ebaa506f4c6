"""The variational autoencoder (Kingma and Welling 2013, eq. 10), with the weight beta on the KL term (Higgins et al. 2017, eq. 4).

As in the published notebook the reconstruction term is `reconstruction_weight` x the mean binary cross-entropy a pixel, so the loss is not
a bound on the likelihood in nats unless that weight is the number of pixels and beta is 1; images count as probabilities a pixel.
Departure: symmetric padding where Keras pads the strided layers at the bottom and the right.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional as F
from torch.optim import Adam

from generative.data.store import Batch, Info
from generative.models.exhibit import Exhibit, Histogram, Scatter, Sheet
from generative.models.model import Loss, Model, Objective
from generative.nn.convolution import Downward, Upward, grid
from generative.nn.initialise import glorot
from generative.nn.normal import drawn, kl_to_standard_normal
from generative.params import Positive, Training, Weight, Widths

SHOWN, ROWS, HISTOGRAMS = 18, 15, 20
EDGE = 0.02  # the lattice of p-values runs from here to 1 - here


class Params(Training):
    channels: Widths  # of the encoder's layers; the decoder mirrors them
    latent_size: Positive
    reconstruction_weight: Weight
    beta: Weight


class VAE(Model):
    figure = "loss"

    def __init__(self, params: Params, info: Info) -> None:
        super().__init__()
        self.params, self.info = params, info
        self.encoder = Downward(info.shape, params.channels)
        self.mean = nn.Linear(self.encoder.size, params.latent_size)
        self.log_variance = nn.Linear(self.encoder.size, params.latent_size)
        self.decoder = Upward(params.latent_size, info.shape, params.channels)
        glorot(self)

    def objectives(self) -> list[Objective]:
        optimizer = Adam(self.parameters(), lr=self.params.learning_rate, eps=1e-7, fused=True)
        return [Objective("elbo", self._loss, optimizer)]

    def _loss(self, batch: Batch) -> Loss:
        mean, log_variance = self.posterior(batch["x"])
        z = drawn(mean, log_variance)
        bce = F.binary_cross_entropy_with_logits(self.decoder(z).float(), (batch["x"] + 1) / 2)
        kl = kl_to_standard_normal(mean, log_variance).mean()
        reconstruction = self.params.reconstruction_weight * bce
        loss = reconstruction + self.params.beta * kl
        return loss, {"loss": loss, "reconstruction": reconstruction, "kl": kl, "bce": bce}

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
        return {**batch, "x": self.posterior(batch["x"])[0]}

    def decode(self, code: Tensor) -> Tensor:
        return torch.sigmoid(self.decoder(code).float()) * 2 - 1

    def exhibits(self, batch: Batch) -> list[Exhibit]:
        given = batch["x"][:SHOWN]
        pairs = torch.stack([given, self.decode(self.encode({"x": given})["x"])])
        z, labels = self.encode(batch)["x"], batch.get("y")
        shown: list[Exhibit] = [
            Sheet("reconstructions", "Held-out images and the decoded means of their posteriors.", pairs, ["held out", "reconstructed"]),
            Sheet("samples", "Codes drawn from the prior N(0, 1), decoded: nearly all look like data, unlike an autoencoder's.",
                  self.sample(2 * SHOWN).unflatten(0, (2, SHOWN))),
            Histogram("histograms", "Each latent dimension over held-out images, beside the density of the prior.",
                      [(f"z{i + 1}", z[:, i]) for i in range(min(HISTOGRAMS, z.shape[1]))], normal=True),
        ]  # fmt: skip
        if self.params.latent_size == 2:
            normal = Normal(torch.tensor(0.0, device=z.device), torch.tensor(1.0, device=z.device))
            lattice = grid(ROWS, z.new_full((2,), EDGE), z.new_full((2,), 1 - EDGE))
            shown += [
                Scatter("latent", "Held-out images by class: in the latent plane, around 0, and as p-values, spread over the square.",
                        [("z", z, labels), ("p-values of z", normal.cdf(z), labels)], self.info.classes),
                Sheet("grid", "A lattice of p-values through the inverse normal CDF, decoded: equal steps are equal shares of the prior.",
                      self.decode(normal.icdf(lattice)).unflatten(0, (ROWS, ROWS))),
            ]  # fmt: skip
        return shown
