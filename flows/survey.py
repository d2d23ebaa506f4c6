"""What a flow has to do, found out before Prefect is there: most flows find nothing, and shall answer at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from flows.plan import Needs, graph, leading_to, plan
from flows.scheduler import Result
from tasks.dvc import StageFailedError, ask, repro

CHECK = "check"  # the stage that all others wait for: it refuses a bad params.yaml

_prepared: list[Survey] = []


@dataclass(frozen=True)
class Survey:
    """What is to be done, of how many stages, and how the check went where it had to run."""

    needs: Needs
    graph: Needs  # of the whole catalogue
    chosen: int
    began: float
    checked: list[Result] = field(default_factory=list)

    @property
    def refused(self) -> bool:
        return any(result.outcome == "failed" for result in self.checked)


def survey(names: Sequence[str], stale: Callable[[], object] = lambda: None) -> Survey:
    """Ask DVC what is out of date of all stages, or of those that lead to `names`; runs the check where it is.

    Args:
        stale: called as soon as it is known that there is something to do, to make ready for it.

    Raises:
        UsageError: an unknown name, or a dvc.yaml that DVC refuses.
    """
    began = time.monotonic()
    dot = ask("dag", "--dot")
    whole = graph(dot)
    chosen = len(leading_to(whole, names))
    needs = plan(dot, ask("status", "--json"), names)
    if needs:
        stale()
    if CHECK not in needs:
        return Survey(needs, whole, chosen, began)
    # Before the others are planned: as long as a change of params.yaml is unchecked, every stage seems out of date.
    checked = [_check()]
    if checked[0].outcome == "failed":
        return Survey({}, whole, chosen, began, checked)
    needs = plan(dot, ask("status", "--json"), names)
    return Survey(needs, whole, chosen, began, [result for result in checked if result.outcome != "skipped"])


def prepare(names: Sequence[str], stale: Callable[[], object]) -> Survey:
    """A survey that the next flow of this process takes over."""
    _prepared.append(survey(names, stale))
    return _prepared[-1]


def prepared() -> Survey | None:
    """The survey that was prepared for this flow, once."""
    return _prepared.pop() if _prepared else None


def _check() -> Result:
    began = time.monotonic()
    try:
        outcome = repro(CHECK, lambda line: print(f"{CHECK} | {line}", flush=True))
    except StageFailedError as error:
        return Result(CHECK, "failed", time.monotonic() - began, str(error))
    return Result(CHECK, outcome, time.monotonic() - began)
