"""The deep convolutional GAN (Goodfellow et al. 2014, algorithm 1; Radford et al. 2015), with noisy labels (Salimans et al. 2016).

The discriminator learns to tell training images from the generator's; the generator, to be taken for real (the non-saturating loss).
The label of a real image is 1 - `label_noise` x U, of a made one `label_noise` x U, with U uniform in [0, 1]: inside [0, 1] whatever the
noise may be. The published notebook adds and subtracts the other way round, which has no least loss and collapses.
Departures: samples come from a moving average of the generator; each network's turn draws noise of its own; the discriminator's BatchNorm
goes by the batch in evaluation too, for it has learnt to judge batches of one kind, and running means would mix real and made images.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from generative.data.store import Batch, Info
from generative.models.exhibit import Exhibit, Histogram, Sheet
from generative.models.model import Average, Loss, Model, Objective
from generative.nn.adversarial import Downscorer, Upsampling, Upscaler, sliced_wasserstein
from generative.nn.initialise import glorot
from generative.params import Fraction, Positive, Training, Widths

ROWS, COLUMNS, COMPARED = 4, 12, 10


class Params(Training):
    channels: Widths  # of the discriminator's strided convolutions; the generator has them in reverse
    latent_size: Positive
    upsampling: Upsampling
    dropout: Fraction  # in the discriminator
    label_noise: Fraction
    beta_1: Fraction  # of Adam
    beta_2: Fraction
    average: Fraction  # decay of the generator's moving average


class DCGAN(Model):
    figure = "sliced_wasserstein"

    def __init__(self, params: Params, info: Info) -> None:
        super().__init__()
        self.params, self.info = params, info
        self.discriminator = Downscorer(info.shape, params.channels, normalised=True, dropout=params.dropout)
        _go_by_the_batch(self.discriminator)
        self.generator = Upscaler(params.latent_size, info.shape, params.channels, params.upsampling, bias=False)
        glorot(self)
        self.average = Average(self.generator, params.average)

    def objectives(self) -> list[Objective]:
        rate, betas = self.params.learning_rate, (self.params.beta_1, self.params.beta_2)
        adam = [Adam(net.parameters(), lr=rate, betas=betas, eps=1e-7, fused=True) for net in (self.discriminator, self.generator)]
        return [Objective("discriminator", self._tell_apart, adam[0]), Objective("generator", self._deceive, adam[1])]

    def _tell_apart(self, batch: Batch) -> Loss:
        x = batch["x"]
        with torch.no_grad():
            made = self.generator(self._noise(len(x)))
        real, fake = self.discriminator(x), self.discriminator(made)
        loss = (self._taken(real, real=True) + self._taken(fake, real=False)) / 2
        return loss, {"loss": loss, **_accuracy(real, fake)}

    def _deceive(self, batch: Batch) -> Loss:
        loss = self._taken(self.discriminator(self.generator(self._noise(len(batch["x"])))), real=True)
        return loss, {"loss": loss}

    def _taken(self, logits: Tensor, real: bool) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, labels(logits, real, self.params.label_noise))

    def after_step(self, step: int) -> None:
        self.average.update(self.generator, step)

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        made = self.sample(len(batch["x"]))
        distance = sliced_wasserstein(made, batch["x"])
        return {"sliced_wasserstein": distance, **_accuracy(self.discriminator(batch["x"]), self.discriminator(made))}

    def sample(self, n: int, condition: Tensor | None = None) -> Tensor:
        self.unconditional(condition)
        return self.average(self._noise(n))

    def _noise(self, n: int) -> Tensor:
        return torch.randn(n, self.params.latent_size, device=next(self.parameters()).device)

    def exhibits(self, batch: Batch) -> list[Exhibit]:
        made = self.sample(ROWS * COLUMNS)
        seen = len(batch["x"])
        scores = [("held-out images", self.discriminator(batch["x"])), ("made images", self.discriminator(self.sample(seen)))]
        return [
            Sheet("samples", "Images that the generator makes of noise.", made.unflatten(0, (ROWS, COLUMNS))),
            Sheet("memorised", "Made images, and below each the training image nearest to it: alike in kind, but no copies.",
                  made[: 2 * COMPARED].unflatten(0, (2, COMPARED)), rows=["made", "made"], nearest=True),
            Histogram("scores", "What the discriminator says of real and of made images (above 0: real). The more they overlap, the "
                      "better it is deceived.", scores, normal=False),
        ]  # fmt: skip


def labels(logits: Tensor, real: bool, noise: float) -> Tensor:
    """What the discriminator is told, one label a logit, in [0, 1]."""
    wrong = noise * torch.rand_like(logits)
    return 1 - wrong if real else wrong


def _go_by_the_batch(network: nn.Module) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.track_running_stats = False
            layer.running_mean = layer.running_var = layer.num_batches_tracked = None


def _accuracy(real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    right = (real > 0).float().mean(), (fake <= 0).float().mean()
    return {"accuracy": (right[0] + right[1]) / 2, "real_accuracy": right[0], "made_accuracy": right[1]}
