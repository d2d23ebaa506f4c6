"""A multilayer perceptron that classifies: dense layers with ReLU, softmax cross-entropy.

The published notebook's net (Dense 200, Dense 150) with its constants: Glorot-uniform start, Adam with epsilon 1e-7.
Departure: the input is centred on 0 (range [-1, 1]), as everywhere in this project, instead of [0, 1].
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.optim import Adam

from generative.data.store import Batch, Info
from generative.models import classification
from generative.models.exhibit import Exhibit
from generative.models.model import Loss, Model, Objective
from generative.nn.initialise import glorot
from generative.params import Training, Widths


class Params(Training):
    widths: Widths  # of the hidden layers


class MLP(Model):
    figure = "accuracy"
    larger_is_better = True

    def __init__(self, params: Params, info: Info) -> None:
        super().__init__()
        self.params, self.info = params, info
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in zip([math.prod(info.shape), *params.widths], params.widths, strict=False):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.hidden = nn.Sequential(*layers)
        self.output = nn.Linear(params.widths[-1], classification.classes(info))
        glorot(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.hidden(x))  # logits (B, K)

    def objectives(self) -> list[Objective]:
        optimizer = Adam(self.parameters(), lr=self.params.learning_rate, eps=1e-7, fused=True)
        return [Objective("classify", self._loss, optimizer)]

    def _loss(self, batch: Batch) -> Loss:
        return classification.loss(self(batch["x"]), batch["y"])

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        return self._loss(batch)[1]

    def features(self, batch: Batch) -> Tensor:
        return self.hidden(batch["x"])

    def exhibits(self, batch: Batch) -> list[Exhibit]:
        return classification.exhibits(self(batch["x"]), batch, self.info)
