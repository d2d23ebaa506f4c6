"""What the language models share: their figures, writing word by word, and what a person looks at.

A text is read from a stop (token 0) and ends with one; what follows that is padding. The loss that trains is a mean over real tokens, the
first stop among them. The published notebooks average over the padding too: as it is certain, it adds nothing to the sum, and `padded_loss`
is that sum over all positions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from generative.data.store import Batch, Info
from generative.data.text import LOG_PROBABILITY, STOP, STREAM, UNKNOWN, join, words
from generative.errors import UsageError
from generative.models.exhibit import Exhibit, Table, Text
from generative.models.model import Loss
from generative.nn.vocabulary import choose, cross_entropy, nats
from generative.params import Fraction, Training

TEXTS, COOL, TOP, PROMPT, SHOWN = 8, 0.3, 5, 8, 60
Read = Callable[[Tensor, Any], tuple[Tensor, Any]]  # tokens (B, T) and a state to hidden (B, T, D) and the next state


class Params(Training):
    temperature: Annotated[float, Field(ge=0, le=100)]  # of what is written; 0 takes the most probable token
    top_k: Annotated[int, Field(ge=0)]  # draws among the k most probable tokens; 0 among all
    top_p: Fraction  # draws among the fewest tokens whose probabilities reach this sum; 1 among all

    def choice(self, temperature: float | None, top_k: int | None, top_p: float | None) -> tuple[float, int, float]:
        """What is asked for, else what the block says, as `choose` takes it."""
        block = self.asked(temperature=temperature, top_k=top_k, top_p=top_p)
        return block.temperature, block.top_k, block.top_p


def vocabulary(info: Info) -> list[str]:
    """The tokens as they are printed. Raises: UsageError: the data set has no texts."""
    if info.kind != "text":
        raise UsageError(f"data: a language model needs texts, and {info.name} has {info.kind}")
    return info.vocabulary[STREAM]


def before(x: Tensor) -> Tensor:
    """(B, T): what stands before each token; a stop before the first."""
    return torch.cat([torch.full_like(x[:, :1], STOP), x[:, :-1]], dim=1)


def real(x: Tensor) -> Tensor:
    """(B, T), True for each token up to the first stop, and for that."""
    return (x == STOP).cumsum(1) <= 1


def trimmed(x: Tensor) -> Tensor:
    """The batch without the columns in which all is padding."""
    return x[:, : int(real(x).any(0).sum())]


def loss(hidden: Tensor, x: Tensor, head: nn.Linear) -> Loss:
    """Cross-entropy in nats a real token; hidden (B, T, D) is what each token of x (B, T) is predicted from."""
    keep = real(x)
    entropy = cross_entropy(hidden[keep], x[keep], head)
    return entropy, {"cross_entropy": entropy}


def figures(hidden: Tensor, batch: Batch, x: Tensor, head: nn.Linear, info: Info) -> dict[str, Tensor]:
    """Means a text: its nats, tokens and unknown tokens, and the nats that it has under the grammar that wrote it, where one did."""
    keep = real(x)
    total, count = nats(hidden[keep], x[keep], head).sum(), len(x)
    found = {
        "nats": total / count,
        "tokens": keep.sum() / count,
        "unknown": (x == UNKNOWN).sum() / count,
        "padded_loss": total / batch["x"].numel(),
    }
    if LOG_PROBABILITY in info.attributes:
        found["grammar_nats"] = -batch["attributes"][:, info.attributes.index(LOG_PROBABILITY)].mean()
    return found


def summary(means: dict[str, float]) -> dict[str, float]:
    """Perplexities a token over a whole split, the share of unknown tokens, and how far the model is from the grammar."""
    found = {**means, "perplexity": math.exp(means["nats"] / means["tokens"]), "unknown": means["unknown"] / means["tokens"]}
    if "grammar_nats" in means:
        found["grammar_perplexity"] = math.exp(means["grammar_nats"] / means["tokens"])
        found["above_grammar"] = found["perplexity"] / found["grammar_perplexity"] - 1
    return found


def write(read: Read, state: Any, head: nn.Linear, start: Tensor, length: int, choice: tuple[float, int, float]) -> Tensor:
    """Texts (N, length) that go on from `start` (N, P), each up to its stop.

    Args:
        state: what `read` starts from.
        choice: temperature, top_k and top_p, as `choose` takes them.

    Raises:
        UsageError: `start` leaves no room.
    """
    n, given = start.shape
    if given >= length:
        raise UsageError(f"prompt: expected less than the {length} tokens of a text, got {given}")
    x = start.new_full((n, length), STOP)
    x[:, :given] = start
    news, open_ = torch.cat([x.new_full((n, 1), STOP), start], dim=1), torch.ones(n, dtype=torch.bool, device=x.device)
    for place in range(given, length):
        hidden, state = read(news, state)
        x[:, place] = choose(head(hidden[:, -1]), *choice).where(open_, STOP)
        open_ = open_ & (x[:, place] != STOP)
        if not open_.any():
            break
        news = x[:, place : place + 1]
    return x


def beginning(n: int, condition: Tensor | None, device: torch.device) -> Tensor:
    """The prompt (P,) or (N, P) for each of n texts; nothing where there is none."""
    if condition is None:
        return torch.empty(n, 0, dtype=torch.int64, device=device)
    return condition.to(device).expand(n, -1)


def exhibits(sample: Callable[..., Tensor], read: Read, head: nn.Linear, batch: Batch, info: Info) -> list[Exhibit]:
    """Texts written from nothing, warm and cool, and one from a held-out beginning with the five candidates of each of its tokens."""
    names = vocabulary(info)
    warm, cool = ([join(words(ids, names)) for ids in sample(TEXTS, **how).tolist()] for how in ({}, {"temperature": COOL}))
    prompt = batch["x"][0, : min(PROMPT, int(real(batch["x"][:1]).sum()) - 1)]
    text = sample(1, prompt)
    return [
        Text("texts", "Texts that the model wrote from nothing, at the temperature of its block.", warm),
        Text("texts_cool", f"The same at temperature {COOL}: more probable words, and less variety.", cool),
        candidates(read(before(text), None)[0], text, head, names, len(prompt)),
    ]


def candidates(hidden: Tensor, text: Tensor, head: nn.Linear, names: list[str], given: int) -> Table:
    """A row a token of one text (1, T), the first of which were given: its probability, and the most probable ones in its place."""
    count = min(int(real(text).sum()), SHOWN)
    probabilities = head(hidden[0, :count]).float().softmax(-1)
    best = probabilities.topk(min(TOP, len(names)))
    rows = []
    for place, token in enumerate(text[0, :count].tolist()):
        pairs = zip(best.indices[place].tolist(), best.values[place].tolist(), strict=True)
        shown = [f"{_visible(names[other])} {100 * p:.1f} %" for other, p in pairs]
        rows.append([_visible(names[token]), "given" if place < given else f"{100 * probabilities[place, token]:.1f} %", *shown])
    columns = ["word", "probability", *(f"candidate {rank + 1}" for rank in range(best.indices.shape[1]))]
    return Table(
        "candidates", f"A text after {given} given words: each word's probability, and the five most probable in its place.", columns, rows
    )


def labels(tokens: Tensor, info: Info) -> list[str]:
    """Each token as a word beside a picture."""
    return [_visible(vocabulary(info)[token]) for token in tokens.tolist()]


def _visible(token: str) -> str:
    return token.strip() or repr(token)[1:-1].replace(" ", "␣")
