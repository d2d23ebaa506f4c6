"""Work that is split into parts, done by several processes; a part whose process dies is given out again, and none is done twice."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from generative.errors import UsageError
from generative.files import die_with_parent

Part = TypeVar("Part")
ATTEMPTS = 3  # pools in a row that may break without having finished a part
QUIET = 10.0  # seconds between plain lines of progress
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def share_out(make: Callable[[Part], None], parts: Sequence[Part], workers: int, title: str, each: int, unit: str) -> None:
    """Calls `make` for every part, in any order, and says how far it is.

    Args:
        make: what a worker does; the outcome must depend on the part alone. Importable, as are the parts.
        title, each, unit: for the person: of whom, and how many of what a part has.

    Raises:
        UsageError: the workers died again and again.
    """
    left, failures = list(parts), 0
    with _progress(title, len(parts) * each, unit) as advance:
        while left:
            before = len(left)
            try:
                for part in _once(make, list(left), workers):
                    left.remove(part)
                    advance(each)
            except BrokenProcessPool:
                failures = failures + 1 if len(left) == before else 0
                if failures == ATTEMPTS:
                    raise UsageError(f"{title}: the workers died {ATTEMPTS} times before any finished; is there enough memory?") from None
                print(f"{title}: a worker died; what it had not finished is done again", file=sys.stderr, flush=True)


def _once(make: Callable[[Part], None], parts: Sequence[Part], workers: int) -> Iterator[Part]:
    """The parts as they are finished, until all are or a process dies. One worker is this process."""
    if workers == 1:
        for part in parts:
            make(part)
            yield part
        return
    context = multiprocessing.get_context("spawn")
    with _single_threaded(), ProcessPoolExecutor(min(workers, len(parts)), context, die_with_parent) as pool:
        waiting = {pool.submit(make, part): part for part in parts}
        try:
            for future in as_completed(waiting):
                future.result()
                yield waiting[future]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _single_threaded() -> Iterator[None]:
    """For the processes that are started meanwhile: several, each with several threads, slow each other down."""
    saved = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in saved.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _progress(title: str, total: int, unit: str) -> Iterator[Callable[[int], object]]:
    """Takes how many more are done: a bar on a terminal, plain lines with speed and time left elsewhere."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(desc=title, total=total, unit=f" {unit}", dynamic_ncols=True) as bar:
            yield bar.update
        return
    done, began, last = 0, time.monotonic(), time.monotonic()

    def advance(count: int) -> None:
        nonlocal done, last
        done, now = done + count, time.monotonic()
        if now - last > QUIET or done == total:
            last, speed = now, done / (now - began)
            print(f"{title}: {done}/{total} {unit}  {speed * 60:,.0f} a minute  {(total - done) / speed:,.0f} s left", flush=True)

    yield advance
