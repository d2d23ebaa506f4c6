"""The processes that `flows.serve` starts: the server, the worker, and one for each run of the worker.

Each ends with the process that started it, even one that is killed: a run ends with its worker, the worker and the server with
`flows.serve`.
"""

from __future__ import annotations

import asyncio
import os
import runpy
import sys
import threading
import time
from contextlib import ExitStack

from flows.command import LOCK
from generative.errors import UsageError
from generative.files import die_with_parent, sole_owner

POOL = "here"  # the work pool of this machine, as prefect.yaml names it
FAREWELL = 15.0  # seconds for a run whose worker is gone to end its stages


def server(parent: int, listener: int) -> None:
    """Prefect's server with its pages and schedules, on the inherited socket `listener`."""
    end_with(parent)
    import uvicorn
    from prefect.server.api.server import create_app

    uvicorn.run(create_app(final=True), fd=listener, log_level="error", timeout_graceful_shutdown=2)


def worker(parent: int) -> None:
    """What takes runs from the server, one at a time, and gives each a process of its own."""
    end_with(parent)
    from prefect.workers.process import ProcessWorker

    asyncio.run(ProcessWorker(work_pool_name=POOL, name="this machine", limit=1).start())


def run() -> None:
    """The run that the worker names, once no flow from a terminal is at work in the folder."""
    die_with_parent()
    threading.Thread(target=_follow, args=[os.getppid()], daemon=True).start()
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(sole_owner(LOCK))
                break
            except UsageError as busy:
                print(f"A run waits. {busy}", flush=True)
        runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


def end_with(parent: int) -> None:
    """End when the process `parent` that started this one does, even by kill -9."""
    die_with_parent()
    if os.getppid() != parent:  # it died before we could ask
        sys.exit("the process that started this one is gone")


def _follow(worker: int) -> None:
    """Leave soon after the worker, done or not: without a server there is nobody to tell."""
    while os.getppid() == worker:
        time.sleep(1)
    time.sleep(FAREWELL)
    os._exit(1)


if __name__ == "__main__":
    role, *numbers = sys.argv[1:]
    sys.argv[1:] = []  # Prefect's engine would take them for the name of a run
    {"server": server, "worker": worker, "run": run}[role](*map(int, numbers))
