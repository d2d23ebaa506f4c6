"""Evolution instead of descent: CMA-ES (Hansen 2016, arXiv:1604.00772) with a diagonal covariance, as the `cma` package has it.

A step of `params` is a generation, `batch_size` the candidates in it, `accumulate` the trials of each, `learning_rate` the first step size.
The mean of the search distribution is what is trained: it does far better than the candidates scattered around it. Luck moves it, once
fitness differs by less than the trials do; what is measured is therefore the average of the means of the last `averaged` generations, as
of the iterates of a stochastic approximation (Polyak and Juditsky 1992), 1 being the mean as CMA-ES has it. The model is the one of them
that was worth most in its held-out trials (early stopping): a search that goes on gets bolder, not always better. Luck shrinks the step
size as well, though the end is far; `least_step` is where that stops. A mean amid wide steps has also to be worth much all around it.

The search is a function of its seed and of the fitness of every candidate so far, and that is all a checkpoint keeps: told the same answers
again, which takes milliseconds a generation, it stands where it stood. Trials are a function of (seed, generation), so a run that goes on
equals the uninterrupted one bit for bit.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generative.errors import UsageError
from generative.models.model import Model
from generative.params import Evolution
from generative.training.checkpoint import Work
from generative.training.curve import Curve
from generative.training.device import Place

HELD_OUT, FRESH = 1_000_003, 1_000_033  # set the trials of held-out figures and of the last measurement apart from those of generations

Chunk = tuple[NDArray[np.float32], NDArray[np.int64]]  # candidates (K, P), the seeds (K,) of their trials
Answer = NDArray[np.float64]  # (K, 1 + number of logs): worth, then what `Model.logged` names
Measure = Callable[[Sequence[Chunk]], Sequence[Answer]]
Watch = Callable[[int, dict[str, float]], None]


def evolve(model: Model, params: Evolution, place: Place, work: Work, measure: Measure, watch: Watch) -> Curve:
    """Evolves `model` in place for `params.steps` generations, from the newest checkpoint of this very search if there is one.

    Args:
        measure: what answers chunks of trials, in their order. What it answers must depend on the chunk alone.
        watch: called with (generations done, that row of the curve) whenever a point of the curve is made.

    Raises:
        UsageError: a candidate's fitness is not finite, with the generation and the last good checkpoint.
    """
    place.put(model)
    search = Search(params, flat(model))  # begins where the model does, not where a checkpoint stands
    done, saved = work.restore(model, [])
    history: list[list[float]] = saved.get("fitness", [])
    worth, kept = saved.get("kept", (-math.inf, search.mean.tolist()))
    curve = Curve(place, saved)
    for fitness in history:
        search.ask()
        search.tell(np.asarray(fitness))
    for step in range(done, params.steps):
        model.before_step(step)
        answers = trials(search.ask(), trial_seeds(params, step, params.accumulate), params.chunk, measure)
        fitness = answers[..., 0].mean(axis=1)
        _refuse_not_finite(fitness, step + 1, curve, work)
        search.tell(fitness)
        history.append(fitness.tolist())
        put(model, search.mean)
        _note(curve, step + 1, model, answers, fitness, search.sigma)
        due = (step + 1) % params.checkpoint_every == 0 or step + 1 == params.steps
        if due or (step + 1) % params.log_every == 0:
            figures = held_out(search.mean, params, measure, model) if _measured(params, step + 1) else {}
            if figures.get(model.figure, -math.inf) > worth:
                worth, kept = figures[model.figure], search.mean.tolist()
            watch(step + 1, curve.point(step + 1, figures, work.file))
        if due:
            work.save(step + 1, model, [], {**curve.state(), "fitness": history, "kept": (worth, kept)})
    put(model, np.asarray(kept, np.float32))
    return curve


class Search:
    """The `cma` package's search, which maximises here, with a random state of its own."""

    def __init__(self, params: Evolution, start: NDArray[np.float64]) -> None:
        import cma

        options: dict[str, Any] = {
            "popsize": params.batch_size,
            "CMA_diagonal": True,
            "randn": np.random.RandomState(params.seed).randn,
            "seed": np.nan,  # cma would seed numpy's global state otherwise
            "verbose": -9,
            "verb_log": 0,
        }
        self._strategy = cma.CMAEvolutionStrategy(start, params.learning_rate, options)
        self._least = params.least_step
        self._means: deque[NDArray[np.float64]] = deque([np.asarray(start)], params.averaged)
        self._told = 0
        self._asked: list[NDArray[np.float64]] = []

    def ask(self) -> NDArray[np.float32]:
        """(N, P) candidates of the next generation."""
        self._asked = self._strategy.ask()
        return np.asarray(self._asked, np.float32)

    def tell(self, fitness: NDArray[np.float64]) -> None:
        self._strategy.tell(self._asked, (-fitness).tolist())
        self._strategy.sigma = max(self._strategy.sigma, self._least)
        self._means.append(self._strategy.mean.copy())
        self._told += 1

    @property
    def mean(self) -> NDArray[np.float32]:
        """(P,) of the last `averaged` generations, at most the later half of all: the first are far from where the search is now."""
        later = max(1, (self._told + 1) // 2)
        return np.mean(list(self._means)[-later:], axis=0).astype(np.float32)

    @property
    def sigma(self) -> float:
        return float(self._strategy.sigma)


def trials(candidates: NDArray[np.float32], seeds: NDArray[np.int64], chunk: int, measure: Measure) -> Answer:
    """(N, S, ...) the answers for each of (N, P) candidates under each of (S,) seeds; trials of one seed stand together in a chunk."""
    of = np.tile(np.arange(len(candidates)), len(seeds))
    under = np.repeat(seeds, len(candidates))
    chunks = [(candidates[of[i : i + chunk]], under[i : i + chunk]) for i in range(0, len(of), chunk)]
    answers = np.concatenate(measure(chunks))
    return answers.reshape(len(seeds), len(candidates), -1).swapaxes(0, 1)


def trial_seeds(params: Evolution, stream: int, count: int) -> NDArray[np.int64]:
    """(count,) seeds of trials: the same for all candidates of a generation, others in each generation."""
    return np.random.SeedSequence((params.seed, stream)).generate_state(count).astype(np.int64)


def held_out(mean: NDArray[np.float32], params: Evolution, measure: Measure, model: Model) -> dict[str, float]:
    """The mean's worth in trials that no generation sees."""
    answers = trials(mean[None], trial_seeds(params, HELD_OUT, params.trials), params.chunk, measure)
    return {model.figure: float(answers[0, :, 0].mean())}


def flat(model: Model) -> NDArray[np.float64]:
    """(P,) all parameters, in the order in which `put` takes them."""
    return torch.nn.utils.parameters_to_vector(model.parameters()).detach().cpu().double().numpy()


def put(model: Model, vector: NDArray[np.float32]) -> None:
    device = next(model.parameters()).device
    torch.nn.utils.vector_to_parameters(torch.from_numpy(vector).to(device), model.parameters())


def _measured(params: Evolution, step: int) -> bool:
    return step % params.held_out_every == 0 or step == params.steps


def _note(curve: Curve, step: int, model: Model, answers: Answer, fitness: NDArray[np.float64], sigma: float) -> None:
    logs = {"mean": fitness.mean(), "best": fitness.max(), "sigma": sigma}
    logs |= dict(zip(model.logged, answers[..., 1:].mean(axis=(0, 1)), strict=True))
    tensors: dict[str, Tensor] = {name: torch.tensor(float(value), device=curve.place.device) for name, value in logs.items()}
    curve.add(step, "evolution", -tensors["mean"], tensors)


def _refuse_not_finite(fitness: NDArray[np.float64], generation: int, curve: Curve, work: Work) -> None:
    if not np.isfinite(fitness).all():
        worst = int(np.flatnonzero(~np.isfinite(fitness))[0])
        last = f"the last good checkpoint is {work.file}, step {curve.saved_at}" if curve.saved_at else "no checkpoint yet"
        why = f"the fitness of candidate {worst} is {fitness[worst]}"
        raise UsageError(f"step {generation}: {why}; {last}; try a lower learning_rate, or precision: float32")
