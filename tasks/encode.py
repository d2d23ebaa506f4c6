"""Pass a data set through a trained model."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.dvc import Outcome, reproduce


@task(task_run_name="encode@{name}", tags=["compute"], timeout_seconds=12 * 3600, cache_policy=NO_CACHE)
def encode(name: str) -> Outcome:
    """A pure function of the data and the weights: no repeats."""
    return reproduce(f"encode@{name}")
