"""Bring all or some of the catalogue up to date, independent stages side by side."""

if __name__ == "__main__":  # before Prefect is imported, so that --help answers at once
    from flows.command import main

    raise SystemExit(main("catalogue", str(__doc__)))

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, get_args

from prefect import flow
from pydantic import Field

from flows import forecast
from flows.artifacts import publish
from flows.report import conclude
from flows.scheduler import Future, Result, carry_out
from flows.survey import Survey, prepared, survey
from flows.view import View
from generative.errors import UsageError
from tasks import cluster
from tasks.dvc import Outcome, cores, make_ready, stop_all

Workers = Annotated[int | None, Field(ge=1)]


@flow(name="catalogue")
def catalogue(names: list[str] | None = None, workers: Workers = None, scheduler: str | None = None) -> None:
    """Bring everything up to date, or what leads to some entries.

    Args:
        names: Entries of params.yaml; everything where none is given.
        workers: Stages at once; the number of cores, or of the scheduler's workers, where not given.
        scheduler: Address of a Dask scheduler whose workers run the stages; processes of this machine where not given.
    """
    bring_up_to_date(names or [], workers, scheduler)


def bring_up_to_date(names: list[str], workers: int | None, scheduler: str | None = None) -> None:
    """Run what DVC finds out of date, and print what became of it.

    Raises:
        StagesFailedError: some stages failed; all that do not depend on them are up to date.
        UsageError: an unknown name, or a dvc.yaml that DVC refuses.
    """
    try:
        found = prepared() or survey(names, make_ready)
        with hands(found, workers, scheduler) as count:
            results = found.checked + _stages(found, count)
        if scheduler:
            cluster.bring(result.stage for result in results if result.outcome in get_args(Outcome))
    finally:  # Ctrl-C, SIGTERM, a cancelled run: nothing that we started outlives us
        stop_all()
    publish(results)
    conclude(results, found)


@contextmanager
def hands(found: Survey, workers: int | None, scheduler: str | None) -> Iterator[int]:
    """How many stages run at once, here or by the workers of a scheduler, which are given and give back data."""
    if not scheduler or not found.needs:
        yield workers or cores()
        return
    with cluster.joined(scheduler, found.graph) as there:
        cluster.give({before for stage in found.needs for before in found.graph[stage]} - found.needs.keys())
        yield workers or len(there.workers)


def _stages(found: Survey, workers: int) -> list[Result]:
    tasks = {stage: task_of(stage) for stage in found.needs}
    known = forecast.known()
    seconds = forecast.expected(found.needs, known)
    with View(found.needs, seconds, workers, certain=found.needs.keys() <= known.keys()) as view:
        return carry_out(found.needs, lambda stage: tasks[stage](), workers, view, forecast.urgency(found.needs, seconds))


def task_of(stage: str) -> Callable[[], Future]:
    """What submits the stage: its task in tasks/, named like the kind of stage.

    Raises:
        UsageError: there is none.
    """
    kind, *name = stage.split("@", 1)
    if not find_spec(f"tasks.{kind}"):
        raise UsageError(f"dvc.yaml: {stage}: expected a task in tasks/{kind}.py that runs such a stage, found none")
    return partial(getattr(import_module(f"tasks.{kind}"), kind).submit, *name)
