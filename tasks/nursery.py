"""A process that has imported DVC and torch, and forks one for each stage: these imports take seconds of every stage otherwise.

A fork is a process of its own, and what ends it touches no other. It is two: DVC, and a seat beside it that becomes the stage when
DVC asks for it. The seat is taken before DVC begins, so that nothing of DVC's passes into a stage. Only libraries are shared; our own
code is read anew by every stage.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import NoReturn

from tasks.process import end_with, run_dvc

LIBRARIES = (
    "dvc.commands.repro",
    "dvc.repo.reproduce",
    "dvc.stage.run",
    "matplotlib.axes",
    "pydantic",
    "ruamel.yaml",
    "safetensors.torch",
    "torch._dynamo",  # by the first optimizer
)
END = "\0"  # begins the last line of a fork, before its exit code
_OURS = "generative"


def main() -> None:
    """Fork for every connection that comes down the line, until the line is closed at its other end."""
    parent, line = map(int, sys.argv[1:])
    end_with(parent)
    furnish()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended forks go without being waited for
    us = os.getpid()
    with socket.socket(fileno=line) as requests:
        while True:
            message, files, *_ = socket.recv_fds(requests, 1, 1)
            if not message:
                return
            if os.fork() == 0:
                requests.close()
                _reproduce(files[0], us)
            os.close(files[0])


def furnish() -> bool:
    """Import what all forks are to share; False where none of it survives a fork, as macOS' libraries and CUDA do not."""
    if sys.platform != "linux" or Path("/dev/nvidiactl").exists():
        return False
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.collect()
    gc.freeze()  # a collection in a fork would touch, and so copy, every page that it shares
    return True


def _reproduce(connection: int, parent: int) -> NoReturn:
    code = 1
    try:
        os.setsid()
        end_with(parent)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        with os.fdopen(connection, closefd=False) as stream:
            arguments, environment = json.loads(stream.readline())
        for output in (1, 2):
            os.dup2(connection, output)
        os.close(connection)
        take(environment)
        print(os.getpid(), flush=True)
        code = run_dvc(arguments, Seat().run)
    except BaseException:  # noqa: BLE001 - as below
        traceback.print_exc()
    finally:
        leave(code, f"{END}{code}\n")


class Seat:
    """A process beside DVC that waits to become the stage, and ends with DVC where it need not."""

    def __init__(self) -> None:
        waiting, self._order = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._order)
            _stage(waiting)
        os.close(waiting)

    def run(self, command: str, environment: dict[str, str], folder: str) -> int | None:
        """The stage's exit code; None where the command is none of ours, and for DVC to start."""
        if (order := ordered(command, environment, folder)) is None:
            return None
        with os.fdopen(self._order, "w") as stream:
            stream.write(order)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


def ordered(command: str, environment: dict[str, str], folder: str) -> str | None:
    """What a fork is to be told, in one line; None where the command is no stage of ours, or one of several threads."""
    match command.split():
        case ["exec", "python", "-m", module, *arguments] if module.startswith(f"{_OURS}.stages.") and _on_one_thread(arguments):
            return json.dumps([module, arguments, environment, folder])
    return None


def _on_one_thread(names: list[str]) -> bool:
    """Whether the entries compute as the libraries here were told to when they were imported."""
    from generative import params

    content = params.read()
    models = [content["encodings"].get(name, {}).get("model", name) for name in names]
    return all(content["models"].get(model, {}).get("threads", 1) == 1 for model in models)


def _stage(waiting: int) -> NoReturn:
    with os.fdopen(waiting) as stream:
        order = stream.read()
    if not order:
        os._exit(0)
    become(order)


def become(order: str) -> NoReturn:
    """This fork is now the stage that is `ordered`, and ends as that does."""
    code: object = 1
    try:
        module, arguments, environment, folder = json.loads(order)
        take(environment)
        os.chdir(folder)
        for name in [name for name in sys.modules if name.partition(".")[0] == _OURS]:
            del sys.modules[name]
        _show(f"{module.rpartition('.')[2]} {' '.join(arguments)}")
        sys.argv[1:] = arguments
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - what Python itself does at the end of a program
        traceback.print_exc()
    finally:
        if isinstance(code, str):
            print(code, file=sys.stderr)
        gc.collect()  # semaphores are given back when they are collected
        leave(code if isinstance(code, int) else int(code is not None))


def _show(name: str) -> None:
    """Give this process a name for `top` and `ps -o comm`, whose list of arguments is the nursery's (Linux only)."""
    if sys.platform == "linux":
        set_name = 15
        ctypes.CDLL(None).prctl(set_name, name.encode())


def take(environment: dict[str, str]) -> None:
    """Have this environment and no other."""
    os.environ.clear()
    os.environ.update(environment)


def leave(code: int, last: str = "") -> NoReturn:
    """End at once: the way out through Python's own end would run what the nursery and DVC have yet to do themselves."""
    print(end=last, flush=True)
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
