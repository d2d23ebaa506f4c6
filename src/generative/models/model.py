"""The contract between a model and everything around it.

A model file holds one `Params` (what its block in params.yaml may say) and one subclass of `Model`, built as
`TheModel(params, info)`: the sizes come from the block, the shape of the data from the data set's `Info`. A model knows neither
files nor devices nor steps of a schedule other than those it is told of.

Letters in shapes, here and in every model: B batch, N examples, C channels, H W height and width, T length, D width, K classes or
codebook, Z latent, S steps.
"""

from __future__ import annotations

import copy
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from generative.errors import UsageError
from generative.models.exhibit import Exhibit

if TYPE_CHECKING:
    from generative.data.store import Batch, Split

Loss = tuple[Tensor, dict[str, Tensor]]  # what to minimise (a mean over the batch), what to log


@dataclass(frozen=True)
class Objective:
    """One loss, the optimizer that descends it, and how often. It trains what its optimizer holds, and nothing else."""

    name: str
    loss: Callable[[Batch], Loss]
    optimizer: Optimizer
    every: int = 1  # its turn comes at the end of each `every` steps


class Model(nn.Module, ABC):
    """Networks, the objectives that train them, a sampler. All that changes in training is a parameter or a buffer."""

    figure: ClassVar[str]  # the held-out figure that sums the model up, one of those that `evaluate` returns
    larger_is_better: ClassVar[bool] = False
    logged: ClassVar[tuple[str, ...]] = ()  # what `fitness` tells of each trial beside its worth

    @abstractmethod
    def objectives(self) -> list[Objective]:
        """The losses of one step, in order. Objectives may share an optimizer. Called once a training run."""

    @abstractmethod
    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        """Held-out figures, each a mean over the batch; a whole split's figure is their mean weighted by examples."""

    def summary(self, means: dict[str, float]) -> dict[str, float]:
        """The figures of a whole split from its means, where a mean is not yet the figure, such as a perplexity."""
        return means

    @abstractmethod
    def exhibits(self, batch: Batch) -> list[Exhibit]:
        """What a person looks at, made from held-out examples. Called in eval mode, without gradients, seeded."""

    def sample(self, n: int, condition: Tensor | None = None, **options: Any) -> Tensor:
        """`n` new examples in the range of the data, with torch's current random state. Left out by what has no sampler.

        A model with options names them as keyword arguments with their type, such as `steps: int | None = None`; None means what its
        block says. The sample stage offers them on its command line.

        Args:
            condition: (n,) labels, or (T,) tokens to begin with; a model without a use for it refuses it.
        """
        raise UsageError(f"{type(self).__name__} has no sampler")

    def asked(self, batch: Batch) -> Batch:
        """Examples made to order from held-out ones: x, and y, the labels that a judge should read in them.

        Left out by what takes no orders.
        """
        raise UsageError(f"{type(self).__name__} takes no orders")

    def strangeness(self, batch: Batch) -> Tensor:
        """(B,) how unlike its data the model finds each example: an energy, or minus a log likelihood.

        Left out by what has no such number.
        """
        raise UsageError(f"{type(self).__name__} cannot tell how strange an example is")

    def encode(self, batch: Batch) -> Batch:
        """The batch as phase two trains on it: codes, or new episodes of pictures, x uint8 (B, T, C, H, W).

        Left out by what is nobody's first phase.
        """
        raise UsageError(f"{type(self).__name__} does not encode")

    def decode(self, code: Tensor) -> Tensor:
        """What `encode` made of x, back to the range of the data."""
        raise UsageError(f"{type(self).__name__} does not decode")

    def features(self, batch: Batch) -> Tensor:
        """(B, D) description of the examples; left out by what cannot serve as judge."""
        raise UsageError(f"{type(self).__name__} is no judge: it has no features")

    def fitness(self, candidates: Tensor, seeds: Tensor) -> Tensor:
        """(K, 1 + logged) worth, and what `logged` names, of each of the parameter vectors (K, P) in the trial (K,) that a seed sets.

        Filled in by what evolves (`training/evolve.py`) instead of descending: it has no objectives, and its `Params` is an `Evolution`.
        A pure function of the two in eval mode: many processes answer for parts of a generation.
        """
        raise UsageError(f"{type(self).__name__} does not evolve")

    def receive(self, frozen: Sequence[Model], train: Split | None) -> None:
        """Takes the trained models that made its data, the first phase first. They are no part of its own weights.

        Args:
            train: the training split where training begins, from which buffers may be filled; None where a finished model is loaded.
        """
        raise UsageError(f"{type(self).__name__} takes no other models")

    def before_step(self, step: int) -> None:
        """Sets what follows from the step alone (depth, fade, weights), never from what happened before."""

    def after_step(self, step: int) -> None:
        """Follows the new weights, as averages do."""

    def unconditional(self, condition: Tensor | None) -> None:
        """Raises: UsageError: there is a condition, for which this model has no use."""
        if condition is not None:
            raise UsageError(f"{type(self).__name__} has no use for a condition (label or prompt)")

    @classmethod
    def can(cls, method: str) -> bool:
        """Whether the class fills in the optional `method`."""
        return inspect.getattr_static(cls, method) is not inspect.getattr_static(Model, method)


class Average(nn.Module):
    """An exponential moving average of a module's weights, called as the module is.

    It is made of buffers, so that no optimizer holds it and every checkpoint carries it; the module's own buffers are copied as they are.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.module = copy.deepcopy(module)
        for owner in self.module.modules():
            for name, parameter in list(owner.named_parameters(recurse=False)):
                delattr(owner, name)
                owner.register_buffer(name, parameter.detach().clone())

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Moves every weight a share of 1 - decay towards the module's; the first steps move further, to forget the initial weights."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        mine = dict(self.module.named_buffers())
        for name, value in module.named_parameters():
            mine[name].lerp_(value, share)
        for name, value in module.named_buffers():
            mine[name].copy_(value)
