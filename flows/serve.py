"""Prefect's server and a worker on this machine, until Ctrl-C: runs by schedule, from a page in the browser, or by command."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from flows import server
from flows.service import POOL
from generative.errors import UsageError
from generative.files import sole_owner, write_file

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, StateType

HOST = "127.0.0.1"
LOCK = Path(".prefect/serve")
LOG = LOCK / "server.log"
SINCE = LOCK / "since"  # when the serving began whose lost runs are to go on; an orderly end removes it
PATIENCE = 10.0  # seconds for the server of a killed process to leave the port
GRACE = 20.0  # seconds for a stopping run to end its stages
BACKOFF = (5, 30)  # seconds until a run that lost its process is started a second time, and a third
MISSED = "lost its worker"

MESSAGE = """
Prefect is at {address}: runs, logs and pictures; a run starts at Deployments, and a schedule is switched on there.

By command, from another terminal in this folder:
  export DO_NOT_TRACK=true PREFECT_API_URL={address}/api
  {bin}prefect deployment run catalogue/nightly               all that is out of date
  {bin}prefect deployment run model/by-hand --param name=vae  one model and what it needs

Ctrl-C stops the server, the worker and what runs.
"""


@dataclass
class Child:
    """A process that is started again when it is lost, each time a little later."""

    command: list[str]
    descriptors: tuple[int, ...] = ()
    losses: int = 0
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "flows.service", self.command[0], str(os.getpid()), *self.command[1:]]
        with LOG.open("a") as log:
            out = log if self.descriptors else None  # the worker's lines are those of the stages
            # A session of its own keeps the terminal's Ctrl-C from it: it is ours to pass on, in order.
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, pass_fds=self.descriptors, start_new_session=True
            )

    def stop(self) -> None:
        """End it and whatever it started; a run is given the time to end its stages."""
        import psutil

        if self.process.poll() is not None:
            return
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.terminate()
        try:
            self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()
        _, left = psutil.wait_procs(family, GRACE)
        for process in left:
            process.kill()

    def revived(self) -> bool:
        """Whether it was lost, and is there again."""
        if self.process.poll() is None:
            return False
        self.losses += 1
        print(f"The {self.command[0]} was lost, it is started again", file=sys.stderr, flush=True)
        time.sleep(min(60, 2**self.losses))
        self.start()
        return True


def main() -> int:
    """The command line; the exit code is 0 after Ctrl-C, 1 where it could not start."""
    parser = argparse.ArgumentParser(prog="python -m flows.serve", description=__doc__)
    parser.add_argument("--port", type=int, default=4200, help="of the server, on this machine only; 4200 where not given")
    port = parser.parse_args().port
    from generative.stages.command import guarded

    for number in (signal.SIGINT, signal.SIGTERM):  # the first too: a shell that starts us in the background has it ignored
        signal.signal(number, signal.default_int_handler)
    code = guarded(lambda: serve(port), "serve")
    return 0 if code == 130 else code


def serve(port: int) -> None:
    """Keep a server and a worker running, and start again the runs that lost their process.

    Raises:
        UsageError: the port is taken, prefect.yaml is faulty, or another one serves this folder.
    """
    with sole_owner(LOCK), _listener(port) as listener, ExitStack() as stack:
        _settings(port)
        print("Prefect is starting", flush=True)
        pages = Child(["server", str(listener.fileno())], (listener.fileno(),))
        stack.callback(pages.stop)
        from prefect import get_client

        server.wait(LOG)
        with get_client(sync_client=True) as client:
            deploy(client)
            since = stack.enter_context(_since())
            _give_up(client)
            hands = Child(["worker"])
            stack.callback(hands.stop)
            print(MESSAGE.format(address=f"http://{HOST}:{port}", bin=_bin()), flush=True)
            _watch(client, pages, hands, since)


def deploy(client: SyncPrefectClient) -> None:
    """Put prefect.yaml into effect. A schedule that somebody switched on stays on.

    Raises:
        UsageError: Prefect refuses it.
    """
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.workers.process import ProcessWorker

    with suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=ProcessWorker.get_default_base_job_template()))
    on = {
        (deployment.id, schedule.slug) for deployment in client.read_deployments() for schedule in deployment.schedules if schedule.active
    }
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    answer = subprocess.run(command, check=False, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if answer.returncode:
        raise UsageError(f"prefect.yaml: {' '.join(answer.stdout.split())[-500:]}")
    for deployment in client.read_deployments():
        for schedule in deployment.schedules:
            if (deployment.id, schedule.slug) in on:
                client.update_deployment_schedule(deployment.id, schedule.id, active=True)


def _watch(client: SyncPrefectClient, pages: Child, hands: Child, since: datetime) -> None:
    import httpx

    starts: Counter[UUID] = Counter()
    while True:
        time.sleep(2)
        try:
            if pages.revived():  # a worker that missed its server no longer hears of cancelled runs
                server.wait(LOG)
                hands.stop()
            if hands.revived():
                _give_up(client)
            repeat(client, since, starts)
        except httpx.HTTPError as error:  # the server is on its way down or up
            print(f"Prefect's server does not answer: {error}", file=sys.stderr, flush=True)


def repeat(client: SyncPrefectClient, since: datetime, starts: Counter[UUID]) -> None:
    """Schedule again the runs whose process was lost after `since`, as often as `BACKOFF` says; counts in `starts`."""
    from prefect.client.schemas.objects import StateType
    from prefect.states import AwaitingRetry

    for run in _runs(client, StateType.CRASHED):
        if run.state and run.state.timestamp > since and starts[run.id] < len(BACKOFF):
            when = datetime.now(UTC) + timedelta(seconds=BACKOFF[starts[run.id]])
            starts[run.id] += 1
            client.set_flow_run_state(run.id, AwaitingRetry(scheduled_time=when), force=True)
            print(f"The run {run.name} lost its process; it goes on at {when.astimezone():%H:%M:%S}", flush=True)


def _give_up(client: SyncPrefectClient) -> None:
    """Declare lost what a worker that is no more had at hand."""
    from prefect.client.schemas.objects import StateType
    from prefect.states import Cancelled, Crashed

    for run in _runs(client, StateType.PENDING, StateType.RUNNING):
        client.set_flow_run_state(run.id, Crashed(message=MISSED), force=True)
    for run in _runs(client, StateType.CANCELLING):
        client.set_flow_run_state(run.id, Cancelled(message=MISSED), force=True)


def _runs(client: SyncPrefectClient, *states: StateType) -> list[FlowRun]:
    from prefect.client.schemas import filters, sorting

    among = filters.FlowRunFilter(state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=list(states))))
    pool = filters.WorkPoolFilter(name=filters.WorkPoolFilterName(any_=[POOL]))
    newest = sorting.FlowRunSort.EXPECTED_START_TIME_DESC  # the server answers with 200 at most
    return client.read_flow_runs(flow_run_filter=among, work_pool_filter=pool, sort=newest)


@contextmanager
def _since() -> Iterator[datetime]:
    """When this serving began, or the one before where that was killed: its runs are lost, unlike those that somebody stopped."""
    if not SINCE.exists():
        write_file(SINCE, datetime.now(UTC).isoformat())
    try:
        yield datetime.fromisoformat(SINCE.read_text())
    finally:
        SINCE.unlink(missing_ok=True)


def _listener(port: int) -> socket.socket:
    """It stays open here too: a server that is started again finds its port, and requests wait for it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_server((HOST, port))
        except (OSError, OverflowError) as error:
            if time.monotonic() > deadline or not isinstance(error, OSError) or error.errno != errno.EADDRINUSE:
                reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
                raise UsageError(f"--port {port}: cannot be listened on: {reason}; try another one") from None
            time.sleep(0.5)


def _settings(port: int) -> None:
    address = f"http://{HOST}:{port}/api"
    os.environ |= {"PREFECT_API_URL": address, "PREFECT_UI_API_URL": address, "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false"}
    os.environ |= {"PWD": str(Path.cwd()), "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])}


def _bin() -> str:
    """The folder of the `prefect` command, where the other terminal would not find it."""
    folder = Path(sys.executable).parent
    return "" if folder == Path(os.environ.get("VIRTUAL_ENV", ""), "bin") else f"{os.path.relpath(folder)}/"


if __name__ == "__main__":
    sys.exit(main())
