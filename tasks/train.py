"""Train one model."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.dvc import Outcome, reproduce
from tasks.policy import LONGEST, RESUMED, turn


@task(task_run_name="train@{name}", tags=["compute"], timeout_seconds=LONGEST, cache_policy=NO_CACHE, **RESUMED)
def train(name: str) -> Outcome:
    """Repeated where it was killed, from its last checkpoint; so does the next flow."""
    with turn():
        return reproduce(f"train@{name}")
