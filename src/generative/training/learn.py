"""How a model of any kind is trained: descent of its objectives, or evolution where it has a fitness."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from generative import models
from generative.data.store import Dataset, Info
from generative.errors import UsageError
from generative.files import write_file
from generative.models.model import Model
from generative.params import Evolution, Training
from generative.training import checkpoint, device
from generative.training.checkpoint import Work
from generative.training.curve import Curve
from generative.training.descend import descend
from generative.training.device import Place
from generative.training.evolve import Measure, Watch, evolve
from generative.training.workers import Setup, Workers

Weights = dict[str, NDArray[Any]]


Hands = Callable[[Model, Evolution, Path], AbstractContextManager[Measure]]


def learn(
    model: Model, params: Training, dataset: Dataset, place: Place, work: Work, watch: Watch | None = None, hands: Hands | None = None
) -> Curve:
    """Trains `model` in place, from the newest checkpoint of this very training if there is one, and returns its curve.

    Args:
        watch: called with (steps done, that row of the curve) whenever a point of the curve is made.
        hands: who tries the candidates of what evolves; where not given, as many processes as its block says.

    Raises:
        UsageError: a loss or a fitness that is not finite, or several processes of torchrun for what evolves.
    """
    watch = watch or (lambda *_: None)
    train, validation = (dataset.split(split).to(place.device) for split in ("train", "validation"))
    if model.can("receive"):
        model.receive(checkpoint.frozen(dataset.folder, place.device), train)
    if not isinstance(params, Evolution):
        return descend(model, params, train, validation, place, work, watch)
    if place.world > 1:
        raise UsageError(f"{params.model} evolves in worker processes: set `workers` in its block instead of using torchrun")
    with (hands or alone)(model, params, dataset.folder) as measure:
        return evolve(model, params, place, work, measure, watch)


@contextmanager
def alone(model: Model, params: Evolution, folder: Path) -> Iterator[Measure]:
    """Tries candidates by as many processes as the block says."""
    with crew(model, params, folder) as workers:
        yield lambda chunks: workers([("fitness", *chunk) for chunk in chunks])


def crew(model: Model, params: Evolution, folder: Path, count: int | None = None) -> Workers:
    """Worker processes that know the trade of `model` (`trade`).

    Args:
        count: of processes, instead of the block's.
    """
    return Workers(trade(model, params, folder), count or params.workers)


def trade(model: Model, params: Training, folder: Path) -> Setup:
    """A copy of `model` as it is now, to be set up in any process of any machine, where its methods answer: a request is (name, arrays
    for its tensors).

    Args:
        folder: has the frozen models that `model` stands on.
    """
    weights = {key: value.cpu().numpy() for key, value in model.state_dict().items()}
    info: Info = model.info  # type: ignore[assignment]
    return partial(ready, params, info, checkpoint.frozen_files(folder), weights)


def ready(params: Training, info: Info, frozen: dict[str, bytes], weights: Weights) -> Callable[..., NDArray[np.float64]]:
    """What answers the requests of one process."""
    place = device.place(params.precision, params.threads)
    _, kind = models.find(params.model, "model")
    model = checkpoint.build(kind, params, info)
    model.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()})
    if model.can("receive"):
        with TemporaryDirectory() as folder:
            for path, content in frozen.items():
                write_file(Path(folder) / path, content)
            model.receive(checkpoint.frozen(Path(folder), place.device), None)
    place.put(model)
    model.eval()

    def answer(method: str, *arrays: NDArray[Any]) -> NDArray[np.float64]:
        with torch.no_grad(), place.autocast():
            return getattr(model, method)(*(torch.from_numpy(array).to(place.device) for array in arrays)).double().cpu().numpy()

    return answer
