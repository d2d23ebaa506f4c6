"""What the journal of a build (data/runs) says of its speed, without building anything: `python -m benchmarks.records [FOLDER...]`.

Of the workspace in each folder: how long the build took from its first stage's beginning to its last one's end, the share of it in which
no stage was at work, and how long a serial `dvc repro` and the flow would take for stages of these lengths.
"""

from __future__ import annotations

import argparse
import heapq
import json
from contextlib import chdir
from datetime import datetime
from graphlib import TopologicalSorter
from pathlib import Path

from benchmarks.catalogue import covered
from flows.forecast import OVERHEAD, RUNS, expected, urgency
from flows.plan import Needs, graph
from tasks.dvc import ask

SERIAL = 4.0  # seconds that `dvc repro` adds to a stage: DVC's own, Python's start and torch's; 1,132 s less 848 s of work in 71 stages


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.records", description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, default=[Path()], metavar="FOLDER")
    parser.add_argument("--workers", type=int, default=2, metavar="N")
    arguments = parser.parse_args()
    for folder in arguments.folders:
        with chdir(folder):
            print(report(graph(ask("dag", "--dot")), intervals(), arguments.workers), flush=True)


def intervals() -> dict[str, tuple[float, float]]:
    """When each stage of the journal began and ended, in seconds."""
    found = {}
    for file in RUNS.glob("*/*.json"):
        run = json.loads(file.read_text())
        end = datetime.fromisoformat(run["when"]).timestamp()
        found[f"{run['stage']}@{run['name']}"] = (end - run["seconds"], end)
    return found


def report(needs: Needs, runs: dict[str, tuple[float, float]], workers: int) -> str:
    begin, end = min(begin for begin, _ in runs.values()), max(end for _, end in runs.values())
    seconds = expected(needs, {stage: end - begin + OVERHEAD for stage, (begin, end) in runs.items()})
    serial, parallel = sum(seconds.values()) + (SERIAL - OVERHEAD) * len(needs), scheduled(needs, seconds, workers)
    idle = end - begin - covered(runs.values())
    rows = {
        f"{len(runs)} stages in the journal, their own work": sum(end - begin for begin, end in runs.values()),
        "from the first's beginning to the last's end": end - begin,
        f"no stage at work ({100 * idle / (end - begin):.1f} %)": idle,
        f"all {len(needs)} by a serial dvc repro, computed": serial,
        f"by {workers} workers on as many cores, computed ({parallel / serial:.2f} of it)": parallel,
    }
    return f"{Path.cwd().name}: seconds\n" + "\n".join(f"  {what:60s}{value:8.1f}" for what, value in rows.items())


def scheduled(needs: Needs, seconds: dict[str, float], workers: int) -> float:
    """The end of the last stage where the flow hands them out: of those that could start, the one with the longest chain behind it."""
    order, urgent = TopologicalSorter(needs), urgency(needs, seconds)
    order.prepare()
    ready, running, now = list(order.get_ready()), list[tuple[float, str]](), 0.0
    while ready or running:
        while ready and len(running) < workers:
            stage = max(ready, key=urgent.__getitem__)
            ready.remove(stage)
            heapq.heappush(running, (now + seconds[stage], stage))
        now, stage = heapq.heappop(running)
        order.done(stage)
        ready.extend(order.get_ready())
    return now


if __name__ == "__main__":
    main()
