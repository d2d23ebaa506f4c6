"""`dvc repro` of all that is out of date, or of the stages that are named: what `make repro` runs.

    python -m tasks.repro [STAGE ...]    DVC's own options too

Plain `dvc repro` makes the same, and the same dvc.lock. Here that is mended before and then kept in one step (`tasks/record.py`), where DVC
reads and writes the whole of it for every stage: with a hundred of them seconds each. And stages are forks of this process, which has
imported torch once for all of them (`tasks/nursery.py`); DVC is another fork, so that nothing of it passes into a stage.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from tasks import mend, nursery, record
from tasks.fork import THREADS
from tasks.process import end_with, start_stages_by


def repro() -> int:
    """Returns DVC's exit code."""
    environment = dict(os.environ)
    os.environ.update(THREADS)  # the libraries read them when they are imported
    shared = nursery.furnish()
    nursery.take(environment)
    if not shared:
        return _dvc()
    sys.stdout.flush()
    us, (ours, dvcs) = os.getpid(), socket.socketpair()
    with _deaf():
        dvc = os.fork()
        if dvc == 0:
            _begin(us)
            ours.close()
            with dvcs.makefile("rw") as line:
                start_stages_by(lambda *stage: _ask(line, nursery.ordered(*stage)))
                nursery.leave(_dvc())
        dvcs.close()
        with suppress(BrokenPipeError), ours.makefile("rw") as line:
            for order in line:
                line.write(f"{_run(order, us, dvc)}\n")
                line.flush()
        return _code(dvc)


def _dvc() -> int:
    from dvc.cli import main

    record.keep_in_one_step()
    return main(["repro", *sys.argv[1:]])


def _ask(line: TextIO, order: str | None) -> int | None:
    """The exit code of a stage that our parent runs; None for a command that DVC is to start itself."""
    if order is None:
        return None
    with _deaf():
        line.write(order + "\n")
        line.flush()
        return int(line.readline())


def _run(order: str, us: int, dvc: int) -> int:
    """The exit code of a stage. It is ended with DVC, should that be killed."""
    stage = os.fork()
    if stage == 0:
        _begin(us)
        nursery.become(order)
    ended, status = os.waitpid(-1, 0)
    if ended == dvc:
        os.kill(stage, signal.SIGTERM)
        _, status = os.waitpid(stage, 0)
    return os.waitstatus_to_exitcode(status)


def _code(dvc: int) -> int:
    with suppress(ChildProcessError):  # gone already where it was killed while a stage ran
        code = os.waitstatus_to_exitcode(os.waitpid(dvc, 0)[1])
        return code if code >= 0 else 128 - code
    return 128 + signal.SIGKILL


def _begin(parent: int) -> None:
    """Once in each fork: end with the parent, and hear Ctrl-C, which a terminal tells all of us."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    end_with(parent)


@contextmanager
def _deaf() -> Iterator[None]:
    """Ctrl-C in this block is for others: the stage ends by it, and then DVC, which sees that."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    from generative.stages.command import guarded

    sys.exit(guarded(mend.mend, "repro") or repro())
