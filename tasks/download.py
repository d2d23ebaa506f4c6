"""Fetch or draw the raw files of a data set."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.dvc import Outcome, reproduce

REPEATS = {"retries": 2, "retry_delay_seconds": [5, 30]}


@task(task_run_name="download@{name}", tags=["network"], timeout_seconds=6 * 3600, cache_policy=NO_CACHE, **REPEATS)
def download(name: str) -> Outcome:
    """A download resumes, so a repeat helps where the network failed."""
    return reproduce(f"download@{name}")
