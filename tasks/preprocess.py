"""Bring a raw data set into the one on-disk format."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.dvc import Outcome, reproduce
from tasks.policy import RESUMED, hours


@task(task_run_name="preprocess@{name}", tags=["data"], timeout_seconds=hours(2), cache_policy=NO_CACHE, **RESUMED)
def preprocess(name: str) -> Outcome:
    """The same files fail the same way: repeated only where it was killed."""
    return reproduce(f"preprocess@{name}")
