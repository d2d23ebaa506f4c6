"""Stages side by side: a stage starts as soon as all it waits for is done and a worker is free."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from queue import SimpleQueue
from typing import Any, Protocol

from flows.plan import Needs, blocked_by


class Future(Protocol):
    """What Prefect's futures and the standard library's have in common."""

    def add_done_callback(self, fn: Callable[[Any], None], /) -> None:
        """Call `fn` with this future when it is done."""
        ...

    def result(self) -> Any:
        """What came out; raises what was raised."""
        ...


class Watcher(Protocol):
    """Who is told how the stages go."""

    def begun(self, stage: str) -> None: ...

    def ended(self, result: Result) -> None: ...


@dataclass(frozen=True)
class Result:
    """What became of a stage: ran, cached, skipped, failed or blocked."""

    stage: str
    outcome: str
    seconds: float = 0.0
    reason: str = ""


def carry_out(needs: Needs, submit: Callable[[str], Future], workers: int, watcher: Watcher, urgency: Mapping[str, float]) -> list[Result]:
    """Submit every stage in its turn, at most `workers` at once, and tell each result as it comes.

    A stage is not submitted before it can start: waiting stages hold no worker. What depends on a failure is not started.

    Args:
        urgency: of the stages that could start, the one with the highest goes first; in DVC's order where it is the same.
    """
    order = TopologicalSorter(needs)
    order.prepare()
    done: SimpleQueue[tuple[str, Future]] = SimpleQueue()
    ready, started, results = list(order.get_ready()), dict[str, float](), list[Result]()
    while ready or len(started) > len(results):
        while ready and len(started) - len(results) < workers:
            stage = max(ready, key=lambda stage: urgency.get(stage, 0.0))
            ready.remove(stage)
            started[stage] = time.monotonic()
            watcher.begun(stage)
            submit(stage).add_done_callback(lambda future, stage=stage: done.put((stage, future)))
        stage, future = done.get()
        result = _result(stage, future, time.monotonic() - started[stage])
        results.append(result)
        watcher.ended(result)
        if result.outcome != "failed":
            order.done(stage)
            ready.extend(order.get_ready())
    culprits = blocked_by(needs, [r.stage for r in results if r.outcome == "failed"])
    return results + [Result(stage, "blocked", reason=f"by {culprits[stage]}") for stage in needs if stage in culprits]


def _result(stage: str, future: Future, seconds: float) -> Result:
    try:
        return Result(stage, future.result(), seconds)
    except Exception as error:  # noqa: BLE001 - whatever ended the stage, the others go on and the summary says it
        return Result(stage, "failed", seconds, str(error) or type(error).__name__)
