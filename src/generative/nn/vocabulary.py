"""The end of a language model: the cross-entropy of a large vocabulary in pieces, and the choice of a next token.

The softmax over some thousand words costs more than all else in a small model. In pieces, with the gradient made where the probabilities
are at hand, nothing of the size (tokens, words) is ever stored, and each piece stays in a processor's cache.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from generative.nn.temperature import tempered

PIECE, GROUP = 256, 4  # tokens whose probabilities are made at once, and pieces whose gradients are


def cross_entropy(hidden: Tensor, target: Tensor, head: nn.Linear) -> Tensor:
    """The mean over tokens of -log p(target) in nats, p the softmax of head(hidden); hidden (N, D), target (N,)."""
    return _CrossEntropy.apply(hidden, head.weight, head.bias, target)  # type: ignore[no-any-return]


def nats(hidden: Tensor, target: Tensor, head: nn.Linear) -> Tensor:
    """-log p(target) of each token, (N,), for figures: it has no gradient."""
    parts = zip(hidden.split(PIECE), target.split(PIECE), strict=True)
    with torch.no_grad():
        return torch.cat([F.cross_entropy(head(h).float(), t, reduction="none") for h, t in parts])


def choose(logits: Tensor, temperature: float, top_k: int, top_p: float) -> Tensor:
    """One token a row, (N,), drawn from softmax(logits / temperature) with torch's random state; logits (N, K).

    Args:
        temperature: 0 takes the most probable token.
        top_k: draws among the k most probable tokens only; 0 among all.
        top_p: draws among the fewest tokens whose probabilities reach this sum (Holtzman et al. 2020, section 3.1); 1 among all.
    """
    if temperature == 0:
        return logits.argmax(-1)
    probabilities = tempered(logits, temperature)
    if 0 < top_k < logits.shape[1]:
        least = probabilities.topk(top_k).values[:, -1:]
        probabilities = probabilities.masked_fill(probabilities < least, 0)
    if top_p < 1:
        falling, order = probabilities.div(probabilities.sum(-1, keepdim=True)).sort(descending=True, stable=True)
        reached = falling.cumsum(-1) - falling >= top_p  # by the tokens before this one
        probabilities = probabilities.masked_fill(reached.gather(1, order.argsort(stable=True)), 0)
    # torch.multinomial draws a number a token, which takes half of the time in which a small model writes
    sums = probabilities.double().cumsum(-1)
    drawn = torch.rand(len(sums), 1, dtype=sums.dtype, device=sums.device) * sums[:, -1:]
    return torch.minimum((sums <= drawn).sum(-1), (sums < sums[:, -1:]).sum(-1))  # rounding must not lead past the last token that may be


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, target: Tensor) -> Tensor:
        kind, count = hidden.device.type, len(target)
        exact = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
        hidden_, weight_, bias_ = hidden.to(exact), weight.to(exact), bias.to(exact)
        gradients = torch.empty_like(hidden_), torch.zeros_like(weight), torch.zeros_like(bias)
        slopes, total = hidden_.new_empty(min(count, GROUP * PIECE), len(weight)), weight.new_zeros(())
        for part, wanted in zip(_ranges(count, GROUP * PIECE), target.split(GROUP * PIECE), strict=True):
            slope = slopes[: len(wanted)]
            for rows in _ranges(len(wanted), PIECE):
                logits = torch.addmm(bias_, hidden_[part][rows], weight_.T).to(weight.dtype)
                loss, p = _slope(logits, wanted[rows, None])
                total += loss
                gradients[2].add_(p.sum(0))
                slope[rows] = p
            torch.mm(slope, weight_, out=gradients[0][part])
            gradients[1].add_(slope.T @ hidden_[part])
        ctx.save_for_backward(
            *(gradient.to(like.dtype).div_(count) for gradient, like in zip(gradients, (hidden, weight, bias), strict=True))
        )
        return total / count

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        hidden, weight, bias = ctx.saved_tensors
        return hidden * grads[0], weight * grads[0], bias * grads[0], None


def _slope(logits: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The sum of -log p(wanted), and its slope by the logits (N, K); wanted (N, 1)."""
    p = logits.softmax(-1)
    # the most probable token's p is 1 / sum(exp(logits - largest)): no second pass of exponentials, and no logarithm of 0
    log_p = logits.gather(1, wanted).squeeze(1) - logits.amax(1) + p.amax(1).log()
    return -log_p.sum(), p.scatter_add_(1, wanted, p.new_full(wanted.shape, -1.0))


def _ranges(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
