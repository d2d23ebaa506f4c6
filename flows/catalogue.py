"""Bring all or some of the catalogue up to date, independent stages side by side."""

if __name__ == "__main__":  # before Prefect is imported, so that --help answers at once
    from flows.command import main

    raise SystemExit(main("catalogue", str(__doc__)))

import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec

from prefect import flow

from flows.plan import graph, leading_to, plan
from flows.report import StagesFailedError, failures, table, tell
from flows.scheduler import Future, Result, carry_out
from generative.errors import UsageError
from tasks.dvc import ask, cores, stop_all

CHECK = "check"  # the stage that all others wait for: it refuses a bad params.yaml


@flow(name="catalogue")
def catalogue(names: list[str] | None = None, workers: int | None = None) -> None:
    """Everything, or what leads to `names`, with at most `workers` stages at once (the number of cores where none is given)."""
    bring_up_to_date(names or [], workers or cores())


def bring_up_to_date(names: list[str], workers: int) -> None:
    """Run what DVC finds out of date, and print what became of it.

    Raises:
        StagesFailedError: some stages failed; all that do not depend on them are up to date.
        UsageError: an unknown name, or a dvc.yaml that DVC refuses.
    """
    started = time.monotonic()
    try:
        results, chosen = _stages(names, workers)
    except BaseException:  # Ctrl-C, SIGTERM, a cancelled run: nothing that we started outlives us
        stop_all()
        raise
    print(table(results, chosen - len(results), time.monotonic() - started), flush=True)
    if message := failures(results):
        raise StagesFailedError(message)


def _stages(names: list[str], workers: int) -> tuple[list[Result], int]:
    dot = ask("dag", "--dot")
    chosen = leading_to(graph(dot), names)
    # First of all, and before anyone is asked what is out of date: every stage is, as long as a change of params.yaml is unchecked.
    checked = carry_out({CHECK: frozenset()}, lambda stage: task_of(stage)(), 1, tell) if CHECK in chosen else []
    checked = [result for result in checked if result.outcome != "skipped"]
    if failures(checked):
        return checked, len(chosen)
    needs = plan(dot, ask("status", "--json"), names)
    tasks = {stage: task_of(stage) for stage in needs}
    return checked + carry_out(needs, lambda stage: tasks[stage](), workers, tell), len(chosen)


def task_of(stage: str) -> Callable[[], Future]:
    """What submits the stage: its task in tasks/, named like the kind of stage.

    Raises:
        UsageError: there is none.
    """
    kind, *name = stage.split("@", 1)
    if not find_spec(f"tasks.{kind}"):
        raise UsageError(f"dvc.yaml: {stage}: expected a task in tasks/{kind}.py that runs such a stage, found none")
    return partial(getattr(import_module(f"tasks.{kind}"), kind).submit, *name)
