"""An autoencoder: an encoder to a few numbers, a decoder back to the image (Rumelhart, Hinton and Williams 1986).

The published notebook's net: strided 3 x 3 convolutions to a latent vector and their mirror, binary cross-entropy a pixel, Adam.
With `noise` above 0 the input is disturbed and the clean image asked for: the denoising autoencoder (Vincent et al. 2008), with Gaussian
noise in place of their masking noise.
Departure: symmetric padding where Keras pads the strided layers at the bottom and the right.

An autoencoder has no prior. As in the notebook, `sample` draws evenly from the box that the codes of the data fill, here two standard
deviations to each side of their mean, both followed during training; what comes out shows why the variational autoencoder was invented.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Adam

from generative.data.store import Batch, Info
from generative.models.exhibit import Exhibit, Scatter, Sheet
from generative.models.model import Loss, Model, Objective
from generative.nn.convolution import Downward, Upward, grid
from generative.nn.initialise import glorot
from generative.params import Positive, Training, Weight, Widths

SHOWN, ROWS = 18, 15


class Params(Training):
    channels: Widths  # of the encoder's layers; the decoder mirrors them
    latent_size: Positive
    noise: Weight  # standard deviation of the noise on the input, whose range is [-1, 1]


class Autoencoder(Model):
    figure = "bce"

    def __init__(self, params: Params, info: Info) -> None:
        super().__init__()
        self.params, self.info = params, info
        self.encoder = Downward(info.shape, params.channels)
        self.bottleneck = torch.nn.Linear(self.encoder.size, params.latent_size)
        self.decoder = Upward(params.latent_size, info.shape, params.channels)
        self.mean: Tensor
        self.square: Tensor
        self.register_buffer("mean", torch.zeros(params.latent_size))  # moving averages of z and z^2
        self.register_buffer("square", torch.zeros(params.latent_size))
        glorot(self)

    def objectives(self) -> list[Objective]:
        optimizer = Adam(self.parameters(), lr=self.params.learning_rate, eps=1e-7, fused=True)
        return [Objective("reconstruct", self._loss, optimizer)]

    def _loss(self, batch: Batch) -> Loss:
        z = self.encode({"x": self._disturbed(batch["x"])})["x"]
        if self.training:
            self._follow(z.detach())
        bce = F.binary_cross_entropy_with_logits(self.decoder(z).float(), (batch["x"] + 1) / 2)
        return bce, {"bce": bce}

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        return self._loss(batch)[1]

    def sample(self, n: int, condition: Tensor | None = None) -> Tensor:
        self.unconditional(condition)
        deviation = (self.square - self.mean**2).clamp(min=0).sqrt()
        u = torch.rand(n, self.params.latent_size, device=self.mean.device)
        return self.decode(self.mean + (4 * u - 2) * deviation)

    def encode(self, batch: Batch) -> Batch:
        return {**batch, "x": self.bottleneck(self.encoder(batch["x"])).float()}

    def decode(self, code: Tensor) -> Tensor:
        return torch.sigmoid(self.decoder(code).float()) * 2 - 1

    def exhibits(self, batch: Batch) -> list[Exhibit]:
        given = self._disturbed(batch["x"][:SHOWN])
        rows = [("held out", batch["x"][:SHOWN]), ("reconstructed", self.decode(self.encode({"x": given})["x"]))]
        if self.params.noise:
            rows.insert(1, ("disturbed", given))
        caption = "Held-out images and what is left of them after the bottleneck: shapes survive, fine detail does not."
        shown: list[Exhibit] = [
            Sheet("reconstructions", caption, torch.stack([images for _, images in rows]), [title for title, _ in rows]),
            Sheet("samples", "Codes drawn evenly from the box that the data fills, decoded: many fall into gaps and look like nothing.",
                  self.sample(2 * SHOWN).unflatten(0, (2, SHOWN))),
        ]  # fmt: skip
        if self.params.latent_size == 2:
            z = self.encode(batch)["x"]
            labels = batch.get("y")
            shown += [
                Scatter("latent", "Held-out images in the latent plane, coloured by class: the classes part without having seen a label.",
                        [("code", z, labels)], self.info.classes),
                Sheet("grid", "A lattice over the latent plane, decoded: neighbours look alike, and the gaps between the clusters blur.",
                      self.decode(grid(ROWS, *_corners(z))).unflatten(0, (ROWS, ROWS))),
            ]  # fmt: skip
        return shown

    def _disturbed(self, x: Tensor) -> Tensor:
        return x + self.params.noise * torch.randn_like(x) if self.params.noise else x

    def _follow(self, z: Tensor) -> None:
        # moments, not corners: they average over the processes of one training to what one process would see
        self.mean.lerp_(z.mean(0), 0.01)
        self.square.lerp_(z.square().mean(0), 0.01)


def _corners(z: Tensor) -> tuple[Tensor, Tensor]:
    return z.quantile(0.01, dim=0), z.quantile(0.99, dim=0)
