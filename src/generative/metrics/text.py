"""What a language model writes: how much of it is copied from the training texts, and whether it keeps the rules of its grammar."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generative.data import text as tokens
from generative.data.grammar import GRAMMAR
from generative.errors import UsageError
from generative.metrics.subject import Subject

FACTOR, SPREAD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03)  # of a rolling hash modulo 2^64; odd, so that nothing is lost


def compare(subject: Subject) -> dict[str, float]:
    """Copied spans, and agreement where a grammar wrote the data, of `subject.count` texts written from nothing.

    Each but the last stands beside the same figure of held-out texts (`_floor`) and of the untrained model (`_untrained`).

        copied          tokens of the longest span of a text that also stands in a training text, mean over texts
        copied_most     the longest of all
        agreement       share of texts that follow the grammar to their end and keep all of its rules
        agreement_RULE  share of those that follow the grammar to their end and keep this rule
    """
    if not subject.model.can("sample"):
        return {}
    try:
        written = subject.samples()
    except UsageError:  # an encoder reads only
        return {}
    train = subject.dataset.split("train")[:]["x"].numpy()
    held_out = subject.dataset.split("test")[: subject.count]["x"]
    sets = {"": written, "_floor": held_out, "_untrained": subject.samples(subject.untrained())}
    spans = copied(torch.cat(list(sets.values())).numpy(), train)
    figures: dict[str, float] = {}
    for (suffix, x), longest in zip(sets.items(), np.split(spans, len(sets)), strict=True):
        figures |= {f"copied{suffix}": float(longest.mean()), f"copied_most{suffix}": float(longest.max())}
        kept = agreement(x, subject)
        figures |= {f"{name}{suffix}": value for name, value in kept.items() if not (suffix and name.startswith("agreement_"))}
    return figures


def copied(x: NDArray[np.int64], train: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,): how long the longest span is that each row of x (N, T) shares with a row of `train` (M, T), up to its stop.

    A span of n + 1 tokens can be shared only where its first n are, so that of both sides fewer and fewer starts are left to compare.
    """
    longest = np.zeros(len(x), np.int64)
    flat = [np.pad(rows, ((0, 0), (0, 1)), constant_values=tokens.STOP).ravel() for rows in (x, train)]
    starts: list[NDArray[Any]] = [np.arange(len(side)) for side in flat]
    hashes: list[NDArray[Any]] = [np.zeros(len(side), np.uint64) for side in flat]
    for length in range(1, x.shape[1] + 1):
        for i, side in enumerate(flat):
            token = side[starts[i] + length - 1]
            longer = hashes[i] * FACTOR + token.astype(np.uint64) * SPREAD
            starts[i], hashes[i] = starts[i][token != tokens.STOP], longer[token != tokens.STOP]
        shared = np.intersect1d(hashes[0], hashes[1])
        if not len(shared):
            break
        for i in range(2):
            there = np.isin(hashes[i], shared)
            starts[i], hashes[i] = starts[i][there], hashes[i][there]
        longest[starts[0] // (x.shape[1] + 1)] = length
    return longest


def agreement(x: Tensor, subject: Subject) -> dict[str, float]:
    """Shares of texts that keep the rules of the grammar that wrote the data; nothing where none did."""
    record = subject.dataset.folder / GRAMMAR
    if not record.exists():
        return {}
    source = import_module(f"generative.data.{json.loads(record.read_text())['source'].replace('/', '.')}")
    names = subject.dataset.info.vocabulary[tokens.STREAM]
    kept = [source.agreement(tokens.join(tokens.words(ids, names))) for ids in x.tolist()]
    shares = {f"agreement_{rule}": sum(rules[rule] for rules in kept) / len(kept) for rule in source.RULES}
    return {"agreement": sum(all(rules.values()) for rules in kept) / len(kept), **shares}
