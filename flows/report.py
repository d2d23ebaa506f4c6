"""What the terminal shows of a flow: a line when a stage ends, a table when all have."""

from __future__ import annotations

from collections import Counter

from flows.scheduler import Result
from generative.errors import UsageError


class StagesFailedError(UsageError):
    """Some stages failed: which, why, and what waits for them."""


def tell(result: Result) -> None:
    """One line on a stage that just ended."""
    print(f"{result.stage} {result.outcome} after {result.seconds:.1f} s", flush=True)


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
