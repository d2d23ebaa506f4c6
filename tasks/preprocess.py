"""Bring a raw data set into the one on-disk format."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.dvc import Outcome, reproduce


@task(task_run_name="preprocess@{name}", tags=["data"], timeout_seconds=2 * 3600, cache_policy=NO_CACHE)
def preprocess(name: str) -> Outcome:
    """The same files fail the same way: no repeats."""
    return reproduce(f"preprocess@{name}")
