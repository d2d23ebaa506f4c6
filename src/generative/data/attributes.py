"""Attributes of drawn data: choices and numbers that vary independently of each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Choices(NamedTuple):
    values: Mapping[str, Sequence[str]]  # the names that a choice is among
    ranges: Mapping[str, tuple[float, float]]  # what a number lies between
    shares: Mapping[str, float]  # how many examples have any but a choice's first value, which means absence; equal without


def independent(choices: Choices, seed: int, split: int, count: int) -> dict[str, NDArray[np.float64]]:
    """One column (N,) an attribute: an index into its values, or a number of its range, uniform.

    A column has a stream of random numbers of its own, so that the first hundred of ten thousand examples are those of a hundred.
    """
    columns = {}
    for place, name in enumerate([*choices.values, *choices.ranges]):
        chance = np.random.default_rng([seed, split, place]).random(count)
        if name in choices.ranges:
            low, high = choices.ranges[name]
            columns[name] = low + (high - low) * chance
        else:
            number = len(choices.values[name])
            share = choices.shares.get(name, 1 - 1 / number)
            columns[name] = np.searchsorted(np.cumsum([1 - share, *[share / (number - 1)] * (number - 2)]), chance, side="right").astype(
                float
            )
    return columns
