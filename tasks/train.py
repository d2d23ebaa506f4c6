"""Train one model."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.dvc import Outcome, reproduce


@task(task_run_name="train@{name}", tags=["compute"], timeout_seconds=14 * 24 * 3600, cache_policy=NO_CACHE)
def train(name: str) -> Outcome:
    """Two weeks bound even the published sizes. A broken run resumes from its checkpoint at the next flow."""
    return reproduce(f"train@{name}")
