"""An energy-based model of images (Du and Mordatch 2019), trained by contrastive divergence with a replay buffer.

p(x) is proportional to exp(-E(x)); E is one number from a convolutional network. Algorithm 1 of the paper: samples x- of the model come
from Langevin dynamics, x <- x - step_size * dE/dx + noise (eq. 1), started from earlier samples or, now and then, from uniform noise;
the loss is mean(E(x+) - E(x-)) + regularisation * mean(E(x+)^2 + E(x-)^2). As in the published notebook the gradient is clipped element
by element, x stays in [-1, 1], the data get the same small noise as the samples, and the network is strided convolutions with swish and
no BatchNorm. E is minus the score of the notebook.
Departures: step size and noise are two numbers, as in the notebook, where eq. 1 derives both from one; the buffer starts full of noise and
its places are overwritten by what was drawn from them; it holds pixels of 8 bits, whose rounding is below the noise of one step.

Several processes keep a buffer each, and a checkpoint that of the first.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from pydantic import model_validator
from torch import Tensor, nn
from torch.optim import Adam

from generative.data.store import Batch, Info, to_pixels, to_unit
from generative.models.exhibit import Exhibit, Histogram, Sheet
from generative.models.model import Loss, Model, Objective
from generative.nn.convolution import FromPixels, smallest
from generative.nn.initialise import glorot
from generative.nn.ranking import auroc
from generative.params import Fraction, Positive, Training, Weight, Widths

ROWS, COLUMNS, CHAINS = 3, 12, 4
MARKS = (0, 1, 3, 5, 10, 30, 50, 100, 300, 1000)  # steps at which a chain is shown


class Params(Training):
    channels: Widths  # of the strided convolutions, the first with a 5 x 5 kernel
    dense: Positive
    regularisation: Weight
    langevin_steps: Positive  # of a chain in training, between two looks at it
    step_size: Weight
    gradient_limit: Weight  # of each element of dE/dx
    noise: Weight  # standard deviation, of each Langevin step and on the data
    buffer_size: Positive
    fresh: Fraction  # share of the chains in training that start from uniform noise
    sampling_steps: Positive  # of a chain from noise to a sample

    @model_validator(mode="after")
    def _fits(self) -> Params:
        if self.buffer_size < self.batch_size:
            raise ValueError(f"buffer_size: expected batch_size ({self.batch_size}) or more, got {self.buffer_size}")
        return self


class EBM(Model):
    figure = "auroc"
    larger_is_better = True

    def __init__(self, params: Params, info: Info) -> None:
        super().__init__()
        self.params, self.info = params, info
        channels, height, width = smallest(info.shape, params.channels)
        layers: list[nn.Module] = [FromPixels(info.shape[0], params.channels[0]), nn.SiLU()]
        for before, after in zip(params.channels, params.channels[1:], strict=False):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.SiLU()]
        layers += [nn.Flatten(), nn.Linear(channels * height * width, params.dense), nn.SiLU(), nn.Linear(params.dense, 1)]
        self.network = nn.Sequential(*layers)
        self.buffer: Tensor
        self.register_buffer("buffer", torch.randint(256, (params.buffer_size, *info.shape), dtype=torch.uint8))
        glorot(self)

    def energy(self, x: Tensor) -> Tensor:
        """E(x), (B,): the lower, the likelier."""
        return self.network(x).squeeze(1)

    def objectives(self) -> list[Objective]:
        optimizer = Adam(self.parameters(), lr=self.params.learning_rate, eps=1e-7, fused=True)
        return [Objective("contrast", self._loss, optimizer)]

    def _loss(self, batch: Batch) -> Loss:
        data = (batch["x"] + self.params.noise * torch.randn_like(batch["x"])).clamp(-1, 1)
        real, fake = self.energy(torch.cat([data, self._replay(len(data))])).chunk(2)
        divergence = real.mean() - fake.mean()
        square = real.square().mean() + fake.square().mean()
        return divergence + self.params.regularisation * square, {"divergence": divergence, "square": square}

    def _replay(self, n: int) -> Tensor:
        """Takes `n` chains out of the buffer, some of them started anew, and puts them back a few steps older."""
        places = torch.randperm(len(self.buffer), device=self.buffer.device)[:n]
        chains = to_unit(self.buffer[places])
        fresh = torch.rand(n, 1, 1, 1, device=chains.device) < self.params.fresh
        chains = self.langevin(torch.where(fresh, self._noise(n), chains), self.params.langevin_steps)
        self.buffer[places] = to_pixels(chains)
        return chains

    def langevin(self, x: Tensor, steps: int) -> Tensor:
        """Images that far down their chains, without a graph; gradients are taken here wherever it is called."""
        for _ in range(steps):
            x = (x + self.params.noise * torch.randn_like(x)).clamp(-1, 1).requires_grad_()
            with torch.enable_grad():
                (slope,) = torch.autograd.grad(self.energy(x).sum(), x)
            limit = self.params.gradient_limit
            x = (x.detach() - self.params.step_size * slope.clamp(-limit, limit)).clamp(-1, 1)
        return x

    def _noise(self, n: int) -> Tensor:
        return torch.rand(n, *self.info.shape, device=self.buffer.device) * 2 - 1

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        """How well E tells the data from what is none: the area under the ROC curve, against blends of two images and against noise.

        `gap` is how far uniform noise lies above the data, the published notebook's held-out figure.
        """
        energy, blends, noise = (self.energy(x) for x in (batch["x"], blend(batch["x"]), self._noise(len(batch["x"]))))
        return {"auroc": auroc(energy, blends), "auroc_noise": auroc(energy, noise), "gap": noise.mean() - energy.mean()}

    def strangeness(self, batch: Batch) -> Tensor:
        return self.energy(batch["x"])

    def sample(self, n: int, condition: Tensor | None = None, *, steps: int | None = None) -> Tensor:
        self.unconditional(condition)
        return self.langevin(self._noise(n), steps or self.params.sampling_steps)

    def exhibits(self, batch: Batch) -> list[Exhibit]:
        chains = [self._noise(CHAINS)]
        for before, after in pairwise(MARKS):
            chains.append(self.langevin(chains[-1], after - before))
        samples, rows = self.sample(ROWS * COLUMNS), max(1, min(ROWS, len(self.buffer) // COLUMNS))
        ordered = batch["x"][self.energy(batch["x"]).argsort()]
        extremes = torch.stack([ordered[:COLUMNS], ordered[-COLUMNS:]])
        energies = {"held out": batch["x"], "samples": samples, "blends": blend(batch["x"]), "noise": self._noise(len(batch["x"]))}
        return [
            Sheet("samples", f"Uniform noise after {self.params.sampling_steps} Langevin steps downhill in the energy.",
                  samples.unflatten(0, (ROWS, COLUMNS))),
            Sheet("chain", "Four chains from noise, at the steps above them: strokes come first, then whole shapes.",
                  torch.stack(chains, dim=1), titles=[[f"step {mark}" for mark in MARKS]] * CHAINS),
            Sheet("buffer", "The replay buffer at the end of training: chains that were continued from step to step of the training.",
                  to_unit(self.buffer[: rows * COLUMNS]).unflatten(0, (rows, -1))),
            Sheet("extremes", "Held-out images of the lowest energy, the likeliest, and of the highest.", extremes, ["lowest", "highest"]),
            Histogram("energies", "The energy of held-out images, samples, blends of two images and noise: the data should lie lowest.",
                      [(title, self.energy(x)) for title, x in energies.items()], normal=False),
        ]  # fmt: skip


def blend(x: Tensor) -> Tensor:
    """Each image averaged with the next one of the batch: the right kinds of pixels and strokes, but no image of the data."""
    return (x + x.roll(1, 0)) / 2
