"""What worker processes are set up with in tests: a bowl, and ways to go wrong. Processes start with it: it imports nothing heavy."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from generative.errors import UsageError


def worth(candidates: NDArray[np.float32], seeds: NDArray[np.int64]) -> NDArray[np.float64]:
    """(K, 2) most at 1, 1, ...; then the luck that the trial adds to it."""
    luck = (seeds % 7).astype(float)
    return np.stack([luck - np.square(candidates.astype(float) - 1).sum(1), luck], 1)


def at_once() -> Any:
    return worth


def late() -> Any:
    """Answers overtake each other."""

    def work(candidates: NDArray[np.float32], seeds: NDArray[np.int64]) -> NDArray[np.float64]:
        time.sleep(0.01 * (int(seeds[0]) % 5))
        return worth(candidates, seeds)

    return work


def dying(folder: Path, times: int) -> Any:
    """Dies in the middle of a request, as often as `times` says in all processes together."""

    def work(candidates: NDArray[np.float32], seeds: NDArray[np.int64]) -> NDArray[np.float64]:
        for life in range(times):
            mark = folder / f"life{life}"
            try:
                mark.touch(exist_ok=False)
            except FileExistsError:
                continue
            os.kill(os.getpid(), signal.SIGKILL)
        return worth(candidates, seeds)

    return work


def refusing() -> Any:
    def work(candidates: NDArray[np.float32], seeds: NDArray[np.int64]) -> NDArray[np.float64]:
        raise UsageError("no such road")

    return work


def endless(folder: Path) -> Any:
    def work() -> None:
        (folder / str(os.getpid())).touch()
        time.sleep(1000)

    return work
