"""DVC in processes of its own: they run the stages, and neither they nor the stages outlive the flow."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty
from typing import Literal

from generative.errors import UsageError
from tasks.fork import Fork, nursery
from tasks.process import GRACE

Outcome = Literal["ran", "cached", "skipped"]
Say = Callable[[str], None]  # passes on a line of a stage
Run = Callable[[str, Say, str], Outcome]  # like `repro`

# Without it a finished stage that finds the repository busy for 3 seconds is lost. The flag stands before the sub-command.
_WAIT = "--wait-for-lock"
_CHATTER = re.compile(
    r"Running stage '|> |Stage '.*(didn't change, skipping|is cached - skipping run)|(Updating|Generating) lock file"
    r"|(Pulling|Unable to pull) data for stage|WARNING: Some of the cache files do not exist|(name: .*, )?md5: [0-9a-f]{32}"
    r"|To track the changes|\s*git add |To enable auto staging|\s*dvc config core\.autostage|Use `dvc push`"
    r"|Data and pipelines are up to date|ERROR: failed to reproduce|Having any troubles\?|WARNING: '.*' is empty\.$"
)
_OWN = re.compile(r"ERROR: (failed to reproduce '[^']+': (?!failed to run: ).+)")  # DVC itself failed, not the stage
_EXCERPT = re.compile(r"  \d+ ")  # a line of dvc.yaml below a complaint about it
Child = Fork | subprocess.Popen[str]
_KILLED = re.compile(r"ERROR: failed to reproduce .* exited with (-\d+|1(29|[3-5]\d))$")  # a signal's number, or a shell's 128 and it
_BUSY = re.compile(r"ERROR: .*is busy, it is being blocked by")  # a DVC that is still ending, as after the death of its worker
LOCK = Path(".prefect/flow")  # one flow or worker a folder: what one DVC is at work on, another refuses
_stopping = threading.Event()
_children: set[Child] = set()
_elsewhere: list[Run] = []
last_lines: dict[str, str] = {}  # of the stages of this flow, for whoever watches them


class StageFailedError(Exception):
    """A stage ended with an error: the last words it had."""


class StageKilledError(StageFailedError):
    """A signal ended the stage or its DVC, and we sent none, or another DVC was in the way: the same again may well succeed."""


def reproduce(stage: str) -> Outcome:
    """Bring one stage up to date as a Prefect task, whatever lies before it.

    Raises:
        StageFailedError: the stage or DVC ended with an error.
    """
    from prefect import get_run_logger
    from prefect.runtime import flow_run

    log = get_run_logger()
    if _stopping.is_set():  # the repeat of a task that waited while the flow was stopped
        raise StageFailedError("stopped")

    def say(line: str) -> None:
        last_lines[stage] = line
        log.info(line)
        print(f"{stage} | {line}", flush=True)

    return (_elsewhere or [repro])[-1](stage, say, str(flow_run.id))


@contextmanager
def handed_to(run: Run) -> Iterator[None]:
    """In this block, what brings the stages of tasks up to date, in place of this folder's DVC."""
    _elsewhere.append(run)
    try:
        yield
    finally:
        _elsewhere.remove(run)


def away() -> bool:
    """Whether the stages of tasks run on other machines."""
    return bool(_elsewhere)


def stopping() -> bool:
    """Whether the flow is being stopped."""
    return _stopping.is_set()


def repro(stage: str, say: Say, execution: str = "") -> Outcome:
    """Bring one stage up to date and pass on its lines as they come, but not DVC's own.

    Args:
        execution: the id under which the runs of a flow are grouped.

    Raises:
        StageFailedError: the stage or DVC ended with an error.
    """
    return outcome(stage, run(["repro", "--single-item", stage], say, execution=execution))


def run(arguments: Sequence[str], say: Say, wanted: Callable[[], bool] = lambda: True, execution: str = "") -> Sequence[str]:
    """The lines of a DVC command, which are passed on as they come, but not DVC's own.

    Args:
        wanted: asked now and then; the command is stopped once it says no.

    Raises:
        StageFailedError: the stage or DVC ended with an error, or was stopped.
    """
    process = Fork([_WAIT, *arguments], _environment(GENERATIVE_EXECUTION=execution))
    _children.add(process)
    heard: deque[str] = deque(maxlen=50)
    try:
        for line in _lines(process, wanted):
            heard.append(line)
            if not _CHATTER.match(line):
                say(line)
        if process.wait():
            kind = StageKilledError if killed(process.returncode or 0, heard) and not _stopping.is_set() else StageFailedError
            raise kind(last_words(heard))
    finally:
        _stop(process)
    return heard


def outcome(stage: str, heard: Sequence[str]) -> Outcome:
    """What DVC says it did for the stage."""
    pulled = f"Pulling data for stage: '{stage}'" in heard and f"Running stage '{stage}':" not in heard
    if pulled or f"Stage '{stage}' didn't change, skipping" in heard:
        return "skipped"
    return "cached" if f"Stage '{stage}' is cached - skipping run, checking out outputs" in heard else "ran"


def killed(code: int, heard: Sequence[str]) -> bool:
    """Whether DVC, with this exit code and these lines, or the stage that it ran was ended by a signal, or met another at work."""
    return code < 0 or any(_KILLED.search(line) or _BUSY.match(line) for line in heard)


def last_words(heard: Sequence[str]) -> str:
    """The last line of the stage itself, or DVC's own where it was DVC that failed, or the stage said nothing."""
    if failed := next(filter(None, map(_OWN.match, heard)), None):
        return failed[1]
    own = [line for line in heard if not _CHATTER.match(line)]
    return (own or heard or ["no message"])[-1].removeprefix("ERROR: ").removeprefix("error: ")


def ask(*arguments: str) -> str:
    """What a DVC command that changes nothing prints.

    Raises:
        UsageError: DVC refuses, as it does a broken dvc.yaml.
    """
    command = [sys.executable, "-m", "tasks.process", str(os.getpid()), _WAIT, *arguments]
    null, pipe = subprocess.DEVNULL, subprocess.PIPE
    process = subprocess.Popen(
        command, text=True, errors="replace", stdin=null, stdout=pipe, stderr=pipe, start_new_session=True, env=_environment()
    )
    _children.add(process)
    try:
        answer, complaint = process.communicate()
    finally:
        _stop(process)
    if process.returncode:
        words = [line.removeprefix("ERROR: ").strip() for line in complaint.splitlines() if not _EXCERPT.match(line)]
        raise UsageError(f"dvc {' '.join(arguments)}: {' '.join(filter(None, words))}")
    return answer


def cores() -> int:
    """How many stages run side by side where nobody says: one a core."""
    return os.cpu_count() or 1


def make_ready() -> None:
    """Start what the stages come from, which takes seconds and goes on while the caller does other things."""
    nursery.start()


def stop_all() -> None:
    """End every child and what it runs; returns when the last is gone."""
    _stopping.set()
    for child in list(_children):
        child.terminate()
    for child in list(_children):
        _stop(child)
    nursery.end()


def _environment(**variables: str) -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {"OMP_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1", **os.environ, "PATH": path, **variables}


def _stop(child: Child) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(GRACE + 5)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    _children.discard(child)


def _lines(child: Fork, wanted: Callable[[], bool]) -> Iterator[str]:
    while True:
        if not wanted():
            raise StageFailedError("stopped")
        try:
            line = child.heard.get(timeout=0.2)  # Prefect's time limit strikes between two steps of Python, never inside a wait
        except Empty:
            continue
        if line is None:
            return
        if line:
            yield line
