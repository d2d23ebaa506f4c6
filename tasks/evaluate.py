"""Measure one model on the test split."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.dvc import Outcome, reproduce


@task(task_run_name="evaluate@{name}", tags=["compute"], timeout_seconds=12 * 3600, cache_policy=NO_CACHE)
def evaluate(name: str) -> Outcome:
    """A pure function of the data and the weights: no repeats."""
    return reproduce(f"evaluate@{name}")
