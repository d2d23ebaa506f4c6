"""How well a controller drives: returns on fresh tracks of gymnasium's unmodified environment, with what they are to be compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from generative.params import Evolution
from generative.training.evolve import FRESH, trial_seeds
from generative.training.learn import crew

if TYPE_CHECKING:
    from generative.metrics.subject import Subject

TOGETHER = 4  # tracks that one process drives at a time: a part of the result, for it changes the last bits of a sum
FIGURES = {"return": "judged", "return_fast": "driven", "return_dreamed": "dreamed", "return_random": "random", "return_untrained": "begun"}


def compare(subject: Subject) -> dict[str, Any]:
    """Mean and standard deviation of the return over `compared` tracks that no candidate and no held-out figure has met.

    Beside them, over as many episodes: the mean in the fast environment and in dreams, and in the fast environment that of random actions
    and of the candidates that the search began with.
    """
    assert isinstance(subject.params, Evolution)
    params = subject.params.model_copy(update={"precision": "float32"})
    seeds = trial_seeds(params, FRESH, params.compared)
    parts = [seeds[i : i + TOGETHER] for i in range(0, len(seeds), TOGETHER)]
    with crew(subject.model, params, subject.dataset.folder) as workers:
        measured = {name: np.concatenate(workers([(method, part) for part in parts])) for name, method in FIGURES.items()}
    spread = float(measured["return"].std(ddof=1)) if len(seeds) > 1 else 0.0
    return {figure: float(returns.mean()) for figure, returns in measured.items()} | {"return_sd": spread, "compared": len(seeds)}
