"""How long stages will take, by what they took the last time."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from graphlib import TopologicalSorter
from pathlib import Path

from flows.plan import Needs

RUNS = Path("data/runs")  # the journal of the stages' last runs
OVERHEAD = 1.0  # seconds of a stage that its journal does not count: its start, and DVC


def known() -> dict[str, float]:
    """Seconds of every stage that has run here."""
    seconds: dict[str, float] = {}
    for file in RUNS.glob("*/*.json"):
        try:
            seconds[f"{file.parent.name}@{file.stem}"] = float(json.loads(file.read_text())["seconds"]) + OVERHEAD
        except (OSError, ValueError, KeyError, TypeError):
            continue  # a damaged journal costs an estimate and nothing else
    return seconds


def expected(needs: Needs, known: Mapping[str, float]) -> dict[str, float]:
    """Seconds of every stage of a plan: its own, or the median of its kind, or that of all, or one second."""
    kinds: dict[str, list[float]] = {}
    for stage, seconds in known.items():
        kinds.setdefault(stage.partition("@")[0], []).append(seconds)
    general = statistics.median(known.values()) if known else OVERHEAD
    return {stage: known.get(stage) or statistics.median(kinds.get(stage.partition("@")[0], [general])) for stage in needs}


def urgency(needs: Needs, seconds: Mapping[str, float]) -> dict[str, float]:
    """Seconds from the start of each stage to the end of the longest chain that waits for it."""
    ahead = dict.fromkeys(needs, 0.0)
    whole: dict[str, float] = {}
    for stage in reversed(list(TopologicalSorter(needs).static_order())):
        whole[stage] = ahead[stage] + seconds[stage]
        for before in needs[stage]:
            ahead[before] = max(ahead[before], whole[stage])
    return whole


def left(needs: Needs, remaining: Mapping[str, float], workers: int) -> float:
    """Seconds until all is done: no less than the longest chain, and no less than the work divided among the workers.

    Args:
        remaining: seconds that each stage will yet take; 0 for those that have ended.
    """
    return max(max(urgency(needs, remaining).values(), default=0.0), sum(remaining.values()) / workers)
