"""Measure one model on the test split."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.dvc import Outcome, reproduce
from tasks.policy import RESUMED, hours, turn


@task(task_run_name="evaluate@{name}", tags=["compute"], timeout_seconds=hours(12), cache_policy=NO_CACHE, **RESUMED)
def evaluate(name: str) -> Outcome:
    """A pure function of the data and the weights: repeated only where it was killed."""
    with turn():
        return reproduce(f"evaluate@{name}")
