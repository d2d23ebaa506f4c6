"""What the tasks share: which failures a repeat may mend, how long a stage may take, and the turn at the GPU."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from tasks.dvc import StageKilledError, away

if TYPE_CHECKING:
    from prefect import Task
    from prefect.client.schemas.objects import State, TaskRun

GPU = "gpu"  # the concurrency limit that stages at work on a GPU share
LONGEST = 14 * 24 * 3600  # seconds: two weeks bound even the published sizes

# What `download NAME: ...` refuses, a checksum that is wrong and a file that is not there are the same at the second look.
_FINAL = re.compile(r"download \S+: |.*(wrong content: |no such file|answered 4\d\d |redirects without end)")
_provided = Lock()


def killed(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether the stage was ended by a signal, as for want of memory: a repeat goes on from its last checkpoint."""
    return isinstance(state.result(raise_on_failure=False), StageKilledError)


def broken_off(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether a download failed on its way: a repeat goes on with the part that came."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, StageKilledError) or not _FINAL.match(str(error))


RESUMED = {"retries": 2, "retry_delay_seconds": [5, 20], "retry_condition_fn": killed}
REQUESTED = {"retries": 3, "retry_delay_seconds": [5, 20, 60], "retry_condition_fn": broken_off}


def on_gpu() -> bool:
    """Whether a stage started here would use a GPU; asks neither torch nor the driver, both take seconds."""
    asked, visible = os.environ.get("GENERATIVE_DEVICE"), os.environ.get("CUDA_VISIBLE_DEVICES", "all")
    return asked == "cuda" or (not asked and visible not in ("", "-1") and any(Path("/dev").glob("nvidia[0-9]*")))


def hours(number: float) -> float:
    """The time limit of a task whose stage takes at most that long, in seconds; where stages share a GPU, waiting for it counts too."""
    return number * 3600 + LONGEST * on_gpu()


@contextmanager
def turn() -> Iterator[None]:
    """The GPU for this stage alone, where there is one here. The server takes it back from a process that died."""
    if away() or not on_gpu():
        yield
        return
    from prefect import get_client
    from prefect.concurrency.sync import concurrency

    with _provided, get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(GPU, 1)
    with concurrency(GPU, occupy=1, strict=True, raise_on_lease_renewal_failure=False):
        yield
