"""A Dask cluster in place of this machine: each stage goes to a worker, which has a clone of its own and shares a DVC remote with us.

Tasks, with what they repeat and how long they may take, stay where the flow is; what travels is an order and a parcel. So a worker needs
no way to Prefect's server, and Dask's scheduler nothing of this project.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from generative.errors import UsageError
from generative.training.workers import Setup
from tasks.dvc import Outcome, Say, StageFailedError, ask, handed_to, stopping
from tasks.record import RECORD
from tasks.worker import Introduction, Order, differing, facts, introduce, pack, packed, remote

PATIENCE = 10  # seconds for a scheduler to answer
REMOTE = "expected a default DVC remote for the data to pass through, found none; `dvc remote add --default` makes one"


def look(address: str) -> None:
    """Refuse at once what would only be noticed when Prefect has started.

    Raises:
        UsageError: Dask is not installed, or nobody answers at the address.
    """
    if not find_spec("distributed"):
        raise UsageError("--runner dask: expected Dask in this environment, found none; pip install '.[cluster]' brings it")
    place = urlsplit(address if "://" in address else f"tcp://{address}")
    try:
        with socket.create_connection((place.hostname or "", place.port or 0), PATIENCE) as line:
            if place.scheme != "tls" and not line.recv(1):  # a scheduler speaks first; Dask would wait for ever for what does not
                raise OSError
    except (OSError, ValueError):
        raise _nobody_at(address) from None


def _nobody_at(address: str) -> UsageError:
    return UsageError(f"--scheduler {address}: expected a Dask scheduler, as tcp://127.0.0.1:8786, none answers there")


@contextmanager
def joined(address: str, before: Mapping[str, Iterable[str]]) -> Iterator[Cluster]:
    """Within the block, the stages of tasks run on the workers of a scheduler.

    Args:
        before: the stages that each stage directly depends on, whether or not they have to run.

    Raises:
        UsageError: what a cluster needs is not there.
    """
    with _client(address) as client:
        cluster = Cluster(client, before)
        cluster.meet(remotes=True)
        with handed_to(cluster.run):
            yield cluster


@contextmanager
def hiring(address: str) -> Iterator[Callable[[Setup], AbstractContextManager[Hired]]]:
    """Within the block, hires the workers of a scheduler for a trade. They need no remote: what they need to know is told to them.

    Raises:
        UsageError: what a cluster needs is not there.
    """
    with _client(address) as client:
        cluster = Cluster(client, {})
        cluster.meet(remotes=False)
        yield lambda setup: nullcontext(Hired(cluster, setup))


@contextmanager
def _client(address: str) -> Iterator[Any]:
    look(address)
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "critical")  # what goes wrong is said here, in one message
    from distributed import Client

    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError):
        raise _nobody_at(address) from None
    with client:  # whose farewell ends what still runs for us
        yield client


class Cluster:
    """The workers of a scheduler, once they have been met."""

    def __init__(self, client: Any, before: Mapping[str, Iterable[str]]) -> None:
        self.client, self.before, self.facts = client, before, facts()
        self.writing = threading.Lock()  # dvc.lock
        self.listeners: dict[str, Say] = {}  # by stage
        self.topic = f"generative-{uuid4().hex}"
        client.subscribe_topic(self.topic, self._hear)

    def meet(self, remotes: bool) -> None:
        """Raises: UsageError: there is no worker, or one that would come to other results, stand in another's way, or lacks a remote."""
        if remotes and not remote():
            raise UsageError(f".dvc/config: {REMOTE}")
        met = self.client.run(_there("introduce"), on_error="return")
        if not met:
            raise UsageError(f"--scheduler {self.client.scheduler.address}: expected workers, it has none; docs/cluster.md starts some")
        folders = {introduce().folder: "the flow"}
        for worker, them in met.items():
            if flaw := self._flaw(worker, them, folders, remotes):
                raise UsageError(f"worker {worker}: {flaw}")
            folders[them.folder] = worker

    def _flaw(self, worker: str, them: Introduction | Exception, folders: Mapping[str, str], remotes: bool) -> str:
        if not isinstance(them, Introduction):
            return f"expected one started by `python -m dask worker` in a clone of this project, got {them!r}"
        if them.folder in folders:
            return f"expected a clone of its own, got {them.folder}, where {folders[them.folder]} is at work"
        if difference := differing(self.facts, them.facts):
            return f"{them.folder}: {difference}"
        if self.workers[worker]["nthreads"] != 1:
            return f"{them.folder}: expected --nthreads 1, for one DVC does one stage at a time, got {self.workers[worker]['nthreads']}"
        return "" if them.remote or not remotes else f"{them.folder}: {REMOTE}"

    @property
    def workers(self) -> dict[str, Any]:
        """What the scheduler knows of each worker, by address."""
        return self.client.scheduler_info(n_workers=-1)["workers"]

    def run(self, stage: str, say: Say, execution: str) -> Outcome:
        """Have a stage brought up to date; Dask gives it to another worker where one dies over it.

        Raises:
            StageFailedError: the stage or its DVC ended with an error, as it would here.
        """
        self.listeners[stage] = say
        before = [other for other in self.before[stage] if "@" in other]  # the check leaves nothing that a remote has
        with self.writing:
            order = Order(RECORD.read_text(), pack(self.before[stage]).files, stage, before, self.facts, execution, self.topic)
        outcome, made = self.ask("carry_out", vars(order), name=stage, say=say)
        with self.writing:
            made.unpack()
        return outcome

    def ask(self, function: str, *given: object, name: str, say: Say) -> Any:
        """What a function of tasks/worker.py comes to where some worker calls it."""
        future = self.client.submit(_there(function), *given, key=f"{name}-{uuid4().hex}", pure=False)
        try:
            return self._outcome(future, say)
        finally:
            future.cancel()

    def _outcome(self, future: Any, say: Say) -> Any:
        from distributed import CancelledError, KilledWorker

        alone = False
        try:
            for tick in count():
                if future.done():
                    return future.result()
                time.sleep(0.2)  # Prefect's time limit strikes between two steps of Python, never inside a wait
                if stopping():
                    raise StageFailedError("stopped")
                if tick % 25 == 0 and alone != (alone := self._nobody()) and alone:
                    say("no worker is left; waiting for one to come")
        except KilledWorker as error:
            raise StageFailedError(f"one worker after another died over it, the last was {error.last_worker.address}") from None
        except CancelledError:
            raise StageFailedError("the connection to Dask's scheduler was lost") from None

    def _nobody(self) -> bool:
        try:
            return not self.workers
        except OSError:  # the scheduler is gone; the future will say so
            return False

    def _hear(self, event: tuple[float, tuple[str, str]]) -> None:
        stage, line = event[1]
        self.listeners[stage](line)


