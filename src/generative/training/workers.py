"""Processes that live as long as a search and answer one chunk of trials after another.

A process that dies costs the chunk it was at: another takes its place and is given the chunk again. Which process answers what, and in
which order, changes nothing: an answer depends on its chunk alone, and chunks are cut by params.yaml, not by the number of processes.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any

Setup = Callable[[], Callable[..., Any]]
LONGEST = 6 * 3600  # seconds that a request may take
LIVES = 3  # processes that may die over one request before the request is taken to be the reason


class WorkerLostError(RuntimeError):
    """A request that process after process died over."""


class Workers:
    """A context manager over `count` processes; with one, the work is done here.

    Args:
        setup: what each process calls once; a function of a module, or a `partial` of one. What it returns answers the requests.
    """

    def __init__(self, setup: Setup, count: int) -> None:
        self.setup, self.count = setup, count
        self.idle: SimpleQueue[Worker] = SimpleQueue()
        self.all: list[Worker] = []
        self.here: Callable[..., Any] | None = None
        self.ended = False

    def __enter__(self) -> Workers:
        if self.count == 1:
            self.here = self.setup()
        else:
            self.all = [Worker(self.setup, number) for number in range(self.count)]
            for worker in self.all:
                self.idle.put(worker)
        return self

    def __call__(self, requests: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The answers, in the order of the requests; each is the arguments of what `setup` returned. Raises what a process raised."""
        if self.here is not None:
            return [self.here(*request) for request in requests]
        with ThreadPoolExecutor(self.count) as threads:
            return list(threads.map(self.answer, requests))

    def answer(self, request: tuple[Any, ...]) -> Any:
        """The answer to one request, by the first process that is free; may be called from many threads."""
        if self.here is not None:
            return self.here(*request)
        worker = self.idle.get()
        try:
            for _ in range(LIVES):
                with suppress(EOFError, OSError):  # it died: the next one has the same to do
                    return worker.ask(request)
                if self.ended:
                    raise WorkerLostError("stopped")
                worker.revive()
        finally:
            self.idle.put(worker)
        raise WorkerLostError(f"{LIVES} worker processes died over the same trials, one after the other; is there memory enough?")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.ended = True
        for worker in self.all:
            worker.end()


class Worker:
    """One process and the line to it; where there are several GPUs, the workers take them in turn."""

    def __init__(self, setup: Setup, number: int = 0) -> None:
        self.setup, self.number = setup, number
        self.line, self.process = self._start()

    def ask(self, request: tuple[Any, ...]) -> Any:
        """Raises: EOFError, OSError: the process died, or has not answered for longer than any trials take."""
        self.line.send(request)
        if not self.line.poll(LONGEST):
            raise EOFError
        answer = self.line.recv()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def revive(self) -> None:
        self.end()
        self.line, self.process = self._start()

    def end(self) -> None:
        self.line.close()
        self.process.kill()
        self.process.join()

    def _start(self) -> tuple[Connection, Any]:
        context = get_context("spawn")  # a fork would inherit the threads' locks of torch and Prefect, and no CUDA
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self.setup, self.number, os.getpid()), daemon=True)
        process.start()
        theirs.close()
        return ours, process


def _serve(line: Connection, setup: Setup, number: int, parent: int) -> None:
    if gpus := visible_gpus():
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]  # torch, which looks at it once, is only imported by what follows
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; who asks us also ends us
    threading.Thread(target=_follow, args=[parent], daemon=True).start()
    answer = setup()
    while True:
        try:
            request = line.recv()
        except EOFError:
            return
        try:
            reply = answer(*request)
        except Exception as error:  # noqa: BLE001 - it is raised where the request came from
            reply = error
        line.send(reply)


def visible_gpus() -> list[str]:
    """The names of this machine's GPUs that may be used, as CUDA_VISIBLE_DEVICES has them."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name not in ("", "-1")]
    return [str(number) for number in range(len(list(Path("/dev").glob("nvidia[0-9]*"))))]


def _follow(parent: int) -> None:
    """Ends this process soon after the one it works for, even where that was killed. The kernel's signal would follow a mere thread."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
