"""What a process that runs DVC does for its flow: it ends when the flow does, and a stage ends with it.

It leads a session of its own, so that Ctrl-C in a terminal reaches the flow alone and one signal to its group reaches DVC and the
stage. Where the flow is killed outright, Linux tells the process. A stopping one ends its stage first and lets DVC finish the line of
dvc.lock that it may be writing.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from generative.files import die_with_parent
from tasks import record

GRACE = 10  # seconds between the request to end and the end of what did not listen
Run = Callable[[str, dict[str, str], str], int | None]  # command, environment, folder -> exit code; None: let DVC start it


def end_with(parent: int) -> None:
    """Have this process end when the process `parent` that started it dies, even by kill -9."""
    die_with_parent()
    if os.getppid() != parent:  # it died before we could ask
        os.kill(os.getpid(), signal.SIGTERM)


def run_dvc(arguments: Sequence[str], run: Run | None = None) -> int:
    """DVC's command line; its stages are started by `run` where there is one.

    Returns:
        the exit code.
    """
    from dvc.cli import main as dvc

    if run:
        start_stages_by(run)
        record.keep_in_one_step()
    signal.signal(signal.SIGTERM, _end_stage)
    code = dvc(list(arguments))
    if signal.getsignal(signal.SIGTERM) is not _end_stage:
        os.killpg(0, signal.SIGKILL)  # DVC is done; a stage that outlived its shell is not
    return code


def start_stages_by(run: Run) -> None:
    """Let the DVC of this process start its stages this way."""
    from dvc import lock
    from dvc.stage import run as stages
    from dvc.stage.exceptions import StageCmdFailedError

    lock.DEFAULT_TIMEOUT = 0.3  # a sixth of it between two looks at a lock that others hold; half a second would be a fifth of a stage
    in_a_shell = stages._run

    def instead(executable: str, cmd: str, **options: Any) -> None:
        code = run(cmd, options["env"], options["cwd"])
        if code is None:
            in_a_shell(executable, cmd, **options)
        elif code:
            raise StageCmdFailedError(cmd, code)

    stages._run = instead


def _end_stage(*_: object) -> None:
    # The group's SIGTERM comes back here too, and must not start a second round. A function, for children inherit SIG_IGN.
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(0, signal.SIGKILL))
    signal.alarm(GRACE)
    os.killpg(0, signal.SIGTERM)


def main() -> int:
    """DVC's command line, after the id of the process to end with."""
    parent, *arguments = sys.argv[1:]
    end_with(int(parent))
    return run_dvc(arguments)


if __name__ == "__main__":
    sys.exit(main())
