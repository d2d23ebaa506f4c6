"""The courier: brings the runs that stages noted down (`tracking.py`) to MLflow, in the background or on demand.

There is one courier a workspace, hence one process that imports MLflow, makes the database and writes to it. It goes on while runs
are alive, waits a little for the next stage, and leaves. Where the server is away, what was noted stays in data/spool for the next
courier: any later stage starts one, and so do `make ui` and `python -m generative.training.delivery --once`.

The store is mlflow.db in the project's root unless MLFLOW_TRACKING_URI names another one.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from generative.training.parcel import AwayError, Event, Parcel, RefusedError, brief
from generative.training.tracking import EVENTS, SPOOL, is_locked

if TYPE_CHECKING:
    from generative.training.ledger import Ledger

PULSE = 2.0  # seconds between two rounds
LINGER = 5.0  # seconds without a run before the courier leaves: the next stage of `dvc repro` finds it there
PATIENCE = 30.0  # seconds that `--once` gives a courier that is already at work
LOG_BYTES = 1_000_000
QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
HASTE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}  # a round that fails is repeated anyway


def deliver(ledger: Ledger, parcel: Parcel) -> None:
    """Delivers what is new of a run; a run that is over leaves the spool. Raises AwayError."""
    alive = is_locked(parcel.folder / EVENTS)  # asked first: what a dead writer wrote is complete
    ended = False
    for events, offset in parcel.batches():
        enter(ledger, parcel, events)
        ended = events[0]["event"] == "end"
        if not ended:
            parcel.advance(offset)
    if not ended and not alive:
        enter(ledger, parcel, [parcel.killed()])
    if ended or not alive:
        parcel.discard()


def enter(ledger: Ledger, parcel: Parcel, events: list[Event]) -> None:
    """Hands events over; what MLflow refuses for good is logged and left out, it must not hold up the rest. Raises AwayError."""
    try:
        ledger.enter(parcel, events)
    except RefusedError as error:
        if events[0]["event"] == "start":
            raise AwayError(str(error)) from error  # without it, all the rest of the run would be lost
        print(f"{parcel.folder.name}: MLflow refused {events[0]['event']}: {error}", file=sys.stderr, flush=True)


def waiting(spool: Path) -> list[Path]:
    """The runs in the spool, the oldest first."""
    return sorted(events.parent for events in spool.glob(f"[!.]*/{EVENTS}"))


def over(spool: Path) -> list[Path]:
    """The runs in the spool whose writers are gone."""
    return [folder for folder in waiting(spool) if not is_locked(folder / EVENTS)]


def tracking_uri() -> str:
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path('mlflow.db').resolve()}"


def connect() -> Ledger:
    """Opens the store, making a local database first. Raises AwayError."""
    os.environ.update(QUIET)
    for key, value in HASTE.items():
        os.environ.setdefault(key, value)
    uri = tracking_uri()
    if uri.startswith("sqlite:///"):
        make_database(Path(uri.removeprefix("sqlite:///")))
    from generative.training.ledger import Ledger  # here, because it imports MLflow

    return Ledger.open(uri, Path.cwd())


def make_database(path: Path) -> None:
    """Makes the database whole or not at all, and lets readers read while the courier writes. An existing one is never migrated."""
    if not path.exists():
        fresh = path.with_name(f"{path.name}.new")
        fresh.unlink(missing_ok=True)
        upgrade = [sys.executable, "-m", "mlflow", "db", "upgrade", f"sqlite:///{fresh}"]
        made = subprocess.run(upgrade, check=False, capture_output=True, text=True)
        if made.returncode:
            raise AwayError(f"the database {path} cannot be made: {brief(made.stderr[-300:])}")
        fresh.rename(path)
    try:
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA journal_mode=WAL")
    except sqlite3.Error as error:
        raise AwayError(f"the database {path} cannot be used: {error}") from error


def make_round(ledger: Ledger, folders: list[Path]) -> None:
    """Delivers what is new of every run; one that cannot be delivered does not hold up the others. Raises AwayError."""
    problems = []
    for folder in folders:
        try:
            parcel = Parcel.at(folder, ledger.uri)
            if parcel.run and not ledger.knows(parcel.run):  # somebody removed the database
                parcel = Parcel(folder, ledger.uri)
            deliver(ledger, parcel)
        except (AwayError, OSError) as error:
            problems.append(brief(error))
    if problems:
        raise AwayError(problems[0])


@contextmanager
def courier_lock(spool: Path) -> Iterator[bool]:
    """Whether this process is the courier of the workspace now."""
    spool.mkdir(parents=True, exist_ok=True)
    with (spool / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        for trash in spool.glob(".old-*"):
            shutil.rmtree(trash)
        yield True


def stay(spool: Path) -> set[Path]:
    """Goes round while runs are alive and a little longer; returns the runs that could not be delivered."""
    ledger: Ledger | None = None
    problem, busy = "", time.monotonic()
    while True:
        before, folders = problem, waiting(spool)
        try:
            if folders:
                busy = time.monotonic()
                ledger = ledger or connect()
                make_round(ledger, folders)
            problem = ""
        except AwayError as error:
            problem, ledger = str(error), None
        if bool(problem) != bool(before):
            print(problem or "MLflow answers again", file=sys.stderr, flush=True)
        left = waiting(spool)
        if (problem and len(over(spool)) == len(left)) or time.monotonic() - busy > LINGER:
            return set(left)
        trim(spool / "courier.log")
        time.sleep(PULSE)


def trim(log: Path) -> None:
    """Empties a log that grew too long; its writers append."""
    if log.exists() and log.stat().st_size > LOG_BYTES:
        os.truncate(log, 0)


def serve(spool: Path) -> int:
    """The courier in the background."""
    os.nice(10)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        with courier_lock(spool) as mine:
            if not mine:
                return 0
            left = stay(spool)
        # A stage that came after the last look found the lock taken and started no courier.
        if set(waiting(spool)) <= left:
            return 0


def once(spool: Path) -> int:
    """Delivers what is there; 1 where runs that are over could not be delivered."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with courier_lock(spool) as mine:
            if mine:
                return deliver_all(spool)
        if not over(spool):
            return 0
        if time.monotonic() > deadline:
            print(f"Another courier is still at work in {SPOOL}, see {SPOOL}/courier.log", file=sys.stderr)
            return 1
        time.sleep(0.2)


def deliver_all(spool: Path) -> int:
    folders = waiting(spool)
    try:
        if folders or not (os.environ.get("MLFLOW_TRACKING_URI") or Path("mlflow.db").exists()):
            make_round(connect(), folders)
    except AwayError as error:
        count = len(waiting(spool))
        wait = f"{count} {'run waits' if count == 1 else 'runs wait'} in {SPOOL} for the next delivery"
        print(f"MLflow at {tracking_uri()} cannot be used, {wait}: {error}", file=sys.stderr)
        return 1
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m generative.training.delivery", description="Brings spooled runs to MLflow.")
    parser.add_argument("--once", action="store_true", help="deliver what is there and leave; 1 where MLflow does not answer")
    work = once if parser.parse_args().once else serve
    try:
        return work(SPOOL.resolve())
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        print(f"{SPOOL} cannot be used: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
