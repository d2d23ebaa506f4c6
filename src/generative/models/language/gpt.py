"""A decoder-only Transformer that writes (Radford et al. 2018, eq. 1 and 2), with the sizes of the published notebook.

Token and learnt position embeddings; blocks of causal attention and a feed-forward net with ReLU, each normalised after its residual (as in
Vaswani et al. 2017); a softmax over the vocabulary. Its constants: LayerNorm epsilon 1e-6, embeddings uniform in +-0.05, Glorot-uniform
kernels, Adam with epsilon 1e-7.
Departures: the loss is a mean over real tokens where the notebook averages over the padding (`padded_loss` has its figure); the first token
is predicted too, from a stop.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.optim import Adam

from generative.data.store import Batch, Info
from generative.models import writing
from generative.models.exhibit import Exhibit, Heatmap
from generative.models.model import Loss, Model, Objective
from generative.nn.attention import Cache
from generative.nn.initialise import glorot
from generative.nn.transformer import Decoder
from generative.params import Fraction, Positive

SHOWN = 40  # tokens of the attention's picture


class Params(writing.Params):
    blocks: Positive
    width: Positive
    heads: Positive
    head_size: Positive  # of a head's queries, keys and values
    hidden: Positive  # width inside the feed-forward net
    dropout: Fraction


class GPT(Model):
    figure = "perplexity"

    def __init__(self, params: Params, info: Info) -> None:
        super().__init__()
        self.params, self.info, self.length = params, info, info.shape[0]
        names = writing.vocabulary(info)
        self.tokens, self.positions = nn.Embedding(len(names), params.width), nn.Embedding(self.length, params.width)
        self.decoder = Decoder(params.blocks, params.width, params.heads, params.head_size, params.hidden, params.dropout)
        self.head = nn.Linear(params.width, len(names))
        glorot(self)
        for embedding in (self.tokens, self.positions):
            nn.init.uniform_(embedding.weight, -0.05, 0.05)

    def objectives(self) -> list[Objective]:
        optimizer = Adam(self.parameters(), lr=self.params.learning_rate, eps=1e-7, fused=True)
        return [Objective("predict", self._loss, optimizer)]

    def read(self, tokens: Tensor, caches: list[Cache] | None) -> tuple[Tensor, list[Cache] | None]:
        """Hidden states (B, T, width) after each token; with caches, the tokens continue what those have seen."""
        return self.decoder(self._embed(tokens, caches[0].size if caches else 0), caches), caches

    def _embed(self, tokens: Tensor, start: int) -> Tensor:
        return self.tokens(tokens) + self.positions.weight[start : start + tokens.shape[1]]

    def _loss(self, batch: Batch) -> Loss:
        x = writing.trimmed(batch["x"])
        return writing.loss(self.read(writing.before(x), None)[0], x, self.head)

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        x = writing.trimmed(batch["x"])
        return writing.figures(self.read(writing.before(x), None)[0], batch, x, self.head, self.info)

    def summary(self, means: dict[str, float]) -> dict[str, float]:
        return writing.summary(means)

    def sample(
        self,
        n: int,
        condition: Tensor | None = None,
        *,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
    ) -> Tensor:
        start = writing.beginning(n, condition, self.head.weight.device)
        choice = self.params.choice(temperature, top_k, top_p)
        return writing.write(self.read, self.decoder.caches(self.length), self.head, start, self.length, choice)

    def exhibits(self, batch: Batch) -> list[Exhibit]:
        shown = writing.exhibits(self.sample, self.read, self.head, batch, self.info)
        x = writing.trimmed(batch["x"][:1])[:, :SHOWN]
        names = writing.labels(x[0], self.info)
        weights = self.decoder.attention(self._embed(writing.before(x), 0))[-1][0].mean(0)
        caption = (
            "Where each token of a held-out text is predicted from: a row's attention to what stands before it, last block, mean of heads."
        )
        return [*shown, Heatmap("attention", caption, weights, names, ["<start>", *names[:-1]], "predicted", "attended")]
