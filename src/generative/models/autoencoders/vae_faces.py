"""A variational autoencoder with a wide code for faces (Kingma and Welling 2013, eq. 10), and arithmetic on that code.

The published notebook's net: strided 3 x 3 convolutions, each with BatchNorm and LeakyReLU, to a code of 200 numbers, and their mirror;
the loss is `reconstruction_weight` x the mean squared error of a pixel in [0, 1], plus KL to the prior N(0, 1).
Arithmetic (Larsen et al. 2016, sec. 3.2): a code moved along the difference of two classes' mean codes becomes a face of the other class.
Departures: symmetric padding where Keras pads the strided layers at the bottom and the right; the mean codes are averages that follow the
training, where the notebook collects the differences from single batches after it.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from generative.data.store import Batch, Info
from generative.models.exhibit import Exhibit, Histogram, Sheet
from generative.models.model import Loss, Model, Objective
from generative.nn.convolution import ToPixels, conv_norm, smallest, spread_norm
from generative.nn.initialise import glorot
from generative.nn.normal import drawn, kl_to_standard_normal
from generative.params import Positive, Training, Weight, Widths

ROWS, COLUMNS, HISTOGRAMS, MORPHS, STEPS = 3, 12, 25, 4, 10
FACTORS = range(-4, 5)
FOLLOW = 0.02  # share of a step in the average of a class's codes


class Params(Training):
    channels: Widths  # of the encoder's layers; the decoder mirrors them
    latent_size: Positive
    reconstruction_weight: Weight
    edit: Weight  # how far a code is moved to change its class, in distances between the two classes' means


class FaceVAE(Model):
    figure = "loss"

    def __init__(self, params: Params, info: Info) -> None:
        super().__init__()
        self.params, self.info = params, info
        widths, (channels, height, width) = params.channels, smallest(info.shape, params.channels)
        size = channels * height * width
        self.encoder = nn.Sequential(*(conv_norm(a, b, 2) for a, b in zip([info.shape[0], *widths], widths, strict=False)))
        self.mean, self.log_variance = nn.Linear(size, params.latent_size), nn.Linear(size, params.latent_size)
        self.dense = nn.Sequential(nn.Linear(params.latent_size, size), nn.BatchNorm1d(size, eps=1e-3, momentum=0.01), nn.LeakyReLU(0.3))
        self.smallest = (height, width, channels)
        upward = [widths[-1], *reversed(widths)]
        self.decoder = nn.Sequential(*(spread_norm(a, b) for a, b in pairwise(upward)), ToPixels(widths[0], info.shape[0], 3, padding=1))
        self.centres: Tensor
        self.register_buffer("centres", torch.zeros(len(info.classes), params.latent_size))  # the mean code of each class
        glorot(self)

    def objectives(self) -> list[Objective]:
        optimizer = Adam(self.parameters(), lr=self.params.learning_rate, eps=1e-7, fused=True)
        return [Objective("elbo", self._loss, optimizer)]

    def _loss(self, batch: Batch) -> Loss:
        mean, log_variance = self.posterior(batch["x"])
        if self.training and self.info.classes:
            self._follow(mean.detach(), batch["y"])
        squared = F.mse_loss(self.decode(drawn(mean, log_variance)), batch["x"]) / 4  # of pixels in [0, 1]
        reconstruction, kl = self.params.reconstruction_weight * squared, kl_to_standard_normal(mean, log_variance).mean()
        loss = reconstruction + kl
        return loss, {"loss": loss, "reconstruction": reconstruction, "kl": kl}

    def _follow(self, mean: Tensor, y: Tensor) -> None:
        member = F.one_hot(y, len(self.info.classes)).to(mean.dtype)
        count = member.sum(0)[:, None]
        self.centres += FOLLOW * (count > 0) * (member.T @ mean / count.clamp(min=1) - self.centres)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, Z) of q(z | x), a diagonal normal."""
        hidden = self.encoder(x).permute(0, 2, 3, 1).flatten(1)
        return self.mean(hidden).float(), self.log_variance(hidden).float()

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        return self._loss(batch)[1]

    def sample(self, n: int, condition: Tensor | None = None) -> Tensor:
        self.unconditional(condition)
        return self.decode(torch.randn(n, self.params.latent_size, device=self.centres.device))

    def encode(self, batch: Batch) -> Batch:
        return {**batch, "x": self.posterior(batch["x"])[0]}

    def decode(self, code: Tensor) -> Tensor:
        hidden = self.dense(code).view(-1, *self.smallest).permute(0, 3, 1, 2)
        return torch.sigmoid(self.decoder(hidden).float()) * 2 - 1

    def asked(self, batch: Batch) -> Batch:
        """Each face with another class: the classes after its own, in turn."""
        y, classes = batch["y"], len(self.info.classes)
        asked = (y + 1 + torch.arange(len(y), device=y.device) % max(1, classes - 1)) % classes
        code = self.posterior(batch["x"])[0] + self.params.edit * (self.centres[asked] - self.centres[y])
        return {"x": self.decode(code), "y": asked}

    def exhibits(self, batch: Batch) -> list[Exhibit]:
        mean, log_variance = self.posterior(batch["x"])
        z = drawn(mean, log_variance)
        most = mean.var(0).argsort(descending=True)[:HISTOGRAMS]
        shares = torch.linspace(0, 1, STEPS, device=z.device)[:, None]
        pairs = mean[: min(2 * MORPHS, len(mean) // 2 * 2)].unflatten(0, (-1, 2))
        morphs = torch.stack([self.decode(a.lerp(b, shares)) for a, b in pairs])
        shown: list[Exhibit] = [
            Sheet("samples", "Codes drawn from the prior N(0, 1), decoded: faces that nobody has.",
                  self.sample(ROWS * COLUMNS).unflatten(0, (ROWS, COLUMNS))),
            Sheet("reconstructions", "Held-out faces and the decoded means of their posteriors.",
                  torch.stack([batch["x"][:COLUMNS], self.decode(mean[:COLUMNS])]), ["held out", "reconstructed"]),
            Sheet("morphs", "From one held-out face to another, straight between their codes: each step is a face too.", morphs),
            Histogram("histograms", "The most used numbers of the code over held-out faces, drawn from their posteriors, beside the prior.",
                      [(f"z{i}", z[:, i]) for i in most.tolist()], normal=True),
        ]  # fmt: skip
        return [*shown, *self._arithmetic(batch, mean)] if len(self.info.classes) > 1 else shown

    def _arithmetic(self, batch: Batch, mean: Tensor) -> list[Exhibit]:
        names, others = self.info.classes, (self.centres.sum(0) - self.centres) / (len(self.centres) - 1)
        directions = F.normalize(self.centres - others, dim=1)
        factors = torch.tensor(FACTORS, device=mean.device)[:, None]
        moved = torch.stack([self.decode(code + factors * direction) for code, direction in zip(mean, directions, strict=False)])
        few = {"x": batch["x"][:COLUMNS], "y": batch["y"][:COLUMNS]}
        asked = self.asked(few)
        titles = [[names[i] for i in y.tolist()] for y in (few["y"], asked["y"])]
        return [
            Sheet("arithmetic", "Held-out faces moved along the direction of one class from factor -4 to 4; 0 is the face itself.",
                  moved, titles=[[f"{name} {factor:+}" for factor in FACTORS] for name in names[: len(moved)]]),
            Sheet("edits", "Held-out faces, and the same with the class asked for.",
                  torch.stack([few["x"], asked["x"]]), titles=titles),
        ]  # fmt: skip
