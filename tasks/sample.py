"""Draw what a person looks at."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.dvc import Outcome, reproduce
from tasks.policy import RESUMED, hours, turn


@task(task_run_name="sample@{name}", tags=["compute"], timeout_seconds=hours(6), cache_policy=NO_CACHE, **RESUMED)
def sample(name: str) -> Outcome:
    """A pure function of the weights and the seed: repeated only where it was killed."""
    with turn():
        return reproduce(f"sample@{name}")
