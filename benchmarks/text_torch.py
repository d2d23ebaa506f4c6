"""The published language models as one writes them in plain PyTorch, and how fast texts are written with a cache.

Contestants of benchmarks.text: `python -m benchmarks.text_torch plain gpt float32`, `write ours`, `write transformers`.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.text import BATCH, LENGTH, WORDS, WRITTEN, texts
from benchmarks.worker import serve

HEADS, HEAD_SIZE, WIDTH = 2, 256, 256


class GPT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(WORDS, WIDTH), nn.Embedding(LENGTH["gpt"], WIDTH)
        self.inward, self.outward = nn.Linear(WIDTH, 3 * HEADS * HEAD_SIZE), nn.Linear(HEADS * HEAD_SIZE, WIDTH)
        self.first, self.second = nn.LayerNorm(WIDTH, eps=1e-6), nn.LayerNorm(WIDTH, eps=1e-6)
        self.feed = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.Dropout(0.1))
        self.dropout, self.head = nn.Dropout(0.1), nn.Linear(WIDTH, WORDS)

    def forward(self, x: Tensor) -> Tensor:
        x = self.tokens(x) + self.positions.weight[: x.shape[1]]
        query, keys, values = (part.unflatten(2, (HEADS, HEAD_SIZE)).transpose(1, 2) for part in self.inward(x).chunk(3, dim=2))
        mixed = F.scaled_dot_product_attention(query, keys, values, is_causal=True).transpose(1, 2).flatten(2)
        x = self.first(x + self.dropout(self.outward(mixed)))
        return self.head(self.second(x + self.feed(x)))


class LSTM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.recurrent, self.head = nn.Embedding(WORDS, 100), nn.LSTM(100, 128, batch_first=True), nn.Linear(128, WORDS)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.recurrent(self.tokens(x))[0])


def train(side: str, name: str, precision: str) -> Callable[[int], None]:
    """Steps of one loss: plain, the cross-entropy of all positions, padding included, as everybody writes it; or our model's.

    Both under the same settings of the process.
    """
    from generative.training.device import place

    place(precision, 1)
    torch.manual_seed(1)
    loss, optimizer = (_plain if side == "plain" else _our_loss)(name)
    data = torch.from_numpy(texts(name))

    def run(steps: int) -> None:
        for step in range(steps):
            x = data[step * BATCH % len(data) :][:BATCH]
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                value = loss(x)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()

    return run


def _plain(name: str) -> tuple[Callable[[Tensor], Tensor], torch.optim.Optimizer]:
    model: nn.Module = {"gpt": GPT, "lstm": LSTM}[name]()

    def loss(x: Tensor) -> Tensor:
        return F.cross_entropy(model(F.pad(x[:, :-1], (1, 0))).float().flatten(0, 1), x.flatten())

    return loss, torch.optim.Adam(model.parameters(), lr=0.001)


def _our_loss(name: str) -> tuple[Callable[[Tensor], Tensor], torch.optim.Optimizer]:
    [objective] = our_model(name).objectives()
    return lambda x: objective.loss({"x": x})[0], objective.optimizer


def our_model(name: str) -> Any:
    """The model of the catalogue that stands in the working folder."""
    from generative.catalogue import Catalogue
    from generative.data.store import open_dataset

    params, kind = Catalogue.read().model("contestant")
    return kind(params, open_dataset(Path("data/processed") / f"texts_{name}").info)  # type: ignore[call-arg]


def write(side: str) -> Callable[[int], None]:
    """Writes `WRITTEN` texts of the full length, each a step; no text stops before it is full."""
    torch.set_num_threads(1)
    model = {"ours": _ours, "transformers": _transformers}[side]()

    @torch.no_grad()
    def run(steps: int) -> None:
        for _ in range(steps):
            assert model().shape == (WRITTEN, LENGTH["gpt"])

    return run


def _ours() -> Callable[[], Tensor]:
    model = our_model("gpt").eval()
    model.head.bias.data[0] = -1e4
    return lambda: model.sample(WRITTEN)


def _transformers() -> Callable[[], Tensor]:
    """GPT-2 with as many blocks, heads and positions and the same widths; its heads share the width, so that it has less to do."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=WORDS, n_positions=LENGTH["gpt"] + 1, n_embd=WIDTH, n_layer=1, n_head=HEADS, n_inner=WIDTH,
                        bos_token_id=0, eos_token_id=None, pad_token_id=0)  # fmt: skip
    model: Any = GPT2LMHeadModel(config).eval()
    start = torch.zeros(WRITTEN, 1, dtype=torch.int64)
    length = LENGTH["gpt"]
    return lambda: model.generate(start, do_sample=True, top_k=0, use_cache=True, max_new_tokens=length, min_new_tokens=length)[:, 1:]


if __name__ == "__main__":
    side_, *rest = sys.argv[1:]
    serve(write(rest[0]) if side_ == "write" else train(side_, *rest))
