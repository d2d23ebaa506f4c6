"""How well a controller drives: returns on fresh tracks of gymnasium's unmodified environment, with what they are to be compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from generative.params import Evolution
from generative.training.evolve import FRESH, trial_seeds
from generative.training.learn import crew

if TYPE_CHECKING:
    from generative.metrics.subject import Subject

FIGURES = {"return": "judged", "return_fast": "driven", "return_dreamed": "dreamed", "return_random": "random", "return_untrained": "begun"}
TOGETHER = {"judged": 4}  # tracks that one process drives at a time: a part of the result, for it changes the last bits of a sum
OTHERS = 32  # of what is not judged: the more pictures pass through V at once, the less each costs


def compare(subject: Subject) -> dict[str, Any]:
    """Mean and standard deviation of the return over `compared` tracks that no candidate and no held-out figure has met.

    Beside them, over as many episodes: the mean in the fast environment and in dreams, and in the fast environment that of random actions
    and of candidates with which the search began. What other eyes and memories make of the same search (`memory` in the block) is no
    part of this: it takes an entry of its own, evolved as this one was.
    """
    assert isinstance(subject.params, Evolution)
    params = subject.params.model_copy(update={"precision": "float32"})
    seeds = trial_seeds(params, FRESH, params.compared)
    requests = [(name, part) for name, method in FIGURES.items() for part in _parts(seeds, TOGETHER.get(method, OTHERS))]
    with crew(subject.model, params, subject.dataset.folder) as workers:
        answers = workers([(FIGURES[name], part) for name, part in requests])  # the longest first
    measured = {name: np.concatenate([answer for (of, _), answer in zip(requests, answers, strict=True) if of == name]) for name in FIGURES}
    spread = float(measured["return"].std(ddof=1)) if len(seeds) > 1 else 0.0
    return {figure: float(returns.mean()) for figure, returns in measured.items()} | {"return_sd": spread, "compared": len(seeds)}


def _parts(seeds: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return [seeds[i : i + size] for i in range(0, len(seeds), size)]
