"""DVC as a child process: it runs a stage, and neither it nor the stage outlives the flow.

A child leads a session of its own, so that Ctrl-C in a terminal reaches the flow alone and one signal to its group reaches DVC and
the stage. Where the flow is killed outright, Linux tells the child. A stopping child ends its stage first and lets DVC finish the
line of dvc.lock that it may be writing.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import Empty, Queue
from typing import Literal

from generative.errors import UsageError
from generative.files import die_with_parent

Outcome = Literal["ran", "cached", "skipped"]

GRACE = 10  # seconds between the request to end and the end of what did not listen
# Without it a finished stage that finds the repository busy for 3 seconds is lost. The flag stands before the sub-command.
_WAIT = "--wait-for-lock"
_CHATTER = re.compile(
    r"Running stage '|> |Stage '.*(didn't change, skipping|is cached - skipping run)|(Updating|Generating) lock file"
    r"|To track the changes|\s*git add |To enable auto staging|\s*dvc config core\.autostage|Use `dvc push`"
    r"|Data and pipelines are up to date|ERROR: failed to reproduce"
)
_EXCERPT = re.compile(r"  \d+ ")  # a line of dvc.yaml below a complaint about it
_children: set[subprocess.Popen[str]] = set()


class StageFailedError(Exception):
    """A stage ended with an error: the last words it had."""


def reproduce(stage: str) -> Outcome:
    """Bring one stage up to date, whatever lies before it, and pass on its lines as they come.

    Raises:
        StageFailedError: the stage or DVC ended with an error.
    """
    from prefect import get_run_logger
    from prefect.runtime import flow_run

    log = get_run_logger()
    process = _start(["repro", "--single-item", stage], GENERATIVE_EXECUTION=str(flow_run.id))
    heard: deque[str] = deque(maxlen=50)
    try:
        for line in _lines(process):
            heard.append(line)
            if not _CHATTER.match(line):
                log.info(line)
                print(f"{stage} | {line}", flush=True)
        if process.wait():
            raise StageFailedError(last_words(heard))
    finally:
        _stop(process)
    return outcome(stage, heard)


def outcome(stage: str, heard: Sequence[str]) -> Outcome:
    """What DVC says it did for the stage."""
    if f"Stage '{stage}' didn't change, skipping" in heard:
        return "skipped"
    return "cached" if f"Stage '{stage}' is cached - skipping run, checking out outputs" in heard else "ran"


def last_words(heard: Sequence[str]) -> str:
    """The last line of the stage itself, or DVC's own where the stage said nothing."""
    own = [line for line in heard if not _CHATTER.match(line)]
    return (own or heard or ["no message"])[-1].removeprefix("ERROR: ").removeprefix("error: ")


def ask(*arguments: str) -> str:
    """What a DVC command that changes nothing prints.

    Raises:
        UsageError: DVC refuses, as it does a broken dvc.yaml.
    """
    process = _start(arguments, stderr=subprocess.PIPE)
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


def stop_all() -> None:
    """End every child and what it runs; returns when the last is gone."""
    for child in list(_children):
        child.terminate()
    for child in list(_children):
        _stop(child)


def _start(arguments: Sequence[str], stderr: int = subprocess.STDOUT, **variables: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    child = subprocess.Popen(
        [sys.executable, "-m", "tasks.dvc", str(os.getpid()), _WAIT, *arguments],
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        start_new_session=True,
        env={"OMP_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1", **os.environ, "PATH": path, **variables},
    )
    _children.add(child)
    return child


def _stop(child: subprocess.Popen[str]) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(GRACE + 5)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    _children.discard(child)


def _lines(child: subprocess.Popen[str]) -> Iterator[str]:
    # Prefect's time limit strikes between two steps of Python, never inside a read: hence the thread and the short waits.
    lines: Queue[str | None] = Queue()

    def pump() -> None:
        for line in child.stdout or ():
            lines.put(line.rstrip())
        lines.put(None)

    threading.Thread(target=pump, daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=0.2)
        except Empty:
            continue
        if line is None:
            return
        if line:
            yield line


def end_with(parent: int) -> None:
    """Have this process end when the process `parent` that started it dies, even by kill -9."""
    die_with_parent()
    if os.getppid() != parent:  # it died before we could ask
        os.kill(os.getpid(), signal.SIGTERM)


def _end_stage(*_: object) -> None:
    # The group's SIGTERM comes back here too, and must not start a second round. A function, for children inherit SIG_IGN.
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(0, signal.SIGKILL))
    signal.alarm(GRACE)
    os.killpg(0, signal.SIGTERM)


def main() -> int:
    """DVC's command line, after the id of the process to end with."""
    flow, *arguments = sys.argv[1:]
    end_with(int(flow))
    from dvc.cli import main as dvc

    signal.signal(signal.SIGTERM, _end_stage)
    code = dvc(arguments)
    if signal.getsignal(signal.SIGTERM) is not _end_stage:
        os.killpg(0, signal.SIGKILL)  # DVC is done; a stage that outlived its shell is not
    return code


if __name__ == "__main__":
    sys.exit(main())
