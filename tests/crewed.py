"""Parts of a work whose processes die, for tests/test_environment.py; a file of its own, which a process imports in no time."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def fragile(folder: Path, part: int) -> None:
    """Writes a file; the process that meets part 2 first dies over it."""
    if part == 2 and not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / f"{part}.done").touch()


def doomed(part: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
