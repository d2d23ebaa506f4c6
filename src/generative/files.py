"""Writing that is whole or not at all: everything is made beside its place and moved there in one step."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from generative.errors import UsageError

PATIENCE = 20.0  # seconds to wait for a process that is still ending


def write_file(path: Path, content: bytes | str) -> None:
    """Replaces `path`, whose folder need not exist; flushed to the disk before the old content goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with naming(path), partial.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `path` when the block ends well, and goes when it does not."""
    partial, old = path.with_name(path.name + ".partial"), path.with_name(path.name + ".old.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with naming(path):
            yield partial
        shutil.rmtree(old, ignore_errors=True)
        if path.exists():
            path.replace(old)  # removed only when the new one stands: to remove a folder is not one step
        partial.replace(path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Tells an error what was to be written: a write that comes short does not say where."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


@contextmanager
def sole_owner(folder: Path) -> Iterator[None]:
    """Holds the lock of a work folder; the kernel lets go of it when the process ends, however it ends.

    Raises:
        UsageError: another process still holds it after `PATIENCE` seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as file:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    file.seek(0)
                    raise UsageError(f"{folder}: in use by process {file.read().strip()}; wait for it or stop it") from None
                time.sleep(0.1)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def die_with_parent() -> None:
    """Asks the kernel for a SIGTERM when the parent process dies, so that a killed DVC leaves no trainer behind (Linux only)."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


PICTURES = (".png", ".gif")  # what DVC's plots show; an output folder of plots must hold nothing else


def exhibit_file(name: str, file: str) -> Path:
    """Where the sample stage leaves a file that data/samples/NAME.json names."""
    return Path("data/samples" if Path(file).suffix in PICTURES else "data/pieces") / name / file
