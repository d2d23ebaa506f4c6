"""The flow's side of the nursery: starts it, and runs DVC in a fork of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from queue import SimpleQueue

from tasks.nursery import END

THREADS: dict[str, str] = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class Nursery:
    """The one process that all forks of this flow come from; started when it is first needed, and again should it have ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._lock = threading.Lock()

    def start(self) -> socket.socket:
        """The line to it. It imports its libraries while we do other things."""
        with self._lock:
            if self._line is None or self._process is None or self._process.poll() is not None:
                self._line, theirs = socket.socketpair()
                command = [sys.executable, "-m", "tasks.nursery", str(os.getpid()), str(theirs.fileno())]
                null, fds = subprocess.DEVNULL, [theirs.fileno()]
                with theirs:
                    environment = os.environ | THREADS
                    self._process = subprocess.Popen(
                        command, stdin=null, stdout=null, pass_fds=fds, start_new_session=True, env=environment
                    )
            return self._line

    def end(self) -> None:
        """End it, and with it all its forks; returns when it is gone."""
        with self._lock:
            if self._process and self._line:
                self._line.close()
                self._process.terminate()
                self._process.wait()
            self._process = self._line = None


nursery = Nursery()


class Fork:
    """A process of DVC that came from the nursery, to be handled like a Popen."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self.returncode: int | None = None
        self.heard: SimpleQueue[str | None] = SimpleQueue()  # its lines, and None after the last
        self._ended = threading.Event()
        self.pid = 0  # as it stays where the nursery ends before it can fork
        connection, theirs = socket.socketpair()
        self._stream = connection.makefile(errors="replace")
        with connection, theirs, suppress(ConnectionError):
            socket.send_fds(nursery.start(), [b"."], [theirs.fileno()])
            theirs.close()
            connection.sendall(json.dumps([arguments, environment]).encode() + b"\n")
            self.pid = int(self._stream.readline() or 0)
        threading.Thread(target=self._listen, daemon=True).start()

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired("dvc", timeout or 0)
        return self.returncode

    def terminate(self) -> None:
        if self.pid and self.returncode is None:
            with suppress(ProcessLookupError):  # its last line is on the way
                os.kill(self.pid, signal.SIGTERM)

    def _listen(self) -> None:
        code = -signal.SIGKILL  # where no last line comes, somebody killed it
        with self._stream, suppress(ConnectionError):
            for line in self._stream:
                if line.startswith(END):
                    code = int(line.removeprefix(END))
                    break
                self.heard.put(line.rstrip())
        self.returncode = code
        self._ended.set()
        self.heard.put(None)
