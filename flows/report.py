"""What the terminal shows of a flow: a table when all stages have ended, and one message on those that failed."""

from __future__ import annotations

import time
from collections import Counter

from flows.scheduler import Result
from flows.survey import Survey
from generative.errors import UsageError


class StagesFailedError(UsageError):
    """Some stages failed: which, why, and what waits for them."""


def conclude(results: list[Result], found: Survey) -> None:
    """Print the table of a flow that did what a survey had found.

    Raises:
        StagesFailedError: some stages failed.
    """
    current = 0 if found.refused else found.chosen - len(results)
    print(table(results, current, time.monotonic() - found.began), flush=True)
    if message := failures(results):
        raise StagesFailedError(message)


def table(results: list[Result], current: int, seconds: float) -> str:
    """Stage, result and seconds, with the totals below; `current` stages were up to date before."""
    width = max((len(r.stage) for r in results), default=0)
    rows = [f"{r.stage:<{width}}  {r.outcome:<7}  {r.seconds:>8.1f}" + (f"  {r.reason}" if r.reason else "") for r in results]
    head = [f"\n{'stage':<{width}}  result    seconds"] if rows else []
    counts = Counter(r.outcome for r in results)
    totals = [f"{count} {outcome}" for outcome, count in counts.items()] + [f"{current} up to date"] * bool(current)
    return "\n".join([*head, *rows, f"{', '.join(totals)}; {seconds:.1f} s in all"])


def failures(results: list[Result]) -> str:
    """One message that names every failed and every blocked stage; empty where all went well."""
    failed = [f"{r.stage} failed: {r.reason}" for r in results if r.outcome == "failed"]
    blocked = [r.stage for r in results if r.outcome == "blocked"]
    return "; ".join(failed) + (f"; not started: {', '.join(blocked)}" if blocked else "")
