"""The one loop that trains every model.

Randomness is a function of (seed, step, objective, batch, rank) and the data stream restarts at any step, so a run that goes on from any
checkpoint equals the uninterrupted one bit for bit on a CPU, and no state of a generator needs to be stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from generative.data.store import Batch, Split
from generative.errors import UsageError
from generative.models.model import Model, Objective
from generative.params import Training
from generative.training.checkpoint import Work
from generative.training.curve import Curve
from generative.training.device import Place, seed

VALIDATION_STREAM = 1_000_003  # sets the random numbers of held-out figures apart from those of training


class Stream:
    """Batch k of an endless series of shuffled passes over a split, for any k; each rank gets its part of each batch."""

    def __init__(self, split: Split, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> None:
        if batch_size % world:
            raise UsageError(f"batch_size: expected a multiple of the {world} processes, got {batch_size}")
        self.split, self.batch_size, self.seed = split, batch_size, seed
        share = batch_size // world
        self.mine = slice(rank * share, (rank + 1) * share)
        self.device = split.arrays["x"].device
        self.orders: dict[int, Tensor] = {}

    def __call__(self, k: int) -> Batch:
        n, start = len(self.split), k * self.batch_size
        parts = []
        while start < (k + 1) * self.batch_size:
            pass_, offset = divmod(start, n)
            part = self._order(pass_)[offset : offset + (k + 1) * self.batch_size - start]
            parts.append(part)
            start += len(part)
        return self.split[torch.cat(parts)[self.mine]]

    def _order(self, pass_: int) -> Tensor:
        if pass_ not in self.orders:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + pass_)
            order = torch.randperm(len(self.split), generator=generator).to(self.device)
            self.orders = {p: o for p, o in self.orders.items() if p == pass_ - 1} | {pass_: order}
        return self.orders[pass_]


def descend(
    model: Model,
    params: Training,
    train: Split,
    validation: Split,
    place: Place,
    work: Work,
    watch: Callable[[int, dict[str, float]], None] = lambda step, row: None,  # noqa: ARG005
) -> Curve:
    """Trains `model` in place for `params.steps` steps, from the newest checkpoint of this very training if there is one.

    Args:
        watch: called with (steps done, that row of the curve) whenever a point of the curve is made.

    Returns:
        The curve of the whole training, with its duration over all processes that took part in it.

    Raises:
        UsageError: a loss that is not finite, with the step, the objective and the last good checkpoint.
    """
    place.put(model)
    objectives = model.objectives()
    optimizers = list({id(o.optimizer): o.optimizer for o in objectives}.values())
    rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    done, saved = work.restore(model, optimizers)
    curve = Curve(place, saved)
    stream = Stream(train, params.batch_size, params.seed, place.rank, place.world)
    model.train()
    for step in range(done, params.steps):
        model.before_step(step)
        _set_rates(optimizers, rates, params, step)
        for index, objective in enumerate(objectives):
            if (step + 1) % objective.every == 0:
                _descend_once(model, params, place, objective, index, step, stream, curve)
        place.average_buffers(model)
        model.after_step(step)
        due = (step + 1) % params.checkpoint_every == 0 or step + 1 == params.steps
        if due or (step + 1) % params.log_every == 0:
            figures = held_out(model, validation, place, params, step + 1) if due else {}
            watch(step + 1, curve.point(step + 1, figures, work.file))
            if due and place.first:
                work.save(step + 1, model, optimizers, curve.state())
    return curve


def _descend_once(
    model: Model, params: Training, place: Place, objective: Objective, index: int, step: int, stream: Stream, curve: Curve
) -> None:
    """One step of one objective: `accumulate` batches, one update of what its optimizer holds."""
    with _only(model, objective.optimizer):
        for k in range(step * params.accumulate, (step + 1) * params.accumulate):
            batch = place.take(stream(k))
            seed(params.seed, k, index, place.rank)
            with place.autocast():
                loss, logs = objective.loss(batch)
            (loss / params.accumulate).backward()
            curve.add(step + 1, objective.name, loss, logs)
        place.average_gradients(objective.optimizer)
        if params.clip_norm:
            clip_grad_norm_([p for group in objective.optimizer.param_groups for p in group["params"]], params.clip_norm)
        objective.optimizer.step()
        objective.optimizer.zero_grad(set_to_none=True)


def _set_rates(optimizers: list[Optimizer], rates: list[list[float]], params: Training, step: int) -> None:
    """The learning rates of a step: a function of the step alone (cosine: Loshchilov and Hutter 2017, eq. 5, without restarts)."""
    share = 1.0 if params.schedule == "constant" else (1 + math.cos(math.pi * step / params.steps)) / 2
    for optimizer, initial in zip(optimizers, rates, strict=True):
        for group, rate in zip(optimizer.param_groups, initial, strict=True):
            group["lr"] = rate * share


def held_out(model: Model, split: Split, place: Place, params: Training, step: int) -> dict[str, float]:
    """The model's figures over a whole split, each example counted once; the random numbers depend on the step alone."""
    if not len(split):
        return {}
    training = model.training
    model.eval()
    totals: dict[str, Tensor] = {}
    with torch.no_grad(), place.autocast():
        for number, batch in enumerate(split.batches(max(params.batch_size, 500))):
            seed(params.seed, step, number, VALIDATION_STREAM)
            for name, value in model.evaluate(place.take(batch)).items():
                totals[name] = totals.get(name, torch.zeros_like(value)) + value * len(batch["x"])
    model.train(training)
    return model.summary({name: total.item() / len(split) for name, total in totals.items()})


@contextmanager
def _only(model: Model, optimizer: Optimizer) -> Iterator[None]:
    """Freezes every parameter that the optimizer does not hold: what the optimizer holds is what trains."""
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    frozen = [p for p in model.parameters() if p.requires_grad and id(p) not in held]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