class Hired:
    """Takes the place of `Workers`: its requests are answered by the workers of a scheduler, each of which is told the trade once."""

    def __init__(self, cluster: Cluster, setup: Setup) -> None:
        self.cluster, self.token = cluster, uuid4().hex
        self.given = {"setup": packed(setup), "facts": cluster.facts}

    def answer(self, request: tuple[Any, ...]) -> Any:
        """Dask gives the request to another worker where one dies over it.

        Raises:
            StageFailedError: one worker after another died over it, or the flow is being stopped.
        """
        wanted = packed(request)
        for given in (None, self.given):
            known, answer = self.cluster.ask("answer", self.token, given, wanted, name="trial", say=print)
            if known:
                break
        return answer


def give(stages: Iterable[str]) -> None:
    """Push what stages left here to where workers find it."""
    _trade("push", stages)


def bring(stages: Iterable[str]) -> None:
    """Pull what workers made; the flow's clone is then as if the stages had run in it."""
    _trade("pull --force", stages)


def _trade(command: str, stages: Iterable[str]) -> None:
    if names := sorted(stage for stage in stages if "@" in stage):
        ask(*command.split(), *names)


def _there(function: str) -> Callable[..., Any]:
    """A function of tasks/worker.py, to be sent by what it does: Dask's scheduler cannot look up its name."""

    def call(*given: object) -> Any:
        return getattr(import_module("tasks.worker"), function)(*given)

    return call
