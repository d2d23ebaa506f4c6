"""A Prefect server for as long as a flow runs, where PREFECT_API_URL names none.

Prefect would start one itself, but that one shares the terminal's Ctrl-C with the flow, outlives a flow that is killed, and loses
the records that it has not stored yet.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from generative.errors import UsageError
from tasks.process import end_with

PATIENCE = 180  # seconds for a first start on a busy machine, which creates the database
SETTLED = 1.5  # seconds without a new record after which all are taken as stored


def journal() -> Path:
    """The log of our server."""
    return Path(os.environ["PREFECT_HOME"], "server.log")


def start() -> None:
    """Start a server that ends with this process, and tell Prefect its address; to be called before Prefect is imported."""
    journal().parent.mkdir(parents=True, exist_ok=True)
    # The socket listens before the server runs: no port is lost to somebody else, and the first request waits until it is answered.
    with socket.create_server(("127.0.0.1", 0)) as listener, journal().open("w") as log:
        os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
        command = [sys.executable, "-m", "flows.server", str(os.getpid()), str(listener.fileno())]
        fds = [listener.fileno()]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=fds, start_new_session=True)
    atexit.register(process.terminate)  # registered before Prefect's own: it runs after Prefect has sent the last records


def wait(place: object) -> None:
    """Return when the server answers, ours or the one that PREFECT_API_URL names.

    Args:
        place: where a person looks when none does: the setting, or our server's log.

    Raises:
        UsageError: none does.
    """
    try:
        _get("health")
    except HTTPError:
        pass  # it is there; whether it lets us in is between Prefect and it
    except (OSError, HTTPException):
        raise UsageError(f"{place}: expected a Prefect server at {os.environ['PREFECT_API_URL']}, none answers") from None


def settle() -> None:
    """Wait until our server has stored the records on their way to it, at most 20 seconds, or is gone."""
    with suppress(OSError, HTTPException):
        _settle()


def _settle() -> None:
    seen, since = None, time.monotonic()
    for _ in range(80):
        unfinished = {"task_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING"]}}}}
        now = [_get("task_runs/count", body) for body in ({}, unfinished)]
        if now != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > SETTLED:
            return
        time.sleep(0.25)


def _get(route: str, body: object = None) -> object:
    data = None if body is None else json.dumps(body).encode()
    request = Request(f"{os.environ['PREFECT_API_URL']}/{route}", data, {"Content-Type": "application/json"})
    with urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)


def main() -> None:
    """Serve on the inherited socket until the process `parent` ends."""
    parent, listener = map(int, sys.argv[1:])
    end_with(parent)
    import uvicorn
    from prefect.server.api.server import create_app

    uvicorn.run(create_app(ephemeral=True, final=True), fd=listener, log_level="error")


if __name__ == "__main__":
    main()
