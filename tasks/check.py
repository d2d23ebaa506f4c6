"""Validate the catalogue, before anything is touched."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.dvc import Outcome, reproduce


@task(task_run_name="check", tags=["check"], timeout_seconds=120, cache_policy=NO_CACHE)
def check() -> Outcome:
    """A bad block is the same at the second look: no repeats."""
    return reproduce("check")
