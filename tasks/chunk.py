"""Let one worker process try one part of a generation's candidates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from prefect import task
from prefect.cache_policies import NO_CACHE


class Answering(Protocol):
    """Who tries it: processes of this machine, or a scheduler's."""

    def answer(self, request: tuple[Any, ...], /) -> Any: ...


at_work: dict[str, tuple[Answering, Sequence[tuple[Any, ...]]]] = {}  # by entry: who works for it, and the chunks of this round


@task(task_run_name="{name} {round} chunk {number}", tags=["compute"], cache_policy=NO_CACHE)
def chunk(name: str, round: str, number: int) -> Any:  # noqa: A002, ARG001 - it names the task's run
    """The chunk itself is not sent through Prefect, which would write it down. A worker that dies is replaced, not the task."""
    workers, requests = at_work[name]
    return workers.answer(requests[number])
