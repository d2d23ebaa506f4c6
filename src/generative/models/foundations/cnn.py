"""A convolutional classifier; with it each image data set gets its judge.

The published notebook's net: 3 x 3 convolutions, each with BatchNorm and LeakyReLU, every second one strided; a dense layer with
BatchNorm, LeakyReLU and dropout; softmax. Its constants: slope 0.3, BatchNorm momentum 0.99 and epsilon 1e-3, Glorot-uniform start, Adam
with epsilon 1e-7. Departures: symmetric padding where Keras pads the strided layers at the bottom and the right; input in [-1, 1].

As judge, the activations of the dense layer describe an image: FID, KID and the like compare samples with data in their space.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.optim import Adam

from generative.data.store import Batch, Info
from generative.models import classification
from generative.models.exhibit import Exhibit
from generative.models.model import Loss, Model, Objective
from generative.nn.convolution import conv_norm, smallest
from generative.nn.initialise import glorot
from generative.params import Fraction, Positive, Training, Widths


class Params(Training):
    channels: Widths  # a width is two convolutions: one that keeps the size, one that halves it
    dense: Positive
    dropout: Fraction


class CNN(Model):
    figure = "accuracy"
    larger_is_better = True

    def __init__(self, params: Params, info: Info) -> None:
        super().__init__()
        self.params, self.info = params, info
        channels, height, width = smallest(info.shape, params.channels)
        blocks: list[nn.Module] = []
        for before, after in zip([info.shape[0], *params.channels], params.channels, strict=False):
            blocks += [conv_norm(before, after, 1), conv_norm(after, after, 2)]
        self.convolutions = nn.Sequential(*blocks)
        self.dense = nn.Sequential(
            nn.Linear(channels * height * width, params.dense),
            nn.BatchNorm1d(params.dense, eps=1e-3, momentum=0.01),
            nn.LeakyReLU(0.3),
        )
        self.dropout = nn.Dropout(params.dropout)
        self.output = nn.Linear(params.dense, classification.classes(info))
        glorot(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.dropout(self._describe(x)))  # logits (B, K)

    def objectives(self) -> list[Objective]:
        optimizer = Adam(self.parameters(), lr=self.params.learning_rate, eps=1e-7, fused=True)
        return [Objective("classify", self._loss, optimizer)]

    def _loss(self, batch: Batch) -> Loss:
        return classification.loss(self(batch["x"]), batch["y"])

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        return self._loss(batch)[1]

    def features(self, batch: Batch) -> Tensor:
        return self._describe(batch["x"])

    def exhibits(self, batch: Batch) -> list[Exhibit]:
        return classification.exhibits(self(batch["x"]), batch, self.info)

    def _describe(self, x: Tensor) -> Tensor:
        return self.dense(self.convolutions(x).permute(0, 2, 3, 1).flatten(1))
