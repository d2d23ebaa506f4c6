"""What every classifier shares: its loss, its figures, and what a person looks at."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from generative.data.store import Batch, Info
from generative.errors import UsageError
from generative.models.exhibit import Exhibit, Heatmap, Scatter, Sheet
from generative.models.model import Loss

ROWS, COLUMNS = 4, 10


def classes(info: Info) -> int:
    """Raises: UsageError: the data set has no labels."""
    if not info.classes:
        raise UsageError(f"data: a classifier needs labels, and {info.name} has none")
    return len(info.classes)


def loss(logits: Tensor, y: Tensor) -> Loss:
    """Cross-entropy in nats and accuracy; logits (B, K), y (B,)."""
    entropy = F.cross_entropy(logits.float(), y)
    return entropy, {"cross_entropy": entropy, "accuracy": accuracy(logits, y)}


def accuracy(logits: Tensor, y: Tensor) -> Tensor:
    return (logits.argmax(-1) == y).float().mean()


def exhibits(logits: Tensor, batch: Batch, info: Info) -> list[Exhibit]:
    """Predictions beside the labels, the mistakes, and which class is taken for which."""
    predicted, y = logits.argmax(-1), batch["y"]
    if info.kind == "points":
        caption = "Held-out points with their true class, and with the predicted one."
        return [Scatter("predictions", caption, [("true", batch["x"], y), ("predicted", batch["x"], predicted)], info.classes)]
    wrong = (predicted != y).nonzero().flatten()
    shown: list[Exhibit] = [
        _sheet("predictions", "Held-out examples with the predicted class, and the true one in brackets where it differs.",
               torch.arange(len(y), device=y.device), batch, predicted, info)
    ]  # fmt: skip
    if len(wrong):
        shown.append(
            _sheet("mistakes", "The first held-out examples that are taken for another class: predicted (true).",
                   wrong, batch, predicted, info)
        )  # fmt: skip
    confusion = torch.zeros(len(info.classes), len(info.classes), device=y.device)
    confusion.index_put_((y, predicted), torch.ones(len(y), device=y.device), accumulate=True)
    confusion /= confusion.sum(1, keepdim=True).clamp(min=1)
    caption = "Which class is taken for which: each row is a true class, its shares add up to 1; mistakes stand off the diagonal."
    shown.append(Heatmap("confusion", caption, confusion, info.classes, info.classes, "true", "predicted"))
    return shown


def _sheet(name: str, caption: str, chosen: Tensor, batch: Batch, predicted: Tensor, info: Info) -> Sheet:
    rows = max(1, min(ROWS, len(chosen) // COLUMNS))
    chosen = chosen[: rows * COLUMNS]
    columns = len(chosen) // rows
    titles = [
        info.classes[p] if p == t else f"{info.classes[p]} ({info.classes[t]})"
        for p, t in zip(predicted[chosen].tolist(), batch["y"][chosen].tolist(), strict=True)
    ]
    images = batch["x"][chosen].view(rows, columns, *batch["x"].shape[1:])
    return Sheet(name, caption, images, titles=[titles[r * columns : (r + 1) * columns] for r in range(rows)])
