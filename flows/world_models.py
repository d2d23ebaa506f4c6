"""Bring world models up to date: rollouts and the candidates of every generation tried by many processes, each part a task.

The flow does ahead of DVC what is worth fanning out, in the work folder where an interrupted stage would leave it. The stage then finds it
done, and DVC records the same result as without this flow, to the last bit.
"""

if __name__ == "__main__":  # before Prefect is imported, so that --help answers at once
    from flows.command import main

    raise SystemExit(main("world_models", "Bring world models up to date, their trials fanned out over many processes."))

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from prefect import flow

from flows import forecast
from flows.artifacts import publish
from flows.catalogue import Workers as Number
from flows.catalogue import task_of
from flows.command import evolving, unrolled
from flows.report import conclude
from flows.scheduler import Future, Result, carry_out
from flows.survey import Survey, prepared, survey
from flows.view import View
from generative import params
from generative.catalogue import Catalogue
from generative.data import shards
from generative.files import write_file
from generative.models.model import Model
from generative.params import Evolution
from generative.stages import train
from generative.training.evolve import Measure
from generative.training.learn import learn, trade
from generative.training.workers import Setup, Workers
from tasks.chunk import Answering, at_work, chunk
from tasks.cluster import hiring
from tasks.dvc import ask, cores, make_ready, stop_all
from tasks.worker import shard

Hire = Callable[[Setup], AbstractContextManager[Answering]]


@flow(name="world-models")
def world_models(names: list[str] | None = None, workers: Number = None, iterations: Number = None, scheduler: str | None = None) -> None:
    """Bring the models that are evolved in a world up to date, with all that they need.

    Args:
        names: Models of params.yaml; all that are evolved where none is given.
        workers: Processes that try candidates side by side; the number of cores where not given.
        iterations: Rounds, each collected by the controller of the one before; as params.yaml has them where not given.
        scheduler: Address of a Dask scheduler whose workers collect rollouts and try candidates; processes of this machine where not given.
    """
    try:
        found = prepared() or survey(unrolled(names or [], iterations), make_ready)
        with ExitStack() as stack:
            far = stack.enter_context(hiring(scheduler)) if scheduler and found.needs else None
            results = found.checked + _stages(found, far or (lambda setup: Workers(setup, workers or cores())))
    finally:  # Ctrl-C, SIGTERM, a cancelled run: nothing that we started outlives us
        stop_all()
    publish(results)
    conclude(results, found)


def _stages(found: Survey, hire: Hire) -> list[Result]:
    """One stage after another: each is a chain's next link, and what can be shared is shared within it."""
    seconds = forecast.expected(found.needs, known := forecast.known())
    ahead = {f"train@{name}": partial(evolve_ahead, name, hire) for name in evolving()}
    ahead |= {f"download@{name}": partial(collect_ahead, name, hire) for name in collected()}

    def submit(stage: str) -> Future:
        try:
            if stage in ahead and json.loads(ask("status", "--json", stage) or "{}"):
                ahead[stage]()
        except Exception as error:  # noqa: BLE001 - it is what became of this stage, as if the stage itself had failed
            lost: futures.Future[None] = futures.Future()
            lost.set_exception(error)
            return lost
        return task_of(stage)()

    with View(found.needs, seconds, 1, certain=found.needs.keys() <= known.keys()) as view:
        return carry_out(found.needs, submit, 1, view, forecast.urgency(found.needs, seconds))


def evolve_ahead(name: str, hire: Hire) -> None:
    """Evolves an entry of the catalogue to its last checkpoint, from which its stage goes on to write down what came of it."""
    ready = train.begin(name)
    with ExitStack() as stack:
        record, progress, _ = train.watched(stack, "evolve", name, ready)

        def watch(step: int, row: dict[str, float]) -> None:
            progress(step, row)
            record.run.metrics({key: value for key, value in row.items() if key != "step"}, step)

        learn(*ready, watch, lambda *of: fanned(name, hire, *of))


def collected() -> list[str]:
    """The data sets of params.yaml that are driven in a world."""
    return [name for name, block in params.read()["data"].items() if str(block.get("source")).startswith("rollouts/")]


def collect_ahead(name: str, hire: Hire) -> None:
    """Drives the shards of a data set that are not there yet, to where its stage looks for them."""
    source, module = Catalogue.read().source(name)
    assert isinstance(source, shards.Gathered)
    work = shards.work_folder(source, name)
    waiting = [(wanted,) for wanted in shards.planned(source) if not (work / wanted.file).exists()]
    with hire(partial(partial, shard, module.__name__, source)) as processes:
        done(name, "shards", Kept(processes, work), waiting)


class Kept:
    """Writes each file of episodes down when it is there, so that it is not lost with the others."""

    def __init__(self, processes: Answering, folder: Path) -> None:
        self.processes, self.folder = processes, folder

    def answer(self, request: tuple[shards.Shard]) -> None:
        write_file(self.folder / request[0].file, self.processes.answer(request))


def done(name: str, title: str, processes: Answering, requests: Sequence[tuple[Any, ...]]) -> list[Any]:
    """The answers to requests, each by a task of its own."""
    at_work[name] = processes, requests
    return [answer.result() for answer in [chunk.submit(name, title, number) for number in range(len(requests))]]


@contextmanager
def fanned(name: str, hire: Hire, model: Model, block: Evolution, folder: Path) -> Iterator[Measure]:
    """What answers chunks of trials by tasks, one a chunk."""
    with hire(trade(model, block, folder)) as processes:
        rounds = count(1)

        yield lambda chunks: done(name, f"round {next(rounds)}", processes, [("fitness", *part) for part in chunks])
