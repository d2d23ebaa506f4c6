"""One contestant in a process of its own, which runs a round whenever it is told to.

Only the standard library, so that it also works inside the virtual environment of Keras. A request is a line with a number of
steps, the answer a line of JSON; everything else that a contestant prints goes to its error stream.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable


def cpu_seconds() -> float:
    """CPU time of this process, its threads and its finished children so far."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def serve(run: Callable[[int], object]) -> None:
    """Answers each number of steps on standard input with the CPU and wall seconds that `run` of it took."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    print(json.dumps({"ready": True}), file=answers)
    for line in sys.stdin:
        cpu, wall = cpu_seconds(), time.perf_counter()
        run(int(line))
        print(json.dumps({"cpu": cpu_seconds() - cpu, "wall": time.perf_counter() - wall}), file=answers)
