"""Draw what a person looks at."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.dvc import Outcome, reproduce


@task(task_run_name="sample@{name}", tags=["compute"], timeout_seconds=6 * 3600, cache_policy=NO_CACHE)
def sample(name: str) -> Outcome:
    """A pure function of the weights and the seed: no repeats."""
    return reproduce(f"sample@{name}")
