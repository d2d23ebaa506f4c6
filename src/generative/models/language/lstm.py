"""A recurrent network that writes: embeddings, an LSTM (Hochreiter and Schmidhuber 1997), a softmax over the vocabulary.

The published notebook's net and constants: Glorot kernels, orthogonal recurrent kernels, Adam with epsilon 1e-7, and with
`embedding_range` 0.05 and `memory` 0 its embeddings and open forget gate. `cell` puts another recurrent layer in its place.
Departures: torch's LSTM has two bias vectors where Keras has one; the loss is a mean over real tokens where the notebook averages over the
padding (`padded_loss` has its figure); the first token is predicted too, from a stop.

bidirectional: an encoder. Each token is predicted from all that stands before it and all that stands after it, read by a layer each, so its
perplexity is none of a text, and it cannot write. `encode` gives a text's mean hidden state, for any cell.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from generative.data.store import Batch, Info
from generative.data.text import STOP
from generative.errors import UsageError
from generative.models import writing
from generative.models.exhibit import Exhibit
from generative.models.model import Loss, Model, Objective
from generative.nn.initialise import glorot
from generative.nn.recurrent import Cell, Recurrent, State
from generative.params import Positive, Weight


class Params(writing.Params):
    cell: Cell
    embedding: Positive  # size of a token's vector
    embedding_range: Weight  # it starts uniform between minus this and this
    units: Positive
    memory: Annotated[int, Field(ge=0, le=100_000)]  # tokens that forget gates span at the start; 0: the published bias of 1


class LSTM(Model):
    figure = "perplexity"

    def __init__(self, params: Params, info: Info) -> None:
        super().__init__()
        self.params, self.info, self.length = params, info, info.shape[0]
        names = writing.vocabulary(info)
        self.tokens = nn.Embedding(len(names), params.embedding)
        self.recurrent = Recurrent(params.cell, params.embedding, params.units, params.memory)
        self.head = nn.Linear(self.recurrent.size, len(names))
        glorot(self)
        nn.init.uniform_(self.tokens.weight, -params.embedding_range, params.embedding_range)

    def objectives(self) -> list[Objective]:
        optimizer = Adam(self.parameters(), lr=self.params.learning_rate, eps=1e-7, fused=True)
        return [Objective("predict", self._loss, optimizer)]

    def read(self, tokens: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Hidden states (B, T, units) after each token, and the state to go on from."""
        return self.recurrent(self.tokens(tokens), state)

    def _around(self, x: Tensor) -> Tensor:
        """What each token is predicted from (B, T, D): all before it, and for the bidirectional cell all after it too."""
        if not self.recurrent.both:
            return self.read(writing.before(x), None)[0]
        first, second = self.read(F.pad(x, (1, 1), value=STOP), None)[0].chunk(2, dim=2)
        return torch.cat([first[:, :-2], second[:, 2:]], dim=2)

    def _trimmed(self, x: Tensor) -> Tensor:
        return x if self.recurrent.both else writing.trimmed(x)  # what is read from the end must not depend on the other texts

    def _loss(self, batch: Batch) -> Loss:
        x = self._trimmed(batch["x"])
        return writing.loss(self._around(x), x, self.head)

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        x = self._trimmed(batch["x"])
        return writing.figures(self._around(x), batch, x, self.head, self.info)

    def summary(self, means: dict[str, float]) -> dict[str, float]:
        return writing.summary(means)

    def encode(self, batch: Batch) -> Batch:
        keep = writing.real(batch["x"])[..., None]
        hidden = self.read(batch["x"], None)[0].float()
        return {**batch, "x": (hidden * keep).sum(1) / keep.sum(1)}

    def sample(
        self,
        n: int,
        condition: Tensor | None = None,
        *,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
    ) -> Tensor:
        if self.recurrent.both:
            raise UsageError("cell: bidirectional reads a text from both ends and cannot write one; lstm, gru and stacked can")
        start = writing.beginning(n, condition, self.head.weight.device)
        return writing.write(self.read, None, self.head, start, self.length, self.params.choice(temperature, top_k, top_p))

    def exhibits(self, batch: Batch) -> list[Exhibit]:
        if self.recurrent.both:
            x = batch["x"][:1]
            return [writing.candidates(self._around(x), x, self.head, writing.vocabulary(self.info), 0)]
        return writing.exhibits(self.sample, self.read, self.head, batch, self.info)
