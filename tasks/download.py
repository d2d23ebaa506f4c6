"""Fetch or draw the raw files of a data set."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.dvc import Outcome, reproduce
from tasks.policy import REQUESTED, hours


@task(task_run_name="download@{name}", tags=["network"], timeout_seconds=hours(6), cache_policy=NO_CACHE, **REQUESTED)
def download(name: str) -> Outcome:
    """A download resumes, so a repeat helps where the network failed."""
    return reproduce(f"download@{name}")
